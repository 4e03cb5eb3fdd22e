"""Pairing: takes pairs in one order of preference, each detection and ground truth at most once.

This is greedy matching over all pairs of an image. A pair that is first among the pairs of its detection and among
those of its ground truth is always taken, so all such pairs are taken at once and the other pairs of both sides are
removed; after a few rounds no pair is left. A CPU pairs short lists, `pair_greedily`, of which it knows the order.
Accelerators compare all pairs in each round, `pair_all`.
"""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from .._candidates._device import most_similar
from .._geometry._double_float import DoubleFloat
from ..types import UNMATCHED

__all__ = ["NO_PAIR", "pair_all", "pair_greedily"]

NO_PAIR = 2**31 - 1  # the position of a pair that must not be taken


def pair_greedily(index: jax.Array, place: jax.Array, *, num_ground_truths: int) -> jax.Array:
    """Pairs the detections of one image with its ground truths; batch with `jax.vmap`.

    Args:
      index: `[D, C]` int32, the ground truth of each pair.
      place: `[D, C]` int32, the position in the order of preference, from 0, distinct; `NO_PAIR` where there is no
        pair.
      num_ground_truths: G.

    Returns:
      `[D]` int32, the ground truth that each detection takes; `UNMATCHED` for none.

    Example:
      >>> both_want_0_first = jnp.array([[0, 1], [0, 1]])
      >>> pair_greedily(both_want_0_first, jnp.array([[1, 3], [0, 2]]), num_ground_truths=2).tolist()
      [1, 0]
    """
    chex.assert_equal_shape([index, place])
    chex.assert_rank(index, 2)

    def is_left(state: tuple[jax.Array, jax.Array]) -> jax.Array:
        return (state[0] != NO_PAIR).any()

    def take_certain(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        place, partner = state
        first_of_ground_truth = jnp.full(num_ground_truths, NO_PAIR, jnp.int32).at[index].min(place)
        first_of_detection = place.min(-1, keepdims=True)
        certain = (place != NO_PAIR) & (place == first_of_detection) & (place == first_of_ground_truth[index])
        partner = jnp.where(certain, index, partner[:, None]).max(-1)  # at most one is, and without it all are equal
        taken = jnp.zeros(num_ground_truths, bool).at[index].max(certain)
        struck_out = certain.any(-1, keepdims=True) | taken[index]
        return jnp.where(struck_out, NO_PAIR, place), partner

    nobody = jnp.full_like(place, UNMATCHED, shape=place.shape[:1])
    if not index.size or not num_ground_truths:
        return nobody
    return jax.lax.while_loop(is_left, take_certain, (place.astype(jnp.int32), nobody))[1]


def pair_all(
    similarity: DoubleFloat, allowed: jax.Array, *, by_detection: bool, preferred: jax.Array | None = None
) -> jax.Array:
    """Pairs the detections of a batch with its ground truths.

    Of the pairs of a detection, the most similar is first, of equal ones that of the later ground truth. Of equal pairs
    of different detections, that of the earlier detection is first.

    Args:
      similarity: `[I, D, G]`.
      allowed: `[I, D, G]` bool, the pairs.
      by_detection: whether all pairs of an earlier detection are before those of a later one.
      preferred: `[I, D, G]` bool, pairs that are before all others; None if none are.

    Returns:
      `[I, D, G]` bool, the pairs that are taken.
    """

    def first(left: jax.Array, axis: int) -> jax.Array:
        if preferred is not None:
            better = left & preferred
            left = jnp.where(better.any(axis, keepdims=True), better, left)
        if by_detection and axis == -2:
            row = jax.lax.broadcasted_iota(jnp.int32, left.shape, left.ndim - 2)
            return left & (row == jnp.where(left, row, left.shape[-2]).min(-2, keepdims=True))
        return most_similar(similarity, left, axis=axis, last=axis == -1)

    def take_certain(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        left, taken = state
        certain = first(left, -1) & first(left, -2)
        struck_out = certain.any(-1, keepdims=True) | certain.any(-2, keepdims=True)
        return left & ~struck_out, taken | certain

    return jax.lax.while_loop(lambda state: state[0].any(), take_certain, (allowed, jnp.zeros_like(allowed)))[1]
