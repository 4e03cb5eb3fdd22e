"""From a state's rows to curves and named numbers, on the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from ..._curves._host import precision_recall
from ..._matching._device import BatchRules
from ..._ordering import order_by_score
from ..._summary import summarize
from ...protocols import EvaluationProtocol
from ...types import UNDEFINED, Array, PrecisionRecall, Records
from .._data_checks import advise, warn_once
from ._state import ImageRows, whole_ids

__all__ = ["AveragePrecisionResult", "curves_on_host", "summarize_result"]

# What found no room, and the capacity of which it would have needed more.
OVERFLOWS = {
    "num_images_over_capacity": "max_images",
    "num_detections_over_capacity": "max_detections_per_image",
    "num_ground_truths_over_capacity": "max_ground_truths_per_image",
}


class AveragePrecisionResult(NamedTuple):
    """What `compute` returns.

    Attributes:
      curves: float64 NumPy with NaN where undefined, or, from inside `jit`, float32 with `UNDEFINED`.
      counters: int32 scalars by name, those of the state.
      checks: int32 scalars by name, what `summarize` may warn about.
      configuration: that of the state.
    """

    curves: PrecisionRecall
    counters: dict[str, Array]
    checks: dict[str, Array]
    configuration: Array | None = None  # [2]


def curves_on_host(batches: Sequence[ImageRows], protocol: EvaluationProtocol, num_classes: int) -> PrecisionRecall:
    """Integrates rows of distinct images, NumPy arrays, in float64."""
    columns, counts = [], np.zeros((num_classes, len(protocol.area_ranges)), np.int64)
    for images in batches:
        image, place = np.nonzero(images.labels >= 0)
        names = ("scores", "labels", "rank", "matched", "ignored")
        columns.append((whole_ids(images)[image], place, *(getattr(images, name)[image, place] for name in names)))
        real = images.ground_truth_labels >= 0
        labels, bits = images.ground_truth_labels[real], images.ground_truth_counted[real]
        for area in range(counts.shape[1]):
            counts[:, area] += np.bincount(labels[(bits >> area) & 1 == 1], minlength=num_classes)
    image_id, place, scores, labels, rank, matched, ignored = map(np.concatenate, zip(*columns, strict=True))
    arrival = np.empty(len(image_id), np.int64)
    arrival[np.lexsort((place, image_id))] = np.arange(len(image_id))
    records = Records(
        scores=scores.astype(np.float64),
        labels=labels.astype(np.int64),
        image_index=image_id,
        position=place,
        rank=rank,
        matched=matched,
        ignored=ignored,
        valid=np.ones(len(image_id), bool),
    )
    order = order_by_score(records.labels, records.scores, arrival)
    return precision_recall(records, order, counts, protocol)


def summarize_result(
    result: AveragePrecisionResult,
    rules: BatchRules,
    *,
    class_group: tuple[str, ...] | None,
    allow_overflow: bool,
) -> dict[str, float]:
    """Returns the protocol's numbers by name, NaN where undefined, and the counters beside them; warns of what is odd.

    Raises:
      ValueError: if something found no room, naming the capacity to raise, unless `allow_overflow`; or if
        `class_group` does not name a group for every class.
    """
    counters = {name: int(value) for name, value in result.counters.items()}
    lost = [f"{name} = {counters[name]} (raise `{OVERFLOWS[name]}`)" for name in OVERFLOWS if counters.get(name)]
    if lost and not allow_overflow:
        raise ValueError(
            f"the state overflowed, so its numbers are not those of all data: {', '.join(lost)}; or pass "
            "`allow_overflow=True` to see them."
        )
    checks = {name: int(value) for name, value in result.checks.items()}
    warn_once(advise(checks, counters, num_classes=rules.num_classes, box_format=rules.box_format), stacklevel=4)
    curves = jax.device_get(result.curves)
    defined = np.asarray(curves.num_ground_truths) > 0

    def on_host(values: np.ndarray) -> np.ndarray:
        values = np.asarray(values, np.float64)
        return np.where(defined[:, :, None] & (values != UNDEFINED), values, np.nan)

    curves = PrecisionRecall(
        precision=on_host(curves.precision),
        recall=on_host(curves.recall),
        scores=on_host(curves.scores),
        num_ground_truths=curves.num_ground_truths,
        average_precision=None if curves.average_precision is None else on_host(curves.average_precision),
    )
    return summarize(curves, rules.protocol, class_group) | counters
