"""Matching by rounds of deferred acceptance: the kernel for GPUs, where every step of a loop is a launch.

In every plane, each detection proposes to the best ground truth that is open to it, and a ground truth is open to
detections up to the best-scored one that proposed to it so far. When nobody meets another, each detection has what it
gets in order of score, after two to four rounds on ordinary images; `match` takes a step for every detection.

References: Gale and Shapley 1962. All ground truths prefer the better score, so the stable assignment is the greedy
one.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from .._candidates._device import similarity_order
from .._geometry._double_float import DoubleFloat
from .._planes import WORD_BITS
from ._dense_kernel import DensePairs

__all__ = ["MAX_GROUND_TRUTHS", "match_by_rounds"]

# The place of a pair and the number of its ground truth share an int32 key with two flags.
MAX_GROUND_TRUTHS = (1 << 14) - 1
_NOTHING = np.int32(2**31 - 1)


def match_by_rounds(pairs: DensePairs) -> tuple[jax.Array, jax.Array]:
    """Matches a batch of images.

    Args:
      pairs: arrays `[I, ...]`, with at most `MAX_GROUND_TRUTHS` ground truths.

    Returns:
      `[I, D, W]` int32, the planes in which each detection takes a ground truth, and those in which it takes an ignored
      one.
    """
    num_detections, num_ground_truths = pairs.high.shape[1:]
    bits = num_ground_truths.bit_length()  # so that the number in `_NOTHING` is no ground truth's
    # In a key, a ground truth that may be taken once has another number than a crowd, which nobody can be met at.
    number = np.arange(num_ground_truths, dtype=np.int32) << 1
    row = np.arange(num_detections, dtype=np.int32)[:, None]
    # Pairs that reach no threshold come last of themselves.
    place = similarity_order(DoubleFloat(pairs.high, pairs.low), jnp.ones((1, 1, num_ground_truths), bool))
    rank = (place << bits + 1 | number[None, None])[:, None, None]
    counted, once = (_spread(words[:, :, None]) for words in (pairs.counted, pairs.kept))  # [I, W, 32, 1, G]
    ignored = np.int32(2 << 2 * bits)
    flags = jnp.where(counted, np.int32(0), ignored) | once.astype(jnp.int32)

    def propose(carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        first = carry[1]
        # What a detection prefers, the smallest first: counted ground truths, then ignored ones, each by similarity.
        is_open = _spread(pairs.reached) & (first[..., None, :] >= row[None, None, None])
        choice = jnp.where(is_open, rank | flags, _NOTHING).min(-1)  # [I, W, 32, D]
        is_choice = (choice[..., None] ^ (number + 1)[None, None, None, None]) & np.int32((2 << bits) - 1) == 0
        first = jnp.where(is_choice, row[None, None, None], np.int32(num_detections)).min(-2)  # [I, W, 32, G]
        last = jnp.where(is_choice, row[None, None, None], np.int32(-1)).max(-2)
        return choice, first, (first < last).any()

    # Like the data, so that they vary over the devices of a `shard_map` as they do.
    zeros = jnp.zeros_like(pairs.counted[:, :, None, :1])
    planes = *pairs.counted.shape[:2], WORD_BITS
    choice = jnp.broadcast_to(zeros - 1, (*planes, num_detections))
    first = jnp.broadcast_to(zeros + num_detections, (*planes, num_ground_truths))
    choice, *_ = jax.lax.while_loop(lambda carry: carry[2], propose, (choice, first, (zeros == 0).any()))
    matched = choice != _NOTHING
    return _packed(matched), _packed(matched & (choice & ignored != 0))


def _spread(words: jax.Array) -> jax.Array:
    """Converts `[I, W, ...]` int32 words to `[I, W, 32, ...]` bool."""
    bit = jnp.arange(WORD_BITS, dtype=jnp.int32).reshape(1, 1, -1, *(1,) * (words.ndim - 2))
    return (words[:, :, None] >> bit) & 1 == 1


def _packed(flags: jax.Array) -> jax.Array:
    """Converts `[I, W, 32, D]` bool to `[I, D, W]` int32 words."""
    bit = np.left_shift(np.uint32(1), np.arange(WORD_BITS, dtype=np.uint32)).view(np.int32)
    words = jnp.where(flags, bit[None, None, :, None], np.int32(0)).sum(2, dtype=jnp.int32)
    return jnp.moveaxis(words, 1, -1)
