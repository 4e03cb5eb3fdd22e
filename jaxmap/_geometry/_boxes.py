"""Similarity of axis-aligned boxes: IoU, or the intersection over the area of the detection for crowds.

The rule is pycocotools' (maskApi.c, bbIou) on x, y, width, height: no clipping and no pixel added, and

    width = min(x1 + w1, x2 + w2) - max(x1, x2), height likewise;   0 where either is not positive
    IoU   = width * height / (w1 * h1 + w2 * h2 - width * height)

so a box of zero or negative width or height overlaps nothing and its IoU is 0 with every box.

>>> import jax.numpy as jnp
>>> box_iou(jnp.array([[0.0, 0.0, 10.0, 10.0]]), jnp.array([[0.0, 5.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]])).tolist()
[[0.5, 0.0]]
"""

from __future__ import annotations

import functools
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ..types import BOX_FORMATS
from . import _double_float as df
from ._device import single
from ._double_float import DoubleFloat
from ._record import Constants, Oddities

__all__ = [
    "BoxGeometry",
    "BoxSimilarity",
    "Side",
    "approximate_extents",
    "approximate_iou",
    "box_geometry",
    "box_iou",
    "box_oddities",
    "box_similarity",
    "check_boxes",
    "check_crowd",
    "exact_intersection",
    "exact_iou",
    "image_similarity",
    "size_oddities",
]


class Side(NamedTuple):
    """The extent of boxes along one axis, `[...]`.

    Attributes:
      start: the lower end.
      size: the length; negative for boxes that end before they start.
      stop: start plus size.
    """

    start: DoubleFloat
    size: DoubleFloat
    stop: DoubleFloat


class BoxGeometry(NamedTuple):
    """Boxes in double-float arithmetic, converted from any box format. No axis is as short as 2, which a TPU would pad.

    Attributes:
      x: the extent along x.
      y: the extent along y.
      area: `[...]`, width times height.
    """

    x: Side
    y: Side
    area: DoubleFloat

    def select(self, index: Any) -> BoxGeometry:
        """Indexes the boxes as `array[index]` does."""
        selected: BoxGeometry = jax.tree.map(lambda part: part[index], self)
        return selected

    @property
    def is_solid(self) -> jax.Array:
        """`[...]` bool, whether a box has a width and a height."""
        return (self.x.size.hi > 0) & (self.y.size.hi > 0)


def box_geometry(boxes: jax.Array, box_format: str) -> BoxGeometry:
    """Converts boxes of any format to corners, size and area, exactly.

    Args:
      boxes: `[..., 4]` float32.
      box_format: one of `xyxy`, `xywh`, `cxcywh` (centre), `yxyx`.

    Raises:
      ValueError: if the box format is unknown.
    """
    if box_format not in BOX_FORMATS:
        raise ValueError(f"`box_format` must be one of {list(BOX_FORMATS)}, got {box_format!r}.")
    columns = [df.rounded(boxes[..., column]) for column in range(4)]
    x, y = (_side(columns[axis], columns[axis + 2], box_format) for axis in (0, 1))
    if box_format == "yxyx":
        x, y = y, x
    return BoxGeometry(x, y, df.multiply(x.size, y.size))


def _side(first: jax.Array, second: jax.Array, box_format: str) -> Side:
    zero = jnp.zeros_like(first)
    start, size = DoubleFloat(first, zero), DoubleFloat(second, zero)
    if box_format == "cxcywh":
        start = df.from_sum(first, -0.5 * second)
    elif box_format != "xywh":
        size = df.from_sum(second, -first)
    return Side(start, size, df.add(start, size))


def approximate_iou(detections: BoxGeometry, ground_truths: BoxGeometry, crowd: jax.Array) -> jax.Array:
    """Returns the IoU of every pair in plain float32, within 1e-5 of the true value: for choosing pairs, not deciding.

    Positions are first made relative to the ground truth, so that small boxes far from the origin keep their precision.

    Args:
      detections: geometry of `[D]` boxes.
      ground_truths: geometry of `[G]` boxes.
      crowd: `[G]` bool.

    Returns:
      `[D, G]` float32.
    """
    one, other = detections.select(np.s_[:, None]), ground_truths.select(np.s_[None, :])
    (width, _), (height, _) = approximate_extents(one, other)
    touches = (width > 0) & (height > 0)
    intersection = jnp.where(touches, width * height, 0.0)
    union = jnp.where(crowd[None, :], one.area.hi, one.area.hi + other.area.hi - intersection)
    return jnp.where(touches, intersection / jnp.where(touches, union, 1.0), 0.0)


