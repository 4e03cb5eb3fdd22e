"""Dense masks inside `jit`, packed to one bit per pixel, as words `[N, R, W]` uint32.

Row `y` of an image is bit `y // R` of row `y % R` of the words. Packing thus only shifts whole rows, and R is a
multiple of 32, the rows in which a TPU stores bytes. Everything is exact.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from .._lowering import by_backend

__all__ = ["areas", "boundary_of", "intersections", "packed"]

BITS = 32
ALL_BITS = np.uint32(2**BITS - 1)
ROWS = 32  # of bytes in a tile of a TPU; slices that are not multiples of it would copy the masks
LARGEST_SUM = 1 << 24  # up to which float32 holds every integer


def packed(masks: jax.Array) -> jax.Array:
    """Returns the words `[N, R, W]` uint32 of `[N, H, W]` bool masks."""
    num_masks, height, width = masks.shape
    rows = ROWS * max(-(-height // (ROWS * BITS)), 1)
    words = jnp.zeros((num_masks, rows, width), jnp.uint32)
    for bit, start in enumerate(range(0, height, rows)):
        part = masks[:, start : start + rows]
        part = jnp.pad(part, ((0, 0), (0, rows - part.shape[1]), (0, 0)))
        words |= part.astype(jnp.uint32) << bit
    return words


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


def boundary_of(words: jax.Array, height: int, ratio: float) -> jax.Array:
    """Returns the pixels of packed masks within a share of the diagonal from their contour, packed, as in `_rle`."""
    _, rows, width = words.shape
    distance = max(round(ratio * float((height**2 + width**2) ** 0.5)), 1)
    across, down = min(distance, width), min(distance, height)  # farther than that, all is outside the image
    reach = -(-down // rows)  # in bits, of the rows above and below
    parts = [(words, bits) for bits in range(-reach, reach + 1)]
    parts[0] = words[:, reach * rows - down :], -reach
    parts[-1] = words[:, : down - (reach - 1) * rows], reach
    eroded = _common(jnp.concatenate([_shifted(*part) for part in parts], axis=1), 1, down, padding=0)
    eroded = _common(eroded, 2, across, padding=across)
    column = jnp.arange(width, dtype=jnp.int32)
    inside = (column >= across) & (column < width - across)  # outside the image no pixel is set
    return words & ~jnp.where(inside, eroded, jnp.uint32(0))


def _common(words: jax.Array, axis: int, distance: int, *, padding: int) -> jax.Array:
    """Returns the bits that all words within a distance along an axis have."""
    window, pads = [1, 1, 1], [(0, 0)] * 3
    window[axis], pads[axis] = 2 * distance + 1, (padding, padding)
    eroded: jax.Array = jax.lax.reduce_window(words, ALL_BITS, jax.lax.bitwise_and, window, (1, 1, 1), pads)
    return eroded


def _shifted(words: jax.Array, bits: int) -> jax.Array:
    """Returns words with every bit moved down by some places; up, if it is negative."""
    if bits == 0:
        return words
    if abs(bits) >= BITS:
        return jnp.zeros_like(words)
    return words >> bits if bits > 0 else words << -bits


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

    def of_bit(bit: jax.Array) -> jax.Array:
        one, other = (((side >> bit) & 1).astype(dtype) for side in sides)
        return jnp.matmul(one, other.T, precision=jax.lax.Precision.DEFAULT).astype(jnp.int32)

    products: jax.Array = jax.lax.map(of_bit, jnp.arange(num_bits, dtype=jnp.uint32))
    return products.sum(0, dtype=jnp.int32)
