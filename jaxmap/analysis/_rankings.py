"""Rankings of the included detections, and AP computed from true positives only; shared by the analyses of AP.

AP is a sum over true positives. Each true positive j = 1, 2, ... of a curve has a weight, the share of the recall axis
that it is the first to reach, and AP is the sum of the weights times the best precision from j on:

    AP = sum_j w_j max_{i >= j} i / (i + f_i),        f_i the false positives ranked above true positive i

So an analysis only changes `f`: ties in their best order, one false positive less, a single image. Everything is for
the first area range and the largest limit, like the AP of a protocol.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from .._curves._envelope import FIRST_SHARE, best_onwards
from .._curves._host import first_to_reach
from .._planes import area_words, num_words, read_plane
from .._ragged import sums
from .._records._host import DatasetRecords
from ..protocols import EvaluationProtocol
from ..types import Bools, Floats, Ints, Words

__all__ = ["Outcomes", "Ranking", "TruePositives", "outcomes_of", "rank", "rank_classes"]


class Outcomes(NamedTuple):
    """Whether each detection is a true or a false positive, one bit per IoU threshold; if neither, it is ignored there.

    Attributes:
      hits: `[N, W]` uint32, true positive.
      false: `[N, W]` uint32, false positive.
      everywhere: `[W]` uint32, the bits of all thresholds.
      num_thresholds: T.
    """

    hits: Words
    false: Words
    everywhere: Words
    num_thresholds: int

    @property
    def always_false(self) -> Bools:
        """`[N]` bool: a false positive at every threshold."""
        never: Bools = (self.false == self.everywhere).all(axis=1)
        return never


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """The rows of each curve by rank, with running counts of plain rows (false at every threshold) and mixed rows.

    Attributes:
      order: `[N]`, the row at each position.
      starts: `[S + 1]`, the first position of each curve.
      plain_before: `[N + 1]` int32, the number of plain rows before each position.
      mixed_before: `[N + 1]` int32, the number of mixed rows before each position.
      mixed: `[M]`, the positions of the mixed rows.
      hits: `[T, M]` bool.
      false: `[T, M]` bool.
      false_before_mixed: `[T, M + 1]` int32, false positives among the mixed rows before each of them.
    """

    order: Ints
    starts: Ints
    plain_before: Ints
    mixed_before: Ints
    mixed: Ints
    hits: Bools
    false: Bools
    false_before_mixed: Ints

    def false_between(self, threshold: Ints, first: Ints, last: Ints) -> Ints:
        """Returns `[n]`, how many rows from the first position up to the last, exclusive, are false at a threshold."""
        plain = self.plain_before[last] - self.plain_before[first]
        mixed_first, mixed_last = self.mixed_before[first], self.mixed_before[last]
        mixed = self.false_before_mixed
        return plain + mixed[threshold, mixed_last] - mixed[threshold, mixed_first]

    def true_positives(self, protocol: EvaluationProtocol, num_ground_truths: Ints) -> TruePositives:
        """Returns the true positives of all curves; `num_ground_truths` is `[S]`, the counted ground truths of each."""
        num_curves = len(self.starts) - 1
        threshold, mixed = np.nonzero(self.hits)
        place, curve = self.mixed[mixed], (np.searchsorted(self.starts, self.mixed, side="right") - 1)[mixed]
        run = threshold * num_curves + curve
        found = np.bincount(run, minlength=len(self.hits) * num_curves)
        number = np.arange(1, len(run) + 1) - (np.cumsum(found) - found)[run]
        return TruePositives(
            threshold=threshold,
            curve=curve,
            place=place,
            number=number,
            run=run,
            found=found.reshape(len(self.hits), num_curves),
            false_above=self.false_between(threshold, self.starts[curve], place),
            weight=_weights(protocol, num_ground_truths, curve, number),
        )


class TruePositives(NamedTuple):
    """The true positives of a ranking, by rank, in one run per (threshold, curve).

    Attributes:
      threshold: `[n]`, index of the threshold.
      curve: `[n]`.
      place: `[n]`, its position in the ranking.
      number: `[n]`, its number in its run, from 1.
      run: `[n]`, threshold times S plus curve.
      found: `[T, S]`, the length of each run.
      false_above: `[n]`, the false positives of its curve ranked above it.
      weight: `[n]` float64, the share of the recall axis that it is the first to reach.
    """

    threshold: Ints
    curve: Ints
    place: Ints
    number: Ints
    run: Ints
    found: Ints
    false_above: Ints
    weight: Floats

    def precision(self, false_above: Ints) -> Floats:
        """Returns the precision at each true positive, `[n]`, with a given number of false positives above it."""
        precision: Floats = self.number / (self.number + false_above + np.spacing(1))  # as in the reference
        return precision

    def average_precision(self, false_above: Ints | None = None) -> Floats:
        """Returns the AP of each run, `[T, S]`; 0 without true positives, whether or not the curve has ground truth.

        Args:
          false_above: `[n]`, in place of the actual false positives above each.
        """
        precision = self.precision(self.false_above if false_above is None else false_above)
        best = best_onwards(precision, self.found)
        return sums(self.run, self.weight * best, self.found.size).reshape(self.found.shape)


def outcomes_of(dataset: DatasetRecords, protocol: EvaluationProtocol) -> Outcomes:
    """Reads the outcomes of every detection in the first area range."""
    num_thresholds = len(protocol.iou_thresholds)
    planes = area_words(num_thresholds, len(protocol.area_ranges))[0]
    words = slice(0, num_words(num_thresholds, 1))
    rows = dataset.records.detections
    was_matched, counted = rows.matched[:, words], ~rows.ignored[:, words] & planes[words]
    return Outcomes(was_matched & counted, ~was_matched & counted, planes[words], num_thresholds)


def rank(outcomes: Outcomes, order: Ints, curve: Ints, num_curves: int) -> Ranking:
    """Groups rows into curves.

    Args:
      outcomes: the outcomes of all rows.
      order: the included rows, sorted by curve, then by rank.
      curve: the curve of each of these rows, ascending.
      num_curves: S.
    """
    plain = outcomes.always_false[order]
    mixed_rows = ((outcomes.hits | outcomes.false).any(axis=1) & ~outcomes.always_false)[order]
    mixed = np.flatnonzero(mixed_rows)
    false = _by_threshold(outcomes.false[order[mixed]], outcomes.num_thresholds)
    return Ranking(
        order=order,
        starts=np.searchsorted(curve, np.arange(num_curves + 1)),
        plain_before=_count_before(plain),
        mixed_before=_count_before(mixed_rows),
        mixed=mixed,
        hits=_by_threshold(outcomes.hits[order[mixed]], outcomes.num_thresholds),
        false=false,
        false_before_mixed=_count_before(false),
    )


def rank_classes(dataset: DatasetRecords, outcomes: Outcomes) -> Ranking:
    """Ranks all detections of each class, by score, image and position."""
    order = dataset.by_class
    return rank(outcomes, order, dataset.records.detections.labels[order], len(dataset.class_ids))


def _weights(protocol: EvaluationProtocol, num_ground_truths: Ints, curve: Ints, number: Ints) -> Floats:
    """Returns the share of the recall axis that each true positive is the first to reach."""
    if protocol.average == "area":
        return 1.0 / num_ground_truths[curve]
    totals, kind = np.unique(num_ground_truths, return_inverse=True)
    needed = np.maximum(first_to_reach(protocol.recall_points, totals), 1)  # recall 0 is reached by the first
    start = np.cumsum(totals + 1) - (totals + 1)  # avoids a division by 0 for curves without ground truth
    share = np.ones_like(needed, np.float64)
    if protocol.average == "trapezoid":
        share[:, 0] = FIRST_SHARE
    points = np.bincount((start[:, None] + needed).ravel(), share.ravel(), minlength=int((totals + 1).sum()) + 1)
    weights: Floats = points[start[kind[curve]] + number] / len(protocol.recall_points)
    return weights


def _by_threshold(words: Words, num_thresholds: int) -> Bools:
    """Returns `[T, n]` bool from `[n, W]` words."""
    return np.stack([read_plane(words, 0, threshold, num_thresholds) for threshold in range(num_thresholds)])


def _count_before(flags: Bools) -> Ints:
    """Returns the number of true flags before each place and before the end, int32, along the last axis."""
    counts = np.zeros((*flags.shape[:-1], flags.shape[-1] + 1), np.int32)
    np.cumsum(flags, axis=-1, out=counts[..., 1:])
    return counts
