"""Localisation recall precision: one error for boxes that lie badly, detections that are wrong and objects missed.

At a score threshold, a class has TP true and FP false positives among the detections with at least that score, and FN
counted ground truths that none of them matched. With the IoU of each true positive and the IoU threshold t,

    LRP     = (sum over TP of (1 - IoU) / (1 - t) + FP + FN) / (TP + FP + FN)      from 0, perfect, to 1
    LRP_loc = mean over TP of 1 - IoU            NaN without a true positive
    LRP_FP  = FP / (TP + FP) = 1 - precision     NaN without a detection
    LRP_FN  = FN / (TP + FN) = 1 - recall

oLRP is the LRP of the best score threshold of a class. All scores are tried; the authors' code and vernier try those of
a grid. A class without ground truth has no LRP. Ignored detections are neither true nor false positives.

References: Oksuz et al., One Metric to Measure them All: Localisation Recall Precision (LRP) for Evaluating Visual
Detection Tasks, TPAMI 2021.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .._display import Columns
from .._matching._host import MatchedDataset
from ..protocols import EvaluationProtocol
from ..types import Bools, Floats
from ._counted import ALL_CLASSES, count_outcomes, ends_of_ties

__all__ = ["localisation_recall_precision"]

SAME_ERROR = 1e-12  # values of LRP this close count as equal, because sums of IoUs are rounded


class _Point(NamedTuple):
    """The row of a class or of all; the names are those of the columns."""

    score_threshold: float
    true_positives: int
    false_positives: int
    false_negatives: int
    lrp: float
    lrp_loc: float
    lrp_fp: float
    lrp_fn: float


def localisation_recall_precision(
    matched: MatchedDataset,
    protocol: EvaluationProtocol,
    *,
    iou_threshold: float = 0.5,
    area: str = "all",
    max_detections: int | None = None,
    score_threshold: float | None = None,
) -> Columns:
    """Tabulates the LRP of each class and their mean.

    Of thresholds with equal LRP the lowest is the best, which has the highest recall. The LRP of reporting nothing is
    1; if no threshold has a lower one, nothing should be reported, and the best threshold is infinite.

    Args:
      matched: the matches of a dataset.
      protocol: the protocol as applied.
      iou_threshold: one of its thresholds, less than 1.
      area: the name of one of the protocol's area ranges.
      max_detections: one of the protocol's limits per image and class; None for the largest.
      score_threshold: the threshold of every class; None for the one with the lowest LRP in each class.

    Returns:
      Columns of `[K + 1]`: `class_id`, `class_name`, `num_ground_truths`, `score_threshold`, `true_positives`,
      `false_positives`, `false_negatives`, `lrp`, `lrp_loc`, `lrp_fp`, `lrp_fn`; NaN where undefined. The last row,
      `mean` with class id -1, adds up the counts, and has the mean of each error over the classes where it is defined;
      its threshold is NaN if the classes have their own. Without `score_threshold`, `lrp` of a class is its oLRP, and
      that of the last row is moLRP.

    Raises:
      ValueError: if an argument is not as described.
    """
    dataset = matched.dataset
    counted = count_outcomes(dataset, protocol, iou_threshold, area, max_detections)
    area_index, threshold = protocol.locate(area, iou_threshold)
    room = 1 - protocol.iou_thresholds[threshold]
    if room <= 0:
        raise ValueError(
            f"`iou_threshold` must be less than 1 for LRP, which divides by 1 minus it, got {iou_threshold}."
        )
    if score_threshold is not None and math.isnan(score_threshold):
        raise ValueError("`score_threshold` must be a number, got nan.")
    distance = np.zeros(len(dataset.records.detections.scores))
    rows, _, similarity = matched.matches(area_index, threshold, len(protocol.iou_thresholds))
    distance[rows] = 1 - similarity
    counts = counted.num_ground_truths.tolist()
    points = [
        _point(counted.scores[of_class], counted.hits[of_class], distance[counted.rows[of_class]], count, room,
               score_threshold)
        for of_class, count in zip(counted.by_class(), counts, strict=True)
    ]  # fmt: skip
    points.append(_mean(points, score_threshold))
    fields = zip(*points, strict=True)
    return Columns(
        {
            "class_id": np.append(dataset.class_ids, ALL_CLASSES),
            "class_name": [*dataset.class_names, "mean"],
            "num_ground_truths": np.array([*counts, sum(counts)]),
        }
        | {name: np.array(values) for name, values in zip(_Point._fields, fields, strict=True)}
    )


def _point(
    scores: Floats, hits: Bools, distance: Floats, num_ground_truths: int, room: float, score_threshold: float | None
) -> _Point:
    """Returns the row of one class.

    Args:
      scores: `[N]`, descending.
      hits: `[N]`, the true positives; the others are false.
      distance: `[N]`, 1 minus the IoU of a true positive, 0 for a false one.
      num_ground_truths: how many are counted.
      room: 1 minus the IoU threshold.
      score_threshold: None for the best.
    """
    last = ends_of_ties(scores)
    found, reported, lost = np.cumsum(hits)[last], last + 1, np.cumsum(distance)[last]
    if score_threshold is not None:
        index = int(np.searchsorted(-scores[last], -score_threshold, side="right")) - 1
    else:
        wrong = reported - found
        errors = (lost / room + wrong + num_ground_truths - found) / np.maximum(num_ground_truths + wrong, 1)
        lowest = errors.min(initial=1.0)
        better = np.flatnonzero(errors <= lowest + SAME_ERROR) if lowest < 1 - SAME_ERROR else np.array([-1])
        index = int(better[-1])
        score_threshold = float(scores[last[index]]) if index >= 0 else math.inf
    true, total, loss = (0, 0, 0.0) if index < 0 else (int(found[index]), int(reported[index]), float(lost[index]))
    false, missed = total - true, num_ground_truths - true
    rates = [math.nan] * 4
    if num_ground_truths:
        total_error = (loss / room + false + missed) / (true + false + missed)
        rates = [total_error, _ratio(loss, true), _ratio(false, total), missed / num_ground_truths]
    return _Point(score_threshold, true, false, missed, *rates)


def _mean(points: list[_Point], score_threshold: float | None) -> _Point:
    """Returns the row of all classes."""
    errors = np.array([(point.lrp, point.lrp_loc, point.lrp_fp, point.lrp_fn) for point in points]).reshape(-1, 4).T
    defined = [row[~np.isnan(row)] for row in errors]
    return _Point(
        math.nan if score_threshold is None else score_threshold,
        sum(point.true_positives for point in points),
        sum(point.false_positives for point in points),
        sum(point.false_negatives for point in points),
        *(float(row.mean()) if len(row) else math.nan for row in defined),
    )


def _ratio(numerator: float, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan
