"""The state of exact average precision: rows of fixed shape per image, and counters of everything that was excluded."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ..._display import short_repr
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
    "order_of_ids",
    "rows_of_batch",
    "total_checks",
    "total_counters",
    "whole_ids",
]

EMPTY = -1  # label of an unused slot


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
    """Returns `[I]` int32, the slots in ascending order of the ids of images; empty slots may come anywhere."""
    slots = jnp.arange(len(images.image_id), dtype=jnp.int32)
    low = jnp.asarray(images.image_id) ^ np.int32(-(2**31))  # in the order of uint32
    return jax.lax.sort((jnp.asarray(images.image_id_high), low, slots), num_keys=2, is_stable=False)[-1]


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
