"""Boundaries of packed masks inside `jit`: the pixels of a mask that a square around them does not fit into.

A mask is eroded by that square: rows and columns apart, a pixel remains if all pixels within a distance are set. The
definition is a reduction over windows, for any device. On a TPU it would copy the masks many times over, so there one
kernel erodes a mask in registers, by windows that double. Both give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._lowering import by_backend
from ._packed_masks import ALL_BITS, BITS, PackedMasks, areas
from ._rle import boundary_distance

__all__ = ["boundary_of"]

BLOCK_BYTES = 1 << 20  # of words that a step of the kernel for TPUs reads, up to MASKS masks
MASKS = 8
LARGEST_MASK = 1 << 21  # bytes of words of one mask for which it has enough memory on the chip
LANES = 128


def boundary_of(masks: PackedMasks, height: int, ratio: float) -> PackedMasks:
    """Returns the pixels of masks within a share of the diagonal from their contour, as in `_rle`."""
    rows, width = masks.words.shape[1:]
    distance = boundary_distance(height, width, ratio)
    # Farther than the image is large, all is outside of it.
    down, across = min(distance, height), min(distance, width)
    by_windows, on_tpu = (partial(way, down=down, across=across) for way in (_by_windows, _on_tpu))
    fits = masks.words.size and 4 * rows * width <= LARGEST_MASK
    boundary: PackedMasks = by_backend(
        masks.words, tpu=on_tpu if fits else by_windows, default=by_windows, partitioned=by_windows
    )
    return boundary


def _by_windows(words: jax.Array, *, down: int, across: int) -> PackedMasks:
    _, rows, width = words.shape
    reach = -(-down // rows)  # in bits, of the rows above and below
    parts = [(words, bits) for bits in range(-reach, reach + 1)]
    parts[0] = words[:, reach * rows - down :], -reach
    parts[-1] = words[:, : down - (reach - 1) * rows], reach
    eroded = _common(jnp.concatenate([_shifted(*part) for part in parts], axis=1), 1, down, padding=0)
    eroded = _common(eroded, 2, across, padding=across)
    column = jnp.arange(width, dtype=jnp.int32)
    boundary = words & ~jnp.where(_is_inside(column, width, across), eroded, jnp.uint32(0))
    return PackedMasks(boundary, areas(boundary))


def _common(words: jax.Array, axis: int, distance: int, *, padding: int) -> jax.Array:
    """Returns the bits that all words within a distance along an axis have."""
    window, pads = [1, 1, 1], [(0, 0)] * 3
    window[axis], pads[axis] = 2 * distance + 1, (padding, padding)
    eroded: jax.Array = jax.lax.reduce_window(words, ALL_BITS, jax.lax.bitwise_and, window, (1, 1, 1), pads)
    return eroded


def _is_inside(column: jax.Array, width: int, across: int) -> jax.Array:
    """Returns the columns that are so far from the edge of the image that pixels there can be eroded at all."""
    return (column >= across) & (column < width - across)  # outside the image no pixel is set


def _shifted(words: jax.Array, bits: int) -> jax.Array:
    """Returns words with every bit moved down by some places; up, if it is negative."""
    if bits == 0:
        return words
    if abs(bits) >= BITS:
        return jnp.zeros_like(words)
    return words >> np.uint32(bits) if bits > 0 else words << np.uint32(-bits)


def _on_tpu(words: jax.Array, *, down: int, across: int, interpret: bool = False) -> PackedMasks:
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import tpu as pltpu

    num_masks, rows, width = words.shape
    # Whole tiles, for which a roll of columns is one instruction.
    padded = jnp.pad(words, ((0, 0), (0, 0), (0, -width % LANES)))
    size = rows, padded.shape[2]
    # Of several sizes, blocks would need loops in the kernel.
    masks = max(
        count
        for count in range(1, MASKS + 1)
        if num_masks % count == 0 and (count == 1 or 4 * count * size[0] * size[1] <= BLOCK_BYTES)
    )

    def roll(mask: jax.Array, places: int, axis: int) -> jax.Array:
        """Returns rows or columns some places further on, modulo their number; negative places are further back."""
        rolled: jax.Array = pltpu.roll(mask, places % size[axis], axis)
        return rolled

    def row_after(mask: jax.Array, distance: int) -> jax.Array:
        """Returns what is some rows of the image below each; above, if negative. Outside the image nothing is set."""
        bits, places = divmod(distance, rows)
        row = jax.lax.broadcasted_iota(jnp.int32, size, 0)
        rolled = roll(mask, -places, 0)
        return jnp.where(row < rows - places, _shifted(rolled, bits), _shifted(rolled, bits + 1))

    def column_after(mask: jax.Array, distance: int) -> jax.Array:
        return roll(mask, -distance, 1)

    def kernel(words: Any, boundary: Any, counts: Any) -> None:
        @pl.loop(0, masks)
        def _(place: jax.Array) -> None:
            mask = words[place]
            eroded = row_after(_common_to_next(mask, 2 * down + 1, row_after), -down)
            eroded = column_after(_common_to_next(eroded, 2 * across + 1, column_after), -across)
            column = jax.lax.broadcasted_iota(jnp.int32, size, 1)
            edge = mask & ~jnp.where(_is_inside(column, width, across), eroded, jnp.uint32(0))
            boundary[place] = edge
            count = jax.lax.bitcast_convert_type(jax.lax.population_count(edge), jnp.int32)
            counts[place] = count.sum(0, keepdims=True, dtype=jnp.int32)

    def out(*shape: int, dtype: Any) -> Any:
        axes = jax.typeof(words).manual_axis_type  # as `shard_map` demands
        return jax.ShapeDtypeStruct((num_masks, *shape), dtype, manual_axis_type=axes)  # type: ignore[no-untyped-call]

    def spec(*shape: int) -> Any:
        return pl.BlockSpec((masks, *shape), lambda block: (block, 0, 0))

    boundary, counts = pl.pallas_call(
        kernel,
        grid=(num_masks // masks,),
        in_specs=[spec(*size)],
        out_specs=(spec(*size), spec(1, size[1])),
        out_shape=(out(*size, dtype=jnp.uint32), out(1, size[1], dtype=jnp.int32)),
        interpret=interpret,
        name="jaxmap_boundary",
    )(padded)
    return PackedMasks(boundary[..., :width], counts.sum((1, 2), dtype=jnp.int32))


def _common_to_next(mask: jax.Array, length: int, after: Callable[[jax.Array, int], jax.Array]) -> jax.Array:
    """Returns the bits that as many rows or columns have in common, from each on."""
    reached = 1
    while reached < length:
        step = min(reached, length - reached)
        mask, reached = mask & after(mask, step), reached + step
    return mask
