"""cgF1 of SAM 3, the classification-gated F1 of detectors that are asked for one concept at a time.

A query is one class in one image. It is positive if it has a counted ground truth, and its answer is the set of the
detections of that class in that image from a score on.

    cgF1 = positive micro F1 x image-level MCC

The positive micro F1 measures the boxes. Each query has one assignment of detections to ground truths, that with the
largest total IoU, and at each IoU threshold the assigned pairs that reach it are true positives. Counts are added up
over the positive queries: false positives in other queries are left to the second factor. That is Matthews' correlation
coefficient of whether a query has ground truth and whether it has an answer, 1 for a detector that always knows whether
something is there, and 0 for one that guesses.

Crowds and ignored ground truths are excluded, area ranges and limits on detections are not used, and queries that were
not verified, or may not be annotated completely, are not asked. References: Carion et al., SAM 3: Segment Anything with
Concepts, 2025; facebookresearch/sam3 `sam3/eval/cgf1_eval.py`, which adds 1e-4 or 1e-6 to every denominator. Here
nothing is added, and what is undefined is NaN: the coefficient if all queries are positive, none is, all have an answer
or none has.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from .._candidates._host import Groups, Pairs, find_pairs
from .._display import html_text, plain, short_repr
from .._matching._host import MatchedDataset, common_groups
from .._ordering import order_within
from ..protocols import EvaluationProtocol
from ..protocols._quantities import f_score
from ..types import Bools, Floats, Ints
from ._assignment import heaviest_assignment
from ._precision_recall_f1 import check_score_threshold

__all__ = ["ConceptF1", "concept_f1"]

ANY_OVERLAP = 1e-100  # the similarity of the pairs that can be assigned; one of 0 adds nothing to a total


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ConceptF1:
    """cgF1 and its two factors.

    Attributes:
      cgf1: the mean of `cgf1_at` over the thresholds; NaN where the coefficient is undefined.
      positive_micro_f1: the mean of `positive_micro_f1_at` over the thresholds; NaN without ground truth.
      image_level_mcc: Matthews' correlation coefficient over all queries, -1 to 1.
      score_threshold: the lowest score that was included.
      iou_thresholds: T thresholds.
      cgf1_at, positive_micro_f1_at: `[T]` float64.
      true_positives, false_positives, false_negatives: `[T]` int64, boxes of positive queries.
      query_true_positives: queries with ground truth and an answer.
      query_false_positives: queries with an answer and no ground truth.
      query_false_negatives: queries with ground truth and no answer.
      query_true_negatives: queries with neither.
    """

    cgf1: float
    positive_micro_f1: float
    image_level_mcc: float
    score_threshold: float
    iou_thresholds: tuple[float, ...]
    cgf1_at: Floats  # [T]
    positive_micro_f1_at: Floats  # [T]
    true_positives: Ints  # [T]
    false_positives: Ints  # [T]
    false_negatives: Ints  # [T]
    query_true_positives: int
    query_false_positives: int
    query_false_negatives: int
    query_true_negatives: int

    __repr__ = short_repr

    def __str__(self) -> str:
        factors = (self.cgf1, self.positive_micro_f1, self.image_level_mcc)
        whole, boxes, answers = ("undefined" if math.isnan(value) else f"{value:.3f}" for value in factors)
        positive = self.query_true_positives + self.query_false_negatives
        total = positive + self.query_false_positives + self.query_true_negatives
        return (
            f"cgF1 {whole} = positive micro F1 {boxes} x image-level MCC {answers} ({total:,} queries, {positive:,} of "
            f"them positive)"
        )

    def _repr_html_(self) -> str:
        return html_text(str(self))

    def to_dict(self) -> dict[str, Any]:
        """Returns all numbers as plain Python values; undefined ones are None."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: list(map(plain, value)) if np.ndim(value) else plain(value) for name, value in fields.items()}


