"""The state of exact average precision: rows of fixed shape per image, and counters of everything that was excluded."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ..._display import short_repr
from ..._lowering import by_backend
from ..._matching._data_checks import CHECKS, checks_by_name
from ..._matching._device import MatchedBatch
from ..._pytrees import register_container
from ...types import Array, Ints

__all__ = [
    "OF_IMAGE",
    "OF_STATE",
    "AveragePrecisionState",
    "ImageRows",
    "content_of",
    "contents_differ",
    "empty_rows",
    "in_slots",
    "insert_images",
    "order_of_ids",
    "rows_of_batch",
    "total_checks",
    "total_counters",
    "whole_ids",
]

EMPTY = -1  # label of an unused slot
MOST_COMPARISONS = 2**26  # of image ids; beyond it, sorting is faster on a CPU


@register_container
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ImageRows:
    """The rows kept per image, without boxes or logits: for COCO, 28 bytes per detection and 3 per ground truth.

    Attributes:
      image_id: `[I]` int32, the low word of the id, which is the id itself if it fits.
      image_id_high: `[I]` int32, the high word; if the id fits int32, 0, or -1 for a negative id.
      scores: `[I, D]` float32, descending.
      labels: `[I, D]` int16 or int32; `EMPTY` in unused slots.
      position: `[I, D]` int32, row in the input.
      rank: `[I, D]` int16 or int32, rank among the detections of the image and class.
      matched: `[I, D, W]` uint32, the planes in which a detection matched a ground truth.
      ignored: `[I, D, W]` uint32, the planes in which it is neither a true nor a false positive.
      ground_truth_labels: `[I, G]` int16 or int32; `EMPTY` in unused slots.
      ground_truth_counted: `[I, G]` uint8 or uint32; bit `a` is set if it is counted in area range `a`.
      num_detections_over_capacity: `[I]` int32, detections without a slot.
      num_ground_truths_over_capacity: `[I]` int32, ground truths without a slot.
      num_not_finite: `[I]` int32, valid rows whose box, score or area is NaN, infinite or too large; excluded.
      num_bad_labels: `[I]` int32, valid rows whose label is not a class; excluded.
      checks: `[I, C]` int32, the number of rows that each check of `CHECKS` found.
    """

    image_id: Array  # [I]
    image_id_high: Array  # [I]
    scores: Array  # [I, D]
    labels: Array  # [I, D]
    position: Array  # [I, D]
    rank: Array  # [I, D]
    matched: Array  # [I, D, W]
    ignored: Array  # [I, D, W]
    ground_truth_labels: Array  # [I, G]
    ground_truth_counted: Array  # [I, G]
    num_detections_over_capacity: Array  # [I]
    num_ground_truths_over_capacity: Array  # [I]
    num_not_finite: Array  # [I]
    num_bad_labels: Array  # [I]
    checks: Array  # [I, C]

    __repr__ = short_repr


@register_container
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class AveragePrecisionState:
    """The state of exact average precision. The first `num_images` slots are filled, in the order of arrival.

    Attributes:
      images: rows of C images.
      num_images: the number of distinct images.
      num_repeated_images: images that were repeated and excluded.
      num_conflicting_images: repeated images with other ground truths or detections, whose ids are therefore not
        unique.
      num_padded_images: images marked as not valid.
      num_images_over_capacity: images without a slot.
      configuration: `[2]` uint32, a fingerprint of the metric's configuration, and 1.
    """

    images: ImageRows
    num_images: Array  # []
    num_repeated_images: Array  # []
    num_conflicting_images: Array  # []
    num_padded_images: Array  # []
    num_images_over_capacity: Array  # []
    configuration: Array  # [2]

    __repr__ = short_repr


# Counters are kept per image, so that an image that is repeated, or is in two merged states, is counted once.
OF_IMAGE = tuple(field.name for field in dataclasses.fields(ImageRows) if field.name.startswith("num_"))
OF_DETECTIONS = ("scores", "labels", "position", "rank", "matched", "ignored")
OF_GROUND_TRUTHS = ("ground_truth_labels", "ground_truth_counted")
OF_STATE = tuple(field.name for field in dataclasses.fields(AveragePrecisionState) if field.name.startswith("num_"))


def empty_rows(
    num_images: int, num_detections: int, num_ground_truths: int, num_words: int, num_classes: int, num_areas: int
) -> ImageRows:
    """Returns rows with empty slots only."""
    label = _label_dtype(num_classes)
    words = (num_images, num_detections, num_words)
    return ImageRows(
        image_id=jnp.zeros(num_images, jnp.int32),
        image_id_high=jnp.zeros(num_images, jnp.int32),
        scores=jnp.zeros((num_images, num_detections), jnp.float32),
        labels=jnp.full((num_images, num_detections), EMPTY, label),
        position=jnp.zeros((num_images, num_detections), jnp.int32),
        rank=jnp.zeros((num_images, num_detections), _label_dtype(num_detections)),
        matched=jnp.zeros(words, jnp.uint32),
        ignored=jnp.zeros(words, jnp.uint32),
        ground_truth_labels=jnp.full((num_images, num_ground_truths), EMPTY, label),
        ground_truth_counted=jnp.zeros((num_images, num_ground_truths), _bits_dtype(num_areas)),
        **{name: jnp.zeros(num_images, jnp.int32) for name in OF_IMAGE},
        checks=jnp.zeros((num_images, len(CHECKS)), jnp.int32),
    )


def content_of(images: ImageRows) -> Array:
    """Returns `[I, 6]` float32 that distinguish images with equal ids: sums, because their rows may be in any order.

    NumPy or JAX.
    """
    xp = images.scores.__array_namespace__()
    found, truth = images.labels != EMPTY, images.ground_truth_labels != EMPTY
    columns = (
        found.sum(-1),
        truth.sum(-1),
        xp.where(found, images.scores, 0).sum(-1),
        (images.matched != 0).any(-1).sum(-1),
        xp.where(truth, images.ground_truth_labels.astype(np.int32), 0).sum(-1),
        images.ground_truth_counted.astype(np.int32).sum(-1),
    )
    content: Array = xp.stack([column.astype(np.float32) for column in columns], axis=-1)
    return content


def contents_differ(one: Array, other: Array) -> Array:
    """Returns `[I]` bool; scores of the same image may differ slightly between batches."""
    xp = one.__array_namespace__()
    different: Array = (xp.abs(one - other) > 1e-2).any(-1)
    return different


def whole_ids(images: ImageRows) -> Ints:
    """Returns the image ids `[I]` of NumPy rows as int64."""
    high, low = (np.asarray(word, np.int64) for word in (images.image_id_high, images.image_id))
    return (high << 32) | (low & 0xFFFFFFFF)


def order_of_ids(images: ImageRows) -> jax.Array:
    """Returns `[I]` int32, the slots of images in ascending order of ids."""
    slots = jnp.arange(len(images.image_id), dtype=jnp.int32)
    low = jnp.asarray(images.image_id).astype(jnp.uint32)
    return jax.lax.sort((jnp.asarray(images.image_id_high), low, slots), num_keys=3, is_stable=False)[-1]


def total_counters(state: AveragePrecisionState) -> dict[str, jax.Array]:
    """Returns every counter as an int32 scalar; counters per image are summed."""
    filled = jnp.arange(len(state.images.image_id), dtype=jnp.int32) < state.num_images
    of_images = {name: jnp.where(filled, getattr(state.images, name), 0).sum(dtype=jnp.int32) for name in OF_IMAGE}
    return {name: getattr(state, name) for name in OF_STATE} | of_images


def total_checks(state: AveragePrecisionState) -> dict[str, Array]:
    """Returns the sums of `CHECKS` over the images of the state, by name."""
    filled = jnp.arange(len(state.images.checks), dtype=jnp.int32) < state.num_images
    return checks_by_name(jnp.where(filled[:, None], state.images.checks, 0).sum(0, dtype=jnp.int32))


def rows_of_batch(batch: MatchedBatch, like: ImageRows) -> ImageRows:
    """Converts a matched batch to the slots and dtypes of a state."""
    counted = batch.ground_truth_counted
    bits = jnp.left_shift(jnp.uint32(1), jnp.arange(counted.shape[-1], dtype=jnp.uint32))
    counted_bits = jnp.where(counted, bits[None, None], jnp.uint32(0)).sum(-1, dtype=jnp.uint32)
    empty = jnp.int32(EMPTY)
    rows = ImageRows(
        image_id=batch.image_id[:, 1],
        image_id_high=batch.image_id[:, 0],
        scores=batch.scores,
        labels=jnp.where(batch.valid, batch.labels, empty),
        position=jnp.where(batch.valid, batch.position, 0),
        rank=jnp.where(batch.valid, batch.rank, 0),
        matched=jnp.where(batch.valid[..., None], batch.matched, jnp.uint32(0)),
        ignored=jnp.where(batch.valid[..., None], batch.ignored, jnp.uint32(0)),
        ground_truth_labels=jnp.where(counted.any(-1), batch.ground_truth_labels, empty),
        ground_truth_counted=counted_bits,
        num_detections_over_capacity=jnp.zeros_like(batch.num_not_finite),
        num_ground_truths_over_capacity=jnp.zeros_like(batch.num_not_finite),
        num_not_finite=batch.num_not_finite,
        num_bad_labels=batch.num_bad_labels,
        checks=batch.checks,
    )
    return in_slots(rows, like)


def in_slots(rows: ImageRows, like: ImageRows) -> ImageRows:
    """Converts rows to the slots and dtypes of others, and counts what does not fit."""
    found, lost = _fit(rows, OF_DETECTIONS, rows.labels >= 0, like.labels.shape[1])
    truth, truth_lost = _fit(rows, OF_GROUND_TRUTHS, rows.ground_truth_labels >= 0, like.ground_truth_labels.shape[1])
    return dataclasses.replace(
        rows,
        **{name: value.astype(getattr(like, name).dtype) for name, value in (found | truth).items()},
        num_detections_over_capacity=rows.num_detections_over_capacity + lost,
        num_ground_truths_over_capacity=rows.num_ground_truths_over_capacity + truth_lost,
    )


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
    conflicting = jax.lax.cond(
        repeated.any(),
        lambda: contents_differ(content_of(_at_places(state.images, rows, first)), content_of(rows)),
        lambda: jnp.zeros_like(repeated),
    )
    new = valid & ~repeated
    num_new = new.sum(dtype=jnp.int32)
    num_taken = jnp.minimum(num_new, capacity - state.num_images)
    return dataclasses.replace(
        state,
        images=by_backend(
            *(state.images, state.num_images, rows, new),
            tpu=_write_slice,
            default=_write_rows,
            partitioned=_write_rows,
        ),
        num_images=state.num_images + num_taken,
        num_repeated_images=state.num_repeated_images + repeated.sum(dtype=jnp.int32),
        num_conflicting_images=state.num_conflicting_images + (repeated & conflicting).sum(dtype=jnp.int32),
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


def _write_slice(images: ImageRows, num_images: jax.Array, rows: ImageRows, new: jax.Array) -> ImageRows:
    """Like `_write_rows`, for one TPU, which writes a slice faster than rows; of a spread state it would gather all."""
    capacity, size = len(images.image_id), min(len(images.image_id), len(new))
    start = jnp.minimum(num_images, capacity - size)
    number = start - num_images + jnp.arange(size, dtype=jnp.int32)  # of the new row in each slot of the slice
    is_written = (number >= 0) & (number < new.sum(dtype=jnp.int32))
    upto = jnp.cumsum(new, dtype=jnp.int32)
    source = jnp.minimum((upto[None] <= number[:, None]).sum(-1, dtype=jnp.int32), len(new) - 1)
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


def _fit(rows: ImageRows, names: tuple[str, ...], valid: Array, slots: int) -> tuple[dict[str, jax.Array], jax.Array]:
    """Cuts or pads axis 1 to a number of slots; if it is cut, valid rows are kept first, and lost ones are counted."""
    columns = {name: getattr(rows, name) for name in names}
    width = valid.shape[1]
    if width > slots:
        order = jnp.argsort(~valid, axis=1, stable=True)[:, :slots]
        columns = {
            name: jnp.take_along_axis(value, order.reshape(order.shape + (1,) * (value.ndim - 2)), axis=1)
            for name, value in columns.items()
        }
    elif width < slots:
        fill = {"labels": EMPTY, "ground_truth_labels": EMPTY}
        columns = {
            name: jnp.pad(
                value, ((0, 0), (0, slots - width)) + ((0, 0),) * (value.ndim - 2), constant_values=fill.get(name, 0)
            )
            for name, value in columns.items()
        }
    return columns, jnp.maximum(valid.sum(-1, dtype=jnp.int32) - slots, 0)


def _label_dtype(largest: int) -> type[np.signedinteger]:
    return np.int16 if largest <= np.iinfo(np.int16).max else np.int32


def _bits_dtype(num_bits: int) -> type[np.unsignedinteger]:
    if num_bits > 32:
        raise ValueError(
            f"`area_ranges` must be at most 32 inside jit, got {num_bits}; use `evaluate`, which takes any number."
        )
    return np.uint8 if num_bits <= 8 else np.uint32
