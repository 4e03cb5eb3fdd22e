"""Precision-recall curves of a whole dataset in float64, equal to pycocotools in every entry.

Only a true positive can raise the precision envelope, so all rows are needed for running counts, but only matched rows
for the [T, ...] arrays. The best precision at a recall point is the maximum over the true positives from the one that
reaches the point to the last.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._planes import area_words, read_plane, take_words
from .._records._host import count_ground_truths
from .._threads import in_threads
from ..protocols import EvaluationProtocol
from ..types import Bools, Floats, HostArray, Ints, PrecisionRecall, Records, Words
from ._best_score_host import best_over_scores
from ._envelope import envelope_sums, trapezoids
from ._miss_rate_host import miss_rates

__all__ = ["first_to_reach", "precision_recall"]

CELLS_AT_ONCE = 1 << 18
ROWS_AT_ONCE = 1 << 15
COUNT_BITS = 63  # bits of a signed integer


def precision_recall(
    records: Records[HostArray],
    *,
    protocol: EvaluationProtocol,
    num_classes: int,
    order: Ints,
    num_images: int,
    cells: Collection[tuple[int, int]] | None = None,
) -> PrecisionRecall[HostArray]:
    """Integrates records into interpolated precision and recall.

    Args:
      records: NumPy arrays.
      protocol: the protocol, for its grids.
      num_classes: K.
      order: the rows of the detections that are included, sorted by label, then by descending score, image and
        position.
      num_images: I, including images without objects.
      cells: the area ranges and limits, by index, whose precision is wanted; it is 0 in the others, and scores are 0
        everywhere. None for precision and scores in all.

    Returns:
      Curves in float64, NaN without counted ground truth, and with `average_precision` unless the protocol averages
      recall points.

    References: pycocotools cocoeval.py, accumulate.
    """
    detections, num_ground_truths = records.detections, count_ground_truths(records.ground_truths, num_classes)
    num_thresholds, num_points = len(protocol.iou_thresholds), len(protocol.recall_points)
    grid = len(protocol.area_ranges), len(protocol.max_detections)
    precision = np.zeros((*grid, num_points, num_thresholds, num_classes))  # takes memory only where it is written
    scores = np.zeros((*grid, num_points, num_thresholds, num_classes))
    recall = np.zeros((*grid, num_thresholds, num_classes))
    areas = np.zeros((*grid, num_thresholds, num_classes)) if protocol.average == "area" else None

    labels = detections.labels if len(order) == len(detections.labels) else detections.labels.take(order)
    starts = np.concatenate([[0], np.cumsum(np.bincount(labels, minlength=num_classes))])
    counters = _Counters(protocol.max_detections, int(np.diff(starts).max(initial=0)))
    reach = counters.first_limit(detections.rank)
    matches = detections.matched.any(axis=1)
    plain_reach = np.maximum(reach, matches * counters.none)
    matching = np.flatnonzero(matches.take(order))
    matching_starts = np.searchsorted(matching, starts)
    rows = order.take(matching)
    matched, ignored = take_words(detections.matched, rows), take_words(detections.ignored, rows)
    has_rows = np.diff(starts) > 0
    top_score = np.zeros(num_classes)
    top_score[has_rows] = detections.scores[order[starts[:-1][has_rows]]]

    def read_planes(words: Words, area: int, thresholds: slice) -> Bools:
        indices = range(num_thresholds)[thresholds]
        return np.stack([read_plane(words, area, index, num_thresholds) for index in indices])

    def integrate(area: int) -> None:
        positives = num_ground_truths[:, area]
        needed = first_to_reach(protocol.recall_points, positives)
        # Unmatched rows are equal at all thresholds.
        ignored_plain = read_plane(detections.ignored, area, 0, num_thresholds)
        plain = np.maximum(plain_reach, ignored_plain * counters.none).take(order)
        before = []
        for units in counters.units:
            at_match, at_start = _sums_before(units, plain, (matching, starts[:-1]))
            before.append(at_match - np.repeat(at_start, np.diff(matching_starts)))
        planes = area_words(num_thresholds, grid[0])[area]
        taking_part = np.flatnonzero((~ignored & planes).any(axis=1))  # matches in other area ranges do not
        of_curve = np.searchsorted(taking_part, matching_starts)
        for first, last, thresholds in _blocks(of_curve, num_thresholds, num_points):
            block, columns = slice(first, last), taking_part[of_curve[first] : of_curve[last]]
            counted = ~read_planes(take_words(ignored, columns), area, thresholds)
            true_positives = _TruePositives(
                counted & read_planes(take_words(matched, columns), area, thresholds),
                counted,
                reach=reach.take(rows.take(columns)),
                score=detections.scores.take(rows.take(columns)),
                before=[counts.take(columns) for counts in before],
                starts=of_curve[first : last + 1] - of_curve[first],
                counters=counters,
            )
            for limit in range(grid[1]):
                kept = true_positives.within(limit)
                found = true_positives.found(kept)
                recall[area, limit, thresholds, block] = found / np.maximum(positives[block], 1)
                if cells is None:
                    at_points = scores_at_points(found, true_positives.scores(kept), needed[block], top_score[block])
                    scores[area, limit, :, thresholds, block] = at_points
                elif (area, limit) not in cells:
                    continue
                total = true_positives.total(limit, kept)
                precision[area, limit, :, thresholds, block] = interpolate(found, total, needed[block])
                if areas is not None:
                    sums = envelope_sums(found, total)
                    areas[area, limit, thresholds, block] = sums / np.maximum(positives[block], 1)
        for values in (precision, scores, recall, areas):
            if values is not None:
                values[area][..., positives == 0] = np.nan

    in_threads(integrate, range(grid[0]), num_rows=len(order))  # area ranges are independent

    precision = precision.transpose(3, 2, 4, 0, 1)  # [A, M, R, T, K] to [T, R, K, A, M]
    average = None if areas is None else areas.transpose(2, 3, 0, 1)
    return PrecisionRecall(
        precision=precision,
        recall=recall.transpose(2, 3, 0, 1),
        scores=scores.transpose(3, 2, 4, 0, 1),
        num_ground_truths=num_ground_truths,
        average_precision=trapezoids(precision) if protocol.average == "trapezoid" else average,
        at_best_score=best_over_scores(records, protocol=protocol, num_ground_truths=num_ground_truths, order=order),
        miss_rate=miss_rates(
            records, protocol=protocol, num_ground_truths=num_ground_truths, order=order, num_images=num_images
        ),
    )


def first_to_reach(recall_points: tuple[float, ...], num_ground_truths: Ints) -> Ints:
    """Returns `[n, R]` int64, the smallest number of true positives whose recall, in float64, reaches each point.

    Args:
      recall_points: R points in [0, 1].
      num_ground_truths: `[n]` int.
    """
    points = np.asarray(recall_points)
    total = np.maximum(num_ground_truths, 1)[:, None].astype(np.int64)
    needed = np.ceil(points * total).astype(np.int64)  # off by at most one, if the product was rounded
    needed -= (needed - 1) / total >= points
    needed += needed / total < points
    return needed


def _sums_before(units: Ints, kinds: NDArray[np.unsignedinteger[Any]], places: Sequence[Ints]) -> list[Ints]:
    """Returns the sums of the units of all rows before each position, for several ascending arrays `[n]` of positions.

    Args:
      units: the unit that a row of each kind adds.
      kinds: `[N]` uint8 or uint16.
      places: the positions, in [0, N].
    """
    sums = [np.empty(len(wanted), np.int64) for wanted in places]
    edges = np.arange(0, len(kinds) + ROWS_AT_ONCE + 1, ROWS_AT_ONCE)
    ends = [np.searchsorted(wanted, edges).tolist() for wanted in places]
    running = np.zeros(ROWS_AT_ONCE + 1, np.int64)  # fits into the cache, unlike a sum over all rows
    for block, start in enumerate(edges[:-1].tolist()):
        chunk = kinds[start : start + ROWS_AT_ONCE]
        np.cumsum(units.take(chunk), out=running[1 : len(chunk) + 1])
        running[1 : len(chunk) + 1] += running[0]
        for result, wanted, end in zip(sums, places, ends, strict=True):
            some = slice(end[block], end[block + 1])
            result[some] = running.take(wanted[some] - start)
        running[0] = running[len(chunk)]
    return sums


class _Counters:
    """Running counts of rows within each max-detections limit, packed into integers that one pass adds up.

    Attributes:
      none: M, which stands for the first limit of rows within no limit.
      units: for every integer, `[M + 1]` int64, the unit that a row adds, by the first limit that it is within.
    """

    def __init__(self, limits: tuple[int, ...], longest: int) -> None:
        self.limits, self.none = limits, np.min_scalar_type(len(limits)).type(len(limits))
        self.bits = max(longest.bit_length(), 1)  # differences of running sums are right even if sums wrap
        self.to_an_integer = COUNT_BITS // self.bits
        is_within = np.arange(len(limits) + 1)[:, None] <= np.arange(len(limits))  # [M + 1, M]
        places = np.arange(len(limits)) % self.to_an_integer * self.bits
        added = np.where(is_within, np.int64(1) << places, 0)
        self.units = [
            added[:, first : first + self.to_an_integer].sum(axis=1)
            for first in range(0, len(limits), self.to_an_integer)
        ]

    def first_limit(self, rank: Ints) -> NDArray[np.unsignedinteger[Any]]:
        """Returns `[N]` uint8 or uint16, the first limit that each row is within."""
        first = np.zeros_like(rank, self.none.dtype)
        for limit in self.limits:
            first += rank >= limit
        return first

    def of_limit(self, limit: int, sums: list[Ints]) -> Ints:
        """Returns the counts of one limit from sums of units."""
        integer, place = divmod(limit, self.to_an_integer)
        return (sums[integer] >> place * self.bits) & ((1 << self.bits) - 1)


class _TruePositives:
    """The true positives of one area range at every threshold, for a run of curves, by threshold, then by row.

    Args:
      hits: `[T, n]` bool, which rows are true positives.
      counted: `[T, n]` bool, which are true or false positives.
      reach: `[n]`, the first limit that each row is within.
      score: `[n]`.
      before: sums of units over the unmatched rows before each row in its curve, `[n]` each.
      starts: `[S + 1]`, the first row of each curve.
      counters: the meaning of the units.
    """

    def __init__(
        self,
        hits: Bools,
        counted: Bools,
        *,
        reach: NDArray[np.unsignedinteger[Any]],
        score: Floats,
        before: list[Ints],
        starts: Ints,
        counters: _Counters,
    ) -> None:
        num_thresholds, num_rows = hits.shape
        num_curves = len(starts) - 1
        threshold = np.repeat(np.arange(num_thresholds), np.count_nonzero(hits, axis=1))
        self.row = row = np.flatnonzero(hits) - threshold * num_rows
        self.shape = num_thresholds, num_curves
        self.run = threshold * num_curves + np.repeat(np.arange(num_curves), np.diff(starts)).take(row)
        self.reach, self.score, self.counters = reach.take(row), score, counters
        self.totals = []
        for units, plain in zip(counters.units, before, strict=True):
            running = np.zeros((num_thresholds, num_rows + 1), np.int64)
            np.cumsum(counted * units.take(reach), axis=1, out=running[:, 1:])
            at_start = running.take(starts[:-1], axis=1).ravel()
            here = running.ravel().take(threshold * (num_rows + 1) + row + 1)
            self.totals.append(here - at_start.take(self.run) + plain.take(row))

    def within(self, limit: int) -> Ints | None:
        """Returns the true positives within a limit, given by its index; None for all of them."""
        is_within = self.reach <= limit
        return None if is_within.all() else np.flatnonzero(is_within)

    def found(self, kept: Ints | None) -> Ints:
        """Returns `[T, S]`, how many true positives each run has."""
        num_runs = self.shape[0] * self.shape[1]
        return np.bincount(_taken(self.run, kept), minlength=num_runs).reshape(self.shape)

    def total(self, limit: int, kept: Ints | None) -> Ints:
        """Returns `[n]`, how many detections are counted within the limit up to and including each true positive."""
        return _taken(self.counters.of_limit(limit, self.totals), kept)

    def scores(self, kept: Ints | None) -> Floats:
        """Returns `[n]`, the scores of the true positives."""
        return self.score.take(_taken(self.row, kept))


def _taken(values: Ints, kept: Ints | None) -> Ints:
    return values if kept is None else values.take(kept)


def interpolate(found: Ints, total: Ints, needed: Ints) -> Floats:
    """Returns precision `[R, T, S]` from true positives, one run per (threshold, curve).

    Args:
      found: `[T, S]`, the length of each run.
      total: `[n]`, the number of counted detections of the curve up to and including each true positive.
      needed: `[S, R]`, the number of true positives that reach each recall point.
    """
    run_start = np.cumsum(found) - found.ravel()
    true_positives = np.arange(1.0, len(total) + 1) - np.repeat(run_start, found.ravel())
    # The reference adds an epsilon against 0 / 0, which matters at n = 1.
    precision = np.append(true_positives / (total.astype(np.float64) + np.spacing(1)), 0.0)
    # The best precision over the true positives from one point to the next, then over all later points. A leading point
    # that needs one true positive makes every run a separate segment, whatever the recall points.
    points = np.concatenate([np.ones_like(needed[:, :1]), np.maximum(needed, 1)], axis=1)  # [S, 1 + R]
    first = run_start.reshape(*found.shape, 1) + np.minimum(points - 1, found[..., None])  # [T, S, 1 + R]
    best = np.maximum.reduceat(precision, first.ravel()).reshape(first.shape)
    best = np.ascontiguousarray(np.moveaxis(best[..., 1:], -1, 0))  # [R, T, S]
    best *= points.T[1:, None] <= found
    for point in reversed(range(len(best) - 1)):  # `maximum.accumulate` has no vector instructions
        np.maximum(best[point], best[point + 1], out=best[point])
    return best


def scores_at_points(found: Ints, scores: Floats, needed: Ints, top_score: Floats) -> Floats:
    """Returns scores `[R, T, S]` at which each recall point is reached, 0 where it is not.

    Args:
      found: `[T, S]`, the number of true positives of each run.
      scores: `[n]`, those of the true positives, descending in each run.
      needed: `[S, R]`, the number of true positives that reach each recall point.
      top_score: `[S]`, the score at recall 0.
    """
    run_start = (np.cumsum(found) - found.ravel()).reshape(found.shape)
    points = np.maximum(needed, 1).T[:, None]  # [R, 1, S]
    first = np.minimum(run_start + points - 1, len(scores))  # [R, T, S]
    at_point = np.where(points <= found, np.append(scores, 0.0).take(first), 0.0)
    at_once = np.flatnonzero((needed == 0).any(axis=0))
    at_point[at_once] = np.where(needed.T[at_once, None] == 0, top_score, at_point[at_once])
    return at_point


def _blocks(starts: Ints, num_thresholds: int, num_points: int) -> Iterator[tuple[int, int, slice]]:
    """Splits the curves into runs whose arrays fit `CELLS_AT_ONCE`, or a single curve into runs of thresholds.

    Args:
      starts: `[S + 1]`, the first matching row of each curve.
      num_thresholds: the number of thresholds of each curve.
      num_points: the number of recall points at each threshold.
    """
    weight = (starts + np.arange(len(starts)) * num_points) * num_thresholds
    first = 0
    while first < len(starts) - 1:
        last = int(np.searchsorted(weight, weight[first] + CELLS_AT_ONCE, side="right")) - 1
        last = min(max(last, first + 1), len(starts) - 1)
        share = int(weight[last] - weight[first]) // CELLS_AT_ONCE + 1
        step = max(num_thresholds // share, 1)
        for threshold in range(0, num_thresholds, step):
            yield first, last, slice(threshold, threshold + step)
        first = last