def approximate_extents(one: BoxGeometry, other: BoxGeometry) -> list[tuple[jax.Array, jax.Array]]:
    """Returns the overlap of pairs of boxes and the extent of their hull, along x and along y, in float32."""
    extents = []
    for mine, theirs in ((one.x, other.x), (one.y, other.y)):
        offset = df.difference(mine.start, theirs.start)
        stops = offset + mine.size.hi, theirs.size.hi
        extents.append((jnp.minimum(*stops) - jnp.maximum(offset, 0.0), jnp.maximum(*stops) - jnp.minimum(offset, 0.0)))
    return extents


def exact_iou(detections: BoxGeometry, ground_truths: BoxGeometry, crowd: jax.Array) -> DoubleFloat:
    """Returns the IoU of pairs to about 45 bits; the shapes of both sides are broadcast.

    Args:
      detections: geometry of boxes, for example `[D, 1]`.
      ground_truths: geometry of boxes whose shape broadcasts with that of the detections, for example `[1, G]`.
      crowd: bool, in the shape of the ground truths.
    """
    intersection, touches = exact_intersection(detections, ground_truths)
    union = df.add(df.add(detections.area, ground_truths.area), df.negate(intersection))
    denominator = df.where(crowd, detections.area, union)
    quotient = df.divide(intersection, df.where(touches, denominator, df.constant(1.0)))
    return df.where(touches, quotient, df.constant(0.0))


def exact_intersection(detections: BoxGeometry, ground_truths: BoxGeometry) -> tuple[DoubleFloat, jax.Array]:
    """Returns the intersection of pairs and whether they overlap; shapes as in `exact_iou`."""
    width, height = (
        df.add(df.minimum(one.stop, other.stop), df.negate(df.maximum(one.start, other.start)))
        for one, other in ((detections.x, ground_truths.x), (detections.y, ground_truths.y))
    )
    return df.multiply(width, height), (width.hi > 0) & (height.hi > 0)


def box_iou(
    boxes: ArrayLike, other_boxes: ArrayLike, *, box_format: str = "xyxy", crowd: ArrayLike | None = None
) -> jax.Array:
    """Returns the IoU of every pair of boxes, in [0, 1], rounded once from about 46 exact bits.

    Args:
      boxes: `[D, 4]` float, detections.
      other_boxes: `[G, 4]` float, ground truths.
      box_format: one of `xyxy`, `xywh`, `cxcywh` (centre), `yxyx`; pixels or any other unit.
      crowd: `[G]` bool; where True, the value is the intersection over the area of the detection.

    Returns:
      `[D, G]` float32; batch with `jax.vmap`.

    Raises:
      ValueError: if an input is not `[n, 4]`, or the box format is unknown.
      TypeError: if an input does not hold real numbers, or `crowd` is not flags.

    References: pycocotools maskApi.c, bbIou.
    """
    sides = [
        box_geometry(check_boxes(name, value, 4), box_format)
        for name, value in (("boxes", boxes), ("other_boxes", other_boxes))
    ]
    crowd = check_crowd(crowd, len(sides[1].area.hi))
    return exact_iou(sides[0].select(np.s_[:, None]), sides[1].select(np.s_[None, :]), crowd[None, :]).hi


def check_boxes(name: str, boxes: ArrayLike, width: int) -> jax.Array:
    """Returns boxes `[n, width]` in float32.

    Raises:
      ValueError: if the shape differs.
      TypeError: if they are not real numbers.
    """
    kind = np.asarray(boxes).dtype if not isinstance(boxes, jax.Array) else boxes.dtype
    if not (jnp.issubdtype(kind, jnp.floating) or jnp.issubdtype(kind, jnp.integer)):
        raise TypeError(f"`{name}` must hold real numbers, got dtype {kind}.")
    array = jnp.asarray(boxes, jnp.float32)
    if array.ndim != 2 or array.shape[-1] != width:
        raise ValueError(f"`{name}` must have shape [n, {width}], got {list(array.shape)}; use `jax.vmap` for batches.")
    return array


