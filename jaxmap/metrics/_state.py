"""The state of exact average precision: fixed-shape rows an image, and counters of everything that went wrong."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ..types import Array
from ._batch import MatchedBatch

__all__ = [
    "OF_IMAGE",
    "OF_STATE",
    "AveragePrecisionState",
    "ImageRows",
    "empty_rows",
    "in_slots",
    "insert_images",
    "rows_of_batch",
    "total_counters",
]

EMPTY = -1  # label of an unused slot


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ImageRows:
    """What is kept of an image: no boxes and no logits, 24 bytes a detection and 3 a ground truth for COCO.

    Attributes:
      image_id: `[I]` int32.
      scores: `[I, D]` float32, descending.
      labels: `[I, D]` int16 or int32; `EMPTY` in unused slots.
      rank: `[I, D]` int16 or int32, place among the detections of the image and class.
      matched: `[I, D, W]` uint32, the planes in which a detection met a ground truth.
      ignored: `[I, D, W]` uint32, the planes in which it is neither a true nor a false positive.
      ground_truth_labels: `[I, G]` int16 or int32; `EMPTY` in unused slots.
      ground_truth_counted: `[I, G]` uint8 or uint32, bit `a` set where it counts in area range `a`.
      num_detections_over_capacity: `[I]` int32, detections that found no slot.
      num_ground_truths_over_capacity: `[I]` int32, ground truths that found no slot.
      num_not_finite: `[I]` int32, valid rows whose box, score or area was NaN or infinite; they took no part.
      num_bad_labels: `[I]` int32, valid rows whose label was no class; they took no part.
    """

    image_id: Array  # [I]
    scores: Array  # [I, D]
    labels: Array  # [I, D]
    rank: Array  # [I, D]
    matched: Array  # [I, D, W]
    ignored: Array  # [I, D, W]
    ground_truth_labels: Array  # [I, G]
    ground_truth_counted: Array  # [I, G]
    num_detections_over_capacity: Array  # [I]
    num_ground_truths_over_capacity: Array  # [I]
    num_not_finite: Array  # [I]
    num_bad_labels: Array  # [I]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class AveragePrecisionState:
    """Everything seen so far. The first `num_images` slots of `images` are filled, in the order of arrival.

    Attributes:
      images: rows of C images.
      num_images: distinct images held.
      num_repeated_images: images that came again and were left out.
      num_padded_images: images marked as not valid.
      num_images_over_capacity: images for which no slot was left.
      configuration: `[2]` uint32, a fingerprint of the metric's configuration, and 1.
    """

    images: ImageRows
    num_images: Array  # []
    num_repeated_images: Array  # []
    num_padded_images: Array  # []
    num_images_over_capacity: Array  # []
    configuration: Array  # [2]


# Counts of an image go with it, so that one that comes again, or is in two states that are merged, counts once.
OF_IMAGE = tuple(field.name for field in dataclasses.fields(ImageRows) if field.name.startswith("num_"))
OF_DETECTIONS = ("scores", "labels", "rank", "matched", "ignored")
OF_GROUND_TRUTHS = ("ground_truth_labels", "ground_truth_counted")
OF_STATE = tuple(field.name for field in dataclasses.fields(AveragePrecisionState) if field.name.startswith("num_"))


def empty_rows(
    num_images: int, num_detections: int, num_ground_truths: int, num_words: int, num_classes: int, num_areas: int
) -> ImageRows:
    """Returns rows without images, every slot empty."""
    label = _label_dtype(num_classes)
    words = (num_images, num_detections, num_words)
    return ImageRows(
        image_id=jnp.zeros(num_images, jnp.int32),
        scores=jnp.zeros((num_images, num_detections), jnp.float32),
        labels=jnp.full((num_images, num_detections), EMPTY, label),
        rank=jnp.zeros((num_images, num_detections), _label_dtype(num_detections)),
        matched=jnp.zeros(words, jnp.uint32),
        ignored=jnp.zeros(words, jnp.uint32),
        ground_truth_labels=jnp.full((num_images, num_ground_truths), EMPTY, label),
        ground_truth_counted=jnp.zeros((num_images, num_ground_truths), _bits_dtype(num_areas)),
        **{name: jnp.zeros(num_images, jnp.int32) for name in OF_IMAGE},
    )


def total_counters(state: AveragePrecisionState) -> dict[str, jax.Array]:
    """Returns every counter as an int32 scalar, those of images summed over the images held."""
    filled = jnp.arange(len(state.images.image_id), dtype=jnp.int32) < state.num_images
    of_images = {name: jnp.where(filled, getattr(state.images, name), 0).sum(dtype=jnp.int32) for name in OF_IMAGE}
    return {name: getattr(state, name) for name in OF_STATE} | of_images


def rows_of_batch(batch: MatchedBatch, like: ImageRows) -> ImageRows:
    """Brings a matched batch to the slots and dtypes of a state."""
    counted = batch.ground_truth_counted
    bits = jnp.left_shift(jnp.uint32(1), jnp.arange(counted.shape[-1], dtype=jnp.uint32))
    counted_bits = jnp.where(counted, bits[None, None], jnp.uint32(0)).sum(-1, dtype=jnp.uint32)
    empty = jnp.int32(EMPTY)
    rows = ImageRows(
        image_id=batch.image_id,
        scores=batch.scores,
        labels=jnp.where(batch.valid, batch.labels, empty),
        rank=jnp.where(batch.valid, batch.rank, 0),
        matched=jnp.where(batch.valid[..., None], batch.matched, jnp.uint32(0)),
        ignored=jnp.where(batch.valid[..., None], batch.ignored, jnp.uint32(0)),
        ground_truth_labels=jnp.where(counted.any(-1), batch.ground_truth_labels, empty),
        ground_truth_counted=counted_bits,
        num_detections_over_capacity=jnp.zeros_like(batch.num_not_finite),
        num_ground_truths_over_capacity=jnp.zeros_like(batch.num_not_finite),
        num_not_finite=batch.num_not_finite,
        num_bad_labels=batch.num_bad_labels,
    )
    return in_slots(rows, like)


def in_slots(rows: ImageRows, like: ImageRows) -> ImageRows:
    """Brings rows to the slots and dtypes of others, and counts what finds no slot."""
    found, lost = _fit(rows, OF_DETECTIONS, rows.labels >= 0, like.labels.shape[1])
    truth, truth_lost = _fit(rows, OF_GROUND_TRUTHS, rows.ground_truth_labels >= 0, like.ground_truth_labels.shape[1])
    return dataclasses.replace(
        rows,
        **{name: value.astype(getattr(like, name).dtype) for name, value in (found | truth).items()},
        num_detections_over_capacity=rows.num_detections_over_capacity + lost,
        num_ground_truths_over_capacity=rows.num_ground_truths_over_capacity + truth_lost,
    )


def insert_images(state: AveragePrecisionState, rows: ImageRows, valid: jax.Array) -> AveragePrecisionState:
    """Puts images that are not there yet into the next free slots, and counts what was padded, repeated or too much.

    Args:
      state: where to.
      rows: of I images.
      valid: `[I]` bool, False for padding.
    """
    state = jax.tree.map(jnp.asarray, state)  # it may come from a checkpoint, as NumPy arrays
    capacity = len(state.images.image_id)
    filled = jnp.arange(capacity, dtype=jnp.int32) < state.num_images
    known = _is_among(rows.image_id, state.images.image_id, filled)
    order = jnp.lexsort((~valid, rows.image_id))  # valid ones first among equal ids, in the order of the batch
    ordered, ordered_valid = rows.image_id[order], valid[order]
    again = jnp.concatenate([jnp.zeros(1, bool), (ordered[1:] == ordered[:-1]) & ordered_valid[1:]])
    repeated = jnp.zeros_like(valid).at[order].set(again) | known
    new = valid & ~repeated
    slot = state.num_images + jnp.cumsum(new, dtype=jnp.int32) - 1
    slot = jnp.where(new, slot, capacity)  # behind the last slot: dropped, as are those over capacity, which count
    images = jax.tree.map(lambda old, row: old.at[slot].set(row, mode="drop"), state.images, rows)
    num_new = new.sum(dtype=jnp.int32)
    num_taken = jnp.minimum(num_new, capacity - state.num_images)
    return dataclasses.replace(
        state,
        images=images,
        num_images=state.num_images + num_taken,
        num_repeated_images=state.num_repeated_images + (valid & repeated).sum(dtype=jnp.int32),
        num_padded_images=state.num_padded_images + (~valid).sum(dtype=jnp.int32),
        num_images_over_capacity=state.num_images_over_capacity + num_new - num_taken,
    )


def _is_among(values: jax.Array, known: jax.Array, filled: jax.Array) -> jax.Array:
    """Returns where each value is one of the filled entries of `known`."""
    order = jnp.lexsort((known, ~filled))  # filled ones first, ascending
    count = filled.sum(dtype=jnp.int32)
    ascending = jnp.where(jnp.arange(len(known), dtype=jnp.int32) < count, known[order], np.iinfo(np.int32).max)
    place = jnp.minimum(jnp.searchsorted(ascending, values).astype(jnp.int32), len(known) - 1)
    return (ascending[place] == values) & (place < count)


def _fit(
    rows: ImageRows, names: tuple[str, ...], valid: jax.Array, slots: int
) -> tuple[dict[str, jax.Array], jax.Array]:
    """Cuts or pads axis 1 to a number of slots; valid rows come first when it must be cut, and the lost are counted."""
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
    return np.uint8 if num_bits <= 8 else np.uint32
