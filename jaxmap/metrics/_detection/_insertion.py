"""Insertion of new images into the state of exact average precision, inside `jit`."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from ..._lowering import by_backend
from ._state import AveragePrecisionState, ImageRows, content_of, contents_differ

__all__ = ["insert_images"]

MOST_COMPARISONS = 2**26  # of image ids; beyond it, sorting is faster on a CPU
# Of a state that a GPU rewrites as a whole: by its bandwidth in 20 us, about what a launch for each column takes. It is
# an estimate, nothing has been timed on a GPU.
REWRITTEN_BYTES = 2**25


def insert_images(state: AveragePrecisionState, rows: ImageRows, valid: jax.Array) -> AveragePrecisionState:
    """Inserts new images into the next free slots, and counts padding, repeated images and overflow.

    Args:
      state: the state to insert into.
      rows: the rows of I images.
      valid: `[I]` bool, False for padding.
    """
    state = _varying_like(jax.tree.map(jnp.asarray, state), valid)  # a checkpoint gives NumPy arrays
    capacity = len(state.images.image_id)
    repeated, first = _find_repeated(state, rows, valid)
    known = jnp.asarray(state.num_conflicting_images)

    def count_conflicting() -> jax.Array:
        differs = contents_differ(content_of(_at_places(state.images, rows, first)), content_of(rows))
        return known + (repeated & differs).sum(dtype=jnp.int32)

    num_conflicting = jax.lax.cond(repeated.any(), count_conflicting, lambda: known)
    new = valid & ~repeated
    num_new = new.sum(dtype=jnp.int32)
    num_taken = jnp.minimum(num_new, capacity - state.num_images)
    return dataclasses.replace(
        state,
        images=by_backend(
            *(state.images, state.num_images, rows, new),
            cpu=_write_rows,
            tpu=_write_slice,
            default=_rewrite if _num_bytes(state.images) <= REWRITTEN_BYTES else _write_rows,
            partitioned=_write_rows,
        ),
        num_images=state.num_images + num_taken,
        num_repeated_images=state.num_repeated_images + repeated.sum(dtype=jnp.int32),
        num_conflicting_images=num_conflicting,
        num_padded_images=state.num_padded_images + (~valid).sum(dtype=jnp.int32),
        num_images_over_capacity=state.num_images_over_capacity + num_new - num_taken,
    )


def _varying_like(state: AveragePrecisionState, column: jax.Array) -> AveragePrecisionState:
    """Marks a state as varying over the devices of a `jax.shard_map` over which an array of the batch does.

    JAX would mark it inside the branches of a conditional, which `jax.vmap` then cannot map.
    """
    axes = jax.typeof(column).manual_axis_type.varying

    def mark(leaf: jax.Array) -> jax.Array:
        missing = tuple(axes - jax.typeof(leaf).manual_axis_type.varying)
        return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf

    marked: AveragePrecisionState = jax.tree.map(mark, state)
    return marked


def _write_rows(images: ImageRows, num_images: jax.Array, rows: ImageRows, new: jax.Array) -> ImageRows:
    """Writes the new rows to the slots from `num_images` on; those that do not fit are dropped."""
    slot = num_images + jnp.cumsum(new, dtype=jnp.int32) - 1
    slot = jnp.where(new, slot, len(images.image_id))  # beyond the last: dropped
    written: ImageRows = jax.tree.map(lambda old, row: old.at[slot].set(row, mode="drop"), images, rows)
    return written


def _rewrite(images: ImageRows, num_images: jax.Array, rows: ImageRows, new: jax.Array) -> ImageRows:
    """Like `_write_rows`, for a small state on a GPU: XLA writes all columns of one shape in one kernel."""
    is_written, source = _sources(jnp.arange(len(images.image_id), dtype=jnp.int32) - num_images, new)

    def write(old: jax.Array, values: jax.Array) -> jax.Array:
        return jnp.where(is_written.reshape(-1, *(1,) * (old.ndim - 1)), values[source], old)

    written: ImageRows = jax.tree.map(write, images, rows)
    return written


def _sources(number: jax.Array, new: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns which slots `[n]` get a new row, and which row of the batch that is; any for the other slots.

    Args:
      number: `[n]` int32, the number of the new row in each slot, counted from the first new one; beyond them for none.
      new: `[I]` bool.
    """
    upto = jnp.cumsum(new, dtype=jnp.int32)
    source = jnp.minimum((upto[None] <= number[:, None]).sum(-1, dtype=jnp.int32), len(new) - 1)
    return (number >= 0) & (number < new.sum(dtype=jnp.int32)), source


