"""Geometry of oriented boxes `[cx, cy, w, h, angle]`: the centre, the size along the axes of the box, and radians.

A positive angle turns the x axis towards the y axis: clockwise on a screen, where y points down. Any angle is allowed;
`w` need not be the longer side. The functions take NumPy and JAX arrays alike and run inside `jit` and `vmap`.

Two boxes are intersected without case distinctions. In the frame of one box, which is the rectangle `[x0, x1] x [y0,
y1]`, its intersection with any polygon has the area

    area = sum over the polygon's edges of the integral of clamp(y(x), y0, y1) dx over the edge's part in [x0, x1]

where edges that run to the left count negative. Each term has a closed form and is continuous in the corners, so nearly
parallel sides, shared edges and touching corners are not special cases.

>>> import numpy as np
>>> boxes = np.array([[0.0, 0.0, 2.0, 2.0, 0.0], [0.0, 0.0, 2.0, 2.0, np.pi / 4]])
>>> round(float(oriented_intersection(boxes[0], boxes[1])), 6)  # a regular octagon: 8 * (sqrt(2) - 1)
3.313708
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from .._expected import given
from ..types import DetectionTable, Floats, GroundTruthTable, Ints, SameArray
from ._host import PairSimilarity
from ._record import Constants, Geometry, Shape, in_jit

__all__ = ["OBB", "oriented_hull", "oriented_intersection", "oriented_iou"]


def oriented_iou(boxes: SameArray, other_boxes: SameArray, crowd: SameArray) -> SameArray:
    """Returns the IoU of oriented boxes, in [0, 1], or for crowds the intersection over the area of `boxes`.

    It is 0 for boxes that only touch, and for boxes of zero or negative width or height.

    In float64 it is within 1e-12 of the true value, and in float32 within 1e-5, if no box is more than 100 times longer
    than wide; the error grows with that ratio, to 5e-5 in float32 for a ratio of 1000.

    Args:
      boxes: `[..., 5]` float, detections, for example `[D, 1, 5]`.
      other_boxes: `[..., 5]` of the same dtype, ground truths, for example `[1, G, 5]`.
      crowd: `[...]` bool; the three shapes broadcast.

    Returns:
      `[...]` of the boxes' dtype.
    """
    xp = boxes.__array_namespace__()
    intersection, area, other_area, crowd = _of_one_rank(
        oriented_intersection(boxes, other_boxes), _area(boxes), _area(other_boxes), crowd
    )
    overlaps = intersection > 0
    union = xp.where(crowd, area, area + other_area - intersection)
    iou: SameArray = xp.where(overlaps, intersection / xp.where(overlaps, union, 1.0), 0.0)
    return iou


def oriented_intersection(boxes: SameArray, other_boxes: SameArray) -> SameArray:
    """Returns the intersection of oriented boxes, at most the area of either, and exactly 0 if they do not overlap.

    Args:
      boxes: `[..., 5]` float.
      other_boxes: `[..., 5]` of the same dtype; the two shapes broadcast.

    Returns:
      `[...]` of the boxes' dtype.
    """
    xp = boxes.__array_namespace__()
    smallest = xp.minimum(*_of_one_rank(_area(boxes), _area(other_boxes)))
    # The shorter box is the polygon, because rounding grows with the extent of the polygon.
    longest, other_longest = _of_one_rank(_size(boxes).max(-1), _size(other_boxes).max(-1))
    is_frame = longest >= other_longest
    boxes, other_boxes = _of_one_rank(boxes, other_boxes)
    frame: list[SameArray] = [xp.where(is_frame, boxes[..., field], other_boxes[..., field]) for field in range(5)]
    polygon: list[SameArray] = [xp.where(is_frame, other_boxes[..., field], boxes[..., field]) for field in range(5)]
    frame_w, frame_h, w, h = (xp.maximum(side, 0.0) / 2 for side in (*frame[2:4], *polygon[2:4]))

    # Differences come first, because they are exact for neighbours far from the origin. Corners are relative to the
    # centre of the polygon.
    x, y = polygon[0] - frame[0], polygon[1] - frame[1]
    cos, sin = xp.cos(frame[4]), xp.sin(frame[4])
    x, y = cos * x + sin * y, cos * y - sin * x
    cos, sin = _turn(frame[4], polygon[4])
    corners = [(p * w * cos - q * h * sin, p * w * sin + q * h * cos) for p, q in ((-1, -1), (-1, 1), (1, 1), (1, -1))]
    x0, x1, y0, y1 = -frame_w - x, frame_w - x, -frame_h - y, frame_h - y
    total = sum(
        _edge_integral(start, stop, x0, x1, y0, y1)
        for start, stop in zip(corners, corners[1:] + corners[:1], strict=True)
    )

    # If the boxes are separated along an axis of the frame, the sum is exactly 0; along an axis of the polygon, it is 0
    # up to rounding.
    along, across = xp.abs(cos * x + sin * y), xp.abs(cos * y - sin * x)
    cos, sin = xp.abs(cos), xp.abs(sin)
    overlaps = (along < w + frame_w * cos + frame_h * sin) & (across < h + frame_w * sin + frame_h * cos)
    shared: SameArray = xp.where(overlaps, xp.clip(total, 0.0, smallest), 0.0)
    return shared


def oriented_hull(boxes: SameArray) -> SameArray:
    """Returns the smallest axis-aligned boxes around oriented ones.

    Args:
      boxes: `[..., 5]` float; a negative width or height counts as 0.

    Returns:
      `[..., 4]` of the boxes' dtype, xywh: the corner nearest to the origin, width and height.
    """
    xp = boxes.__array_namespace__()
    w, h = _size(boxes)[..., 0], _size(boxes)[..., 1]
    cos, sin = xp.abs(xp.cos(boxes[..., 4])), xp.abs(xp.sin(boxes[..., 4]))
    size = xp.stack([w * cos + h * sin, w * sin + h * cos], axis=-1)
    hull: SameArray = xp.concatenate([boxes[..., :2] - size / 2, size], axis=-1)
    return hull


def _edge_integral(
    start: Sequence[SameArray], stop: Sequence[SameArray], x0: SameArray, x1: SameArray, y0: SameArray, y1: SameArray
) -> SameArray:
    """Returns the integral of `clamp(y(x), y0, y1) - clamp(0, y0, y1)` over the part of an edge with x in `[x0, x1]`.

    The constants cancel around the polygon. With them, a polygon beyond y0 or y1 has an area of exactly 0, and a small
    polygon far from the axis of the frame keeps its digits.
    """
    xp = x0.__array_namespace__()
    (start_x, start_y), (stop_x, stop_y) = start, stop
    run, rise = stop_x - start_x, stop_y - start_y
    first_x, last_x = xp.clip(start_x, x0, x1), xp.clip(stop_x, x0, x1)
    # No dividend exceeds its divisor, so that an almost vertical edge does not overflow.
    nearest = [xp.clip(x, xp.minimum(start_x, stop_x), xp.maximum(start_x, stop_x)) for x in (first_x, last_x)]
    first, last = (start_y + (x - start_x) / xp.where(run == 0, 1.0, run) * rise for x in nearest)
    low, high = xp.minimum(first, last), xp.maximum(first, last)
    span = high - low
    lost = (xp.clip(y0, low, high) - low, high - xp.clip(y1, low, high))
    below, above = (side / xp.where(span > 0, span, 1.0) for side in lost)
    zero = xp.minimum(xp.maximum(y0, 0.0), y1)
    between = (xp.clip(low, y0, y1) + xp.clip(high, y0, y1)) / 2
    mean = (1 - below - above) * (between - zero) + below * (y0 - zero) + above * (y1 - zero)
    integral: SameArray = (last_x - first_x) * mean
    return integral


def _turn(start: SameArray, stop: SameArray) -> tuple[SameArray, SameArray]:
    """Returns cosine and sine of `stop - start`, as if the difference were not rounded."""
    xp = start.__array_namespace__()
    turn = stop - start
    back = turn + start  # Knuth's two-sum, TAOCP 2, 4.2.2
    rest = (stop - back) + ((back - turn) - start)
    cos, sin = xp.cos(turn), xp.sin(turn)
    return cos - rest * sin, sin + rest * cos


def _size(boxes: SameArray) -> SameArray:
    xp = boxes.__array_namespace__()
    size: SameArray = xp.maximum(boxes[..., 2:4], 0.0)
    return size


def _area(boxes: SameArray) -> SameArray:
    size = _size(boxes)
    return size[..., 0] * size[..., 1]


def _of_one_rank(*arrays: SameArray) -> list[SameArray]:
    """Returns arrays with missing leading axes added: JAX may be configured to refuse rank promotion."""
    rank = max(array.ndim for array in arrays)
    return [array.reshape((1,) * (rank - array.ndim) + array.shape) for array in arrays]


def _columns(fields: Mapping[str, Any], _: str) -> dict[str, Any]:
    boxes = fields["boxes"]
    return {"oriented": boxes, "boxes": oriented_hull(boxes), "area": boxes[:, 2] * boxes[:, 3]}


def _pairs(detections: DetectionTable, ground_truths: GroundTruthTable, _: Constants) -> PairSimilarity:
    return PairSimilarity(partial(_oriented_iou, detections, ground_truths))


def _oriented_iou(one: DetectionTable, other: GroundTruthTable, rows: Ints, others: Ints) -> Floats:
    boxes, other_boxes = given("oriented", one.oriented), given("oriented", other.oriented)
    return oriented_iou(boxes[rows], other_boxes[others], other.crowd[others])


OBB = Geometry(
    shape=Shape("boxes", "boxes", (5,), "oriented"),
    pairs=_pairs,
    image=in_jit("_oriented_device", "image_similarity"),
    columns=_columns,
    oddities=in_jit("_oriented_device", "oriented_oddities"),
    sides="oriented",
)
