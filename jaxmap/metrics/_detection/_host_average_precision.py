"""Exact average precision with a state of unbounded size on the host, without blocking the device."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from ..._display import described, short_repr
from ..._evaluation import Evaluation, evaluation_of
from ..._expected import expect
from ..._integers import as_labels, as_words
from ..._matching._checked import check_kinds
from ..._matching._data_checks import checks_by_name
from ..._matching._device import match_batch
from ..._planes import num_words
from ..._pytrees import register_container
from ...types import Array, Detections, GroundTruths, Scalar
from .._contract import register_metric
from .._options import COCO_OR_OTHER, NamedProtocol, check_box_format, check_memory, check_sizes, take_class_group
from .._placement import in_jit, reads_any_sharding
from ._records import class_names_of, curves_on_host, dataset_of_images
from ._result import AveragePrecisionResult, CurveMetric, warn_of_oddities
from ._state import ImageRows, content_of, contents_differ, empty_rows, rows_of_batch, whole_ids

__all__ = ["HostAveragePrecision", "HostState"]

IN_FLIGHT = 2  # batches that may still be copied; older ones have arrived, so reading them does not wait


@register_container
class _Batch(NamedTuple):
    """The rows of one update, possibly still being copied to the host."""

    images: ImageRows
    valid: Array  # [I]


@register_container
@dataclasses.dataclass(frozen=True, eq=False)
class HostState:
    """The batches in the order of arrival, all but the last few as NumPy arrays.

    Attributes:
      batches: the rows of each batch.
      configuration: `[2]` uint32, a fingerprint of the metric's configuration, and 1.
    """

    batches: tuple[_Batch, ...]
    configuration: Array  # [2]

    def __repr__(self) -> str:
        return described(self, images=sum(len(batch.valid) for batch in self.batches))


@register_metric
@dataclasses.dataclass(frozen=True, kw_only=True)
class HostAveragePrecision(CurveMetric[HostState]):
    """Exact average precision with a state on the host, to which each update copies its rows; there are no capacities.

    Call `update` outside `jit`. It runs its own compiled program, whose results are copied to the host while the next
    step runs. The numbers equal those of `AveragePrecision` bit for bit.

    Attributes:
      num_classes: K; labels lie in [0, K).
      protocol: the protocol, or its name.
      box_format: the format of all boxes, in pixels: `xyxy`, `xywh`, `cxcywh` (centre) or `yxyx`.
      class_group: the group of each class, K names, for protocols with groups of classes (LVIS, or
        `protocol.with_class_groups(names)`), empty for a class of no group; without it, the numbers of groups are
        undefined.
    """

    num_classes: int
    protocol: NamedProtocol = COCO_OR_OTHER
    box_format: str = "xyxy"
    class_group: tuple[str, ...] | None = None

    _STATE, _RESULT = HostState, AveragePrecisionResult

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_sizes(self, "num_classes")
        check_box_format(self)
        take_class_group(self)
        check_memory(self, "num_classes", curves=True)

    def init(self) -> HostState:
        """Returns the empty state."""
        grid = len(self.protocol.iou_thresholds), len(self.protocol.area_ranges)
        images = empty_rows(0, 0, 0, num_words(*grid), self.num_classes, grid[1])
        return HostState((_Batch(jax.device_get(images), np.zeros(0, bool)),), self._words())

    def update(
        self,
        state: HostState,
        detections: Detections,
        ground_truths: GroundTruths,
        *,
        image_id: ArrayLike,
        valid: ArrayLike | None = None,
    ) -> HostState:
        """Adds a batch, as `AveragePrecision.update` does; not inside `jit`.

        Raises:
          ValueError: if a shape is not as described, or the state has another configuration.
          TypeError: if labels or image ids are not integers, arguments are swapped, or it is called inside `jit`.
        """
        self._accept(state=state)
        if in_jit(image_id):
            raise TypeError("`HostAveragePrecision.update` must be called outside jit; use `AveragePrecision` inside.")
        expect("detections", detections, Detections)
        expect("ground_truths", ground_truths, GroundTruths)
        check_kinds("detections", detections)
        check_kinds("ground_truths", ground_truths)
        # Before `jit`, which cuts integers to 32 bits.
        words = as_words(image_id, len(detections.labels))
        found = dataclasses.replace(detections, labels=as_labels("detections.labels", detections.labels))
        truth = dataclasses.replace(ground_truths, labels=as_labels("ground_truths.labels", ground_truths.labels))
        batch = _match(self, found, truth, words, valid)
        for leaf in jax.tree.leaves(batch):
            leaf.copy_to_host_async()
        batches = (*state.batches, batch)
        arrived = len(batches) - 1 - IN_FLIGHT
        if arrived >= 0:
            batches = (*batches[:arrived], jax.device_get(batches[arrived]), *batches[arrived + 1 :])
        return HostState(batches, self._words())

    def merge(self, state: HostState, other: HostState) -> HostState:
        """Returns the combination of two states; images that are in both are counted once."""
        self._accept(state=state, other=other)
        return HostState(state.batches + other.batches, self._words())

    def compute(self, state: HostState) -> AveragePrecisionResult:
        """Integrates the state into curves in float64."""
        rows, counters, checks = self._distinct_images(state)
        curves = curves_on_host(rows, self.protocol, self.num_classes)
        return AveragePrecisionResult(curves, counters, checks, self._words())

    def evaluation(
        self,
        state: HostState,
        *,
        class_names: Sequence[str] | Mapping[int, str] | None = None,
        image_names: Mapping[int, Any] | None = None,
    ) -> Evaluation:
        """Returns an `Evaluation` from the state, like `AveragePrecision.evaluation`."""
        rows, counters, checks = self._distinct_images(state)
        warn_of_oddities(counters, checks, self._rules, stacklevel=3)
        names = class_names_of(self.num_classes, class_names)
        dataset = dataset_of_images(rows, self.protocol, names, image_names, self.class_group)
        return evaluation_of(dataset, self.protocol)

    def _distinct_images(self, state: HostState) -> tuple[list[ImageRows], dict[str, Scalar], dict[str, Array]]:
        """Returns the rows of the first occurrence of each image, batch by batch, the counters and the checks."""
        self._accept(state=state)
        batches = jax.device_get(state.batches)
        image_id = np.concatenate([whole_ids(batch.images) for batch in batches])
        valid = np.concatenate([batch.valid for batch in batches])
        real = np.flatnonzero(valid)
        _, first, of_id = np.unique(image_id[valid], return_index=True, return_inverse=True)
        kept = np.zeros(len(valid), bool)
        kept[real[first]] = True
        content = np.concatenate([content_of(batch.images) for batch in batches])[real]
        counters: dict[str, Scalar] = {
            "num_images": kept.sum(),
            "num_repeated_images": (valid & ~kept).sum(),
            "num_conflicting_images": contents_differ(content, content[first][of_id]).sum(),
            "num_padded_images": (~valid).sum(),
        }
        used = np.split(kept, np.cumsum([len(batch.valid) for batch in batches])[:-1])
        rows = [
            jax.tree.map(lambda leaf, mask=mask: leaf[mask], batch.images)
            for batch, mask in zip(batches, used, strict=True)
        ]
        for name in ("num_not_finite", "num_bad_labels"):  # nothing is ever over capacity here
            counters[name] = np.concatenate([getattr(images, name) for images in rows]).sum()
        checks = checks_by_name(np.concatenate([images.checks for images in rows]).sum(0))
        return rows, counters, checks

    def _with_room_of(self, state: HostState) -> None:
        """Any number of batches of any size is valid."""


@partial(jax.jit, static_argnums=0)
@reads_any_sharding
def _match(
    metric: HostAveragePrecision,
    detections: Detections,
    ground_truths: GroundTruths,
    image_id: ArrayLike,
    valid: ArrayLike | None,
) -> _Batch:
    batch = match_batch(detections, ground_truths, image_id, valid, metric._rules)
    slots = batch.scores.shape[1], batch.ground_truth_labels.shape[1]
    grid = batch.matched.shape[-1], metric.num_classes, batch.ground_truth_counted.shape[-1]
    rows = rows_of_batch(batch, empty_rows(0, *slots, *grid))  # as many slots as rows
    return _Batch(rows, batch.image_valid)
