"""Matching: in order of score, every detection takes the best ground truth that is still free, in all planes at once.

One `lax.scan` over the detections. The state is one bit per (ground truth, area range, IoU threshold), which is set
when it is taken. A step reads and writes only the few candidates of its detection, and each plane is one bit of a word,
so all thresholds and area ranges cost a few integer operations. There is no floating point, so the result is the same
on any device.

The rules are pycocotools' (cocoeval.py, evaluateImg): a counted ground truth is preferred to every ignored one, a crowd
may be taken any number of times, and everything else once; with `ignored_absorb`, every ignored ground truth any number
of times.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ..types import Candidates

__all__ = ["match"]


def match(
    candidates: Candidates[jax.Array],
    *,
    counted: jax.Array,
    crowd: jax.Array,
    levels: ArrayLike,
    ignored_absorb: bool = False,
) -> jax.Array:
    """Matches the detections of one image, or of one class in an image; batch with `jax.vmap`.

    Args:
      candidates: `[D, C]`, the detections by descending score, the candidates of each best first.
      counted: `[G, W]` uint32, the planes in which each ground truth is counted (not ignored).
      crowd: `[G]` bool, ground truths that may be taken again.
      levels: `[T + 1, W]` uint32, the planes whose threshold a pair of each level reaches (`jaxmap.level_words`).
      ignored_absorb: static; True if every ground truth may be taken again in the planes in which it is not counted.

    Raises:
      ValueError: if a shape is not as described.
      TypeError: if candidates or words are not integers.

    Returns:
      `[D, C, W]` uint32, the planes in which each detection takes each of its candidates; at most one candidate per
      plane.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxmap import level_words
      >>> both_want_0 = Candidates(index=jnp.array([[0], [0]]), level=jnp.array([[1], [1]]))
      >>> one = jnp.ones((1, 1), jnp.uint32)
      >>> match(both_want_0, counted=one, crowd=jnp.array([False]), levels=level_words(1, 1)).ravel().tolist()
      [1, 0]

    References: pycocotools cocoeval.py, evaluateImg; serial dictatorship.
    """
    kinds = {"candidates.index": candidates.index, "candidates.level": candidates.level, "counted": counted}
    for name, value in kinds.items():
        if not jnp.issubdtype(jnp.result_type(value), jnp.integer):
            raise TypeError(f"`{name}` must hold integers, got dtype {jnp.result_type(value)}.")
    num_ground_truths, num_words = counted.shape
    levels = jnp.asarray(levels)
    shapes = {
        "candidates.level": (candidates.level.shape, candidates.index.shape),
        "crowd": (crowd.shape, (num_ground_truths,)),
        "levels": (levels.shape, (len(levels), num_words)),
    }
    for name, (shape, expected) in shapes.items():
        if shape != expected:
            raise ValueError(f"`{name}` must have shape {list(expected)}, got {list(shape)}.")
    if not candidates.index.size or not num_ground_truths:
        return jnp.zeros((*candidates.index.shape, num_words), jnp.uint32)
    # Padding reaches no threshold, but needs a valid index.
    index = jax.lax.clamp(jnp.int32(0), candidates.index.astype(jnp.int32), jnp.int32(num_ground_truths - 1))
    kept = crowd.astype(jnp.uint32)[:, None] - jnp.uint32(1)  # all bits, but none for crowds
    if ignored_absorb:
        kept = kept & counted

    def step(taken: jax.Array, row: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        index, level = row
        passes, counts, keeps = _rows(levels, level), _rows(counted, index), _rows(kept, index)
        free = passes & ~_rows(taken, index)
        wanted = jax.lax.reduce_or(free & counts, axes=(0,))  # the planes with a free, counted candidate
        chosen = _first_of_each_bit(free & (counts | ~wanted[None]))
        # What is chosen was free, and padding adds 0, so the sum is a union.
        taken = taken.at[index].add(chosen & keeps, mode="promise_in_bounds", wrap_negative_indices=False)
        return taken, chosen

    return jax.lax.scan(step, jnp.zeros_like(counted), (index, candidates.level))[1]


def _rows(table: jax.Array, index: jax.Array) -> jax.Array:
    return table.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def _first_of_each_bit(words: jax.Array) -> jax.Array:
    """Keeps only the first occurrence of every bit in `[C, W]`."""
    seen, reach = _shifted(words, 1), 1  # the bits of the previous word, then of the two, four, ... previous words
    while reach < len(words) - 1:
        seen, reach = seen | _shifted(seen, reach), 2 * reach
    return words & ~seen


def _shifted(words: jax.Array, steps: int) -> jax.Array:
    return jax.lax.pad(words, jnp.uint32(0), ((steps, -steps, 0), (0, 0, 0)))
