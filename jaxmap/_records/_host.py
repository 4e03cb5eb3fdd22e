"""A whole dataset as records, with the names of its images and classes, as read by curves and analyses."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from .._display import short_repr
from .._ordering import inverse, order_by_score
from ..types import Bools, DetectionRecords, Floats, GroundTruthRecords, HostArray, Ints, Records

__all__ = ["DatasetRecords", "are_ranked", "count_ground_truths", "of_images", "side_by_side"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DatasetRecords:
    """The records of a dataset, from files, arrays or the state of a metric.

    Attributes:
      records: NumPy arrays; detections sorted by image, class and descending score, ground truths by image and class.
        `image_index` is an index into `image_ids`, and `labels` into `class_ids`; `position` ascends over the whole
        dataset.
      by_class: `[N]` int64, the rows of the detections by class, then by descending score, image and position.
      source_ids: `[n]` int64, the ids of detections in any order, with those that are not included.
      source_rows: `[N]` int64, the index of each detection there.
      image_ids: `[I]`, ascending, including images without objects.
      class_ids: `[K]`.
      class_names: K names.
      class_group: `[K]` names, the group of each class; None without groups.
      ranked: whether scores rank the detections; parts of a dataset keep it (see `are_ranked`).
    """

    records: Records[HostArray]
    by_class: Ints
    source_ids: Ints
    source_rows: Ints
    image_ids: HostArray
    class_ids: HostArray
    class_names: tuple[str, ...]
    class_group: HostArray | None = None
    ranked: bool = True

    __repr__ = short_repr

    @functools.cached_property
    def detection_ids(self) -> Ints:
        """`[N]` int64, the id of a detection: its position in its file, or its row in its image."""
        return self.source_ids.take(self.source_rows)

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


def of_images(dataset: DatasetRecords, keep: Bools) -> DatasetRecords:
    """Returns the records of some images; the classes stay.

    Args:
      dataset: the records of all images.
      keep: `[I]` bool.
    """
    place = np.cumsum(keep) - 1
    found, truth = (
        {name: column[keep[rows.image_index]] for name, column in vars(rows).items()}
        for rows in (dataset.records.detections, dataset.records.ground_truths)
    )
    found["image_index"], truth["image_index"] = place[found["image_index"]], place[truth["image_index"]]
    kept = keep[dataset.records.detections.image_index]
    return dataclasses.replace(
        dataset,
        records=Records(detections=DetectionRecords(**found), ground_truths=GroundTruthRecords(**truth)),
        by_class=(np.cumsum(kept) - 1)[dataset.by_class[kept[dataset.by_class]]],
        source_rows=dataset.source_rows[kept],
        image_ids=dataset.image_ids[keep],
    )


def side_by_side(one: DatasetRecords, other: DatasetRecords) -> DatasetRecords:
    """Returns the records of two sets of detections on the same images as those of twice as many images.

    Image i of the one is image 2 i, and that of the other is image 2 i + 1. So which of the two comes first changes no
    order between different images. Rows are in no order; `by_class` ranks them.
    """
    both = one, other
    found = [dataset.records.detections for dataset in both]
    truth = [dataset.records.ground_truths for dataset in both]
    columns: dict[str, HostArray] = {
        name: np.concatenate([getattr(rows, name) for rows in found]) for name in vars(found[0])
    }
    columns["image_index"] = np.concatenate([2 * rows.image_index + side for side, rows in enumerate(found)])
    columns["position"] = inverse(np.lexsort((columns["position"], columns["image_index"])))
    of_truth: dict[str, HostArray] = {
        name: np.concatenate([getattr(rows, name) for rows in truth]) for name in vars(truth[0])
    }
    of_truth["image_index"] = np.concatenate([2 * rows.image_index + side for side, rows in enumerate(truth)])
    return dataclasses.replace(
        one,
        records=Records(detections=DetectionRecords(**columns), ground_truths=GroundTruthRecords(**of_truth)),
        by_class=order_by_score(columns["labels"], columns["scores"], columns["position"]),
        source_ids=np.concatenate([dataset.source_ids for dataset in both]),
        source_rows=np.concatenate([one.source_rows, len(one.source_ids) + other.source_rows]),
        image_ids=np.arange(2 * len(one.image_ids)),
    )


def are_ranked(scores: Floats) -> bool:
    """Returns whether scores rank the detections: False if all are 1, as those of a detector without scores."""
    return not len(scores) or bool((scores != 1).any())


def count_ground_truths(ground_truths: GroundTruthRecords[HostArray], num_classes: int) -> Ints:
    """Returns `[K, A]` int64, how many ground truths of each class are counted in each area range."""
    return np.stack(
        [np.bincount(ground_truths.labels[flags], minlength=num_classes) for flags in ground_truths.counted.T], axis=1
    )
