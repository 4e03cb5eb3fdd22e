"""Dense masks inside `jit`, packed to one bit per pixel, as words `[N, R, W]` uint32.

Row `y` of an image is bit `y // R` of row `y % R` of the words. Packing thus only shifts whole rows, and R is a
multiple of 32, the rows in which a TPU stores bytes. Everything is exact.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._lowering import by_backend

__all__ = ["PackedMasks", "areas", "intersections", "packed"]

BITS = 32
ALL_BITS = np.uint32(2**BITS - 1)
ROWS = 32  # of bytes in a tile of a TPU; slices that are not multiples of it would copy the masks
LARGEST_SUM = 1 << 24  # up to which float32 holds every integer


class PackedMasks(NamedTuple):
    """Masks of one image.

    Attributes:
      words: `[N, R, W]` uint32.
      area: `[N]` int32, the numbers of their pixels.
    """

    words: jax.Array
    area: jax.Array


def packed(masks: jax.Array) -> PackedMasks:
    """Packs `[N, H, W]` bool masks."""
    num_masks, height, width = masks.shape
    rows = ROWS * max(-(-height // (ROWS * BITS)), 1)
    words = jnp.zeros((num_masks, rows, width), jnp.uint32)
    for bit, start in enumerate(range(0, height, rows)):
        part = masks[:, start : start + rows]
        part = jnp.pad(part, ((0, 0), (0, rows - part.shape[1]), (0, 0)))
        words |= part.astype(jnp.uint32) << bit
    return PackedMasks(words, areas(words))


def areas(words: jax.Array) -> jax.Array:
    """Returns the numbers of pixels `[N]` int32 of packed masks."""
    return jax.lax.population_count(words).sum((1, 2), dtype=jnp.uint32).astype(jnp.int32)


def intersections(words: jax.Array, other_words: jax.Array, height: int) -> jax.Array:
    """Returns the numbers of pixels `[D, G]` int32 that packed masks of a height share.

    All ways are exact. A GPU counts the bits of all pairs in one kernel. For a CPU, XLA would write the words of all
    pairs to memory, unless they are added up without a reduction. A TPU has a unit for products of matrices.
    """
    products = partial(_products, num_bits=-(-height // words.shape[1]))
    shared: jax.Array = by_backend(words, other_words, cpu=_unrolled, tpu=products, default=_counted_bits)
    return shared


def _counted_bits(words: jax.Array, other_words: jax.Array) -> jax.Array:
    shared = words[:, None] & other_words[None]
    return jax.lax.population_count(shared).sum((2, 3), dtype=jnp.uint32).astype(jnp.int32)


def _unrolled(words: jax.Array, other_words: jax.Array) -> jax.Array:
    size = words.shape[1] * words.shape[2] // ROWS
    one, other = (side.reshape(len(side), ROWS, size) for side in (words, other_words))
    count = jnp.zeros((len(one), len(other), size), jnp.uint32)
    for part in range(ROWS):
        count += jax.lax.population_count(one[:, None, part] & other[None, :, part])
    return count.sum(2, dtype=jnp.uint32).astype(jnp.int32)


def _products(words: jax.Array, other_words: jax.Array, num_bits: int) -> jax.Array:
    # Factors of 0 and 1 are exact in the least precision of any device, and float32 holds the sum of each bit.
    dtype = jnp.float32 if words.shape[1] * words.shape[2] <= LARGEST_SUM else jnp.int32
    # Flat, because XLA would else bring the masks, and not the much smaller words, to the layout of a TPU's product.
    sides = [side.reshape(len(side), side.shape[1] * side.shape[2]) for side in (words, other_words)]

    def of_bit(bit: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        one, other = (((side >> bit) & 1).astype(dtype) for side in sides)
        product = jnp.matmul(one, other.T, precision=jax.lax.Precision.DEFAULT)
        return bit + np.uint32(1), product.astype(jnp.int32)

    products: jax.Array = jax.lax.scan(of_bit, jnp.uint32(0), None, length=num_bits)[1]
    return products.sum(0, dtype=jnp.int32)
