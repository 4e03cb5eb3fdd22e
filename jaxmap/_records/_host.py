"""A whole dataset as records, with the names of its images and classes, as read by curves and analyses."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from .._display import short_repr
from .._ordering import inverse, order_by_score
from ..types import GroundTruthRecords, HostArray, Ints, Records

__all__ = ["DatasetRecords", "count_ground_truths"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DatasetRecords:
    """The records of a dataset, from files, arrays or the state of a metric.

    Attributes:
      records: NumPy arrays; detections sorted by image, class and descending score, ground truths by image and class.
        `image_index` is an index into `image_ids`, and `labels` into `class_ids`; `position` ascends over the whole
        dataset.
      by_class: `[N]` int64, the rows of the detections by class, then by descending score, image and position.
      detection_ids: `[N]` int64, the id of a detection: its position in its file, or its row in its image.
      image_ids: `[I]`, ascending, including images without objects.
      class_ids: `[K]`.
      class_names: K names.
      class_group: `[K]` names, the group of each class; None without groups.
    """

    records: Records[HostArray]
    by_class: Ints
    detection_ids: Ints
    image_ids: HostArray
    class_ids: HostArray
    class_names: tuple[str, ...]
    class_group: HostArray | None = None

    __repr__ = short_repr

    @functools.cached_property
    def num_ground_truths(self) -> Ints:
        """`[K, A]` int64, how many ground truths of each class are counted in each area range."""
        return count_ground_truths(self.records.ground_truths, len(self.class_ids))

    @functools.cached_property
    def score_place(self) -> Ints:
        """`[N]` int64, the rank of each detection among all, by descending score, image and position."""
        rows = self.records.detections
        one_class = np.zeros_like(rows.labels)
        return inverse(order_by_score(one_class, rows.scores, inverse(np.argsort(rows.position))))


def count_ground_truths(ground_truths: GroundTruthRecords[HostArray], num_classes: int) -> Ints:
    """Returns `[K, A]` int64, how many ground truths of each class are counted in each area range."""
    return np.stack(
        [np.bincount(ground_truths.labels[flags], minlength=num_classes) for flags in ground_truths.counted.T], axis=1
    )
