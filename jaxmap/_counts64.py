"""Counts beyond 32 bits, exact without 64-bit integers, and the ratios computed from them.

A count of pixels passes 2^31 after a few thousand images, and an integer that wraps raises no error.

>>> nearly = WideCount(jnp.full(1, 2**32 - 1, jnp.uint32), jnp.zeros(1, jnp.uint32))
>>> to_host(add(nearly, widen(jnp.array([2]))))
array([4294967297])
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

from ._cpu import on_cpu
from ._display import short_repr
from ._integer_bounds import INT32_MAX
from ._pytrees import register_container
from .types import UNDEFINED

__all__ = [
    "WideCount",
    "add",
    "add_stopping",
    "as_array",
    "as_float",
    "check_counts",
    "in_float64",
    "mean_of_defined",
    "ratio",
    "running",
    "to_host",
    "total",
    "widen",
    "zeros",
]

Counts = TypeVar("Counts")  # a tree, as the two below
State = TypeVar("State")
Result = TypeVar("Result")


@register_container
class WideCount(NamedTuple):
    """The counts `low + 2^32 * high`; both uint32 of one shape."""

    low: jax.Array
    high: jax.Array

    def __repr__(self) -> str:
        return short_repr(self)

    def select(self, index: Any) -> WideCount:
        """Indexes both words as `array[index]` does."""
        return WideCount(self.low[index], self.high[index])


def zeros(shape: tuple[int, ...]) -> WideCount:
    """Returns counts of 0."""
    return WideCount(jnp.zeros(shape, jnp.uint32), jnp.zeros(shape, jnp.uint32))


def widen(counts: jax.Array) -> WideCount:
    """Converts integer counts that fit 32 bits."""
    low = counts.astype(jnp.uint32)
    return WideCount(low, jnp.zeros_like(low))


def add(a: WideCount, b: WideCount) -> WideCount:
    """Returns `a + b`, exact below 2^64."""
    low = a.low + b.low
    carry = (low < a.low).astype(jnp.uint32)
    return WideCount(low, a.high + b.high + carry)


def add_stopping(a: jax.Array, b: jax.Array) -> jax.Array:
    """Adds int32 counts, which stop at 2^31 - 1 instead of wrapping, whatever the order of additions."""
    both = jnp.add(a, b)
    return jnp.where(both < 0, INT32_MAX, both)


def check_counts(counts: Any) -> None:
    """Checks that no int32 count in the trees has stopped at 2^31 - 1.

    Raises:
      ValueError: if one has.
    """
    leaves = (np.asarray(leaf) for leaf in jax.tree.leaves(counts))
    if any(np.max(leaf, initial=0) == INT32_MAX for leaf in leaves if leaf.dtype == np.int32):
        raise ValueError(
            "a count reached 2^31 - 1, the most that the state holds, so its numbers are not those of all data; "
            "evaluate the data in parts."
        )


def total(counts: WideCount, axes: tuple[int, ...]) -> WideCount:
    """Sums over some axes, counted from the front."""
    nothing = WideCount(jnp.uint32(0), jnp.uint32(0))
    sums: WideCount = jax.lax.reduce(counts, nothing, add, axes)
    return sums


def running(counts: WideCount) -> WideCount:
    """Returns the cumulative sums over the last axis."""
    low = jnp.cumsum(counts.low, axis=-1, dtype=jnp.uint32)
    carry = (low < counts.low).astype(jnp.uint32)  # a step passes 2^32 at most once, and then ends below what it added
    return WideCount(low, jnp.cumsum(counts.high + carry, axis=-1, dtype=jnp.uint32))


def as_float(counts: WideCount) -> jax.Array:
    """Returns counts rounded to float32, or to float64 under x64."""
    dtype = jnp.result_type(float)
    return counts.high.astype(dtype) * 2.0**32 + counts.low.astype(dtype)


def ratio(part: jax.Array, whole: jax.Array) -> jax.Array:
    """Divides floats; `UNDEFINED` where the denominator is 0."""
    return jnp.where(whole > 0, part / jnp.where(whole > 0, whole, 1.0), UNDEFINED)


def mean_of_defined(values: jax.Array) -> jax.Array:
    """Returns the mean of the defined values; `UNDEFINED` if there are none."""
    defined = values != UNDEFINED
    return ratio(jnp.sum(jnp.where(defined, values, 0.0)), jnp.sum(defined).astype(values.dtype))


def as_array(counts: WideCount) -> jax.Array:
    """Types counts as the array that `to_host` makes of them, for results; the value stays as it is."""
    return cast(jax.Array, counts)


def in_float64(compute: Callable[..., Result], *given: Any) -> Result:
    """Runs a metric's device arithmetic in float64 on the host's CPU, and brings the result to NumPy.

    One set of formulas serves both routes: inside a program they are traced in the program's own precision.
    """
    with jax.enable_x64(True), on_cpu():
        result: Result = to_host(_jitted(compute, *jax.device_get(given)))
    return result


@partial(jax.jit, static_argnums=0)
def _jitted(compute: Callable[..., Any], *given: Any) -> Any:
    return compute(*given)


def to_host(result: Any) -> Any:
    """Converts a result to NumPy: wide counts to int64, floats to float64 with NaN for `UNDEFINED`. Idempotent."""

    def convert(leaf: Any) -> Any:
        if isinstance(leaf, WideCount):
            return (np.asarray(leaf.low, np.int64) + (np.asarray(leaf.high, np.int64) << 32))[()]
        values = np.asarray(leaf)
        if values.dtype.kind == "f":
            values = np.where(values == UNDEFINED, np.nan, values.astype(np.float64))
        return values[()]

    return jax.tree.map(convert, result, is_leaf=lambda node: isinstance(node, WideCount))
