"""Matching: every detection, in score order, takes the best ground truth that is still free, under all planes at once.

One `lax.scan` over the detections. The state is one bit for each (ground truth, area range, IoU threshold): taken. A
step reads and writes only the few candidates of its detection, each plane being one bit of a word, so all thresholds
and area ranges cost a handful of integer operations. No floating point enters: the result is the same on any device.

The rules are pycocotools' (cocoeval.py, evaluateImg): a ground truth that counts beats every ignored one that is in
reach, a crowd may be taken any number of times, everything else once; or every ignored one any number of times.
"""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .types import Candidates

__all__ = ["match"]

MAX_UNROLL = 8


def match(
    candidates: Candidates,
    *,
    counted: jax.Array,
    crowd: jax.Array,
    levels: ArrayLike,
    ignored_absorb: bool = False,
) -> jax.Array:
    """Matches the detections of one cell (an image, or a class of an image); batch with `jax.vmap`.

    Args:
      candidates: of `[D, C]`, the detections by descending score, the candidates of each best first.
      counted: `[G, W]` uint32, the planes in which each ground truth counts (is not ignored).
      crowd: `[G]` bool, ground truths that may be taken again.
      levels: `[T + 1, W]` uint32, the planes that a pair of each level passes (`planes.level_words`).
      ignored_absorb: static; True where any ground truth may be taken again in the planes in which it does not count.

    Returns:
      `[D, C, W]` uint32: the planes in which each detection takes each of its candidates; at most one for a plane.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxmap.planes import level_words
      >>> both_want_0 = Candidates(index=jnp.array([[0], [0]]), level=jnp.array([[1], [1]]))
      >>> one = jnp.ones((1, 1), jnp.uint32)
      >>> match(both_want_0, counted=one, crowd=jnp.array([False]), levels=level_words(1, 1)).ravel().tolist()
      [1, 0]

    References: pycocotools cocoeval.py, evaluateImg; serial dictatorship.
    """
    num_ground_truths, num_words = counted.shape
    chex.assert_equal_shape([candidates.index, candidates.level])
    chex.assert_shape(crowd, (num_ground_truths,))
    levels = jnp.asarray(levels)
    chex.assert_shape(levels, (None, num_words))
    if not candidates.index.size or not num_ground_truths:
        return jnp.zeros((*candidates.index.shape, num_words), jnp.uint32)
    # Padding points to a row behind the last ground truth that nothing ever passes, so that no index needs a check.
    index = jnp.where(candidates.level > 0, candidates.index, num_ground_truths).astype(jnp.int32)
    counted = jnp.concatenate([counted, jnp.zeros((1, num_words), jnp.uint32)])
    kept = jnp.where(jnp.append(crowd, False), jnp.uint32(0), ~jnp.uint32(0))[:, None]
    passes, counts, keeps = _rows(levels, candidates.level.astype(jnp.int32)), _rows(counted, index), _rows(kept, index)
    if ignored_absorb:
        keeps = keeps & counts

    def step(taken: jax.Array, row: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        index, passes, counts, keeps = row
        before = _rows(taken, index)
        free = passes & ~before
        first, claimed = _first_of_each_bit(free & counts, jnp.zeros_like(taken[0]))
        chosen = first | _first_of_each_bit(free & ~counts, claimed)[0]
        return taken.at[index].set(before | (chosen & keeps), mode="promise_in_bounds"), chosen

    taken = jnp.zeros_like(counted)
    return jax.lax.scan(step, taken, (index, passes, counts, keeps))[1]


def _rows(table: jax.Array, index: jax.Array) -> jax.Array:
    return table.at[index].get(mode="promise_in_bounds")


def _first_of_each_bit(words: jax.Array, seen: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Keeps of every bit of `[C, W]` only its first occurrence that is not in `seen` `[W]`; also returns all seen."""

    def step(seen: jax.Array, word: jax.Array) -> tuple[jax.Array, jax.Array]:
        return seen | word, word & ~seen

    # Short lists, the rule, become straight code; long ones, of crowded scenes, would make an endless program.
    seen, first = jax.lax.scan(step, seen, words, unroll=min(len(words), MAX_UNROLL))
    return first, seen
