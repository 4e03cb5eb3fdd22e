"""Rows of different lengths in one flat array."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .types import Floats, Ints

__all__ = ["blocks", "ranges", "sums"]


def ranges(starts: Ints, counts: Ints) -> Ints:
    """Returns the concatenation of `range(start, start + count)`.

    >>> ranges(np.array([5, 0]), np.array([2, 3]))
    array([5, 6, 0, 1, 2])
    """
    ends = np.cumsum(counts)
    joined: Ints = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - counts), counts)
    return joined


def blocks(counts: Ints, limit: int) -> Iterator[tuple[int, int]]:
    """Splits rows into runs (first, last) with a total of at most `limit`; a row that exceeds it is a run of its own.

    >>> list(blocks(np.array([2, 2, 9, 1]), 4))
    [(0, 2), (2, 3), (3, 4)]
    """
    edges = np.concatenate([[0], np.cumsum(counts)])
    first = 0
    while first < len(edges) - 1:
        last = max(int(np.searchsorted(edges, edges[first] + limit, side="right")) - 1, first + 1)
        yield first, last
        first = last


def sums(place: Ints, values: Floats, size: int) -> Floats:
    """Returns `[size]` float64: the sum of the values at each place.

    >>> sums(np.array([2, 0, 2]), np.array([1.0, 2.0, 3.0]), 3)
    array([2., 0., 4.])
    """
    return np.bincount(place, weights=values, minlength=size).astype(np.float64, copy=False)  # of no rows it is int64
