"""From the matches of an image to the planes in which each detection is matched or ignored, inside `jit`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from ..types import Words

__all__ = ["counted_words", "first_in_groups", "outcome"]


def counted_words(counted: jax.Array, areas: Words) -> jax.Array:
    """Expands flags per area range to planes.

    Args:
      counted: `[..., A]` bool; for a ground truth, whether it is not ignored in that range; for a detection, whether it
        is inside.
      areas: `[A, W]` uint32 (`area_words`).

    Returns:
      `[..., W]` uint32.
    """
    words = jnp.where(counted[..., None], areas.reshape((1,) * (counted.ndim - 1) + areas.shape), np.uint32(0))
    return words.sum(-2, dtype=jnp.uint32)  # the planes of the ranges are disjoint, so the sum is the union


def outcome(
    chosen: jax.Array, candidate_index: jax.Array, *, counted: jax.Array, inside: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Converts the matches of one image to the two flags of a record.

    A matched detection is ignored where its ground truth is; an unmatched one where its area is out of range.

    Args:
      chosen: `[D, C, W]` uint32, from `match`.
      candidate_index: `[D, C]` int32.
      counted: `[G, W]` uint32, the planes in which each ground truth is counted.
      inside: `[D, W]` uint32, the planes whose area range contains the area of the detection.

    Returns:
      matched `[D, W]` and ignored `[D, W]`, uint32.

    References: pycocotools cocoeval.py, evaluateImg.
    """
    matched = jax.lax.reduce(chosen, np.uint32(0), jax.lax.bitwise_or, (1,))
    on_ignored = chosen & ~counted[candidate_index]
    return matched, jax.lax.reduce(on_ignored, np.uint32(0), jax.lax.bitwise_or, (1,)) | ~(matched | inside)


def first_in_groups(taken: jax.Array, group: jax.Array, groups: jax.Array) -> jax.Array:
    """Returns the planes in which each detection is the first that a group takes, and so a true positive.

    Args:
      taken: `[D, W]` uint32, the planes in which a crowd takes each detection; detections by descending score.
      group: `[D]` int32, that crowd.
      groups: `[G, W]` uint32, the planes in which each crowd counts as one ground truth.

    Returns:
      `[D, W]` uint32.

    References: TensorFlow object detection API, per_image_evaluation.py, compute_match_ioa.
    """
    rows = np.arange(len(group))
    before = (group[:, None] == group[None, :]) & (rows[:, None] > rows[None, :])
    earlier = jnp.where(before[..., None], taken[None], np.uint32(0))
    first: jax.Array = taken & ~jax.lax.reduce(earlier, np.uint32(0), jax.lax.bitwise_or, (1,)) & groups[group]
    return first
