"""Outputs of Model Garden's detectors: boxes after non-maximum suppression, as yxyx in pixels, and `image_info`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp

from ..types import Array, Detections, GroundTruths
from ._batch import EvaluationBatch, entry, floats, ids_from, image_ids, integers

__all__ = ["from_model_garden"]


def from_model_garden(
    predictions: Mapping[str, Array],
    labels: Mapping[str, Array],
    *,
    label_offset: int = 1,
    detections_in: Literal["resized", "original"] = "resized",
    ground_truths_in: Literal["resized", "original"] = "original",
    smallest_image_id: int = 0,
) -> EvaluationBatch:
    """Converts the output of a Model Garden detector and its `labels["groundtruths"]` to the arguments of `update`.

    `image_info` has for each image its original size, its resized size, the scale, and the offset of the crop, each as
    (y, x): a point of the original image is at `point * scale - offset` in the resized one. By default, detections are
    in the resized image and ground truths in the original one.

    Args:
      predictions: `detection_boxes` `[I, D, 4]`, `detection_scores` and `detection_classes` `[I, D]`, and
        `num_detections` `[I]`, how many of the D rows are real; without it, all.
      labels: optionally `boxes` `[I, G, 4]`, `classes` `[I, G]`, `is_crowds`, `areas` (always in square pixels of the
        original image), and `num_detections` or `num_groundtruths` `[I]`, how many of the G rows are real; without it,
        those whose class is at least `label_offset` (padding has -1). `source_id` `[I]` and `image_info` `[I, 4, 2]`
        may be in either dictionary. Other entries are not read.
      label_offset: the number of class 0. COCO's category ids start at 1.
      detections_in: the image whose coordinates detections have, `resized` or `original`.
      ground_truths_in: the image whose coordinates ground truths have, `resized` or `original`.
      smallest_image_id: images with a smaller `source_id` are padding: 0 if padding has -1, 1 if it has 0.

    Raises:
      ValueError: if an entry is missing, or a shape or an option is not as described.

    Example:
      >>> found = {
      ...     "detection_boxes": jnp.array([[[10.0, 20.0, 30.0, 40.0]]]),
      ...     "detection_scores": jnp.array([[0.9]]),
      ...     "detection_classes": jnp.array([[18]]),
      ...     "image_info": jnp.array([[[480.0, 640.0], [240.0, 320.0], [0.5, 0.5], [0.0, 0.0]]]),
      ... }
      >>> batch = from_model_garden(found, {"source_id": jnp.array([7])})
      >>> batch.detections.boxes.tolist(), batch.detections.labels.tolist(), batch.image_id.tolist()
      ([[[40.0, 20.0, 80.0, 60.0]]], [[17]], [7])
    """
    for name, value in (("detections_in", detections_in), ("ground_truths_in", ground_truths_in)):
        if value not in ("resized", "original"):
            raise ValueError(f"`{name}` must be 'resized' or 'original', got {value!r}.")
    boxes = floats(entry(predictions, "predictions", "detection_boxes"), "detection_boxes", (None, None, 4))
    num_images, shape = len(boxes), boxes.shape[:2]
    scores = floats(entry(predictions, "predictions", "detection_scores"), "detection_scores", shape)
    classes = integers(entry(predictions, "predictions", "detection_classes"), "detection_classes", shape)
    both = {**labels, **predictions}
    to_original = None
    if detections_in == "resized" or (ground_truths_in == "resized" and "boxes" in labels):
        info = entry(both, "predictions", "image_info", ", or boxes must be in the original image")
        to_original = floats(info, "image_info", (num_images, 4, 2))
    image_id = image_ids(both, "source_id", num_images)
    return EvaluationBatch(
        detections=Detections(
            boxes=_original_xyxy(boxes, to_original if detections_in == "resized" else None),
            scores=scores,
            labels=classes - label_offset,
            valid=_first_rows(predictions, ("num_detections",), shape),
        ),
        ground_truths=_ground_truths(
            labels, num_images, label_offset, to_original if ground_truths_in == "resized" else None
        ),
        image_id=image_id,
        valid=jnp.ones(num_images, bool) if image_id is None else ids_from(image_id, smallest_image_id),
    )


def _ground_truths(
    labels: Mapping[str, Array], num_images: int, label_offset: int, image_info: jax.Array | None
) -> GroundTruths | None:
    if "boxes" not in labels:
        return None
    boxes = floats(labels["boxes"], "boxes", (num_images, None, 4))
    shape = boxes.shape[:2]
    classes = integers(entry(labels, "labels", "classes"), "classes", shape)
    valid = _first_rows(labels, ("num_groundtruths", "num_detections"), shape)
    return GroundTruths(
        boxes=_original_xyxy(boxes, image_info),
        labels=classes - label_offset,
        valid=classes >= label_offset if valid is None else valid,
        crowd=integers(labels["is_crowds"], "is_crowds", shape) > 0 if "is_crowds" in labels else None,
        area=floats(labels["areas"], "areas", shape) if "areas" in labels else None,
    )


def _original_xyxy(boxes: jax.Array, image_info: jax.Array | None) -> jax.Array:
    """Undoes resizing and cropping, if `image_info` is given, and turns yxyx into xyxy."""
    corners = boxes.reshape(*boxes.shape[:2], 2, 2)
    if image_info is not None:
        scale, offset = image_info[:, None, None, 2], image_info[:, None, None, 3]
        corners = (corners + offset) / jnp.where(scale > 0, scale, 1.0)  # padding images may have scale 0
    return corners[..., ::-1].reshape(boxes.shape)


def _first_rows(data: Mapping[str, Array], names: tuple[str, ...], shape: tuple[int, ...]) -> jax.Array | None:
    """Returns `[I, N]` bool, True below each image's count (`[I]` or `[I, 1]`); None if there are no counts."""
    for name in names:
        if name in data:
            count = integers(jnp.reshape(data[name], -1), name, shape[:1])
            return jnp.arange(shape[1], dtype=jnp.int32)[None] < count[:, None]
    return None
