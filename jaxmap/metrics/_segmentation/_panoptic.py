"""Panoptic quality inside `jit`: segments are matched from one joint histogram of all pixels of an image."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ... import _counts64 as wide
from ..._counts64 import WideCount
from ..._display import short_repr
from ..._integers import as_flags, as_labels
from ..._panoptic._device import boundary_histogram, joint_histogram, match_segments
from ..._panoptic._host import check_options, class_groups, stuff_at_any_iou
from ..._pytrees import register_container
from ...types import UNDEFINED, Array, Bools, Scalar
from .._contract import Contract, register_metric
from .._options import check_memory, check_sizes
from .._placement import keeps_sharding, reads_any_sharding
from ._label_maps import check_map, real_pixels

__all__ = [
    "PanopticQuality",
    "PanopticQualityResult",
    "PanopticQualityState",
]

# After the segments of a map there are two more indices: for pixels of no segment, and for unknown segment numbers.
_VOID, _BAD = 0, 1
_NUM_PLACES = 2
_PIXEL_COUNTERS = (
    "num_pixels",
    "num_void_pixels",
    "num_bad_true_pixels",
    "num_bad_predicted_pixels",
    "num_padded_pixels",
)
_ONE = 2.0**32  # an IoU of 1 in the fixed-point numbers of the state


@register_container
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PanopticQualityState:
    """Sums over all batches in 64-bit integers; states merge by addition, in any order, to equal bits.

    Attributes:
      iou_sum: `[K]`, the sum of the IoUs of the matches per class, each rounded to a multiple of 2^-32, in that unit.
      segments: `[3, K]`, the numbers of matches, false positives and false negatives; of stuff in modified PQ, the
        matches are all true segments.
      pixels: `[5]`, the counters of `PanopticQuality`, in their order.
      configuration: `[2]` uint32, a fingerprint of the metric's configuration, and 1.
    """

    iou_sum: WideCount  # [K]
    segments: WideCount  # [3, K]
    pixels: WideCount  # [5]
    configuration: Array  # [2]

    __repr__ = short_repr


@register_container
class PanopticQualityResult(NamedTuple):
    """The result of `compute`: float64 and int64 NumPy, NaN where undefined; inside `jit` float32 and `UNDEFINED`.

    Attributes:
      numbers: `PQ`, `SQ`, `RQ`, means over the classes where they are defined; `PQ_th` ... for things, `PQ_st` ... for
        stuff.
      pq: `[K]`, the sum of IoUs / (TP + FP / 2 + FN / 2), where TP are the matches; undefined if all are 0.
      sq: `[K]`, the mean IoU of the matches; 0 if there are none, undefined where `pq` is.
      rq: `[K]`, TP / (TP + FP / 2 + FN / 2); undefined where `pq` is.
      true_positives: `[K]`. From inside `jit` a `WideCount`, like the two below and the counters.
      false_positives: `[K]`.
      false_negatives: `[K]`.
      counters: the counters of pixels, see `PanopticQuality`.
      configuration: the configuration of the state.
    """

    numbers: Mapping[str, Scalar]
    pq: Array  # [K]
    sq: Array  # [K]
    rq: Array  # [K]
    true_positives: Array  # [K]
    false_positives: Array  # [K]
    false_negatives: Array  # [K]
    counters: Mapping[str, Scalar]
    configuration: Array | None = None  # [2]

    def __repr__(self) -> str:
        return short_repr(self)


@register_metric
@dataclasses.dataclass(frozen=True, kw_only=True)
class PanopticQuality(Contract[PanopticQualityState, PanopticQualityResult]):
    """Panoptic quality of segment maps, PQ = SQ * RQ for each class, by the rules of panopticapi.

    A predicted and a true segment match if they have the same class and an IoU above 1/2, which a segment can reach
    with only one other. The union excludes pixels of the prediction that are void in the truth. A crowd is never
    matched and never missed. An unmatched predicted segment is a false positive, unless more than half of it lies on
    void and on crowds of its class. Decisions are made in integers; the IoU of a match is rounded to a multiple of
    2^-32, so that any split and order of the images gives the same state to the last bit. Images are not remembered: a
    repeated image is counted again.

    Counters: `num_pixels` are all pixels except padding. They include `num_void_pixels` of the truth, and
    `num_bad_true_pixels` and `num_bad_predicted_pixels`, whose segment is beyond `labels` or whose label is not a
    class; these count as void. `num_padded_pixels` are excluded.

    Attributes:
      num_classes: K.
      things: the classes of countable objects; all others are stuff. None if not known; the numbers of things and stuff
        are then undefined.
      modified: True for modified PQ, where stuff matches at any IoU, see `panoptic_quality`; it needs `things`.
      boundary_ratio: for boundary PQ, see `panoptic_quality`, the width of boundaries as a share of the image's
        diagonal, 0.02 in the paper; None for PQ. The height and width of an image are the numbers of its rows and
        columns that have a valid pixel.

    Example:
      >>> metric = PanopticQuality(num_classes=2, things=(1,))
      >>> truth, predicted = jnp.array([[[0, 0, 1, 1, 1, -1]]]), jnp.array([[[0, 0, 0, 1, 1, 1]]])
      >>> labels = jnp.array([[0, 1]])  # of segments 0 and 1
      >>> state = jax.jit(metric.update)(
      ...     metric.init(), predicted, truth, predicted_labels=labels, truth_labels=labels)
      >>> numbers = metric.summarize(metric.compute(state))
      >>> round(numbers["PQ"], 6), round(numbers["PQ_th"], 6), numbers["num_void_pixels"]  # 2/3 and 2/3, without void
      (0.666667, 0.666667, 1)

    References: panopticapi evaluation.py, pq_compute_single_core. Deviations: if an image has several crowds of one
    class, all of them excuse a prediction, not only the last one; and the area of a true segment is its number of
    pixels. Porzi et al., Seamless Scene Segmentation, 2019 (modified PQ); Cheng et al., Boundary IoU, 2021.
    """

    num_classes: int
    things: tuple[int, ...] | None = None
    modified: bool = False
    boundary_ratio: float | None = None

    _STATE, _RESULT = PanopticQualityState, PanopticQualityResult

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_sizes(self, "num_classes")
        check_options(
            self.things,
            self.num_classes,
            modified=self.modified,
            boundary_ratio=self.boundary_ratio,
        )
        check_memory(self, "num_classes")

    def init(self) -> PanopticQualityState:
        """Returns the empty state."""
        return PanopticQualityState(
            iou_sum=wide.zeros((self.num_classes,)),
            segments=wide.zeros((3, self.num_classes)),
            pixels=wide.zeros((len(_PIXEL_COUNTERS),)),
            configuration=jnp.asarray(self._words()),
        )

    @keeps_sharding
    def update(
        self,
        state: PanopticQualityState,
        predicted: ArrayLike,
        truth: ArrayLike,
        *,
        predicted_labels: ArrayLike,
        truth_labels: ArrayLike,
        truth_crowd: ArrayLike | None = None,
        valid: ArrayLike | None = None,
    ) -> PanopticQualityState:
        """Adds a batch; jittable.

        Args:
          state: from `init`, `update` or `merge`.
          predicted: `[I, H, W]` int, the segment of each pixel as an index on S; negative for no segment.
          truth: `[I, H, W]` int, likewise; negative for void.
          predicted_labels: `[I, S]` int, the class of each predicted segment; if it is negative, its pixels belong to
            no segment.
          truth_labels: `[I, S']` int, likewise for true segments; S' may differ from S, and pixels of negative labels
            are void.
          truth_crowd: `[I, S']` bool, True for crowds; None means that there are none.
          valid: `[I]` bool, False for images that only pad the batch, or `[I, H, W]` bool, False for pixels that only
            pad an image; None means that all are real.

        Raises:
          ValueError: while tracing, if a shape is not as described or a batch is too large.
          TypeError: while tracing, if segments or labels are not integers.
        """
        self._accept(state=state)
        predicted, truth = check_map("predicted", predicted), check_map("truth", truth)
        if predicted.shape != truth.shape:
            raise ValueError(
                f"`predicted` and `truth` must have one shape, got {list(predicted.shape)} and {list(truth.shape)}."
            )
        real = jnp.ones((), bool) if valid is None else real_pixels(valid, truth.shape)
        place, found = self._places("predicted_labels", predicted, predicted_labels)
        true_place, true = self._places("truth_labels", truth, truth_labels)
        crowd = _crowds(truth_crowd, true.shape)
        segments = place, true_place, real, found.shape[1], true.shape[1]
        joint = joint_histogram(*segments)
        of_boundaries = None if self.boundary_ratio is None else boundary_histogram(*segments, self.boundary_ratio)
        match = partial(match_segments, num_classes=self.num_classes, at_any_iou=self._stuff_at_any_iou())
        matched = jax.vmap(match)(joint, of_boundaries, found, true, crowd)
        is_void, bad_truth, bad_predicted = true < 0, true >= self.num_classes, found >= self.num_classes
        by_predicted, by_truth = joint.sum(2, dtype=jnp.uint32), joint.sum(1, dtype=jnp.uint32)
        num_pixels = by_truth.sum(dtype=jnp.uint32)
        pixels = (
            num_pixels,
            jnp.where(is_void, by_truth, 0).sum(dtype=jnp.uint32),
            jnp.where(bad_truth, by_truth, 0).sum(dtype=jnp.uint32),
            jnp.where(bad_predicted, by_predicted, 0).sum(dtype=jnp.uint32),
            jnp.uint32(truth.size) - num_pixels,
        )
        counts = (
            self._by_class(matched.is_match, true),
            self._by_class(matched.is_false_positive, found),
            self._by_class(matched.is_false_negative, true),
        )
        batch = PanopticQualityState(
            iou_sum=self._sum_by_class(matched.iou, true),
            segments=wide.widen(jnp.stack(counts)),
            pixels=wide.widen(jnp.stack(pixels)),
            configuration=jnp.asarray(self._words()),
        )
        return self.merge(state, batch)

    @reads_any_sharding
    def compute(self, state: PanopticQualityState) -> PanopticQualityResult:
        """Computes the numbers from the counts, in float64 on the host or, inside `jit`, in float32 on the device."""
        return self._computed(_numbers, state, class_groups(self.things, self.num_classes))

    def _named(self, result: PanopticQualityResult) -> Mapping[str, Scalar]:
        return result.numbers

    def _advise(self, result: PanopticQualityResult) -> Iterator[str]:
        for side, labels in (("true", "truth_labels"), ("predicted", "predicted_labels")):
            if bad := result.counters[f"num_bad_{side}_pixels"]:
                yield (
                    f"{bad} {side} pixels belong to a segment that is beyond `{labels}` or whose label is not a class, "
                    "and count as void"
                )

    def _stuff_at_any_iou(self) -> Bools:  # [K]
        return stuff_at_any_iou(self.things, self.num_classes, self.modified)

    def _counted_by(self) -> Mapping[str, Any]:
        return {"stuff": tuple(self._stuff_at_any_iou().nonzero()[0].tolist())} if self.modified else {}

    def _places(self, name: str, segments: jax.Array, labels: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """Returns the histogram index `[I, H, W]` of each pixel, and the label `[I, S + 2]` of each index."""
        num_images, shape = segments.shape[0], jnp.shape(labels)
        if len(shape) != 2 or shape[0] != num_images:
            raise ValueError(f"`{name}` must have shape [{num_images}, segments], got {list(shape)}.")
        labels = as_labels(name, labels)
        capacity = shape[1]
        is_segment = (segments >= 0) & (segments < capacity)
        place = jnp.where(is_segment, segments, capacity + jnp.where(segments < 0, _VOID, _BAD))
        behind = jnp.broadcast_to(jnp.array([[-1, self.num_classes]], jnp.int32), (num_images, _NUM_PLACES))
        return place, jnp.concatenate([labels, behind], axis=1)

    def _by_class(self, flags: jax.Array, labels: jax.Array) -> jax.Array:
        return jax.ops.segment_sum(flags.astype(jnp.uint32).ravel(), labels.ravel(), self.num_classes)

    def _sum_by_class(self, values: WideCount, labels: jax.Array) -> WideCount:
        own = labels.ravel()[:, None] == jnp.arange(self.num_classes, dtype=jnp.int32)[None, :]
        low, high = (jnp.where(own, word.ravel()[:, None], jnp.uint32(0)) for word in values)
        return wide.total(WideCount(low, high), (0,))


def _numbers(state: PanopticQualityState, groups: Mapping[str, Array]) -> PanopticQualityResult:
    counts = [state.segments.select(row) for row in range(3)]
    iou_sum, (matches, found, missed) = wide.as_float(state.iou_sum) / _ONE, map(wide.as_float, counts)
    whole = matches + 0.5 * (found + missed)
    per_class = {
        "PQ": wide.ratio(iou_sum, whole),
        "SQ": jnp.where(whole > 0, jnp.maximum(wide.ratio(iou_sum, matches), 0.0), UNDEFINED),
        "RQ": wide.ratio(matches, whole),
    }
    numbers = {
        name + suffix: wide.mean_of_defined(jnp.where(flags, values, UNDEFINED))
        for suffix, flags in groups.items()
        for name, values in per_class.items()
    }
    counters = {name: wide.as_array(state.pixels.select(row)) for row, name in enumerate(_PIXEL_COUNTERS)}
    return PanopticQualityResult(
        numbers=numbers,
        pq=per_class["PQ"],
        sq=per_class["SQ"],
        rq=per_class["RQ"],
        true_positives=wide.as_array(counts[0]),
        false_positives=wide.as_array(counts[1]),
        false_negatives=wide.as_array(counts[2]),
        counters=counters,
    )


def _crowds(crowd: ArrayLike | None, shape: tuple[int, ...]) -> jax.Array:
    """Returns `[I, S' + 2]` bool, False for the indices after the segments."""
    if crowd is None:
        return jnp.zeros(shape, bool)
    expected = [shape[0], shape[1] - _NUM_PLACES]
    if list(jnp.shape(crowd)) != expected:
        raise ValueError(
            f"`truth_crowd` must have shape {expected}, as `truth_labels` has, got {list(jnp.shape(crowd))}."
        )
    return jnp.pad(as_flags("truth_crowd", crowd), ((0, 0), (0, _NUM_PLACES)))
