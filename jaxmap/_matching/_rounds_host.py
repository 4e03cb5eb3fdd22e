"""Matching of a whole dataset by rounds of deferred acceptance, in NumPy: the kernel of the host.

In every plane, each detection proposes to the ground truth that it prefers of those that have not refused it, and a
ground truth that may be taken once refuses all but the proposer with the best score. Who is refused proposes again.
When nobody is refused, each detection has what `match` gives it. The pairs of all images are in one array, with one bit
for each plane. Only those that a refusal concerns are in the next round.

References: Gale and Shapley 1962. All ground truths prefer the better score, so the stable assignment is the greedy
one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._candidates._host import Pairs
from .._ordering import order_stably, starts_of_runs
from .._ragged import ranges
from ..types import Bools, Ints, Words

__all__ = ["match_by_rounds"]

Planes = NDArray[np.uint64]  # two words


def match_by_rounds(pairs: Pairs, counted: Words, crowd: Bools, levels: Words, *, ignored_absorb: bool) -> Words:
    """Matches the pairs of a dataset.

    Args:
      pairs: as `find_pairs` returns them; detections that share a ground truth are by descending score.
      counted: `[G, W]` uint32, the planes in which each ground truth is counted.
      crowd: `[G]` bool, ground truths that may be taken again.
      levels: `[T + 1, W]` uint32, the planes whose threshold a pair of each level reaches (`level_words`).
      ignored_absorb: True if every ground truth may be taken again in the planes in which it is not counted.

    Returns:
      `[P, W]` uint32, the planes in which each pair is a match.
    """
    chosen = np.empty((len(pairs.level), counted.shape[1]), np.uint32)
    by_truth = order_stably(pairs.ground_truth)
    no_crowd = np.where(crowd, 0, ~np.uint64(0)).take(pairs.ground_truth)
    for first in range(0, counted.shape[1], 2):  # planes are independent
        words = slice(first, first + 2)
        reached = _joined(levels[:, words]).take(pairs.level)
        counts = _joined(counted[:, words]).take(pairs.ground_truth)
        planes = _match(pairs, by_truth, reached, counts, no_crowd & counts if ignored_absorb else no_crowd)
        chosen[:, words] = planes.view(np.uint32).reshape(-1, 2)[:, : chosen.shape[1] - first]
    return chosen


def _match(pairs: Pairs, by_truth: Ints, reached: Planes, counted: Planes, once: Planes) -> Planes:
    """Returns `[P]`, the planes in which each pair is a match.

    Args:
      pairs: `P` pairs.
      by_truth: `[P]`, the pairs sorted by ground truth.
      reached: `[P]`, the planes in which a pair may match.
      counted: `[P]`, the planes in which its ground truth is counted.
      once: `[P]`, the planes in which its ground truth may be taken only once.
    """
    of_detection, of_truth = _Runs.of(pairs.detection), _Runs.of(pairs.ground_truth, by_truth)
    chosen, refused = np.zeros_like(reached), np.zeros_like(reached)
    rows = np.arange(len(chosen))  # the pairs of the detections that propose
    while len(rows):
        free, counts, places = (
            reached.take(rows) & ~refused.take(rows),
            counted.take(rows),
            of_detection.place.take(rows),
        )
        starts = np.flatnonzero(places == 0)
        wanted = np.bitwise_or.reduceat(free & counts, starts)  # the planes with a counted one
        free &= counts | ~np.repeat(wanted, np.diff(starts, append=len(rows)))
        choice = free & ~_union_before(free, places)
        new = choice & ~chosen.take(rows) & once.take(rows)
        chosen[rows] = choice
        meeting = of_truth.rows(rows[new != 0])
        others = by_truth.take(meeting)
        proposals = chosen.take(others) & once.take(others)
        refusals = proposals & _union_before(proposals, of_truth.place.take(meeting))
        is_refused = np.flatnonzero(refusals)
        others = others.take(is_refused)
        refused[others] |= refusals.take(is_refused)
        rows = of_detection.rows(others)
    return chosen


class _Runs(NamedTuple):
    """The pairs of each detection, or of each ground truth, as runs of rows.

    Attributes:
      number: `[P]`, the run of each pair.
      place: `[P]`, the position of each row in its run.
      start: `[n]`, the first row of each run.
      length: `[n]`.
    """

    number: Ints
    place: Ints
    start: Ints
    length: Ints

    @classmethod
    def of(cls, values: Ints, order: Ints | None = None) -> _Runs:
        """Returns the runs of equal values, which ascend in the order of the rows; by default, rows are pairs."""
        start = starts_of_runs(values if order is None else values.take(order))
        length = np.diff(start, append=len(values))
        of_row = np.repeat(np.arange(len(start)), length)
        number = of_row
        if order is not None:
            number = np.empty_like(of_row)
            number[order] = of_row
        return cls(number, np.arange(len(values)) - start.take(of_row), start, length)

    def rows(self, pairs: Ints) -> Ints:
        """Returns all rows of the runs that have some pairs."""
        wanted = np.zeros(len(self.start), bool)
        wanted[self.number.take(pairs)] = True
        runs = np.flatnonzero(wanted)
        return ranges(self.start.take(runs), self.length.take(runs))


def _joined(words: Words) -> Planes:
    """Joins `[n, 1]` or `[n, 2]` words to `[n]`."""
    joined = np.zeros((len(words), 2), np.uint32)
    joined[:, : words.shape[1]] = words
    return joined.view(np.uint64)[:, 0]


def _union_before(words: Planes, place: Ints) -> Planes:
    """Returns `[n]`, the union of the words before each one in its run, where `place` counts from 0."""
    union = np.zeros_like(words)
    later = np.flatnonzero(place)
    union[later] = words.take(later - 1)
    reach = 1  # of the words before, how many are in the union
    while len(later := later[place.take(later) > reach]):
        union[later] |= union.take(later - reach)
        reach *= 2
    return union
