"""Recall points in integers, and what curves are at them, inside `jit`.

`tp / num_ground_truths >= point` in float64, as in the reference, is equivalent to an integer comparison with the
fraction of the point, unless the two are equal: then it depends on whether the double of the point is above the double
nearest to the fraction (as for ten of `np.linspace(0, 1, 101)`). In float32, this comparison could change the AP of a
curve by up to 0.01.
"""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from math import lcm
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._lowering import by_backend
from ..types import Bools, Ints

__all__ = ["RecallGrid", "at_recall_points", "divide", "first_to_reach", "recall_grid"]

MAX_DENOMINATOR = 1000
# Of the kernel for TPUs: curves at once; points at once, whose best values fill the registers; the most rows
# on the chip at once; and rows between two tests of its loop.
LANES, MAX_POINTS, MAX_ROWS, UNROLLED = 128, 104, 1024, 8


class RecallGrid(NamedTuple):
    """Recall points as fractions of one denominator.

    Attributes:
      denominator: q, at most 1000.
      numerators: `[R]` int32, each point times q.
      above: `[R]` bool, whether the double of a point exceeds the double nearest to its fraction.
    """

    denominator: int
    numerators: Ints
    above: Bools


def recall_grid(recall_points: tuple[float, ...]) -> RecallGrid:
    """Expresses recall points in integers.

    Raises:
      ValueError: if the points have no common denominator of at most 1000.
    """
    fractions = [Fraction(point).limit_denominator(MAX_DENOMINATOR) for point in recall_points]
    denominator = lcm(*(fraction.denominator for fraction in fractions))
    pairs = list(zip(fractions, recall_points, strict=True))
    if denominator > MAX_DENOMINATOR or any(abs(float(fraction) - point) > 1e-12 for fraction, point in pairs):
        raise ValueError(
            f"`recall_points` must be multiples of one fraction 1 / q with q <= {MAX_DENOMINATOR} inside jit, got "
            f"{list(recall_points)}; use `jaxmap.evaluate`, which takes any."
        )
    numerators = np.array([int(fraction * denominator) for fraction in fractions], np.int32)
    above = np.array([float(fraction) < point for fraction, point in pairs])
    return RecallGrid(denominator, numerators, above)


def first_to_reach(recall_points: tuple[float, ...], totals: jax.Array) -> jax.Array:
    """Returns `[..., R]` int32, the least true positives to reach each point, for totals `[...]` int32."""
    grid = recall_grid(recall_points)
    denominator = np.int32(grid.denominator)
    numerators, above = (
        jnp.asarray(column).reshape(*(1,) * totals.ndim, -1) for column in (grid.numerators, grid.above)
    )
    whole, rest = (operation(totals[..., None], denominator) for operation in (jax.lax.div, jax.lax.rem))
    scaled = rest * numerators  # below 1000 * 1000, so nothing exceeds int32
    more = (above | (jax.lax.rem(scaled, denominator) > 0)).astype(jnp.int32)
    needed: jax.Array = whole * numerators + jax.lax.div(scaled, denominator) + more
    return needed


