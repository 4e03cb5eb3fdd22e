"""How similar a detection and a ground truth are, in float64: one function of pairs for every `iou_type`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from ..keypoints import keypoint_similarity
from ..oriented import oriented_iou
from ..protocols import EvaluationProtocol
from ..rle import boundary_masks, mask_iou
from ..types import DetectionTable, GroundTruthTable

__all__ = ["PairSimilarity", "box_iou_pairs", "pair_similarity"]


class PairSimilarity(NamedTuple):
    """A similarity of pairs, and what the enclosing boxes say of it.

    Attributes:
      of_pairs: from rows of the detections and rows of the ground truths, each `[P]`, to `[P]` float64.
      needs_overlap: True if it is 0 where the boxes do not overlap.
      is_box_iou: True if it is the IoU of the boxes themselves.
    """

    of_pairs: Callable[[np.ndarray, np.ndarray], np.ndarray]
    needs_overlap: bool = True
    is_box_iou: bool = False


def pair_similarity(
    detections: DetectionTable, ground_truths: GroundTruthTable, protocol: EvaluationProtocol
) -> PairSimilarity:
    """Returns what the protocol compares.

    Raises:
      ValueError: if a table lacks the shapes that it compares.
    """
    column = {"segm": "masks", "boundary": "masks", "keypoints": "keypoints", "obb": "oriented"}.get(protocol.iou_type)
    for side, table in (("detections", detections), ("ground_truths", ground_truths)):
        if column is not None and getattr(table, column) is None:
            raise ValueError(f"`{side}` must have the column `{column}` for `iou_type={protocol.iou_type!r}`.")
    one, other = detections, ground_truths
    if protocol.iou_type == "bbox":
        return PairSimilarity(partial(_box_iou, one, other), is_box_iou=True)
    if protocol.iou_type == "obb":
        return PairSimilarity(partial(_oriented_iou, one, other))
    if protocol.iou_type == "keypoints":
        sigmas = np.array(protocol.keypoint_sigmas)
        return PairSimilarity(partial(_keypoint_similarity, one, other, sigmas), needs_overlap=False)
    assert one.masks is not None and other.masks is not None
    of_masks = partial(_mask_iou, one, other, one.masks, other.masks)
    if protocol.iou_type == "segm":
        return PairSimilarity(of_masks)
    edges, other_edges = (boundary_masks(masks, protocol.boundary_ratio) for masks in (one.masks, other.masks))
    of_boundaries = partial(_mask_iou, one, other, edges, other_edges)
    return PairSimilarity(lambda rows, others: np.minimum(of_masks(rows, others), of_boundaries(rows, others)))


def box_iou_pairs(boxes: np.ndarray, other_boxes: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """IoU of pairs of boxes in float64, bit for bit as pycocotools computes it.

    Args:
      boxes: `[P, 4]` float64 xywh, detections.
      other_boxes: `[P, 4]` float64 xywh, ground truths.
      crowd: `[P]` bool; where True the value is the intersection over the detection's area.

    Returns:
      `[P]` float64; 0 where the boxes do not overlap.

    References: pycocotools maskApi.c, bbIou.
    """
    x, y, w, h = boxes.T
    other_x, other_y, other_w, other_h = other_boxes.T
    width = np.minimum(x + w, other_x + other_w) - np.maximum(x, other_x)
    height = np.minimum(y + h, other_y + other_h) - np.maximum(y, other_y)
    touches = (width > 0) & (height > 0)
    intersection = width * height
    union = np.where(crowd, w * h, w * h + other_w * other_h - intersection)
    return np.divide(intersection, union, out=np.zeros(len(boxes)), where=touches)


def _box_iou(one: DetectionTable, other: GroundTruthTable, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    boxes, other_boxes = one.boxes.take(rows, axis=0), other.boxes.take(others, axis=0)
    return box_iou_pairs(boxes, other_boxes, other.crowd.take(others))


def _oriented_iou(one: DetectionTable, other: GroundTruthTable, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    assert one.oriented is not None and other.oriented is not None
    similarity: np.ndarray = oriented_iou(one.oriented[rows], other.oriented[others], other.crowd[others])
    return similarity


def _keypoint_similarity(
    one: DetectionTable, other: GroundTruthTable, sigmas: np.ndarray, rows: np.ndarray, others: np.ndarray
) -> np.ndarray:
    assert one.keypoints is not None and other.keypoints is not None
    similarity: np.ndarray = keypoint_similarity(
        one.keypoints[rows], other.keypoints[others], other.boxes[others], other.area[others], sigmas
    )
    return similarity


def _mask_iou(
    one: DetectionTable,
    other: GroundTruthTable,
    masks: np.ndarray,
    other_masks: np.ndarray,
    rows: np.ndarray,
    others: np.ndarray,
) -> np.ndarray:
    """The codec unpacks each mask of a call once, so the pairs of one image and two classes go to it together."""
    similarity = np.empty(len(rows))
    columns = (other.image_index[others], other.labels[others], one.labels[rows])
    order = np.lexsort(columns)
    changes = np.zeros(max(len(rows) - 1, 0), bool)
    for column in columns:
        changes |= np.diff(column[order]) != 0
    for pairs in np.split(order, np.flatnonzero(changes) + 1):
        if len(pairs):
            detections, detection = np.unique(rows[pairs], return_inverse=True)
            ground_truths, ground_truth = np.unique(others[pairs], return_inverse=True)
            iou = mask_iou(masks[detections], other_masks[ground_truths], other.crowd[ground_truths])
            similarity[pairs] = iou[detection, ground_truth]
    return similarity
