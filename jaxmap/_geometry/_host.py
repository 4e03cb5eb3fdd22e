"""How similar a detection and a ground truth are, in float64: one function of pairs for every `iou_type`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from ..protocols import EvaluationProtocol
from ..types import DetectionTable, GroundTruthTable, Masks
from ._keypoints import keypoint_similarity
from ._oriented import oriented_iou
from ._rle import boundary_masks, mask_iou, mask_iou_bound
from ._shapes import SHAPES

__all__ = ["PairSimilarity", "box_iou_pairs", "pair_similarity"]


class PairSimilarity(NamedTuple):
    """A similarity of pairs, and what the enclosing boxes say of it.

    Attributes:
      of_pairs: from rows of the detections and rows of the ground truths, each `[P]`, to `[P]` float64.
      needs_overlap: True if it is 0 where the boxes do not overlap.
      is_box_iou: True if it is the IoU of the boxes themselves.
      bound: what it is at most, far sooner computed, from the same rows; None where there is none.
    """

    of_pairs: Callable[[np.ndarray, np.ndarray], np.ndarray]
    needs_overlap: bool = True
    is_box_iou: bool = False
    bound: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None


def pair_similarity(
    detections: DetectionTable, ground_truths: GroundTruthTable, protocol: EvaluationProtocol
) -> PairSimilarity:
    """Returns what the protocol compares.

    Raises:
      ValueError: if a table lacks the shapes that it compares.
    """
    column = SHAPES[protocol.iou_type].column
    for side, table in (("detections", detections), ("ground_truths", ground_truths)):
        if getattr(table, column) is None:
            raise ValueError(
                f"`{side}` must have the column `{column}` for `iou_type={protocol.iou_type!r}`; read its file with "
                "that `iou_type`, or fill the column."
            )
        if protocol.iou_type == "keypoints":
            _check_skeleton(side, table, len(protocol.keypoint_sigmas))
    one, other = detections, ground_truths
    if protocol.iou_type == "bbox":
        return PairSimilarity(partial(_box_iou, one, other), is_box_iou=True)
    if protocol.iou_type == "obb":
        return PairSimilarity(partial(_oriented_iou, one, other))
    if protocol.iou_type == "keypoints":
        _warn_of_no_area(ground_truths)
        sigmas = np.array(protocol.keypoint_sigmas)
        return PairSimilarity(partial(_keypoint_similarity, one, other, sigmas), needs_overlap=False)
    _check_sizes(detections, ground_truths)
    of_masks, bound = partial(_mask_iou, one, other), partial(_mask_iou_bound, one, other)
    if protocol.iou_type == "segm":
        return PairSimilarity(of_masks, bound=bound)
    of_boundaries = partial(_boundary_iou, one, other, protocol.boundary_ratio)

    def of_both(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        values = of_masks(rows, others)
        return np.where(other.crowd[others], values, np.minimum(values, of_boundaries(rows, others)))

    return PairSimilarity(of_both, bound=bound)


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
    width, height = _overlap(boxes, other_boxes)
    area, other_area = boxes[:, 2] * boxes[:, 3], other_boxes[:, 2] * other_boxes[:, 3]
    touches = (width > 0) & (height > 0)
    intersection = width * height
    union = np.where(crowd, area, area + other_area - intersection)
    return np.divide(intersection, union, out=np.zeros(len(boxes)), where=touches)


def _overlap(boxes: np.ndarray, other_boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns how far pairs of xywh boxes overlap along x and along y, `[P]`; not at all if below 0."""
    x, y, w, h = boxes.T
    other_x, other_y, other_w, other_h = other_boxes.T
    width = np.minimum(x + w, other_x + other_w) - np.maximum(x, other_x)
    return width, np.minimum(y + h, other_y + other_h) - np.maximum(y, other_y)


def _check_skeleton(side: str, table: DetectionTable | GroundTruthTable, num_keypoints: int) -> None:
    assert table.keypoints is not None
    if len(table.keypoints) and table.keypoints.shape[1] != num_keypoints:
        raise ValueError(
            f"`{side}.keypoints` must have one keypoint for each of the {num_keypoints} `keypoint_sigmas` of the "
            f"protocol, got {table.keypoints.shape[1]}; pass those of that skeleton: "
            "`COCO_KEYPOINTS.customize(keypoint_sigmas=...)` as the protocol, or `--keypoint-sigmas`."
        )


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


def _warn_of_no_area(table: GroundTruthTable) -> None:
    rows = np.flatnonzero((table.area <= 0) & ~table.ignore & ~table.crowd)
    if len(rows):
        shown = ", ".join(map(str, table.ids[rows[:5]].tolist())) + (
            f" and {len(rows) - 5} more" if rows[5:].size else ""
        )
        warnings.warn(
            f"`ground_truths.area`: {len(rows)} of {len(table.area)} objects have no area, by which the distances of "
            f"their keypoints are scaled, so that only exact ones match: ids {shown}; give the area of the object, or "
            "of its box.",
            UserWarning,
            stacklevel=4,
        )


def _check_sizes(detections: DetectionTable, ground_truths: GroundTruthTable) -> None:
    """All masks of an image must be of one size."""
    sizes = np.zeros((len(ground_truths.image_ids), 2), np.int64)
    for table in (detections, ground_truths):  # ground truths decide; of several masks the first
        assert table.masks is not None
        sizes[table.image_index[::-1]] = table.masks.sizes[::-1]
    for side, table in (("ground_truths", ground_truths), ("detections", detections)):
        assert table.masks is not None
        expected = sizes[table.image_index]
        bad = np.flatnonzero((table.masks.sizes != expected).any(axis=1))
        if len(bad):
            row = bad[0]
            image_id = ground_truths.image_ids[table.image_index[row]]
            raise ValueError(
                f"`{side}.masks` of one image must be of one size, got {table.masks.sizes[row].tolist()} beside "
                f"{expected[row].tolist()} in image {image_id}, row {table.ids[row]} ({len(bad)} such masks in all); "
                "bring them to one resolution first."
            )


def _mask_iou(one: DetectionTable, other: GroundTruthTable, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    assert one.masks is not None and other.masks is not None
    similarity: np.ndarray = mask_iou(one.masks.take(rows), other.masks.take(others), other.crowd[others])
    return similarity


def _mask_iou_bound(one: DetectionTable, other: GroundTruthTable, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    assert one.masks is not None and other.masks is not None
    width, height = _overlap(one.boxes.take(rows, axis=0), other.boxes.take(others, axis=0))
    bound: np.ndarray = mask_iou_bound(
        one.masks.area.take(rows),
        other.masks.area.take(others),
        other.crowd.take(others),
        np.maximum(width, 0) * np.maximum(height, 0),
        one.masks.split.take(rows) & other.masks.split.take(others),
    )
    return bound


def _boundary_iou(
    one: DetectionTable, other: GroundTruthTable, ratio: float, rows: np.ndarray, others: np.ndarray
) -> np.ndarray:
    assert one.masks is not None and other.masks is not None
    boundaries = _boundaries(one.masks, ratio, rows), _boundaries(other.masks, ratio, others)
    similarity: np.ndarray = mask_iou(*boundaries, other.crowd[others])
    return similarity


def _boundaries(masks: Masks, ratio: float, rows: np.ndarray) -> Masks:
    """Returns the boundaries of the masks of some rows; that of a row is made once."""
    distinct, place = np.unique(rows, return_inverse=True)
    return boundary_masks(masks.take(distinct), ratio).take(place)
