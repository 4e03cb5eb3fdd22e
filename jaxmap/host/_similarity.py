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
from ..shapes import SHAPES
from ..types import DetectionTable, GroundTruthTable
from ._ordering import starts_of_runs

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
        sigmas = np.array(protocol.keypoint_sigmas)
        return PairSimilarity(partial(_keypoint_similarity, one, other, sigmas), needs_overlap=False)
    of_masks = partial(_mask_iou, one, other, lambda masks: masks)
    if protocol.iou_type == "segm":
        return PairSimilarity(of_masks)
    of_boundaries = partial(_mask_iou, one, other, partial(boundary_masks, ratio=protocol.boundary_ratio))

    def of_both(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        values = of_masks(rows, others)
        return np.where(other.crowd[others], values, np.minimum(values, of_boundaries(rows, others)))

    return PairSimilarity(of_both)


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


def _mask_iou(
    one: DetectionTable,
    other: GroundTruthTable,
    part: Callable[[np.ndarray], np.ndarray],
    rows: np.ndarray,
    others: np.ndarray,
) -> np.ndarray:
    """IoU of what `part` takes of the masks; only those of the pairs are touched.

    The codec unpacks each mask of a call once, so all pairs of an image go to it together.
    """
    assert one.masks is not None and other.masks is not None
    image = other.image_index[others]
    order = np.argsort(image, kind="stable")
    starts = starts_of_runs(image[order])
    detections, detection, first = _number_by_image(rows[order], starts)
    ground_truths, ground_truth, first_truth = _number_by_image(others[order], starts)
    crowd, ends = other.crowd[ground_truths], np.append(starts, len(order))[1:]
    apart = np.array_equal(one.labels[rows], other.labels[others])  # or classes meet, in a confusion matrix
    labels, other_labels = apart * one.labels[detections], apart * other.labels[ground_truths]
    similarity = np.empty(len(rows))
    for number, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        mine, theirs = slice(*first[number : number + 2]), slice(*first_truth[number : number + 2])
        classes = labels[mine], other_labels[theirs]
        masks, other_masks = part(one.masks[detections[mine]]), part(other.masks[ground_truths[theirs]])
        iou = mask_iou(masks, other_masks, crowd[theirs], classes)
        similarity[order[start:end]] = iou[detection[start:end], ground_truth[start:end]]
    return similarity


def _number_by_image(rows: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Numbers the distinct rows of each image, whose pairs start at `starts`.

    Returns:
      The distinct rows, image by image; the number of each pair's row within its image; and where each image starts
      among the distinct rows, and the last one ends.
    """
    image = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(rows)))
    order = np.lexsort((rows, image))
    new = np.ones(len(rows), bool)
    new[1:] = rows[order][1:] != rows[order][:-1]  # a row is of one image
    number = np.empty(len(rows), np.int64)
    number[order] = np.cumsum(new) - 1
    first = np.minimum.reduceat(number, starts) if len(starts) else np.empty(0, np.int64)
    return rows[order][new], number - first[image], [*first.tolist(), int(new.sum())]
