"""The IoU of oriented boxes with JAX, and what is odd about them; the rule is stated in `_oriented`.

>>> import jax.numpy as jnp
>>> plus = jnp.array([[0.0, 0.0, 3.0, 1.0, 0.0], [0.0, 0.0, 3.0, 1.0, jnp.pi / 2]])
>>> print(oriented_box_iou(plus, plus).round(3))
[[1.  0.2]
 [0.2 1. ]]
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from . import _double_float as df
from ._boxes import check_boxes, check_crowd, size_oddities
from ._device import DenseSimilarity, dense_similarity, single
from ._double_float import DoubleFloat
from ._oriented import oriented_iou
from ._record import Constants, Oddities

__all__ = ["image_similarity", "oriented_box_iou", "oriented_oddities"]


def oriented_box_iou(boxes: ArrayLike, other_boxes: ArrayLike, *, crowd: ArrayLike | None = None) -> jax.Array:
    """Returns the IoU of every pair of oriented boxes, in [0, 1].

    The rectangles are intersected exactly; this is not the Gaussian approximation that some detectors are trained with.
    It is 0 for boxes that only touch, and for boxes of zero or negative width or height.

    Args:
      boxes: `[D, 5]` float, detections: centre x and y, width, height, and the angle in radians by which the box is
        turned from the x axis towards the y axis (clockwise on a screen).
      other_boxes: `[G, 5]` float, ground truths.
      crowd: `[G]` bool; where True, the value is the intersection over the area of the detection.

    Returns:
      `[D, G]` float32, within 1e-5 if no box is more than 100 times longer than wide; batch with `jax.vmap`.

    Raises:
      ValueError: if an input is not `[n, 5]`.
      TypeError: if an input does not hold real numbers, or `crowd` is not flags.
    """
    one, other = check_boxes("boxes", boxes, 5), check_boxes("other_boxes", other_boxes, 5)
    iou: jax.Array = _compiled_iou(one[:, None], other[None, :], check_crowd(crowd, len(other))[None, :])
    return iou


_compiled_iou = jax.jit(oriented_iou)  # else hundreds of small operations would be compiled one by one


def image_similarity(
    shapes: dict[str, jax.Array],
    ground_truth_shapes: dict[str, jax.Array],
    crowd: jax.Array,
    area: jax.Array | None,
    *,
    constants: Constants,
    box_format: str,
) -> DenseSimilarity:
    """Returns the similarity of the oriented boxes of one image."""
    boxes, other_boxes = shapes["boxes"], ground_truth_shapes["boxes"]
    iou = oriented_iou(boxes[:, None], other_boxes[None, :], crowd[None, :])
    return dense_similarity(single(iou), _size_area(boxes), _size_area(other_boxes), area)


def _size_area(boxes: jax.Array) -> DoubleFloat:
    """Returns width times height of `[N, 5]` boxes."""
    zero = jnp.zeros_like(boxes[:, 0])
    return df.multiply(DoubleFloat(boxes[:, 2], zero), DoubleFloat(boxes[:, 3], zero))


def oriented_oddities(
    shapes: dict[str, jax.Array], ground_truth_shapes: dict[str, jax.Array], similarity: DenseSimilarity
) -> Oddities:
    """Finds what `box_oddities` finds, and angles that are unlikely to be in radians."""
    one, other = shapes["boxes"], ground_truth_shapes["boxes"]
    areas = similarity.area.hi, similarity.ground_truth_area.hi
    turned = jnp.abs(one[:, 4]) > np.float32(2 * np.pi), jnp.abs(other[:, 4]) > np.float32(2 * np.pi)
    sizes = (one[:, 2], one[:, 3]), (other[:, 2], other[:, 3])
    return size_oddities((one, other), sizes, areas)._replace(turned=turned)