def _num_bytes(images: ImageRows) -> int:
    return sum(column.size * column.dtype.itemsize for column in jax.tree.leaves(images))


def _write_slice(images: ImageRows, num_images: jax.Array, rows: ImageRows, new: jax.Array) -> ImageRows:
    """Like `_write_rows`, for one TPU, which writes a slice faster than rows; of a spread state it would gather all."""
    capacity, size = len(images.image_id), min(len(images.image_id), len(new))
    start = jnp.minimum(num_images, capacity - size)
    is_written, source = _sources(start - num_images + jnp.arange(size, dtype=jnp.int32), new)
    is_in_place = (source == jnp.arange(size, dtype=jnp.int32)) | ~is_written
    # Mostly all images are new, those that only pad the batch are last, and there is room: then no row moves.
    moved: ImageRows = jax.lax.cond(
        is_in_place.all(),
        lambda: jax.tree.map(lambda leaf: leaf[:size], rows),
        lambda: jax.tree.map(lambda leaf: leaf[source], rows),
    )

    def write(old: jax.Array, values: jax.Array) -> jax.Array:
        kept = jax.lax.dynamic_slice_in_dim(old, start, size)
        values = jnp.where(is_written.reshape(-1, *(1,) * (old.ndim - 1)), values, kept)
        return jax.lax.dynamic_update_slice_in_dim(old, values, start, 0)

    written: ImageRows = jax.tree.map(write, images, moved)
    return written


def _find_repeated(state: AveragePrecisionState, rows: ImageRows, valid: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns which valid images occurred before, in the state or the batch, and where: `[I]` bool and int32.

    Positions number the slots of the state first, then the images of the batch.
    """
    capacity = len(state.images.image_id)
    filled = jnp.arange(capacity, dtype=jnp.int32) < state.num_images
    real = jnp.concatenate([filled, valid])
    high, low = (
        jnp.concatenate([getattr(images, name) for images in (state.images, rows)])
        for name in ("image_id_high", "image_id")
    )
    place = jnp.arange(len(real), dtype=jnp.int32)
    find = _first_by_comparison if len(valid) * len(real) <= MOST_COMPARISONS else _first_by_sorting
    first = find(real, high, low, place, capacity)
    return valid & (first != place[capacity:]), first


def _first_by_comparison(
    real: jax.Array, high: jax.Array, low: jax.Array, place: jax.Array, capacity: int
) -> jax.Array:
    """Returns `[I]` int32, the first place with the id of each of the last I places; its own if it is not real."""
    is_same = (high[None] == high[capacity:, None]) & (low[None] == low[capacity:, None]) & real[None]
    own = place[capacity:, None]
    return jnp.where(is_same & (place[None] < own), place[None], own).min(-1)


def _first_by_sorting(real: jax.Array, high: jax.Array, low: jax.Array, place: jax.Array, capacity: int) -> jax.Array:
    """As `_first_by_comparison`, for many images."""
    _, high, low, order = jax.lax.sort((~real, high, low, place), num_keys=3)
    is_first = jnp.concatenate([jnp.ones(1, bool), (high[1:] != high[:-1]) | (low[1:] != low[:-1])])
    start = jax.lax.cummax(jnp.where(is_first, place, 0))
    return jnp.zeros_like(order).at[order].set(order[start], unique_indices=True)[capacity:]


def _at_places(images: ImageRows, rows: ImageRows, place: jax.Array) -> ImageRows:
    """Returns the rows at positions that number the slots of `images` first, then `rows`."""
    capacity = len(images.image_id)

    def take(old: jax.Array, new: jax.Array) -> jax.Array:
        is_old = (place < capacity).reshape(-1, *(1,) * (old.ndim - 1))
        return jnp.where(is_old, old[jnp.minimum(place, capacity - 1)], new[jnp.maximum(place - capacity, 0)])

    taken: ImageRows = jax.tree.map(take, images, rows)
    return taken
