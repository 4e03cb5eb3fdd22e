"""Curves of a whole dataset under many vectors of image weights at once, in float64: sorted once, then only added up.

A weight says how often an image counts: all ones give the dataset as it is, zeros leave images out, and whole numbers
give the dataset in which each image occurs that many times. Copies of a row stay together.

The rows of runs (of curves, say) are processed in steps: step j holds the j-th row of every run that has one. So each
step is a few operations on `[runs, W]` arrays that fit the cache, and no run is padded to the length of another. Ranked
rows come from the last to the first, with counts that fall from their totals: then the best precision from a row on is
a running maximum.

    AP = sum_j w_j max_{i >= j} p_i = sum_j reached_j (best_j - best_{j + 1}),    reached_j = w_1 + ... + w_j

Here w_j is the share of the recall axis that true positive j is the first to reach, and best_j the maximum.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from .._planes import area_words, read_plane
from .._ragged import ranges
from ..protocols import EvaluationProtocol, OfCounts, log_average
from ..types import Bools, DetectionRecords, Floats, GroundTruthRecords, HostArray, Ints
from ._miss_rate_host import POINTS
from ._reached_host import reached_of

__all__ = ["MOST_WEIGHTS", "GroundTruthCounts", "WeightedCurves", "WeightedNumbers", "exact_weights"]

MOST_WEIGHTS = 512  # vectors of weights at once
STEP_CELLS = 1 << 16  # of the arrays of a step, a few of which should fit the cache
PIECE = 32  # rows of a long run that are added up before the run is
MANTISSA_BITS = 53


def exact_weights(weights: Floats, num_rows: int) -> Floats:
    """Returns weights whose sums over up to `num_rows` rows are exact in float64, so that their order does not matter.

    Whole numbers do not change. Others are rounded by less than 2^-32 of the largest weight for a million rows.
    """
    largest = float(weights.max(initial=0.0)) * max(num_rows, 1)
    if not largest or not (weights % 1).any():
        return weights
    unit = 2.0 ** (np.ceil(np.log2(largest)) - MANTISSA_BITS)
    rounded: Floats = np.rint(weights / unit) * unit
    return rounded


class WeightedNumbers(NamedTuple):
    """What the curves of one area range and limit amount to under each vector of weights; NaN without ground truth.

    Attributes:
      recall: `[T, K, W]`.
      average_precision: `[T, K, W]`; None if only recall was asked for.
      at_best_score: by name, `[T, K, W]` for each function of counts that was asked for.
      miss_rate: `[T, K, W]`; None if it was not asked for.
    """

    recall: Floats
    average_precision: Floats | None
    at_best_score: Mapping[str, Floats]
    miss_rate: Floats | None


class GroundTruthCounts:
    """How much ground truth each class has in one area range, `[K, W]` from weights `[I, W]`."""

    def __init__(self, ground_truths: GroundTruthRecords[HostArray], num_classes: int, area: int) -> None:
        counted = np.flatnonzero(ground_truths.counted[:, area])
        labels = ground_truths.labels[counted]
        by_class = counted[np.argsort(labels, kind="stable")]
        self.sums = _Sums(ground_truths.image_index[by_class], np.bincount(labels, minlength=num_classes))

    def __call__(self, weights: Floats) -> Floats:
        return self.sums(weights)


class WeightedCurves:
    """The curves of one area range and limit, ready for weights.

    Args:
      rows: the records of the detections, NumPy arrays.
      order: the included rows, by label, then by descending score, image and position.
      protocol: the protocol, for its grids.
      num_classes: K.
      area: index on A.
      limit: index on M.
      ranked: whether AP is asked for; recall alone needs only the true positives.
      functions: by name, the functions of counts whose best value over all scores is asked for.
      miss_rate: whether miss rates are asked for.

    Attributes:
      num_rows: the number of rows of the largest array that holds W numbers for each.
    """

    def __init__(
        self,
        rows: DetectionRecords[HostArray],
        order: Ints,
        protocol: EvaluationProtocol,
        num_classes: int,
        *,
        area: int,
        limit: int,
        ranked: bool = True,
        functions: Mapping[str, OfCounts] | None = None,
        miss_rate: bool = False,
    ) -> None:
        order = order[rows.rank[order] < protocol.max_detections[limit]]
        outcomes = _outcomes(rows, order, protocol, area)
        self.shape = len(protocol.iou_thresholds), num_classes
        self.found = _Sums(*_runs(outcomes, outcomes.hits, num_classes).images)
        self.ranked = _Ranked(outcomes, protocol, num_classes) if ranked else None
        self.num_rows = max(len(self.found.filled), self.ranked.num_rows if self.ranked else 0)
        self.functions = functions or {}
        self.best = _BestOverScores(outcomes, num_classes) if functions else None
        self.missed = _MissRates(outcomes, num_classes) if miss_rate else None

    def __call__(self, weights: Floats, positives: Floats) -> WeightedNumbers:
        """Integrates the curves.

        Args:
          weights: `[I, W]` float64, from `exact_weights`; W at most `MOST_WEIGHTS`.
          positives: `[K, W]`, from `GroundTruthCounts`.
        """
        shape = *self.shape, weights.shape[1]
        found = self.found(weights)
        defined = np.broadcast_to(np.where(positives > 0, positives, np.nan), shape).reshape(found.shape)
        areas = None if self.ranked is None else self.ranked(weights, found, defined).reshape(shape)
        best = {}
        if self.best is not None:
            values = self.best(weights, found, defined, list(self.functions.values()))
            best = {name: value.reshape(shape) for name, value in zip(self.functions, values, strict=True)}
        missed = None if self.missed is None else self.missed(weights, found, defined).reshape(shape)
        return WeightedNumbers((found / defined).reshape(shape), areas, best, missed)


class _Steps(NamedTuple):
    """Rows of some runs in steps, the longest runs first.

    Attributes:
      run: `[S]`, the run at each place.
      row: `[n]`, the rows, step by step.
      slices: for each step, the slice of its rows; as many of the first runs have one.
    """

    run: Ints
    row: Ints
    slices: list[slice]


def _in_steps(counts: Ints) -> Iterator[_Steps]:
    """Groups runs that follow each other in one array, by length, so that most steps have `STEP_CELLS` cells."""
    starts = np.cumsum(counts) - counts
    longest_first = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    at_once = STEP_CELLS // MOST_WEIGHTS
    for first in range(0, len(longest_first), at_once):
        run = longest_first[first : first + at_once]
        step = ranges(np.zeros_like(run), counts[run])
        edges = [0, *np.cumsum(np.bincount(step)).tolist()]
        row = ranges(starts[run], counts[run])[np.argsort(step, kind="stable")]
        yield _Steps(run, row, [slice(*edge) for edge in itertools.pairwise(edges)])


class _Sums:
    """The sums of the weights of runs of rows that follow each other in one array, `[S, W]` from weights `[I, W]`.

    Args:
      image: `[n]`, the image of each row.
      counts: `[S]`, the length of each run.
    """

    def __init__(self, image: Ints, counts: Ints) -> None:
        pieces = -(-counts // PIECE)
        lengths = np.full(pieces.sum(), PIECE)
        ends = np.cumsum(pieces)[counts > 0]
        lengths[ends - 1] = counts[counts > 0] - (pieces[counts > 0] - 1) * PIECE
        self.num_pieces = len(lengths)
        self.steps = [steps._replace(row=image[steps.row]) for steps in _in_steps(lengths)]
        self.filled = counts > 0
        self.of_pieces = _Sums(np.arange(len(lengths)), pieces) if pieces.max(initial=0) > 1 else None

    def __call__(self, weights: Floats) -> Floats:
        pieces = np.empty((self.num_pieces, weights.shape[1]))
        for steps in self.steps:
            total = np.zeros((len(steps.run), weights.shape[1]))
            for rows in steps.slices:
                total[: rows.stop - rows.start] += weights.take(steps.row[rows], axis=0)
            pieces[steps.run] = total
        if self.of_pieces is not None:
            return self.of_pieces(pieces)
        sums = np.zeros((len(self.filled), weights.shape[1]))
        sums[self.filled] = pieces
        return sums


class _Outcomes(NamedTuple):
    """Whether each ordered row is a true or a false positive at each threshold; if neither, it is ignored there."""

    labels: Ints  # [n]
    image: Ints  # [n]
    scores: Floats  # [n]
    hits: Bools  # [T, n]
    false: Bools  # [T, n]


def _outcomes(rows: DetectionRecords[HostArray], order: Ints, protocol: EvaluationProtocol, area: int) -> _Outcomes:
    thresholds = range(len(protocol.iou_thresholds))
    planes = area_words(len(thresholds), len(protocol.area_ranges))[area]
    matched, counted = rows.matched.take(order, axis=0), ~rows.ignored.take(order, axis=0) & planes
    hits, false = (
        np.stack([read_plane(words, area, threshold, len(thresholds)) for threshold in thresholds])
        for words in (matched & counted, ~matched & counted)
    )
    return _Outcomes(rows.labels.take(order), rows.image_index.take(order), rows.scores.take(order), hits, false)


class _Runs(NamedTuple):
    """The rows of curves: the curves by threshold and class, the rows of each by rank.

    Attributes:
      row: `[n]`, index in the ordered rows.
      image: `[n]`.
      hit: `[n, 1]` float64, 1 for a true positive of the curve, else 0.
      counts: `[T * K]`, the number of rows of each curve.
    """

    row: Ints
    image: Ints
    hit: Floats
    counts: Ints

    @property
    def images(self) -> tuple[Ints, Ints]:
        """The images and the lengths of all runs."""
        return self.image, self.counts


def _runs(outcomes: _Outcomes, chosen: Bools, num_classes: int) -> _Runs:
    """Returns the chosen rows, `[T, n]` bool, of each curve."""
    threshold, row = np.nonzero(chosen)
    counts = np.bincount(threshold * num_classes + outcomes.labels[row], minlength=len(chosen) * num_classes)
    return _Runs(row, outcomes.image[row], outcomes.hits[threshold, row, None].astype(np.float64), counts)


class _FromLast:
    """The rows of curves from the last to the first, with the counts up to each."""

    def __init__(self, runs: _Runs) -> None:
        self.runs, self.steps, self.counted = runs, list(_in_steps(runs.counts)), _Sums(*runs.images)

    def groups(
        self, weights: Floats, found: Floats
    ) -> Iterator[tuple[Ints, Iterator[tuple[slice, Ints, Floats, Floats]]]]:
        """Yields groups of curves and their steps: the active ones, their rows here, the true positives, all rows.

        Args:
          weights: `[I, W]`.
          found: `[T * K, W]`, the true positives of each curve.
        """
        counted = self.counted(weights)
        for steps in self.steps:
            yield steps.run, self._backwards(steps, weights, found[steps.run], counted[steps.run])

    def _backwards(
        self, steps: _Steps, weights: Floats, found: Floats, counted: Floats
    ) -> Iterator[tuple[slice, Ints, Floats, Floats]]:
        image, hit = self.runs.image[steps.row], self.runs.hit[steps.row]
        for rows in reversed(steps.slices):
            active = slice(rows.stop - rows.start)
            yield active, steps.row[rows], found[active], counted[active]
            weight = weights.take(image[rows], axis=0)
            counted[active] -= weight
            weight *= hit[rows]
            found[active] -= weight


class _Ranked:
    """AP. Rows that are false at every threshold only count, equally for all thresholds, so they are in no run."""

    def __init__(self, outcomes: _Outcomes, protocol: EvaluationProtocol, num_classes: int) -> None:
        self.protocol = protocol
        threshold, row = np.nonzero(outcomes.hits)
        last = np.full((len(outcomes.hits), num_classes), -1)
        last[threshold, outcomes.labels[row]] = row  # ascending, so the last one stays
        needed = np.arange(len(outcomes.labels)) <= last[:, outcomes.labels]  # rows after it change no AP
        plain = outcomes.false.all(axis=0)
        self.rows = _FromLast(_runs(outcomes, (outcomes.hits | outcomes.false) & ~plain & needed, num_classes))
        mixed = np.unique(self.rows.runs.row)
        self.place = np.searchsorted(mixed, self.rows.runs.row)
        self.of_class = np.searchsorted(outcomes.labels[mixed], np.arange(num_classes + 1)).tolist()
        between = np.flatnonzero(plain & needed.any(axis=0))  # each is followed by a row of its class in `mixed`
        gap = np.searchsorted(mixed, between)
        self.gaps = _Sums(outcomes.image[between], np.bincount(gap, minlength=len(mixed)))
        self.num_rows = len(mixed)

    def __call__(self, weights: Floats, found: Floats, positives: Floats) -> Floats:
        """Returns `[T * K, W]`."""
        plain = self.gaps(weights)
        for first, last in itertools.pairwise(self.of_class):
            for before, row in itertools.pairwise(plain[first:last]):  # far faster than `cumsum` along this axis
                row += before
        plain += np.spacing(1)  # the reference adds it to every denominator
        result = np.where(positives > 0, 0.0, np.nan)
        for curves, steps in self.rows.groups(weights, found):
            reached, whole = reached_of(self.protocol, positives[curves])
            best, area, spare = np.zeros((3, len(curves), weights.shape[1]))
            for active, rows, true_positives, counted in steps:
                better = plain.take(self.place[rows], axis=0)
                better += counted
                np.divide(true_positives, better, out=better)
                np.maximum(better, best[active], out=better)
                gained = reached(true_positives, active, spare[active])
                np.subtract(better, best[active], out=best[active])
                gained *= best[active]
                area[active] += gained
                best[active] = better
            result[curves] += area / whole
        return result


class _BestOverScores:
    """The best value of functions of counts over all scores; detections of equal score are reported together."""

    def __init__(self, outcomes: _Outcomes, num_classes: int) -> None:
        runs = _runs(outcomes, outcomes.hits | outcomes.false, num_classes)
        curve, score = np.repeat(np.arange(len(runs.counts)), runs.counts), outcomes.scores[runs.row]
        ends = np.append((curve[1:] != curve[:-1]) | (score[1:] != score[:-1]), True)[: len(curve)]
        self.rows, self.ends = _FromLast(runs), ends[:, None]

    def __call__(self, weights: Floats, found: Floats, positives: Floats, functions: list[OfCounts]) -> list[Floats]:
        """Returns `[T * K, W]` for each function."""
        best = [np.where(positives > 0, 0.0, np.nan) for _ in functions]
        for curves, steps in self.rows.groups(weights, found):
            of_group = [values[curves] for values in best]
            for active, rows, true_positives, counted in steps:
                for values, function in zip(of_group, functions, strict=True):
                    value = function(true_positives, counted, positives[curves[active]])
                    np.maximum(values[active], np.where(self.ends[rows], value, 0.0), out=values[active])
            for values, changed in zip(best, of_group, strict=True):
                values[curves] = changed
        return best


class _MissRates:
    """Miss rates at given numbers of false positives per image; all copies of an image count as images."""

    def __init__(self, outcomes: _Outcomes, num_classes: int) -> None:
        self.rows = _FromLast(_runs(outcomes, outcomes.hits | outcomes.false, num_classes))

    def __call__(self, weights: Floats, found: Floats, positives: Floats) -> Floats:
        """Returns `[T * K, W]`."""
        num_images = np.maximum(weights.sum(axis=0), np.spacing(1))  # without images there is no ground truth
        reached = np.zeros((len(POINTS), *found.shape))
        for curves, steps in self.rows.groups(weights, found):
            of_group = reached[:, curves]
            for active, _, true_positives, counted in steps:
                false_per_image = (counted - true_positives) / num_images
                for most, point in zip(of_group, POINTS, strict=True):
                    np.maximum(most[active], true_positives, out=most[active], where=false_per_image < point)
            reached[:, curves] = of_group
        rates: Floats = log_average(1.0 - reached / positives)
        return rates
