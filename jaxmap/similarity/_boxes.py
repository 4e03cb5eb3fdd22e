"""Similarity of axis-aligned boxes: IoU, and intersection over detection area where the ground truth is a crowd.

The rule is pycocotools' (maskApi.c, bbIou) on x, y, width, height: no clipping and no pixel added, and

    width = min(x1 + w1, x2 + w2) - max(x1, x2), height likewise;   0 where either is not positive
    IoU   = width * height / (w1 * h1 + w2 * h2 - width * height)

so a box of zero or negative width or height overlaps nothing and its IoU is 0 with every box.

>>> import jax.numpy as jnp
>>> box_iou(jnp.array([[0.0, 0.0, 10.0, 10.0]]), jnp.array([[0.0, 5.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]])).tolist()
[[0.5, 0.0]]
"""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from . import _double_float as df
from ._candidates import Ratio
from ._double_float import DoubleFloat

__all__ = ["BOX_FORMATS", "BoxGeometry", "approximate_iou", "box_geometry", "box_iou", "box_ratio"]

BOX_FORMATS = ("xyxy", "xywh", "cxcywh", "yxyx")


class BoxGeometry(NamedTuple):
    """Boxes as origin and size, in double-float: what every box format is brought to.

    Attributes:
      origin: `[..., 2]`, x and y of the corner nearest to zero.
      size: `[..., 2]`, width and height.
      area: `[...]`, width times height.
    """

    origin: DoubleFloat
    size: DoubleFloat
    area: DoubleFloat

    def __getitem__(self, index: object) -> BoxGeometry:  # type: ignore[override]
        """Indexes the boxes, as an array of them is indexed."""
        return BoxGeometry(*(part[index] for part in (self.origin, self.size, self.area)))


def box_geometry(boxes: jax.Array, box_format: str) -> BoxGeometry:
    """Brings boxes of any format to origin and size, exactly.

    Args:
      boxes: `[..., 4]` float32.
      box_format: one of `xyxy`, `xywh`, `cxcywh` (centre), `yxyx`.

    Raises:
      ValueError: if the box format is unknown.
    """
    first, second = boxes[..., :2], boxes[..., 2:]
    zero = jnp.zeros_like(first)
    if box_format == "xywh":
        origin, size = DoubleFloat(first, zero), DoubleFloat(second, zero)
    elif box_format == "cxcywh":
        origin, size = df.from_sum(first, -0.5 * second), DoubleFloat(second, zero)
    elif box_format == "xyxy":
        origin, size = DoubleFloat(first, zero), df.from_sum(second, -first)
    elif box_format == "yxyx":
        return box_geometry(boxes[..., jnp.array([1, 0, 3, 2])], "xyxy")
    else:
        raise ValueError(f"`box_format` must be one of {list(BOX_FORMATS)}, got {box_format!r}.")
    return BoxGeometry(origin=origin, size=size, area=df.multiply(size[..., 0], size[..., 1]))


def approximate_iou(detections: BoxGeometry, ground_truths: BoxGeometry, crowd: jax.Array) -> jax.Array:
    """IoU of every pair in plain float32, within 1e-5 of the true value: good for choosing pairs, not for deciding.

    Positions are taken relative to the ground truth first, so that small boxes far from the origin keep their precision.

    Args:
      detections: geometry of `[D]` boxes.
      ground_truths: geometry of `[G]` boxes.
      crowd: `[G]` bool.

    Returns:
      `[D, G]` float32.
    """
    one, other = detections[:, None], ground_truths[None, :]
    offset = (one.origin.hi - other.origin.hi) + (one.origin.lo - other.origin.lo)
    overlap = jnp.minimum(offset + one.size.hi, other.size.hi) - jnp.maximum(offset, 0.0)
    width, height = overlap[..., 0], overlap[..., 1]
    touches = (width > 0) & (height > 0)
    intersection = jnp.where(touches, width * height, 0.0)
    union = jnp.where(crowd[None, :], one.area.hi, one.area.hi + other.area.hi - intersection)
    return jnp.where(touches, intersection / jnp.where(touches, union, 1.0), 0.0)


def box_ratio(detections: BoxGeometry, ground_truths: BoxGeometry, crowd: jax.Array) -> Ratio:
    """IoU of pairs as an exact fraction, by broadcasting the two sides' shapes.

    Args:
      detections: geometry of boxes, for example `[D, 1]`.
      ground_truths: geometry of boxes whose shape broadcasts with the detections', for example `[1, G]`.
      crowd: bool of the ground truths' shape.

    Returns:
      Numerator and denominator in double-float; 0 / 1 where the boxes do not overlap.
    """
    start = _maximum(detections.origin, ground_truths.origin)
    stop = df.negate(
        _maximum(
            df.negate(df.add(detections.origin, detections.size)),
            df.negate(df.add(ground_truths.origin, ground_truths.size)),
        )
    )
    overlap = df.add(stop, df.negate(start))
    touches = (overlap.hi > 0).all(-1)
    intersection = df.multiply(overlap[..., 0], overlap[..., 1])
    union = df.add(df.add(detections.area, ground_truths.area), df.negate(intersection))
    denominator = df.where(crowd, detections.area, union)
    return Ratio(
        numerator=df.where(touches, intersection, df.constant(0.0)),
        denominator=df.where(touches, denominator, df.constant(1.0)),
    )


def box_iou(
    boxes: ArrayLike, other_boxes: ArrayLike, *, box_format: str = "xyxy", crowd: ArrayLike | None = None
) -> jax.Array:
    """IoU of every pair of boxes, in [0, 1], rounded once from about 46 exact bits.

    Args:
      boxes: `[D, 4]` float, detections.
      other_boxes: `[G, 4]` float, ground truths.
      box_format: one of `xyxy`, `xywh`, `cxcywh` (centre), `yxyx`; pixels or any other unit.
      crowd: `[G]` bool; where True the value is the intersection over the detection's area.

    Returns:
      `[D, G]` float32; batch with `jax.vmap`.

    Raises:
      ValueError: if an input is not `[n, 4]`, or the box format is unknown.

    References: pycocotools maskApi.c, bbIou.
    """
    sides = []
    for name, value in (("boxes", boxes), ("other_boxes", other_boxes)):
        array = jnp.asarray(value, jnp.float32)
        if array.ndim != 2 or array.shape[-1] != 4:
            raise ValueError(f"`{name}` must have shape [n, 4], got {list(array.shape)}; use `jax.vmap` for batches.")
        sides.append(box_geometry(array, box_format))
    crowd = jnp.zeros(sides[1].area.hi.shape, bool) if crowd is None else jnp.asarray(crowd, bool)
    chex.assert_shape(crowd, sides[1].area.hi.shape)
    return box_ratio(sides[0][:, None], sides[1][None, :], crowd[None, :]).quotient()


def _maximum(a: DoubleFloat, b: DoubleFloat) -> DoubleFloat:
    return df.where(df.add(a, df.negate(b)).hi > 0, a, b)
