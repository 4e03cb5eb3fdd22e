"""Matching by rounds of deferred acceptance: the kernel for GPUs, where every step of a loop is a launch.

In every plane, each detection proposes to the best ground truth that has not refused it, and a ground truth refuses all
but the proposer with the best score. When nobody is refused, each detection has what it gets in order of score, after
two to four rounds on ordinary images; `match` takes a step for every detection.

References: Gale and Shapley 1962. All ground truths prefer the better score, so the stable assignment is the greedy
one.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from .._candidates._device import ABSENT, similarity_order
from .._geometry._double_float import DoubleFloat
from .._planes import WORD_BITS
from ._dense_kernel import DensePairs

__all__ = ["MAX_GROUND_TRUTHS", "match_by_rounds"]

# The place of a pair and the number of its ground truth share an int32 key with two flags.
MAX_GROUND_TRUTHS = 1 << 14
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
    bits = (num_ground_truths - 1).bit_length()
    number = jnp.arange(num_ground_truths, dtype=jnp.int32)
    place = similarity_order(DoubleFloat(pairs.high, pairs.low), pairs.high > ABSENT)
    rank = ((place << bits) | number[None, None]) << 1
    counted, once = (_spread(words[:, :, None]) for words in (pairs.counted, pairs.kept))  # [I, W, 32, 1, G]
    ignored = np.int32(2 << 2 * bits)
    nobody = -1 - jnp.arange(num_detections, dtype=jnp.int32)[None, None, None]
    earlier = np.tri(num_detections, k=-1, dtype=bool)

    def propose(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        choice, refused = carry  # [I, W, 32, D]; those of the last round
        bound = choice + refused.astype(jnp.int32)
        # What a detection prefers, the smallest first: counted ground truths, then ignored ones, each by similarity.
        keys = rank[:, None, None] | jnp.where(counted, np.int32(0), ignored) | once.astype(jnp.int32)
        keys = jnp.where(_spread(pairs.reached) & (keys >= bound[..., None]), keys, _NOTHING)  # [I, W, 32, D, G]
        choice = keys.min(-1)
        # Who proposes to a ground truth that may be taken once meets others there; all others meet nobody.
        meets = (choice & 1 == 1) & (choice != _NOTHING)
        meeting = jnp.where(meets, (choice >> 1) & ((1 << bits) - 1), nobody)
        return choice, ((meeting[..., :, None] == meeting[..., None, :]) & earlier[None, None, None]).any(-1)

    shape = (*pairs.counted.shape[:2], WORD_BITS, num_detections)
    unbound = jnp.broadcast_to(jnp.full_like(pairs.counted[:, :, None, :1], -1), shape)
    choice, _ = jax.lax.while_loop(lambda carry: carry[1].any(), propose, (unbound, unbound < 0))
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
