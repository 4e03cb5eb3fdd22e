"""Polygons to masks, with the same pixels as in pycocotools, for all polygons of a file at once.

Corners are rounded to fifths of a pixel, and an edge is a line of points on that grid. Where it passes the middle of a
column of pixels, from the third fifth to the fourth, it crosses that column at the smaller y of the two points. The
pixels of a column change at its crossings, so that an area that is crossed an even number of times is outside. Only the
points at crossings are computed here.

References: pycocotools maskApi.c, rleFrPoly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._ragged import blocks, ranges
from ...types import Bools, Floats, Ints, Masks
from ._masks import AT_ONCE, PIXEL_BITS, join_masks, masks_of_keys, odd_ones

__all__ = ["LARGEST", "fill_polygons"]

SCALE = 5
LARGEST = 1e8  # limit of a coordinate: five times a difference must fit int32, as in pycocotools


def fill_polygons(corners: Floats, counts: Ints, size: Ints) -> Masks:
    """Returns the mask of each polygon.

    Args:
      corners: `[C, 2]` float64, x and y of all polygons, at most `LARGEST`.
      counts: `[N]`, the number of corners of each polygon, at least 1.
      size: `[N, 2]` int64, heights and widths.
    """
    parts, ends = [], np.cumsum(counts)
    for first, last in blocks(counts, AT_ONCE // 16):
        here = slice(first, last)
        block = corners[ends[first] - counts[first] : ends[last - 1]]
        parts.append(_fill(block, counts[here], size[here]))
    return join_masks(parts)


def _fill(corners: Floats, counts: Ints, size: Ints) -> Masks:
    grid = np.trunc(SCALE * corners + 0.5)  # as in C: towards zero after adding a half
    following = np.arange(len(grid)) + 1
    following[np.cumsum(counts) - 1] = np.cumsum(counts) - counts
    polygon = np.repeat(np.arange(len(counts)), counts)
    one, other = grid, grid[following]
    steep = np.abs(one - other)[:, 0] < np.abs(one - other)[:, 1]
    swap = np.where(steep, one[:, 1] > other[:, 1], one[:, 0] > other[:, 0])[:, None]
    one, other = np.where(swap, other, one), np.where(swap, one, other)

    # The columns that each edge crosses, with points at or before the third fifth and after it.
    low, high = np.minimum(one[:, 0], other[:, 0]), np.maximum(one[:, 0], other[:, 0])
    width = size[polygon, 1]
    from_column = np.clip(np.ceil((low - 2) / SCALE), 0, width)
    to_column = np.clip(np.floor((high - 3) / SCALE), -1, width - 1)
    num_columns = np.maximum(to_column - from_column + 1, 0).astype(np.int64)
    keys = [np.zeros(0, np.int64)]
    for first, last in blocks(num_columns, AT_ONCE):
        edge = first + np.repeat(np.arange(last - first), num_columns[first:last])
        column = ranges(from_column[first:last].astype(np.int64), num_columns[first:last])
        y = np.empty(len(edge))
        for which, crossing in ((steep[edge], _crossing_of_steep), (~steep[edge], _crossing_of_flat)):
            rows = np.flatnonzero(which)
            y[rows] = crossing(one[edge[rows]], other[edge[rows]], SCALE * column[rows] + 2.0)
        height = size[polygon[edge], 0]
        row = np.clip((y.astype(np.int64) + 2) // SCALE, 0, height)
        pixel = column * height + row
        keys.append((polygon[edge] << PIXEL_BITS | pixel)[pixel < height * width[edge]])
    crossings = odd_ones(np.sort(np.concatenate(keys)))
    return masks_of_keys(_closed(crossings, size), size)


def _crossing_of_flat(one: Floats, other: Floats, x: NDArray[np.floating[Any]]) -> Floats:
    """Returns the smaller y at x and at x + 1 of edges that are at least as wide as high, from left to right."""
    slope = (other[:, 1] - one[:, 1]) / (other[:, 0] - one[:, 0])
    steps = x - one[:, 0]
    y, following = one[:, 1] + slope * steps + 0.5, one[:, 1] + slope * (steps + 1) + 0.5
    return np.trunc(np.minimum(y, following))


def _crossing_of_steep(one: Floats, other: Floats, x: NDArray[np.floating[Any]]) -> Floats:
    """Returns the y of the last point before an edge that is higher than wide, from the top, goes past x or x + 1."""
    slope = (other[:, 0] - one[:, 0]) / (other[:, 1] - one[:, 1])
    rising = slope > 0

    def is_past(steps: Floats) -> Bools:
        past: Bools = (one[:, 0] + slope * steps + 0.5 >= x + 1) == rising
        return past

    steps = np.ceil((x + 0.5 - one[:, 0]) / slope)  # the first past it, up to rounding
    while (early := is_past(steps - 1)).any():
        steps -= early
    while (late := ~is_past(steps)).any():
        steps += late
    return one[:, 1] + steps - 1


def _closed(crossings: Ints, size: Ints) -> Ints:
    """Returns ascending keys with an even number per mask: an unfinished run ends at the last pixel."""
    mask = crossings >> PIXEL_BITS
    open_ones = np.flatnonzero(np.bincount(mask, minlength=len(size)) % 2)
    ends = open_ones << PIXEL_BITS | size[open_ones].prod(axis=1)
    return np.insert(crossings, np.searchsorted(mask, open_ones, side="right"), ends)
