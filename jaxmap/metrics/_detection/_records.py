"""From the rows of a state to records, on the device and on the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..._curves._host import precision_recall
from ..._ordering import inverse, order_by_score
from ..._records._host import DatasetRecords, are_ranked
from ...protocols import EvaluationProtocol
from ...types import Array, DetectionRecords, GroundTruthRecords, HostArray, Ints, PrecisionRecall, Records
from ._state import ImageRows, order_of_ids, whole_ids

__all__ = ["class_names_of", "curves_on_host", "dataset_of_images", "records_on_device"]

LANES = 128  # of a tile of a TPU


def records_on_device(images: ImageRows, num_images: Array, num_areas: int) -> Records[jax.Array]:
    """Returns the records of `[I]` slots inside `jit`, of which the first `num_images` have an image.

    Image indices are in ascending order of image ids. Rows are laid out as `[positions, images]`.
    """
    num_rows, num_truths = images.scores.shape[1], images.ground_truth_labels.shape[1]
    order = order_of_ids(images)
    found: ImageRows = jax.tree.map(lambda leaf: jnp.asarray(leaf)[order], images)
    image_index = jnp.arange(len(order), dtype=jnp.int32)
    is_filled, is_filled_slot = (_padded(slots, len(order)) < num_images for slots in (order, image_index))
    labels = jnp.where(jnp.tile(is_filled, num_rows), _flat(found.labels), -1)
    truth_labels = jnp.where(jnp.tile(is_filled_slot, num_truths), _flat(images.ground_truth_labels), -1)
    bits = _flat(images.ground_truth_counted).astype(jnp.uint32)
    counted = bits[:, None] >> jnp.arange(num_areas, dtype=jnp.uint32)[None] & np.uint32(1) == 1
    of_slot = jnp.zeros_like(order).at[order].set(image_index, unique_indices=True)
    image_index, of_slot = _padded(image_index), _padded(of_slot)
    return Records(
        detections=DetectionRecords(
            scores=_flat(found.scores),
            labels=labels,
            image_index=jnp.tile(image_index, num_rows),
            position=jnp.repeat(jnp.arange(num_rows, dtype=jnp.int32), len(image_index)),
            rank=_flat(found.rank),
            matched=_flat_words(found.matched),
            ignored=_flat_words(found.ignored),
            valid=labels >= 0,
        ),
        ground_truths=GroundTruthRecords(
            labels=jnp.maximum(truth_labels, 0),
            image_index=jnp.tile(of_slot, num_truths),
            counted=counted & (truth_labels >= 0)[:, None],
        ),
    )


def _flat(column: Array) -> jax.Array:
    """Returns `[D * images]` of `[I, D]`, integers of fewer than 32 bits in int32.

    All columns become words first, and are copied as whole rows of tiles: a TPU takes more than a second to compile the
    copy of each column `[5000, 100]` to `[500000]`, and a tenth of it in this layout.
    """
    column = jnp.asarray(column if column.dtype.itemsize == 4 else column.astype(jnp.int32))
    words = jax.lax.bitcast_convert_type(_padded(column), jnp.uint32).T.reshape(-1)
    words = jax.lax.optimization_barrier(words)  # type: ignore[no-untyped-call]
    return jax.lax.bitcast_convert_type(words, column.dtype)


def _padded(column: jax.Array, filler: int = 0) -> jax.Array:
    """Pads the images of many to whole tiles."""
    num_images = len(column)
    more = -num_images % LANES if num_images > 8 * LANES else 0
    return jnp.pad(column, ((0, more), *((0, 0),) * (column.ndim - 1)), constant_values=filler)


def _flat_words(words: Array) -> jax.Array:
    """Returns `[D * images, W]` of `[I, D, W]` uint32."""
    return jnp.stack([_flat(words[..., word]) for word in range(words.shape[-1])], axis=-1)


def curves_on_host(
    batches: Sequence[ImageRows], protocol: EvaluationProtocol, num_classes: int
) -> PrecisionRecall[HostArray]:
    """Integrates the rows of distinct images, NumPy arrays, in float64."""
    records, _ = _records_on_host(batches, len(protocol.area_ranges))
    rows = records.detections
    order = order_by_score(rows.labels, rows.scores, rows.position)
    num_images = sum(len(images.image_id) for images in batches)
    return precision_recall(records, protocol=protocol, num_classes=num_classes, order=order, num_images=num_images)


def dataset_of_images(
    batches: Sequence[ImageRows],
    protocol: EvaluationProtocol,
    class_names: tuple[str, ...],
    image_names: Mapping[int, Any] | None,
    class_group: Sequence[str] | None,
) -> DatasetRecords:
    """Returns the records of distinct images, NumPy arrays, in the same form as `match_dataset`.

    Raises:
      ValueError: if an image is missing in `image_names`.
    """
    records, detection_ids = _records_on_host(batches, len(protocol.area_ranges))
    rows, num_classes = records.detections, len(class_names)
    image_ids = np.sort(np.concatenate([whole_ids(images) for images in batches]))
    image_index = _place_of(rows.image_index, image_ids)
    order = order_by_score(image_index * num_classes + rows.labels, rows.scores, rows.position)
    by_class = inverse(order).take(order_by_score(rows.labels, rows.scores, rows.position))
    columns = {name: column.take(order, axis=0) for name, column in vars(rows).items()}
    truth = records.ground_truths
    truth_image = _place_of(truth.image_index, image_ids)
    truth_order = np.lexsort((truth.labels, truth_image))
    return DatasetRecords(
        records=Records(
            detections=DetectionRecords(**columns | {"image_index": image_index.take(order)}),
            ground_truths=GroundTruthRecords(
                labels=truth.labels[truth_order],
                image_index=truth_image[truth_order],
                counted=truth.counted[truth_order],
            ),
        ),
        by_class=by_class,
        source_ids=detection_ids,
        source_rows=order,
        image_ids=image_ids if image_names is None else _named(image_ids, image_names),
        class_ids=np.arange(num_classes),
        class_names=class_names,
        class_group=None if class_group is None else np.asarray(class_group),
        ranked=are_ranked(rows.scores),
    )


def class_names_of(num_classes: int, class_names: Sequence[str] | Mapping[int, str] | None) -> tuple[str, ...]:
    """Returns K names; the labels if no names are given.

    Raises:
      ValueError: if there is not one name per class.
    """
    if class_names is None:
        return tuple(map(str, range(num_classes)))
    if isinstance(class_names, Mapping):
        missing = [label for label in range(num_classes) if label not in class_names]
        if missing:
            raise ValueError(
                f"`class_names` must name every class from 0 to {num_classes - 1}, got none for {missing[:5]}."
            )
        return tuple(str(class_names[label]) for label in range(num_classes))
    if isinstance(class_names, str) or len(class_names) != num_classes:
        raise ValueError(f"`class_names` must be {num_classes} names, one for each class, got {class_names!r:.80}.")
    return tuple(map(str, class_names))


def _place_of(ids: Ints, ascending: Ints) -> Ints:
    """Returns the index of each id; all ids must be present."""
    places: Ints = np.searchsorted(ascending, ids)
    return places


def _named(image_ids: Ints, image_names: Mapping[int, Any]) -> HostArray:
    ids = image_ids.tolist()
    missing = [one for one in ids if one not in image_names]
    if missing:
        raise ValueError(f"`image_names` must name every image, got none for {len(missing)} ids such as {missing[:5]}.")
    return np.array([image_names[one] for one in ids])


def _records_on_host(batches: Sequence[ImageRows], num_areas: int) -> tuple[Records[HostArray], Ints]:
    """Returns the records with image ids in `image_index`, and `[N]` row numbers of the detections in their input."""
    found, truths = [], []
    for images in batches:
        image, place = np.nonzero(images.labels >= 0)
        names = ("position", "scores", "labels", "rank", "matched", "ignored")
        image_ids = whole_ids(images)
        found.append((image_ids[image], place, *(getattr(images, name)[image, place] for name in names)))
        image, place = np.nonzero(images.ground_truth_labels >= 0)
        columns = (images.ground_truth_labels, images.ground_truth_counted)
        truths.append((image_ids[image], *(column[image, place] for column in columns)))
    image_id, place, ids, scores, labels, rank, matched, ignored = map(np.concatenate, zip(*found, strict=True))
    position: Ints = inverse(np.lexsort((place, image_id)))
    detections = DetectionRecords(
        scores=scores.astype(np.float64),
        labels=labels.astype(np.int64),
        image_index=image_id,
        position=position,
        rank=rank,
        matched=matched,
        ignored=ignored,
        valid=np.ones(len(image_id), bool),
    )
    image_id, truth_labels, bits = map(np.concatenate, zip(*truths, strict=True))
    counted = (bits[:, None] >> np.arange(num_areas, dtype=bits.dtype)) & 1 == 1
    ground_truths = GroundTruthRecords(labels=truth_labels.astype(np.int64), image_index=image_id, counted=counted)
    return Records(detections=detections, ground_truths=ground_truths), ids.astype(np.int64)