def at_recall_points(
    true_positives: jax.Array, needed: jax.Array, precision: jax.Array, scores: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the best precision and the best score of the rows that reach each recall point; -inf if none does.

    Args:
      true_positives: `[..., L]` int32, ascending.
      needed: `[..., R]` int32, the least number of true positives at each point.
      precision: `[..., L]` float32.
      scores: `[..., L]` float32; axes in front of the last may have length 1.

    Returns:
      Two arrays `[..., R]` float32.
    """
    arguments = true_positives, needed, precision, scores
    on_tpu = _compared_on_tpu if true_positives.size and needed.size else _compared
    best: tuple[jax.Array, jax.Array] = by_backend(
        *arguments, tpu=partial(by_backend, default=on_tpu, partitioned=_compared), default=_searched
    )
    return best


def _compared(
    true_positives: jax.Array, needed: jax.Array, precision: jax.Array, scores: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """`at_recall_points` for several TPUs: they compare faster than they gather."""
    is_reached = _columns(true_positives)[None] >= _columns(needed)[:, None]  # [R, L, n]

    def best(values: jax.Array) -> jax.Array:
        values = _columns(jnp.broadcast_to(values, true_positives.shape))
        return jnp.where(is_reached, values[None], -jnp.inf).max(1).T.reshape(needed.shape)

    return best(precision), best(scores)


def _compared_on_tpu(
    true_positives: jax.Array,
    needed: jax.Array,
    precision: jax.Array,
    scores: jax.Array,
    *,
    interpret: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """`at_recall_points` for a TPU: the same as one kernel, which keeps the best so far in registers."""
    from jax.experimental import pallas as pl

    length, num_points = true_positives.shape[-1], needed.shape[-1]
    blocks = -(-length // MAX_ROWS)
    rows = UNROLLED * -(-length // (UNROLLED * blocks))
    points, lanes = min(num_points, MAX_POINTS), min(needed.size // num_points, LANES)

    def in_rows(values: jax.Array, filler: Any) -> jax.Array:
        values = _columns(jnp.broadcast_to(values, true_positives.shape))
        return jnp.pad(values, ((0, blocks * rows - length), (0, 0)), constant_values=filler)

    def kernel(hits: Any, least: Any, precision: Any, scores: Any, best: Any, best_scores: Any) -> None:
        @pl.when(pl.program_id(2) == 0)
        def _() -> None:
            best[...] = jnp.full(best.shape, -jnp.inf, jnp.float32)
            best_scores[...] = jnp.full(best.shape, -jnp.inf, jnp.float32)

        needed = least[...]

        def step(row: jax.Array, found: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            here = pl.ds(row, 1)
            is_reached = hits[here, :] >= needed
            better, better_score = (
                jnp.where(is_reached, values[here, :], np.float32(-np.inf)) for values in (precision, scores)
            )
            return jnp.maximum(found[0], better), jnp.maximum(found[1], better_score)

        start = best[...], best_scores[...]
        best[...], best_scores[...] = jax.lax.fori_loop(np.int32(0), np.int32(rows), step, start, unroll=UNROLLED)

    of_rows = pl.BlockSpec((rows, lanes), lambda curve, point, row: (row, curve))
    of_points = pl.BlockSpec((points, lanes), lambda curve, point, row: (point, curve))
    least = _columns(needed)
    shape = jax.ShapeDtypeStruct(  # type: ignore[no-untyped-call]
        least.shape,
        jnp.float32,
        manual_axis_type=jax.typeof(least).manual_axis_type,  # as `shard_map` demands
    )
    found = pl.pallas_call(
        kernel,
        grid=(-(-least.shape[1] // lanes), -(-num_points // points), blocks),
        in_specs=[of_rows, of_points, of_rows, of_rows],
        out_specs=(of_points, of_points),
        out_shape=(shape, shape),
        interpret=interpret,
        name="jaxmap_recall_points",
    )(in_rows(true_positives, 0), least, in_rows(precision, -np.inf), in_rows(scores, -np.inf))
    best, best_scores = (values.T.reshape(needed.shape) for values in found)
    return best, best_scores


def _columns(values: jax.Array) -> jax.Array:
    """Returns `[L, n]` of `[..., L]`: one long axis, which fills the lanes of a TPU, in the last place."""
    return values.reshape(-1, values.shape[-1]).T


def _searched(
    true_positives: jax.Array, needed: jax.Array, precision: jax.Array, scores: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """`at_recall_points` for other devices, by binary search and the best from each row on."""
    size, first = true_positives.shape[-1], _first_at_least(true_positives, needed)

    def at_first(column: jax.Array) -> jax.Array:
        onwards = jax.lax.cummax(column, axis=column.ndim - 1, reverse=True)
        best = _take(jnp.broadcast_to(onwards, true_positives.shape), jnp.minimum(first, size - 1))
        return jnp.where(first < size, best, -jnp.inf)

    return at_first(precision), at_first(scores)


def _first_at_least(ascending: jax.Array, sought: jax.Array) -> jax.Array:
    """Returns `[..., R]` int32, the first of ascending `[..., L]` to be at least each sought `[..., R]`, or L."""
    size = ascending.shape[-1]
    first = jnp.zeros_like(sought)
    for power in reversed(range(size.bit_length())):  # unrolled: a loop is several kernels a step on a GPU
        last = first + np.int32((1 << power) - 1)
        is_less = (_take(ascending, jnp.minimum(last, size - 1)) < sought) & (last < size)
        first = jnp.where(is_less, last + 1, first)
    return first


def _take(values: jax.Array, index: jax.Array) -> jax.Array:
    """Returns `[..., R]`, the values `[..., L]` at some index `[..., R]` on the last axis."""
    size = values.shape[-1]
    starts = jnp.arange(values.size // size, dtype=jnp.int32).reshape(*values.shape[:-1], 1) * size
    return (
        values.reshape(-1).at[starts + index].get(mode="promise_in_bounds")
    )  # one number per index: no tuples of them


def divide(part: jax.Array, whole: jax.Array) -> jax.Array:
    """Returns the quotient of two counts in float32; 0 where the denominator is 0."""
    return part.astype(jnp.float32) / jnp.maximum(whole, 1).astype(jnp.float32)
