"""Similarity of dense masks: pixels counted as integers, and the boundaries of masks.

Intersections are a product of matrices, `[D, pixels] x [pixels, G]`, in float32 without reduced precision, in blocks of
so many pixels that every partial sum is exact; blocks are added up in int32.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from . import _double_float as df
from ._double_float import DoubleFloat

__all__ = ["boundary_of", "mask_area", "mask_iou"]

PIXELS_AT_ONCE = 1 << 14  # of every mask; as float32, since masks travel as bytes


def mask_iou(masks: jax.Array, other_masks: jax.Array, crowd: jax.Array) -> DoubleFloat:
    """IoU of every pair of masks, or, with a crowd, the share of the detection's pixels inside.

    Args:
      masks: `[D, H, W]` bool, detections.
      other_masks: `[G, H, W]` bool, ground truths.
      crowd: `[G]` bool.

    Returns:
      `[D, G]`; 0 where a union is empty.
    """
    intersection = _intersections(masks, other_masks)
    area, other_area = _count(masks)[:, None], _count(other_masks)[None, :]
    union = jnp.where(crowd[None, :], area, area + other_area - intersection)
    quotient = df.divide(df.from_integers(intersection), df.from_integers(jnp.maximum(union, 1)))
    return df.where(union > 0, quotient, df.constant(0.0))


def mask_area(masks: jax.Array) -> DoubleFloat:
    """Returns how many pixels each mask has, `[N]`."""
    return df.from_integers(_count(masks))


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


def _count(masks: jax.Array) -> jax.Array:
    return masks.sum((1, 2), dtype=jnp.int32)


def _intersections(masks: jax.Array, other_masks: jax.Array) -> jax.Array:
    """Returns `[D, G]` int32."""
    num_pixels = masks.shape[1] * masks.shape[2]
    size = min(PIXELS_AT_ONCE, num_pixels)
    num_blocks = -(-num_pixels // max(size, 1))

    def blocks(side: jax.Array) -> jax.Array:
        flat = jnp.pad(side.reshape(len(side), num_pixels), ((0, 0), (0, num_blocks * size - num_pixels)))
        return flat.reshape(len(side), num_blocks, size).swapaxes(0, 1)

    def add(total: jax.Array, block: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        one, other = (side.astype(jnp.float32) for side in block)
        shared = jnp.matmul(one, other.T, precision=jax.lax.Precision.HIGHEST)
        return total + shared.astype(jnp.int32), None

    nothing = jnp.zeros((len(masks), len(other_masks)), jnp.int32)
    return jax.lax.scan(add, nothing, (blocks(masks), blocks(other_masks)))[0]
