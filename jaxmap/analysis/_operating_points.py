"""Precision, recall and F against the score, from raw counts, and the score threshold with the highest F.

Average precision uses the envelope of the precision-recall curve, the best precision at *some* higher recall, which no
threshold reaches. Here the actual precision and recall of a threshold are counted, from the true and the false
positives among the detections that score at least as much. Ignored detections are neither.

    precision = TP / (TP + FP)                            NaN without a detection
    recall    = TP / G                                    G counted ground truths; NaN without any
    F_beta    = (1 + beta^2) TP / (TP + FP + beta^2 G)    the weighted harmonic mean of both; NaN without ground truth

Over all classes, `micro` adds up the counts of all classes, including those without ground truth. `macro` is the mean,
over the classes with ground truth, of each of the three numbers of a class at the same threshold. A class without
detections there adds 0 to each, also to precision; otherwise a threshold that removes all detections of a class would
raise the mean.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable

import numpy as np

from .._display import Columns, short_repr
from .._ordering import order_within
from .._records._host import DatasetRecords
from ..protocols import EvaluationProtocol
from ..protocols._quantities import f_score
from ..types import Floats, HostArray, Ints
from ._counted import ALL_CLASSES, Counted, count_outcomes, ends_of_ties, label_of

__all__ = ["OperatingPoint", "ScoreCurve", "operating_points", "score_curve"]

AVERAGES = ("micro", "macro")
SAME_F = 1e-12  # values of F this close count as equal, because a mean over classes is rounded
# Means over classes are added up as whole multiples of 2^-48, so that a running sum over all scores neither drifts nor
# depends on the order of the classes, and the sum of 32,768 classes still fits int64.
STEPS_OF_ONE = 2.0**48


@dataclasses.dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """The counts and rates of a detector that reports the detections with at least `score_threshold`.

    Attributes:
      score_threshold: the lowest score that is reported; infinite if nothing is.
      true_positives, false_positives, false_negatives: the counts.
      precision, recall, f_score: from these counts, or, on a macro curve, means over the classes; NaN if undefined.
    """

    score_threshold: float
    true_positives: int
    false_positives: int
    false_negatives: int
    precision: float
    recall: float
    f_score: float


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ScoreCurve:
    """Counts and rates at every score that occurs; entry `i` is for the detections that score `scores[i]` or more.

    Attributes:
      scores: `[N]` float64, distinct, descending.
      true_positives: `[N]` int64.
      false_positives: `[N]` int64.
      num_ground_truths: the number of counted ground truths.
      precision, recall, f_score: `[N]` float64; NaN where undefined.
    """

    scores: Floats  # [N]
    true_positives: Ints  # [N]
    false_positives: Ints  # [N]
    num_ground_truths: int
    precision: Floats  # [N]
    recall: Floats  # [N]
    f_score: Floats  # [N]

    __repr__ = short_repr

    @property
    def best(self) -> OperatingPoint:
        """The point of the highest F; of equal ones that with the highest recall, then with the highest threshold.

        For one class, and for `micro`, equal F at a lower threshold means a higher recall, so this is the lowest
        threshold with the highest F. The mean over classes, `macro`, is not changed by false positives of classes
        without true positives; of thresholds that differ only in those, the highest has the fewest.

        If no threshold has a true positive, or there is no ground truth, nothing should be reported, and the threshold
        is infinite.
        """
        highest = self.f_score.max(initial=0.0) if self.num_ground_truths else 0.0
        if highest == 0:
            return self.at(math.inf)
        best = np.flatnonzero(self.f_score >= highest - SAME_F)
        return self.at(self.scores[best[np.argmax(self.recall[best])]])

    def at(self, score_threshold: float) -> OperatingPoint:
        """Returns the point of a threshold; detections whose score equals it are reported.

        Raises:
          ValueError: if the threshold is NaN.
        """
        if math.isnan(score_threshold):
            raise ValueError("`score_threshold` must be a number, got nan.")
        index = int(np.searchsorted(-self.scores, -score_threshold, side="right")) - 1
        if index < 0:
            nothing_found = 0.0 if self.num_ground_truths else math.nan
            return OperatingPoint(
                score_threshold=float(score_threshold),
                true_positives=0,
                false_positives=0,
                false_negatives=self.num_ground_truths,
                precision=math.nan,
                recall=nothing_found,
                f_score=nothing_found,
            )
        return OperatingPoint(
            score_threshold=float(score_threshold),
            true_positives=int(self.true_positives[index]),
            false_positives=int(self.false_positives[index]),
            false_negatives=self.num_ground_truths - int(self.true_positives[index]),
            precision=float(self.precision[index]),
            recall=float(self.recall[index]),
            f_score=float(self.f_score[index]),
        )


def score_curve(
    dataset: DatasetRecords,
    protocol: EvaluationProtocol,
    *,
    iou_threshold: float = 0.5,
    class_id: Hashable | None = None,
    area: str = "all",
    max_detections: int | None = None,
    beta: float = 1.0,
    average: str = "micro",
) -> ScoreCurve:
    """Counts true and false positives against the score, for one class or for all.

    Args:
      dataset: the records of a dataset.
      protocol: the protocol as applied.
      iou_threshold: one of its thresholds.
      class_id: one of the dataset's classes; None for all.
      area: the name of one of the protocol's area ranges.
      max_detections: one of the protocol's limits per image and class; None for the largest.
      beta: the weight of recall relative to precision.
      average: how classes are combined, `micro` or `macro` (see above); no effect for one class.

    Raises:
      ValueError: if an argument is not as described.
    """
    counted = count_outcomes(dataset, protocol, iou_threshold, area, max_detections)
    if average not in AVERAGES:
        raise ValueError(f"`average` must be one of {list(AVERAGES)}, got {average!r}.")
    if class_id is not None:
        return _curve_of_class(counted, label_of(dataset, class_id), beta)
    pooled = _pooled_curve(counted, beta)
    return pooled if average == "micro" else _mean_curve(pooled, _curves_of_classes(counted, beta))


def operating_points(
    dataset: DatasetRecords,
    protocol: EvaluationProtocol,
    *,
    iou_threshold: float = 0.5,
    area: str = "all",
    max_detections: int | None = None,
    beta: float = 1.0,
    score_threshold: float | None = None,
) -> Columns:
    """Tabulates one threshold for each class, and one for all classes.

    Args:
      dataset, protocol, iou_threshold, area, max_detections, beta: as `score_curve` takes them.
      score_threshold: the threshold of every row; None for the one with the highest F in each row.

    Returns:
      Columns of `[K + 2]`: `class_id`, `class_name`, `num_ground_truths`, then the fields of `OperatingPoint`. The last
      two rows are `micro` and `macro`, with class id -1: one threshold for all classes.

    Raises:
      ValueError: if an argument is not as described.
    """
    counted = count_outcomes(dataset, protocol, iou_threshold, area, max_detections)
    of_classes, pooled = _curves_of_classes(counted, beta), _pooled_curve(counted, beta)
    curves = [*of_classes, pooled, _mean_curve(pooled, of_classes)]
    points = [curve.best if score_threshold is None else curve.at(score_threshold) for curve in curves]
    columns = {
        "class_id": np.append(dataset.class_ids, [ALL_CLASSES] * len(AVERAGES)),
        "class_name": [*dataset.class_names, *AVERAGES],
        "num_ground_truths": np.array([curve.num_ground_truths for curve in curves]),
    } | {
        field.name: np.array([getattr(point, field.name) for point in points])
        for field in dataclasses.fields(OperatingPoint)
    }
    return Columns(columns)


def _curve(counted: Counted, rows: Ints, num_ground_truths: int, beta: float) -> ScoreCurve:
    """Returns the curve of some entries, given by descending score."""
    if not 0 < beta < math.inf:
        raise ValueError(f"`beta` must be a positive number, got {beta}.")
    scores = counted.scores[rows]
    last = ends_of_ties(scores)
    true_positives, reported = np.cumsum(counted.hits[rows], dtype=np.int64)[last], last + 1
    return ScoreCurve(
        scores=scores[last],
        true_positives=true_positives,
        false_positives=reported - true_positives,
        num_ground_truths=num_ground_truths,
        precision=_ratio(true_positives, reported),
        recall=_ratio(true_positives, np.full(len(last), num_ground_truths)),
        f_score=f_score(true_positives, reported, num_ground_truths or math.nan, beta),
    )


def _pooled_curve(counted: Counted, beta: float) -> ScoreCurve:
    """Returns the curve of all classes as one."""
    order = order_within(np.zeros_like(counted.score_place), counted.score_place)
    return _curve(counted, order, int(counted.num_ground_truths.sum()), beta)


def _curves_of_classes(counted: Counted, beta: float) -> list[ScoreCurve]:
    """Returns the curve of each class."""
    counts = counted.num_ground_truths.tolist()
    return [_curve(counted, rows, count, beta) for rows, count in zip(counted.by_class(), counts, strict=True)]


def _curve_of_class(counted: Counted, label: int, beta: float) -> ScoreCurve:
    """Returns the curve of one class."""
    rows = np.flatnonzero(counted.labels == label)
    in_order = rows[np.argsort(counted.score_place[rows])]
    return _curve(counted, in_order, int(counted.num_ground_truths[label]), beta)


def _mean_curve(pooled: ScoreCurve, of_classes: list[ScoreCurve]) -> ScoreCurve:
    """Returns the mean of the classes with ground truth, at every score of the pooled curve."""
    curves = [curve for curve in of_classes if curve.num_ground_truths]
    places = [np.searchsorted(-pooled.scores, -curve.scores) for curve in curves]

    def mean(name: str) -> Floats:
        # A class keeps its value from one of its scores to the next and starts from 0, so the means are sums of steps.
        steps = np.zeros(len(pooled.scores), np.int64)
        for curve, place in zip(curves, places, strict=True):
            steps[place] += np.diff(np.rint(getattr(curve, name) * STEPS_OF_ONE).astype(np.int64), prepend=0)
        return _ratio(np.cumsum(steps) / STEPS_OF_ONE, np.full(len(steps), len(curves)))

    return dataclasses.replace(pooled, precision=mean("precision"), recall=mean("recall"), f_score=mean("f_score"))


def _ratio(numerator: HostArray, denominator: Ints) -> Floats:
    """Divides `[N]` by `[N]`; NaN where the denominator is 0."""
    ratio: Floats = np.divide(numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0)
    return ratio
