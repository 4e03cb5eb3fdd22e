"""Outputs of DETR-like models: queries with class scores, and boxes as centre and size in [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp

from ..types import Array, Detections, GroundTruths
from ._batch import EvaluationBatch, entry, floats, image_ids, integers

__all__ = ["from_detr"]


def from_detr(
    predictions: Mapping[str, Array],
    batch: Mapping[str, Any],
    *,
    background: Literal["first", "last"] | None = "first",
    activation: Literal["softmax", "sigmoid"] = "softmax",
    top_k: int | None = None,
    label_offset: int = 1,
    area_measured_at: Literal["size", "orig_size"] = "size",
) -> EvaluationBatch:
    """Converts the output of a DETR-like model and its batch to the arguments of `update`.

    The defaults are right for DETR. Deformable DETR and its successors score each class independently, so that a query
    may yield several detections: use `activation="sigmoid", top_k=100`.

    Args:
      predictions: `pred_boxes` `[I, Q, 4]`, centre, width and height in [0, 1] of the image without its padding, and
        `pred_probs` or `pred_logits` `[I, Q, C]`.
      batch: has `label`, which has `orig_size` `[I, 2]` (height, width) and optionally `boxes` `[I, G, 4]` as above,
        `labels` `[I, G]`, `is_crowd`, `area`, `size` `[I, 2]` and `image/id` `[I]`; and optionally `batch_mask` `[I]`,
        0 for padding images. Other entries are not read.
      background: which of the C columns stands for "no object" and is dropped: `first`, `last` or None. The remaining
        columns are the classes 0 .. K-1.
      activation: converts logits to scores; `pred_probs` are used unchanged.
      top_k: None makes one detection of each query, with its best class. A number selects that many best pairs of query
        and class in each image; of equal scores the earlier query comes first, then the smaller class.
      label_offset: the number of class 0 in `labels`; smaller numbers are padding.
      area_measured_at: the image size that `area` refers to; DETR's transforms scale it with the image.

    Raises:
      ValueError: if an entry is missing, or a shape or an option is not as described.

    Example:
      >>> found = {"pred_probs": jnp.array([[[0.1, 0.2, 0.7]]]), "pred_boxes": jnp.array([[[0.5, 0.5, 0.25, 1.0]]])}
      >>> batch = from_detr(found, {"label": {"orig_size": jnp.array([[40, 100]])}})
      >>> batch.detections.boxes.tolist(), batch.detections.labels.tolist()
      ([[[37.5, 0.0, 62.5, 40.0]]], [[1]])
    """
    label = entry(batch, "batch", "label")
    boxes = floats(entry(predictions, "predictions", "pred_boxes"), "pred_boxes", (None, None, 4))
    scores = _class_scores(predictions, boxes.shape[:2], background, activation)
    num_images, num_queries, num_classes = scores.shape
    size = floats(entry(label, "batch['label']", "orig_size"), "orig_size", (num_images, 2))
    boxes = _centre_to_corners(boxes, size)
    if top_k is None:
        labels = scores.argmax(-1).astype(jnp.int32)
        scores = scores.max(-1)
    else:
        pairs = scores.reshape(num_images, num_queries * num_classes)
        scores, pair = jax.lax.top_k(pairs, min(top_k, pairs.shape[1]))
        labels = pair % num_classes
        boxes = jnp.take_along_axis(boxes, (pair // num_classes)[..., None], axis=1)
    mask = batch.get("batch_mask")
    return EvaluationBatch(
        detections=Detections(boxes=boxes, scores=scores, labels=labels),
        ground_truths=_ground_truths(label, size, label_offset, area_measured_at),
        image_id=image_ids(label, "image/id", num_images),
        valid=jnp.ones(num_images, bool) if mask is None else floats(mask, "batch_mask", (num_images,)) != 0,
    )


def _class_scores(
    predictions: Mapping[str, Array], queries: tuple[int, ...], background: str | None, activation: str
) -> jax.Array:
    """Returns `[I, Q, K]`, the scores without the background."""
    if activation not in ("softmax", "sigmoid"):
        raise ValueError(f"`activation` must be 'softmax' or 'sigmoid', got {activation!r}.")
    if background not in ("first", "last", None):
        raise ValueError(f"`background` must be 'first', 'last' or None, got {background!r}.")
    if "pred_probs" in predictions:
        scores = floats(predictions["pred_probs"], "pred_probs", (*queries, None))
    else:
        logits = entry(predictions, "predictions", "pred_logits", " or 'pred_probs'")
        logits = floats(logits, "pred_logits", (*queries, None))
        scores = jax.nn.softmax(logits) if activation == "softmax" else jax.nn.sigmoid(logits)
    if background is None:
        return scores
    return scores[..., 1:] if background == "first" else scores[..., :-1]


def _ground_truths(
    label: Mapping[str, Array], size: jax.Array, label_offset: int, area_measured_at: str
) -> GroundTruths | None:
    if area_measured_at not in ("size", "orig_size"):
        raise ValueError(f"`area_measured_at` must be 'size' or 'orig_size', got {area_measured_at!r}.")
    if "boxes" not in label:
        return None
    boxes = floats(label["boxes"], "boxes", (len(size), None, 4))
    shape = boxes.shape[:2]
    labels = integers(entry(label, "batch['label']", "labels"), "labels", shape)
    area = floats(label["area"], "area", shape) if "area" in label else None
    if area is not None and area_measured_at == "size":
        hint = " that `area` belongs to, or `area_measured_at` must be 'orig_size'"
        resized = floats(entry(label, "batch['label']", "size", hint), "size", (len(size), 2))
        area *= (size / jnp.where(resized > 0, resized, 1.0)).prod(-1)[:, None]  # padding images may have size 0
    return GroundTruths(
        boxes=_centre_to_corners(boxes, size),
        labels=labels - label_offset,
        valid=labels >= label_offset,
        crowd=integers(label["is_crowd"], "is_crowd", shape) != 0 if "is_crowd" in label else None,
        area=area,
    )


def _centre_to_corners(boxes: jax.Array, size: jax.Array) -> jax.Array:
    """Converts `[I, N, 4]` boxes in [0, 1] to xyxy in pixels of images of (height, width).

    Corners are computed before pixels: halving is exact, so each corner is one sum followed by one product, which no
    compiler can fuse into an operation that rounds differently.
    """
    centre, half = boxes[..., :2], 0.5 * boxes[..., 2:]
    scale = size[:, None, ::-1]
    return jnp.concatenate([(centre - half) * scale, (centre + half) * scale], axis=-1)