def concept_f1(matched: MatchedDataset, protocol: EvaluationProtocol, *, score_threshold: float = 0.5) -> ConceptF1:
    """Computes cgF1 over all queries.

    Args:
      matched: a dataset after matching, for its boxes.
      protocol: the protocol as applied, for its IoU thresholds.
      score_threshold: the lowest score that is included.

    Raises:
      ValueError: if the threshold is NaN.
      ImportError: if scipy is missing.
    """
    check_score_threshold(score_threshold)
    found, truth = matched.source, matched.ground_truths
    num_classes = len(truth.class_ids)
    asked = np.ones((len(truth.image_ids), num_classes), bool) if truth.verified is None else truth.verified
    if truth.not_exhaustive is not None:
        asked = asked & ~truth.not_exhaustive
    rows = np.flatnonzero((found.scores >= score_threshold) & asked[found.image_index, found.labels])
    query = found.image_index[rows] * num_classes + found.labels[rows]
    in_order = order_within(query, np.arange(len(query)))  # not by score: of equal totals the official one is taken
    rows, query = rows[in_order], query[in_order]
    truth_query = truth.image_index * num_classes + truth.labels
    counted = ~(truth.crowd | truth.ignore) & asked[truth.image_index, truth.labels]

    groups = common_groups(query, truth_query)
    thresholds = (ANY_OVERLAP, *protocol.iou_thresholds)
    pairs = find_pairs(found, rows, truth, groups, matched.similarity, thresholds)
    kept = counted[pairs.ground_truth]
    pairs = Pairs(pairs.detection[kept], pairs.ground_truth[kept], pairs.similarity[kept], pairs.level[kept])
    level = pairs.level[_assigned(pairs, groups, counted)] - 1  # how many thresholds of the protocol each reaches
    num_thresholds = len(protocol.iou_thresholds)
    hits = np.bincount(level, minlength=num_thresholds + 1)[::-1].cumsum()[::-1][1:]

    positive, answered = np.unique(truth_query[counted]), np.unique(query)
    both = np.intersect1d(positive, answered, assume_unique=True)
    in_positive = np.isin(query, both).sum()
    either = len(positive) + len(answered) - len(both)
    table = len(both), len(answered) - len(both), len(positive) - len(both), int(asked.sum()) - either
    f1_at = f_score(hits, in_positive, counted.sum() or math.nan)
    coefficient = _correlation(*table)
    return ConceptF1(
        cgf1=float((f1_at * coefficient).mean()),
        positive_micro_f1=float(f1_at.mean()),
        image_level_mcc=coefficient,
        score_threshold=score_threshold,
        iou_thresholds=protocol.iou_thresholds,
        cgf1_at=f1_at * coefficient,
        positive_micro_f1_at=f1_at,
        true_positives=hits,
        false_positives=in_positive - hits,
        false_negatives=counted.sum() - hits,
        query_true_positives=table[0],
        query_false_positives=table[1],
        query_false_negatives=table[2],
        query_true_negatives=table[3],
    )


def _correlation(both: int, answered_only: int, positive_only: int, neither: int) -> float:
    """Returns Matthews' correlation coefficient of two flags from their four counts; NaN if one flag is constant."""
    positive, answered = both + positive_only, both + answered_only
    negative, unanswered = answered_only + neither, positive_only + neither
    scale = positive * answered * negative * unanswered  # Python's integers have no largest one
    return (both * neither - answered_only * positive_only) / math.sqrt(scale) if scale else math.nan


def _assigned(pairs: Pairs, groups: Groups, counted: Bools) -> Bools:
    """Returns `[P]` bool, whether each pair is in the assignment of its group with the largest total similarity.

    Pairs whose detection and ground truth are in no other pair are always in it, so only groups with others are solved.
    """
    chosen = np.ones(len(pairs.detection), bool)
    first = np.searchsorted(pairs.detection, groups.detection_start)
    last = np.searchsorted(pairs.detection, groups.detection_start + groups.detection_count)
    contested = (np.bincount(pairs.detection)[pairs.detection] > 1) | (
        np.bincount(pairs.ground_truth)[pairs.ground_truth] > 1
    )
    contested_before = np.concatenate([[0], np.cumsum(contested)])
    column = np.concatenate([[0], np.cumsum(counted)])  # the place of a ground truth among the counted ones
    left, right = column[groups.ground_truth_start], column[groups.ground_truth_start + groups.ground_truth_count]
    for group in np.flatnonzero(contested_before[last] > contested_before[first]):
        mine = slice(first[group], last[group])
        place = (
            pairs.detection[mine] - groups.detection_start[group],
            column[pairs.ground_truth[mine]] - left[group],
        )
        shape = groups.detection_count[group], right[group] - left[group]
        weights, taken = np.zeros(shape), np.zeros(shape, bool)
        weights[place] = pairs.similarity[mine]
        taken[heaviest_assignment(weights)] = True
        chosen[mine] = taken[place]
    return chosen
