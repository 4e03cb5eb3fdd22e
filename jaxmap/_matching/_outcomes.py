"""From the matches of an image to the planes in which each of its detections is matched or ignored, inside `jit`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from ..types import Words

__all__ = ["counted_words", "outcome"]


def counted_words(counted: jax.Array, areas: Words) -> jax.Array:
    """Spreads one bit for each area range over the planes.

    Args:
      counted: `[..., A]` bool, for a ground truth: not ignored in that range; for a detection: inside it.
      areas: `[A, W]` uint32 (`planes.area_words`).

    Returns:
      `[..., W]` uint32.
    """
    words = jnp.where(counted[..., None], areas.reshape((1,) * (counted.ndim - 1) + areas.shape), np.uint32(0))
    return words.sum(-2, dtype=jnp.uint32)  # the ranges' planes are disjoint, so the sum is the union


def outcome(
    chosen: jax.Array, candidate_index: jax.Array, *, counted: jax.Array, inside: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Turns the matches of one cell into the two flags of a record.

    A matched detection is ignored where its ground truth is; an unmatched one where its own area is out of range.

    Args:
      chosen: `[D, C, W]` uint32, from `matching.match`.
      candidate_index: `[D, C]` int32.
      counted: `[G, W]` uint32, the planes in which each ground truth counts.
      inside: `[D, W]` uint32, the planes whose area range holds the detection's area.

    Returns:
      matched `[D, W]` and ignored `[D, W]`, uint32.

    References: pycocotools cocoeval.py, evaluateImg.
    """
    matched = jax.lax.reduce(chosen, np.uint32(0), jax.lax.bitwise_or, (1,))
    on_ignored = chosen & ~counted[candidate_index]
    return matched, jax.lax.reduce(on_ignored, np.uint32(0), jax.lax.bitwise_or, (1,)) | ~(matched | inside)