def check_crowd(crowd: ArrayLike | None, count: int) -> jax.Array:
    """Returns flags `[count]`; all False for None.

    Raises:
      ValueError: if the shape differs.
      TypeError: if they are not flags.
    """
    if crowd is None:
        return jnp.zeros(count, bool)
    flags = crowd if isinstance(crowd, jax.Array) else np.asarray(crowd)
    if flags.dtype != bool and not jnp.issubdtype(flags.dtype, jnp.integer) and flags.size:
        raise TypeError(f"`crowd` must hold flags, got dtype {flags.dtype}.")
    if flags.shape != (count,):
        raise ValueError(f"`crowd` must have shape [{count}], one flag per ground truth, got {list(flags.shape)}.")
    return jnp.asarray(flags, bool)


class BoxSimilarity(NamedTuple):
    """The IoU of all boxes of one image."""

    detections: BoxGeometry  # [D]
    ground_truths: BoxGeometry  # [G]
    crowd: jax.Array  # [G]
    area: DoubleFloat  # [D]
    ground_truth_area: DoubleFloat  # [G]

    def approximate(self) -> jax.Array:
        """`[D, G]` float32, within `MARGIN` of the exact values."""
        return approximate_iou(self.detections, self.ground_truths, self.crowd)

    def exact(self, index: jax.Array) -> DoubleFloat:
        """The similarities of each detection with the ground truths of its row, for `[D, C]` int32."""
        return self.of_pairs(self.ground_truths.select(index), self.crowd[index])

    def exact_of_all(self) -> DoubleFloat:
        """The similarities of all pairs, `[D, G]`."""
        return self.of_pairs(self.ground_truths.select(None), self.crowd[None])

    def of_pairs(self, ground_truths: BoxGeometry, crowd: jax.Array) -> DoubleFloat:
        """The similarities of each detection with the ground truths of its row, `[D, n]`, or with those of one row."""
        return exact_iou(self.detections.select(np.s_[:, None]), ground_truths, crowd)

    def reorder(self, rows: jax.Array, ground_truth_rows: jax.Array | None) -> BoxSimilarity:
        """Returns the similarity of some detections and some ground truths, given by their rows; None for all."""
        others = slice(None) if ground_truth_rows is None else ground_truth_rows
        return type(self)(
            self.detections.select(rows),
            self.ground_truths.select(others),
            self.crowd[others],
            self.area.select(rows),
            self.ground_truth_area.select(others),
        )


def box_similarity(
    kind: type[BoxSimilarity],
    shapes: dict[str, jax.Array],
    ground_truth_shapes: dict[str, jax.Array],
    crowd: jax.Array,
    area: jax.Array | None,
    *,
    constants: Constants,
    box_format: str,
) -> BoxSimilarity:
    """Returns the similarity of the boxes of one image, of the given kind, and their areas."""
    one, other = (box_geometry(side["boxes"], box_format) for side in (shapes, ground_truth_shapes))
    return kind(one, other, crowd, one.area, other.area if area is None else single(area))


image_similarity = partial(box_similarity, BoxSimilarity)


def box_oddities(
    shapes: dict[str, jax.Array], ground_truth_shapes: dict[str, jax.Array], similarity: BoxSimilarity
) -> Oddities:
    """Finds boxes of negative size, empty boxes, normalised boxes, and areas too small for the arithmetic."""
    boxes = shapes["boxes"], ground_truth_shapes["boxes"]
    sides = similarity.detections, similarity.ground_truths
    sizes = [(side.x.size.hi, side.y.size.hi) for side in sides]
    return size_oddities(boxes, (sizes[0], sizes[1]), (sides[0].area.hi, sides[1].area.hi))


def size_oddities(
    boxes: tuple[jax.Array, jax.Array],
    sizes: tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]],
    areas: tuple[jax.Array, jax.Array],
) -> Oddities:
    """Like `box_oddities`, for boxes of any kind, given the widths, heights and areas `[N]` of both sides."""
    zero, unit, tiny, negative = [], [], [], []
    for one, (width, height), area in zip(boxes, sizes, areas, strict=True):
        numbers = [one[:, column] for column in range(one.shape[1])]
        zero.append(functools.reduce(jnp.logical_and, (number == 0 for number in numbers)))
        in_unit = functools.reduce(jnp.logical_and, ((number >= 0) & (number <= 1) for number in numbers))
        unit.append(in_unit & ~zero[-1])
        tiny.append((width > 0) & (height > 0) & (area < df.SMALLEST_AREA))
        negative.append((width < 0) | (height < 0))
    return Oddities(
        empty=zero[1], negative=(negative[0], negative[1]), unit=(unit[0], unit[1]), tiny=(tiny[0], tiny[1])
    )
