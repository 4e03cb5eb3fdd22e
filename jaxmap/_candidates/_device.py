"""From similarities to candidates, where floating point ends: which ground truths a detection may match, best first.

A match needs a similarity of at least a threshold, and thresholds are sorted, so a pair is fully described by the
number of thresholds that it reaches (its level); among the pairs of a detection only the order matters. Both are
decided in double-float arithmetic. A typical detection reaches the lowest threshold with at most two or three ground
truths of its class, so a short list per detection has all that matching needs: `find_candidates`. Accelerators compare
all pairs in less time than they need for lists: `reach_planes`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from .._geometry import _double_float as df
from .._geometry._double_float import DoubleFloat
from .._integer_bounds import level_dtype
from .._planes import WORD_BITS
from ..types import Bools, Candidates, Words

__all__ = [
    "ABSENT",
    "TOLERANCE",
    "find_candidates",
    "inside_ranges",
    "most_similar",
    "reach_planes",
    "reaches_threshold",
    "similarity_order",
    "similarity_places",
]

# Two similarities, or a similarity and a threshold, that differ by less count as equal: the arithmetic is accurate to
# about 2^-45, and equal values that are computed differently (300 / 600, 1 / 2) must compare as equal.
TOLERANCE = 2.0**-44
# The largest error of `approximate`; pairs this far below the lowest threshold are still computed exactly.
MARGIN = 1e-5
# The similarity of a pair that reaches no threshold, below every similarity.
ABSENT = -4.0
# Stands for any smaller limit of areas above 0, which float32 may not hold; only areas of 0 are below it here.
_ABOVE_ZERO = 1e-30


def find_candidates(
    approximate: jax.Array,
    exact: Callable[[jax.Array], DoubleFloat],
    allowed: jax.Array,
    crowd: jax.Array,
    *,
    iou_thresholds: tuple[float, ...],
    num_candidates: int,
    best_only: bool = False,
) -> tuple[Candidates[jax.Array], jax.Array]:
    """Lists, for each detection of one image, the ground truths that reach a threshold, in order of preference.

    The most similar one comes first; of equal ones the later, as in pycocotools.

    Args:
      approximate: `[D, G]` float32, similarities within `MARGIN` of the true ones.
      exact: returns the exact similarities of detection `d` with the ground truths `index[d]`, for `[D, C]` int32.
      allowed: `[D, G]` bool, True if both are real and of the same class.
      crowd: `[G]` bool.
      iou_thresholds: T thresholds, ascending.
      num_candidates: C; with C >= G all pairs fit.
      best_only: list only the most similar ground truth that is not a crowd, of equal ones the first, as in VOCdevkit;
        and then one crowd.

    Returns:
      Candidates of `[D, C]`, or `[D, 2]`, and the number of detections with more than C possible pairs (scalar int32).
    """
    num_ground_truths = approximate.shape[1]
    near = allowed & (approximate >= iou_thresholds[0] - MARGIN)
    if num_candidates >= num_ground_truths:
        index = jnp.broadcast_to(jnp.arange(num_ground_truths, dtype=jnp.int32), near.shape)
        present, overflow = near, jnp.int32(0)
    else:
        index, present, overflow = _first_columns(near, num_candidates)
    similarity = exact(index)
    dtype = level_dtype(len(iou_thresholds))
    level = sum(reaches_threshold(similarity, threshold).astype(dtype) for threshold in iou_thresholds)
    level = jnp.where(present, level, dtype(0))
    if best_only:
        place, num_places = jnp.full(level.shape, 2, jnp.int32), 2
        for number, of_kind in enumerate((~crowd[index], crowd[index])):
            reaches = (level > 0) & of_kind
            place = jnp.where(most_similar(similarity, reaches), number, place)
    else:
        place, num_places = similarity_order(similarity, level > 0), index.shape[-1]
    to_place = place[..., None, :] == np.arange(num_places, dtype=np.int32)[None, :, None]  # [D, places, C]
    return (
        Candidates(
            index=jnp.where(to_place, index[..., None, :], 0).sum(-1, dtype=jnp.int32),
            level=jnp.where(to_place, level[..., None, :], 0).sum(-1, dtype=dtype),
        ),
        overflow,
    )


def reach_planes(
    similarity: DoubleFloat,
    allowed: jax.Array,
    crowd: jax.Array,
    *,
    iou_thresholds: tuple[float, ...],
    levels: Words,
    best_only: bool = False,
) -> tuple[DoubleFloat, jax.Array]:
    """Says for all pairs of one image what `find_candidates` says for a list: the order and the thresholds reached.

    Args:
      similarity: `[D, G]`.
      allowed: `[D, G]` bool, True if both are real and of the same class.
      crowd: `[G]` bool.
      iou_thresholds: T thresholds, ascending.
      levels: `[T + 1, W]` uint32, the planes whose threshold a pair of each level reaches (`level_words`).
      best_only: as in `find_candidates`.

    Returns:
      `[D, G]`, the similarity, by which candidates are preferred, of equal ones the later; `ABSENT` for those that
      reach no threshold. And `[W, D, G]` uint32, the planes whose threshold is reached.
    """
    reaches = [allowed & reaches_threshold(similarity, threshold) for threshold in iou_thresholds]
    present = reaches[0]
    if best_only:
        first = [most_similar(similarity, present & of_kind[None, :]) for of_kind in (~crowd, crowd)]
        present = first[0] | first[1]
        similarity = df.where(crowd[None, :], df.constant(ABSENT / 2), similarity)  # after the other
    planes = []
    for word in range(levels.shape[1]):
        steps = [np.uint32(after & ~before) for before, after in itertools.pairwise(levels[:, word].tolist())]
        reached = (
            jnp.where(present & reach, step, np.uint32(0)) for reach, step in zip(reaches, steps, strict=True) if step
        )
        planes.append(functools.reduce(jnp.bitwise_or, reached))
    return df.where(present, similarity, df.constant(ABSENT)), jnp.stack(planes)


def reaches_threshold(similarity: DoubleFloat, threshold: float) -> jax.Array:
    """Returns whether similarities reach a threshold, in their shape."""
    # pycocotools compares with min(t, 1 - 1e-10), so that a perfect overlap reaches t = 1 whatever the rounding.
    return df.difference(similarity, df.constant(min(threshold, 1 - 1e-10))) >= -TOLERANCE


def most_similar(similarity: DoubleFloat, present: jax.Array, *, axis: int = -1, last: bool = False) -> jax.Array:
    """Returns which pair is the most similar of those present along an axis, in the shape of both.

    Of equal ones it is the first, or the last; without any, none is.
    """
    high = jnp.where(present, similarity.hi, ABSENT)
    top = high.max(axis, keepdims=True)
    low_of_top = jnp.where(high == top, similarity.lo, -1.0).max(axis, keepdims=True)
    near = present & (df.difference(DoubleFloat(high, similarity.lo), DoubleFloat(top, low_of_top)) >= -TOLERANCE)
    place = jax.lax.broadcasted_iota(jnp.int32, present.shape, axis % present.ndim)
    if last:
        return near & (place == jnp.where(near, place, -1).max(axis, keepdims=True))
    return near & (place == jnp.where(near, place, present.shape[axis]).min(axis, keepdims=True))


def inside_ranges(area: DoubleFloat, ranges: tuple[tuple[float, float], ...]) -> jax.Array:
    """Returns `[..., A]` bool, which (low, high) ranges contain each area, both ends included."""
    inside = []
    for low, high in ranges:
        low = max(low, _ABOVE_ZERO) if low > 0 else low
        inside.append((df.difference(area, df.constant(low)) >= 0) & (df.difference(df.constant(high), area) >= 0))
    return jnp.stack(inside, axis=-1)


def similarity_places(similarity: DoubleFloat, present: jax.Array) -> jax.Array:
    """Ranks the similarities of an image, 0 for the largest; equal ones have the same rank.

    Args:
      similarity: `[D, C]`.
      present: `[D, C]` bool; the others come last.

    Returns:
      `[D, C]` int32.
    """
    high, low = (jnp.where(present, part, -1.0).ravel() for part in similarity)
    rows = jnp.arange(high.size, dtype=jnp.int32)
    high, low, order = jax.lax.sort((-high, -low, rows), num_keys=2)
    step = df.difference(DoubleFloat(high[1:], low[1:]), DoubleFloat(high[:-1], low[:-1])) > TOLERANCE
    number = jnp.cumsum(jnp.concatenate([jnp.zeros(min(high.size, 1), bool), step]), dtype=jnp.int32)
    return jnp.zeros_like(number).at[order].set(number).reshape(present.shape)


def similarity_order(similarity: DoubleFloat, present: jax.Array) -> jax.Array:
    """Returns `[..., C]` int32, the place of each candidate among those of its detection, the most similar first.

    Of equal ones the later comes first; those that are not present, `[..., C]` bool, come last.
    """
    difference = df.difference(similarity.select((..., slice(None), None)), similarity.select((..., None, slice(None))))
    later = np.arange(present.shape[-1])[:, None] > np.arange(present.shape[-1])
    beats = (difference > TOLERANCE) | ((difference >= -TOLERANCE) & _like(later, difference))
    mine, other = present[..., :, None], present[..., None, :]
    beats = jnp.where(mine == other, beats & ~_like(np.eye(len(later), dtype=bool), difference), mine)
    return beats.sum(-2, dtype=jnp.int32)


def _like(pairs: Bools, array: jax.Array) -> jax.Array:
    """Adds the leading axes of an array to `[C, C]`."""
    return jnp.asarray(pairs).reshape((1,) * (array.ndim - 2) + pairs.shape)


def _first_columns(near: jax.Array, count: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the indices of the first `count` True columns of each row, and how many rows have more.

    Rows are packed into words, and their lowest set bits are removed one by one, which costs a few operations on D x G
    / 32 words per column; a top-k over D x G floats costs a hundred times more on a CPU.
    """
    num_columns = near.shape[1]
    num_words = -(-num_columns // WORD_BITS)
    # As a product, which is exact for 16 bits: XLA on a CPU would compute the input of a sum inside it, one by one.
    bit, half = np.arange(num_columns)[:, None], WORD_BITS // 2
    halves = np.where(bit // half == np.arange(2 * num_words), 2.0 ** (bit % half), 0.0).astype(np.float32)
    packed = jnp.matmul(near.astype(jnp.float32), halves, precision=jax.lax.Precision.HIGHEST).astype(jnp.uint32)
    words = packed[:, 0::2] | packed[:, 1::2] << half
    overflow = (jax.lax.population_count(words).astype(jnp.int32).sum(-1) > count).sum(dtype=jnp.int32)
    place = jnp.arange(num_words, dtype=jnp.int32)[None]
    columns, present = [], []
    for _ in range(count):
        first = jnp.where(words != 0, place, num_words).min(-1, keepdims=True)
        word = jnp.where(place == first, words, jnp.uint32(0))
        lowest = word & (~word + jnp.uint32(1))
        column = place * WORD_BITS + 31 - jax.lax.clz(lowest).astype(jnp.int32)
        columns.append(jnp.where(lowest != 0, column, 0).sum(-1))
        present.append((lowest != 0).any(-1))
        words = words ^ lowest
    return jnp.stack(columns, -1).astype(jnp.int32), jnp.stack(present, -1), overflow
