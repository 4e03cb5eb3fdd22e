"""The counted detections at one IoU threshold: what is a true and what a false positive, for analyses of scores."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

import numpy as np

from .._ordering import order_within
from .._planes import read_plane
from .._records._host import DatasetRecords
from ..protocols import EvaluationProtocol
from ..types import Bools, Floats, Ints

__all__ = ["ALL_CLASSES", "Counted", "count_outcomes", "ends_of_ties", "label_of"]

ALL_CLASSES = -1  # the class id of a row about all classes


class Counted(NamedTuple):
    """The counted detections and the number of counted ground truths, for one area range, threshold and limit.

    Attributes:
      rows: `[N]`, their rows among all detections; ignored ones and those beyond the limit are left out.
      labels: `[N]`.
      scores: `[N]`.
      hits: `[N]` bool, true positives; the others are false positives.
      score_place: `[N]` int64, distinct, ascending with descending score.
      num_ground_truths: `[K]`.
    """

    rows: Ints
    labels: Ints
    scores: Floats
    hits: Bools
    score_place: Ints
    num_ground_truths: Ints

    def by_class(self) -> list[Ints]:
        """Returns K arrays: the entries of each class, by descending score."""
        order = order_within(self.labels, self.score_place)
        edges = np.searchsorted(self.labels[order], np.arange(1, len(self.num_ground_truths)))
        return np.split(order, edges)[: len(self.num_ground_truths)]


def count_outcomes(
    dataset: DatasetRecords,
    protocol: EvaluationProtocol,
    iou_threshold: float,
    area: str,
    max_detections: int | None,
) -> Counted:
    """Reads the outcome of every detection from its record.

    Raises:
      ValueError: if the protocol has no such threshold, area range or limit.
    """
    limit = protocol.max_detections[-1] if max_detections is None else max_detections
    if limit not in protocol.max_detections:
        raise ValueError(
            f"`max_detections` must be one of {list(protocol.max_detections)}, got {limit}; pass `max_detections` to "
            "`evaluate` for others."
        )
    area_index, threshold = protocol.locate(area, iou_threshold)
    plane = area_index, threshold, len(protocol.iou_thresholds)
    records = dataset.records.detections
    rows = np.flatnonzero(~read_plane(records.ignored, *plane) & (records.rank < limit))
    return Counted(
        rows=rows,
        labels=records.labels[rows],
        scores=records.scores[rows],
        hits=read_plane(records.matched, *plane)[rows],
        score_place=dataset.score_place[rows],
        num_ground_truths=dataset.num_ground_truths[:, area_index],
    )


def ends_of_ties(scores: Floats) -> Ints:
    """Returns the last index of each run of equal scores, in descending `[N]`: only there a threshold can lie."""
    return np.flatnonzero(np.append(scores[1:] != scores[:-1], True)[: len(scores)])


def label_of(dataset: DatasetRecords, class_id: Hashable) -> int:
    """Returns the index of a class.

    Raises:
      ValueError: if the dataset has no such class.
    """
    places = np.flatnonzero(dataset.class_ids == class_id)
    if not len(places):
        raise ValueError(f"`class_id` must be one of {dataset.class_ids.tolist()}, got {class_id!r}.")
    return int(places[0])
