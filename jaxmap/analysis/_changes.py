"""The ground truths that only one of two detectors finds."""

from __future__ import annotations

import numpy as np

from .._display import Columns
from .._matching._host import MatchedDataset
from .._ordering import inverse
from ..types import UNMATCHED, HostArray, Ints

__all__ = ["changed_ground_truths", "same_ground_truths"]


def same_ground_truths(first: MatchedDataset, other: MatchedDataset) -> bool:
    """Returns whether the ids of the ground truths agree, so that it is known which of them are the same."""
    ids, other_ids = (one.ground_truths.ids[_by_id(one)] for one in (first, other))
    return np.array_equal(ids, other_ids)


def changed_ground_truths(
    first: MatchedDataset, other: MatchedDataset, plane: tuple[int, int, int], top: int | None = None
) -> Columns:
    """Returns the counted ground truths that one detector finds in a plane and the other misses.

    Args:
      first: the matches of one detector.
      other: those of the other.
      plane: indices of an area range and an IoU threshold, and the number of thresholds.
      top: how many to return of each kind of change; None for all.

    Returns:
      Columns `image_id`, `class_id`, `ground_truth` (annotation id, or row in the image), `change` (`found` if only the
      other detector finds it, `lost` if only the first does), and of the detection that finds it `detection` (position
      in its file, or row in its image), `score` and `iou`. Those found come first, each kind by descending score.

    Raises:
      ValueError: if the ids of the ground truths differ.
    """
    if not same_ground_truths(first, other):
        some = sorted(set(first.ground_truths.ids.tolist()) ^ set(other.ground_truths.ids.tolist()), key=str)[:3]
        raise ValueError(
            f"the objects of the two evaluations have different ids, such as {some}, so which of them are the same is "
            "not known. Evaluate both against the same ground truths."
        )
    orders = _by_id(first), _by_id(other)
    finders, similarity = np.full((2, len(orders[0])), UNMATCHED), np.empty((2, len(orders[0])))
    for side, (one, order) in enumerate(zip((first, other), orders, strict=True)):
        rows, truths, values = one.matches(*plane)
        places = inverse(order)[truths]
        finders[side, places], similarity[side, places] = rows, values
    truth, order = first.ground_truths, orders[0]
    counted = first.dataset.records.ground_truths.counted[order, plane[0]]
    parts: list[dict[str, HostArray]] = []
    for side, one, change in ((1, other, "found"), (0, first, "lost")):
        only = np.flatnonzero(counted & (finders[side] != UNMATCHED) & (finders[1 - side] == UNMATCHED))
        scores = one.dataset.records.detections.scores[finders[side, only]]
        only = only[np.argsort(-scores, kind="stable")[:top]]
        objects, detections = order[only], finders[side, only]
        parts.append(
            {
                "image_id": truth.image_ids[truth.image_index[objects]],
                "class_id": truth.class_ids[truth.labels[objects]],
                "ground_truth": truth.ids[objects],
                "change": np.full(len(only), change),
                "detection": one.dataset.detection_ids[detections],
                "score": one.dataset.records.detections.scores[detections],
                "iou": similarity[side, only],
            }
        )
    return Columns({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _by_id(one: MatchedDataset) -> Ints:
    """Returns the order of the ground truths by image, class and id; their tables may list them in others."""
    truth = one.ground_truths
    return np.lexsort((truth.ids, truth.labels, truth.image_index))
