"""Semantic segmentation: one confusion matrix over the pixels of a whole dataset, and the numbers computed from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ... import _counts64 as wide
from ..._counts64 import WideCount
from ..._display import short_repr
from ..._integer_bounds import check_int32
from ..._matching._data_checks import warn_once
from ..._panoptic._device import count_pairs
from ..._pytrees import register_container
from ...types import Array, Scalar
from .._contract import Contract, register_metric
from .._options import check_memory, check_sizes
from .._placement import in_jit, keeps_sharding, reads_any_sharding
from ._label_maps import (
    BAD,
    IGNORED,
    NUM_COLUMNS,
    NUM_ROWS,
    PADDING,
    UNPREDICTED,
    ReadsLabels,
    advise_on_maps,
    check_map,
)

__all__ = ["SegmentationResult", "SegmentationState", "SemanticSegmentation", "semantic_segmentation"]


@register_container
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SegmentationState:
    """Counts over all batches, in 64 bits; every pixel is counted in one entry.

    Attributes:
      confusion: `[K, K + 2]`, scored pixels by true class and predicted class; the last two columns are pixels without
        a predicted class, and pixels whose predicted label is not a class.
      unscored: `[3]`, the numbers of pixels that are ignored, whose true label is neither a class nor ignored, and that
        are padding.
      configuration: `[2]` uint32, a fingerprint of the metric's configuration, and 1.
    """

    confusion: WideCount  # [K, K + 2]
    unscored: WideCount  # [3]
    configuration: Array  # [2]

    __repr__ = short_repr


@register_container
class SegmentationResult(NamedTuple):
    """The result of `compute`: float64 and int64 NumPy, NaN where undefined; inside `jit` float32 and `UNDEFINED`.

    Attributes:
      mean_iou: the mean of `iou` over the classes where it is defined.
      frequency_weighted_iou: the mean of `iou`, weighted by the share of each class of the true pixels.
      pixel_accuracy: the share of the scored pixels with the correct class.
      mean_accuracy: the mean of `accuracy` over the classes where it is defined.
      mean_dice: the mean of `dice` over the classes where it is defined.
      iou: `[K]`, intersection over union of the true and the predicted pixels; undefined if there are neither.
      accuracy: `[K]`, the share of the true pixels of a class that are predicted correctly; undefined if there are
        none.
      dice: `[K]`, twice the intersection over the sum of both areas (F1); undefined where `iou` is.
      confusion: `[K, K + 2]`, as in the state. From inside `jit` a `WideCount`, like the counters.
      counters: the counters of pixels, see `SemanticSegmentation`.
      configuration: the configuration of the state.
    """

    mean_iou: Scalar  # []
    frequency_weighted_iou: Scalar  # []
    pixel_accuracy: Scalar  # []
    mean_accuracy: Scalar  # []
    mean_dice: Scalar  # []
    iou: Array  # [K]
    accuracy: Array  # [K]
    dice: Array  # [K]
    confusion: Array  # [K, K + 2]
    counters: Mapping[str, Scalar]
    configuration: Array | None = None  # [2]

    def __repr__(self) -> str:
        return short_repr(self)


@register_metric
@dataclasses.dataclass(frozen=True, kw_only=True)
class SemanticSegmentation(ReadsLabels, Contract[SegmentationState, SegmentationResult]):
    """IoU, Dice and accuracy of label maps from the confusion matrix of the whole dataset, exact up to 2^63 pixels.

    Numbers are computed over all pixels, not as means over batches or images. A pixel whose true label is a class is
    always scored: if it is predicted as `ignore_index`, or as a label that is not a class, it is a miss.

    Counters: `num_pixels` are scored, including `num_unpredicted_pixels` and `num_bad_predicted_labels`. Not scored are
    `num_ignored_pixels`, `num_bad_true_labels` (neither a class nor ignored) and `num_padded_pixels`.

    Attributes:
      num_classes: K.
      ignore_index: the true label of pixels that are not scored, and the predicted label of pixels without a class;
        None if there is no such label.
      reduce_zero_label: True if true labels are 0 for pixels that are not scored and 1 to K for the classes, while
        predictions number the classes from 0.

    Example:
      >>> metric = SemanticSegmentation(num_classes=2)
      >>> predicted, truth = jnp.array([[[0, 1, 1, 1]]]), jnp.array([[[0, 0, 1, 255]]])
      >>> state = jax.jit(metric.update)(metric.init(), predicted, truth)
      >>> numbers = metric.summarize(metric.compute(state))
      >>> numbers["mean_iou"], numbers["num_ignored_pixels"]
      (0.5, 1)
    """

    num_classes: int
    ignore_index: int | None = 255
    reduce_zero_label: bool = False

    _STATE, _RESULT = SegmentationState, SegmentationResult

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_sizes(self, "num_classes")
        self._labels.check()
        check_memory(self, "num_classes")

    def init(self) -> SegmentationState:
        """Returns the empty state."""
        check_int32(
            "entries of the matrix",
            (self.num_classes + NUM_ROWS) * (self.num_classes + NUM_COLUMNS),
            f"use fewer classes than `num_classes={self.num_classes}`",
        )
        return SegmentationState(
            confusion=wide.zeros((self.num_classes, self.num_classes + NUM_COLUMNS)),
            unscored=wide.zeros((NUM_ROWS,)),
            configuration=jnp.asarray(self._words()),
        )

    @keeps_sharding
    def update(
        self, state: SegmentationState, predicted: ArrayLike, truth: ArrayLike, *, valid: ArrayLike | None = None
    ) -> SegmentationState:
        """Adds a batch; jittable.

        Args:
          state: from `init`, `update` or `merge`.
          predicted: `[I, H, W]` int, classes.
          truth: `[I, H, W]` int, classes or `ignore_index`.
          valid: `[I]` bool, False for images that only pad the batch, or `[I, H, W]` bool, False for pixels that only
            pad an image; None means that all are real.

        Raises:
          ValueError: while tracing, if a shape is not as described.
          TypeError: while tracing, if labels are not integers.
        """
        self._accept(state=state)
        predicted, truth = check_map("predicted", predicted), check_map("truth", truth)
        if predicted.shape != truth.shape:
            raise ValueError(
                f"`predicted` and `truth` must have one shape, got {list(predicted.shape)} and {list(truth.shape)}."
            )
        size, num_columns = state.confusion.low.shape
        rows, columns = self._labels.truth_rows(truth, valid), self._labels.predicted_columns(predicted)
        as_one_image = (1, truth.shape[0] * truth.shape[1], truth.shape[2])
        real = jnp.ones((), bool)  # padding is counted too
        [counts] = count_pairs(
            rows.reshape(as_one_image), columns.reshape(as_one_image), real, size + NUM_ROWS, num_columns
        )
        batch = SegmentationState(
            confusion=wide.widen(counts[:size]),
            unscored=wide.widen(counts[size:].sum(1, dtype=jnp.uint32)),
            configuration=jnp.asarray(self._words()),
        )
        return self.merge(state, batch)

    @reads_any_sharding
    def compute(self, state: SegmentationState) -> SegmentationResult:
        """Computes the numbers from the counts, in float64 on the host or, inside `jit`, in float32 on the device."""
        return self._computed(_numbers, state)

    def _named(self, result: SegmentationResult) -> Mapping[str, Scalar]:
        return {name: getattr(result, name) for name in SegmentationResult._fields[:5]}

    def _advise(self, result: SegmentationResult) -> Iterator[str]:
        return advise_on_maps(result.confusion.sum(1), result.counters, self._labels)


def semantic_segmentation(
    predicted: ArrayLike,
    truth: ArrayLike,
    *,
    num_classes: int,
    ignore_index: int | None = 255,
    reduce_zero_label: bool = False,
    valid: ArrayLike | None = None,
) -> SegmentationResult:
    """Scores label maps in one call: IoU, Dice and accuracy over all pixels.

    Args:
      predicted: `[I, H, W]` int, classes.
      truth: `[I, H, W]` int, classes or `ignore_index`.
      num_classes: K.
      ignore_index: as in `SemanticSegmentation`.
      reduce_zero_label: likewise.
      valid: `[I]` or `[I, H, W]` bool, False for padding.

    Returns:
      Float64 numbers with NaN where undefined; inside `jit` float32 with -1.

    Raises:
      ValueError: if a shape is not as described, or, outside `jit`, a label is neither a class nor `ignore_index`.
      TypeError: if labels are not integers.

    Example:
      >>> result = semantic_segmentation(jnp.array([[[0, 1, 1, 1]]]), jnp.array([[[0, 0, 1, 255]]]), num_classes=3)
      >>> result.iou, float(result.mean_iou)
      (array([0.5, 0.5, nan]), 0.5)
    """
    metric = SemanticSegmentation(
        num_classes=num_classes, ignore_index=ignore_index, reduce_zero_label=reduce_zero_label
    )
    predicted_map, truth_map = (
        check_map("predicted", predicted),
        check_map("truth", truth),
    )  # before `jit` cuts labels
    state = _first_update(metric, predicted_map, truth_map, valid)
    result = metric.compute(state)
    if in_jit(state):
        return result
    if result.counters["num_bad_true_labels"] + result.counters["num_bad_predicted_labels"]:
        rows = metric._labels.truth_rows(truth_map, valid)
        columns = metric._labels.predicted_columns(predicted_map)
        metric._labels.refuse("truth", np.asarray(truth), rows == num_classes + BAD)
        metric._labels.refuse("predicted", np.asarray(predicted), (columns == num_classes + BAD) & (rows < num_classes))
    warn_once(metric._advise(result))
    return result


@partial(jax.jit, static_argnums=0)
def _first_update(
    metric: SemanticSegmentation, predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None
) -> SegmentationState:
    return metric.update(metric.init(), predicted, truth, valid=valid)


def _numbers(state: SegmentationState) -> SegmentationResult:
    size = state.confusion.low.shape[0]
    by_truth, by_prediction = wide.total(state.confusion, (1,)), wide.total(state.confusion, (0,))
    num_pixels = wide.total(by_truth, (0,))
    diagonal = jnp.arange(size, dtype=jnp.int32)
    hits = wide.as_float(state.confusion.select((diagonal, diagonal)))
    true, found = wide.as_float(by_truth), wide.as_float(by_prediction.select(slice(size)))
    iou, dice = wide.ratio(hits, true + found - hits), wide.ratio(2.0 * hits, true + found)
    accuracy = wide.ratio(hits, true)
    return SegmentationResult(
        mean_iou=wide.mean_of_defined(iou),
        frequency_weighted_iou=wide.ratio(jnp.sum(jnp.where(true > 0, true * iou, 0.0)), wide.as_float(num_pixels)),
        pixel_accuracy=wide.ratio(jnp.sum(hits), wide.as_float(num_pixels)),
        mean_accuracy=wide.mean_of_defined(accuracy),
        mean_dice=wide.mean_of_defined(dice),
        iou=iou,
        accuracy=accuracy,
        dice=dice,
        confusion=wide.as_array(state.confusion),
        counters={
            "num_pixels": wide.as_array(num_pixels),
            "num_unpredicted_pixels": wide.as_array(by_prediction.select(size + UNPREDICTED)),
            "num_bad_predicted_labels": wide.as_array(by_prediction.select(size + BAD)),
            "num_ignored_pixels": wide.as_array(state.unscored.select(IGNORED)),
            "num_bad_true_labels": wide.as_array(state.unscored.select(BAD)),
            "num_padded_pixels": wide.as_array(state.unscored.select(PADDING)),
        },
    )
