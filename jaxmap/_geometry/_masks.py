"""Similarity of dense masks: pixels counted as integers, and the boundaries of masks.

Intersections are a product of matrices, `[D, pixels] x [pixels, G]`, in float32 without reduced precision, in blocks of
so many pixels that every partial sum is exact; blocks are added up in int32.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from . import _double_float as df
from ._double_float import DoubleFloat

__all__ = ["boundary_of", "mask_iou"]

PIXELS_AT_ONCE = 1 << 14  # of every mask; as float32, since masks travel as bytes


def mask_iou(
    masks: jax.Array, other_masks: jax.Array, crowd: jax.Array
) -> tuple[DoubleFloat, DoubleFloat, DoubleFloat]:
    """IoU of every pair of masks, or, with a crowd, the share of the detection's pixels inside; and their areas.

    Args:
      masks: `[D, H, W]` bool, detections.
      other_masks: `[G, H, W]` bool, ground truths.
      crowd: `[G]` bool.

    Returns:
      `[D, G]`, 0 where a union is empty; `[D]` and `[G]` pixels.
    """
    intersection, area, other_area = _counts(masks, other_masks)
    union = jnp.where(crowd[None, :], area[:, None], area[:, None] + other_area[None, :] - intersection)
    quotient = df.divide(df.from_integers(intersection), df.from_integers(jnp.maximum(union, 1)))
    iou = df.where(union > 0, quotient, df.constant(0.0))
    return iou, df.from_integers(area), df.from_integers(other_area)


def boundary_of(masks: jax.Array, ratio: float) -> jax.Array:
    """Returns the pixels of `[N, H, W]` masks within a share of the diagonal of their contour, as `rle` does."""
    height, width = masks.shape[1:]
    distance = max(round(ratio * float((height**2 + width**2) ** 0.5)), 1)
    eroded = masks
    for axis in (1, 2):
        window = [1, 1, 1]
        window[axis] = 2 * distance + 1
        padding = [(0, 0)] * 3
        padding[axis] = (distance, distance)  # outside the image nothing is set
        padded = jnp.pad(eroded, padding)
        eroded = jax.lax.reduce_window(padded, True, jax.lax.bitwise_and, tuple(window), (1, 1, 1), "valid")
    return masks & ~eroded


def _counts(masks: jax.Array, other_masks: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the pixels that pairs share, `[D, G]` int32, and those of each mask, `[D]` and `[G]`.

    All in one loop over blocks: a sum over whole masks would first be a copy of them four times as large.
    """
    num_pixels = masks.shape[1] * masks.shape[2]
    size = min(PIXELS_AT_ONCE, num_pixels)
    sides = masks.reshape(len(masks), num_pixels), other_masks.reshape(len(other_masks), num_pixels)

    def add(block: jax.Array, totals: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        start = jnp.minimum(block * size, num_pixels - size)  # the last block starts where it fits
        new = start + jnp.arange(size, dtype=jnp.int32) >= block * size
        one, other = (
            (jax.lax.dynamic_slice_in_dim(side, start, size, axis=1) & new[None]).astype(jnp.float32) for side in sides
        )
        shared = jnp.matmul(one, other.T, precision=jax.lax.Precision.HIGHEST)
        counts = (shared, one.sum(1), other.sum(1))
        return tuple(total + count.astype(jnp.int32) for total, count in zip(totals, counts, strict=True))

    shapes = ((len(masks), len(other_masks)), (len(masks),), (len(other_masks),))
    nothing = tuple(jnp.zeros(shape, jnp.int32) for shape in shapes)
    shared, area, other_area = jax.lax.fori_loop(0, -(-num_pixels // max(size, 1)), add, nothing)
    return shared, area, other_area
