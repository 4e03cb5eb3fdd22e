"""Pairs of detections and ground truths of any classes in an image, and their counts.

Every rule takes pairs with an IoU of at least the threshold in one order of preference, each detection and ground truth
at most once; the rules differ in that order (`PAIRINGS`). Detections are sorted by descending score, equal scores by
class, then by position. Of equally similar pairs, that of the earlier detection comes first, then that of the later
ground truth, where ground truths are also sorted by class, then by position: the order of pycocotools with all classes
as one.

Crowds and ignored ground truths are excluded from pairs. An unpaired detection that reaches the threshold with one of
them (with a crowd: by the share of the detection inside) is left out and is not a false positive, however many there
are.
"""

from __future__ import annotations

import math
import numbers

import numpy as np

from .._candidates._host import Groups, Pairs, find_pairs
from .._geometry._host import pair_similarity
from .._ordering import starts_of_runs, take_rows
from ..protocols import EvaluationProtocol
from ..types import UNMATCHED, Bools, DetectionTable, Floats, GroundTruthTable, HostArray, Ints

__all__ = [
    "NORMALIZATIONS",
    "PAIRINGS",
    "check_confusion_options",
    "count_confusion",
    "groups_of_images",
    "normalize_confusion",
]

PAIRINGS = {
    "score": "in descending order of score, each detection takes the most similar ground truth that is still free",
    "iou": "the most similar pair first",
    "class_first": "pairs of the same class first, then the others, each by descending similarity",
    "best_only": "the most similar pair first, but only pairs of a detection with its most similar ground truth",
}
NORMALIZATIONS = (None, "true", "pred", "all")


def check_confusion_options(iou_threshold: float, score_threshold: float, pairing: str) -> None:
    """Refuses options that are out of range.

    Raises:
      ValueError: if an option is out of range; the message names it.
      TypeError: if a threshold is not a number.
    """
    for name, value in (("iou_threshold", iou_threshold), ("score_threshold", score_threshold)):
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise TypeError(f"`{name}` must be a number, got {value!r}.")
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"`iou_threshold` must lie in (0, 1], got {iou_threshold}.")
    if math.isnan(score_threshold):
        raise ValueError("`score_threshold` must be a number, got nan; -inf keeps all detections.")
    if pairing not in tuple(PAIRINGS):
        raise ValueError(f"`pairing` must be one of {list(PAIRINGS)}, got {pairing!r}.")


def count_confusion(
    detections: DetectionTable,
    ground_truths: GroundTruthTable,
    *,
    protocol: EvaluationProtocol,
    iou_threshold: float,
    pairing: str,
) -> tuple[Ints, int]:
    """Pairs all images and counts the outcomes.

    Args:
      detections: the included detections, in any order.
      ground_truths: the ground truths, in any order.
      protocol: the protocol, for its `iou_type`.
      iou_threshold: the least IoU of a pair.
      pairing: one of `PAIRINGS`.

    Returns:
      `[K + 1, K + 1]` int64, rows by the label of the ground truth, columns by that of the detection, the last of each
      for none; and the number of detections that were left out.
    """
    found = take_rows(detections, np.lexsort((detections.labels, -detections.scores, detections.image_index)))
    truth = take_rows(ground_truths, np.lexsort((ground_truths.labels, ground_truths.image_index)))
    similarity = pair_similarity(found, truth, protocol)
    rows = np.arange(len(found.scores))
    pairs = find_pairs(found, rows, truth, groups_of_images(found.image_index, truth), similarity, (iou_threshold,))
    counted = ~(truth.crowd | truth.ignore)
    allowed = counted[pairs.ground_truth]
    left_out = np.zeros(len(found.scores), bool)
    left_out[pairs.detection[~allowed]] = True
    partner = _take_pairs(_in_order(pairs, allowed, found, truth, pairing), len(found.scores), len(truth.labels))
    left_out &= partner == UNMATCHED

    background = len(truth.class_ids)
    free = counted.copy()
    free[partner[partner != UNMATCHED]] = False
    of_partner = np.append(truth.labels, background)[partner]  # -1, unmatched, is the last
    rows = np.concatenate([of_partner[~left_out], truth.labels[free]])
    columns = np.concatenate([found.labels[~left_out], np.full(free.sum(), background)])
    counts = np.bincount(rows * (background + 1) + columns, minlength=(background + 1) ** 2)
    return counts.reshape(background + 1, background + 1), int(left_out.sum())


def normalize_confusion(counts: Ints, by: str | None) -> HostArray:
    """Returns counts unchanged, or as float64 shares, NaN where nothing was counted.

    Args:
      counts: `[K + 1, K + 1]` int.
      by: `true` for shares of each row, a class of ground truths; `pred` for shares of each column, a class of
        detections; `all` for shares of the total; None for counts.

    Raises:
      ValueError: if `by` is none of these.
    """
    if by not in NORMALIZATIONS:
        raise ValueError(f"`normalize` must be one of {list(NORMALIZATIONS)}, got {by!r}.")
    if by is None:
        return counts
    total = counts.sum(axis={"true": 1, "pred": 0, "all": None}[by], keepdims=True)
    shares: Floats = np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
    return shares


def groups_of_images(image_index: Ints, truth: GroundTruthTable) -> Groups:
    """Returns all images as groups, so that pairs may be of any classes.

    Args:
      image_index: `[N]`, the images of the detections, ascending.
      truth: the ground truths, sorted by image.
    """
    edges = np.arange(len(truth.image_ids) + 1)
    starts, truth_starts = np.searchsorted(image_index, edges), np.searchsorted(truth.image_index, edges)
    return Groups(starts[:-1], np.diff(starts), truth_starts[:-1], np.diff(truth_starts))


def _in_order(
    pairs: Pairs, allowed: Bools, found: DetectionTable, truth: GroundTruthTable, pairing: str
) -> tuple[Ints, Ints]:
    """Returns the detections and the ground truths of the allowed pairs, in order of preference."""
    detection, ground_truth = pairs.detection[allowed], pairs.ground_truth[allowed]
    if pairing != "score":  # the order of `find_pairs`
        similarity = pairs.similarity[allowed]
        if pairing == "best_only":
            first = starts_of_runs(detection)
            detection, ground_truth, similarity = detection[first], ground_truth[first], similarity[first]
        keys: tuple[HostArray, ...] = (detection, -similarity)  # the last key is the primary key
        if pairing == "class_first":
            keys = (*keys, found.labels[detection] != truth.labels[ground_truth])
        order = np.lexsort(keys)
        detection, ground_truth = detection[order], ground_truth[order]
    return detection, ground_truth


def _take_pairs(pairs: tuple[Ints, Ints], num_detections: int, num_ground_truths: int) -> Ints:
    """Takes pairs in order, each side at most once, like `pair_greedily`; returns `[N]`, or `UNMATCHED`."""
    detection, ground_truth = pairs
    partner = np.full(num_detections, UNMATCHED)
    place = np.arange(len(detection))
    while len(place):
        one, other = detection[place], ground_truth[place]
        first, first_of_other = np.full(num_detections, len(detection)), np.full(num_ground_truths, len(detection))
        np.minimum.at(first, one, place)
        np.minimum.at(first_of_other, other, place)
        certain = (first[one] == place) & (first_of_other[other] == place)
        partner[one[certain]] = other[certain]
        taken = np.zeros(num_ground_truths, bool)
        taken[other[certain]] = True
        place = place[(partner[one] == UNMATCHED) & ~taken[other]]
    return partner
