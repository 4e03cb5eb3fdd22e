"""Axis-aligned boxes on the host, and the record of their geometry. The rule is stated in `_boxes`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from ..types import Bools, DetectionTable, Floats, GroundTruthTable, Ints
from ._host import PairSimilarity
from ._record import Constants, Geometry, Shape, in_jit

__all__ = ["BBOX", "box_iou_pairs", "overlap_pairs", "to_xywh"]


def box_iou_pairs(boxes: Floats, other_boxes: Floats, crowd: Bools) -> Floats:
    """Returns the IoU of pairs of boxes in float64, bit for bit as in pycocotools.

    Args:
      boxes: `[P, 4]` float64 xywh, detections.
      other_boxes: `[P, 4]` float64 xywh, ground truths.
      crowd: `[P]` bool; where True, the value is the intersection over the area of the detection.

    Returns:
      `[P]` float64; 0 where the boxes do not overlap.

    References: pycocotools maskApi.c, bbIou.
    """
    width, height = overlap_pairs(boxes, other_boxes)
    area, other_area = boxes[:, 2] * boxes[:, 3], other_boxes[:, 2] * other_boxes[:, 3]
    touches = (width > 0) & (height > 0)
    intersection = width * height
    union = np.where(crowd, area, area + other_area - intersection)
    return np.divide(intersection, union, out=np.zeros(len(boxes)), where=touches)


def overlap_pairs(boxes: Floats, other_boxes: Floats) -> tuple[Floats, Floats]:
    """Returns the overlap of pairs of xywh boxes along x and along y, `[P]` each; negative if there is none."""
    x, y, w, h = boxes.T
    other_x, other_y, other_w, other_h = other_boxes.T
    width = np.minimum(x + w, other_x + other_w) - np.maximum(x, other_x)
    return width, np.minimum(y + h, other_y + other_h) - np.maximum(y, other_y)


def to_xywh(boxes: Floats, box_format: str) -> Floats:
    """Returns `[N, 4]` float64 boxes as x, y, width, height."""
    if box_format == "xywh":
        return boxes
    if box_format == "yxyx":
        boxes = boxes[:, [1, 0, 3, 2]]
    first, second = boxes[:, :2], boxes[:, 2:]
    if box_format == "cxcywh":
        return np.concatenate([first - second / 2, second], axis=1)
    return np.concatenate([first, second - first], axis=1)


def _box_iou(one: DetectionTable, other: GroundTruthTable, rows: Ints, others: Ints) -> Floats:
    boxes, other_boxes = one.boxes.take(rows, axis=0), other.boxes.take(others, axis=0)
    return box_iou_pairs(boxes, other_boxes, other.crowd.take(others))


def _pairs(detections: DetectionTable, ground_truths: GroundTruthTable, _: Constants) -> PairSimilarity:
    return PairSimilarity(partial(_box_iou, detections, ground_truths), at_most_box_iou=True)


def _columns(fields: Mapping[str, Any], box_format: str) -> dict[str, Any]:
    """Returns the column of boxes."""
    return {"boxes": to_xywh(fields["boxes"], box_format)}


BBOX = Geometry(
    shape=Shape("boxes", "boxes", (4,), "boxes"),
    pairs=_pairs,
    image=in_jit("_boxes", "image_similarity"),
    columns=_columns,
    oddities=in_jit("_boxes", "box_oddities"),
    sides="boxes",
)
