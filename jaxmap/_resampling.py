"""Bootstrap resamples: how often each unit (an image, or a group of images) is drawn, the same on every backend.

The random bits are those of threefry, which JAX computes alike on all devices, and depend only on the seed and the
number of the replicate. So any block of replicates can be drawn by itself, inside `jit` or on the host.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from ._cpu import on_cpu

if TYPE_CHECKING:
    from jax.typing import ArrayLike

    from .types import Ints

AT_ONCE = 64  # replicates that one call of the host's program draws

__all__ = ["draw_counts", "draw_counts_on_host", "seed_key"]


def draw_counts(seed: jax.Array, replicates: jax.Array, num_units: ArrayLike, capacity: int) -> jax.Array:
    """Draws as many units as there are, with replacement, for each replicate.

    Args:
      seed: a key of `seed_key`.
      replicates: `[W]` int32, the numbers of the replicates.
      num_units: the number of units, at most the capacity.
      capacity: static; the length of the result, which no count depends on.

    Returns:
      `[W, capacity]` int32, how often each unit is drawn; 0 beyond the number of units.
    """

    def one(replicate: jax.Array) -> jax.Array:
        bits = jax.random.bits(jax.random.fold_in(seed, replicate), (capacity,), jnp.uint32)
        drawn = _high_word(bits, jnp.asarray(num_units).astype(jnp.uint32)).astype(jnp.int32)
        is_real = jnp.arange(capacity, dtype=jnp.int32) < num_units
        return jax.ops.segment_sum(is_real.astype(jnp.int32), drawn, capacity)

    with jax.threefry_partitionable(True):  # then the bits of a unit do not depend on the capacity
        counts: jax.Array = jax.vmap(one)(replicates)
    return counts


def _high_word(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns floor(a * b / 2^32) for uint32: below b, and uniform up to b / 2^32 if a is."""
    a_high, a_low, b_high, b_low = a >> 16, a & np.uint32(0xFFFF), b >> 16, b & np.uint32(0xFFFF)
    middle = a_high * b_low + (a_low * b_low >> 16)
    other = a_low * b_high + (middle & np.uint32(0xFFFF))
    return a_high * b_high + (middle >> 16) + (other >> 16)


def seed_key(seed: int) -> jax.Array:
    """Returns the key of a seed, whatever generator JAX is configured to use."""
    return jax.random.key(seed, impl="threefry2x32")


def draw_counts_on_host(seed: int, first: int, last: int, num_units: int) -> Ints:
    """Returns `[last - first, num_units]` int32, the counts of the replicates from the first to before the last."""
    capacity = 1 << max(num_units - 1, 0).bit_length()  # few programs for all datasets
    size, starts = np.int32(num_units), range(first // AT_ONCE * AT_ONCE, last, AT_ONCE)
    with on_cpu():
        key = seed_key(seed)
        blocks = [_draw(key, np.arange(start, start + AT_ONCE, dtype=np.int32), size, capacity) for start in starts]
    counts = np.concatenate([np.asarray(block)[:, :num_units] for block in blocks])
    return counts[first - starts[0] : last - starts[0]]


_draw = partial(jax.jit, static_argnums=3)(draw_counts)
