"""Polygons to masks, with the same pixels as in pycocotools, for all polygons of a file at once.

Corners are rounded to fifths of a pixel, and an edge is a line of points on that grid. Where it passes the middle of a
column of pixels, from the third fifth to the fourth, it crosses that column at the smaller y of the two points. The
pixels of a column change at its crossings, so that an area that is crossed an even number of times is outside. Only the
points at crossings are computed here.

References: pycocotools maskApi.c, rleFrPoly.
"""

from __future__ import annotations

import numpy as np

from ..._ragged import blocks, ranges
from ..._threads import in_threads
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
    ends = np.cumsum(counts)

    def fill(rows: tuple[int, int]) -> Masks:
        first, last = rows
        block = corners[ends[first] - counts[first] : ends[last - 1]]
        return _fill(block, counts[first:last], size[first:last])

    return join_masks(in_threads(fill, blocks(counts, AT_ONCE // 32)))


def _fill(corners: Floats, counts: Ints, size: Ints) -> Masks:
    grid = np.trunc(SCALE * corners + 0.5)  # as in C: towards zero after adding a half
    following = np.arange(len(grid)) + 1
    following[np.cumsum(counts) - 1] = np.cumsum(counts) - counts
    polygon = np.repeat(np.arange(len(counts)), counts)
    x, other_x = grid[:, 0], grid[following, 0]
    low, high = np.minimum(x, other_x), np.maximum(x, other_x)
    # The columns that each edge crosses, with points at or before the third fifth and after it.
    width = size[polygon, 1]
    from_column = np.clip(np.ceil((low - 2) / SCALE), 0, width).astype(np.int64)
    to_column = np.clip(np.floor((high - 3) / SCALE), -1, width - 1).astype(np.int64)
    edges = np.flatnonzero(from_column <= to_column)
    num_columns = to_column[edges] - from_column[edges] + 1
    keys = [np.zeros(0, np.int64)]
    for first, last in blocks(num_columns, AT_ONCE):
        here, num = edges[first:last], num_columns[first:last]
        column, height = ranges(from_column[here], num), np.repeat(size[polygon[here], 0], num)
        y = _crossings(grid[here], grid[following[here]], num, column)
        row = np.clip((y + 2) // SCALE, 0, height)
        keys.append(np.repeat(polygon[here] << PIXEL_BITS, num) + column * height + row)
    # Along an outline, crossings are ascending or descending for a while, which a stable sort makes use of. An outline
    # is closed and crosses each column an even number of times, so the number of keys of each polygon is even.
    return masks_of_keys(odd_ones(np.sort(np.concatenate(keys), kind="stable")), size)


def _crossings(one: Floats, other: Floats, counts: Ints, column: Ints) -> Ints:
    """Returns the y, `[P]` int64, at which edges cross columns.

    Args:
      one, other: `[E, 2]`, the ends of each edge.
      counts: `[E]`, how many columns each crosses.
      column: `[P]`, these columns.
    """
    x = (SCALE * column + 2).astype(np.float64)
    steep = np.abs(one - other)[:, 0] < np.abs(one - other)[:, 1]
    swap = np.where(steep, one[:, 1] > other[:, 1], one[:, 0] > other[:, 0])[:, None]
    one, other = np.where(swap, other, one), np.where(swap, one, other)
    delta_x, delta_y = (other - one).T
    slope = np.where(steep, delta_x, delta_y) / np.where(steep, delta_y, delta_x)
    start_x, start_y, slope = (np.repeat(values, counts) for values in (*one.T, slope))
    y = _crossing_of_flat(start_x, start_y, slope, x)
    rows = np.flatnonzero(np.repeat(steep, counts))
    y[rows] = _crossing_of_steep(*(values.take(rows) for values in (start_x, start_y, slope, x)))
    return y.astype(np.int64)  # as in C: towards zero


def _crossing_of_flat(start_x: Floats, start_y: Floats, slope: Floats, x: Floats) -> Floats:
    """Returns the smaller y at x and at x + 1 of edges that are at least as wide as high, from left to right."""
    steps = x - start_x
    y, following = start_y + slope * steps, start_y + slope * (steps + 1)
    return np.minimum(y, following) + 0.5


def _crossing_of_steep(start_x: Floats, start_y: Floats, slope: Floats, x: Floats) -> Floats:
    """Returns the y of the last point before an edge that is higher than wide, from the top, goes past x or x + 1."""
    rising = slope > 0

    def is_past(steps: Floats) -> Bools:
        past: Bools = (start_x + slope * steps + 0.5 >= x + 1) == rising
        return past

    steps = np.ceil((x + 0.5 - start_x) / slope)  # the first past it, up to rounding
    while (early := is_past(steps - 1)).any():
        steps -= early
    while (late := ~is_past(steps)).any():
        steps += late
    return start_y + steps - 1
