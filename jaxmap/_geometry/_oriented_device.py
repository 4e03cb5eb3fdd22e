"""Similarity of oriented boxes: IoU of the rectangles themselves, and intersection over detection area for a crowd.

>>> import jax.numpy as jnp
>>> boxes = jnp.array([[0.0, 0.0, 3.0, 1.0, 0.0], [0.0, 0.0, 3.0, 1.0, jnp.pi / 2]])  # a plus sign
>>> print(oriented_box_iou(boxes, boxes).round(3))
[[1.  0.2]
 [0.2 1. ]]
"""

from __future__ import annotations

import jax
from jax.typing import ArrayLike

from ._boxes import check_boxes, check_crowd
from ._oriented import oriented_iou

__all__ = ["oriented_box_iou"]

_compiled_iou = jax.jit(oriented_iou)  # else, outside of `jit`, hundreds of small operations are compiled one by one


def oriented_box_iou(boxes: ArrayLike, other_boxes: ArrayLike, *, crowd: ArrayLike | None = None) -> jax.Array:
    """IoU of every pair of oriented boxes, in [0, 1].

    The rectangles are intersected as they are; this is not the Gaussian approximation that some detectors train with.
    Boxes that only touch, and boxes of zero or negative width or height, have 0.

    Args:
      boxes: `[D, 5]` float, detections: centre x and y, width, height, and the angle in radians by which the box is
        turned from the x axis towards the y axis (clockwise on a screen).
      other_boxes: `[G, 5]` float, ground truths.
      crowd: `[G]` bool; where True the value is the intersection over the detection's area.

    Returns:
      `[D, G]` float32, within 1e-5 while no box is more than 100 times longer than wide; batch with `jax.vmap`.

    Raises:
      ValueError: if an input is not `[n, 5]`.
      TypeError: if an input does not hold real numbers, or `crowd` no flags.
    """
    one, other = check_boxes("boxes", boxes, 5), check_boxes("other_boxes", other_boxes, 5)
    return _compiled_iou(one[:, None], other[None, :], check_crowd(crowd, len(other))[None, :])
