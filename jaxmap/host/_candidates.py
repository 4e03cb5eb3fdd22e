"""Candidates of a whole dataset, exact in float64: the pairs of one image and class that reach the lowest threshold.

Only image-class groups that hold both kinds of box are looked at, and of their pairs only those whose boxes overlap
are computed to the end; on COCO a few per cent of the pairs and far below one per mille of the dense grid.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..types import DetectionTable, GroundTruthTable

__all__ = ["Groups", "Pairs", "box_iou_pairs", "find_pairs"]

PAIRS_AT_ONCE = 1 << 18  # temporaries of a block stay within a few MB, inside the cache of a core


class Groups(NamedTuple):
    """The image-class groups that hold both kinds of box, as runs of rows sorted by group.

    Attributes:
      detection_start: `[n]`, first row of each group among the sorted detections.
      detection_count: `[n]`.
      ground_truth_start: `[n]`, first row of each group among the sorted ground truths.
      ground_truth_count: `[n]`.
    """

    detection_start: np.ndarray
    detection_count: np.ndarray
    ground_truth_start: np.ndarray
    ground_truth_count: np.ndarray


class Pairs(NamedTuple):
    """Pairs that reach the lowest threshold; each detection's pairs are adjacent, the preferred one first.

    Attributes:
      group: `[P]`, index of the group.
      detection: `[P]`, row among the sorted detections, ascending.
      ground_truth: `[P]`, row among the sorted ground truths.
      similarity: `[P]` float64.
      level: `[P]` int8, how many thresholds it reaches.
    """

    group: np.ndarray
    detection: np.ndarray
    ground_truth: np.ndarray
    similarity: np.ndarray
    level: np.ndarray


def find_pairs(
    detections: DetectionTable, ground_truths: GroundTruthTable, groups: Groups, iou_thresholds: tuple[float, ...]
) -> Pairs:
    """Finds all pairs that reach the lowest threshold, with their level, in the order of preference.

    Args:
      detections: sorted by group, then by descending score.
      ground_truths: sorted by group, then in the order of the input.
      groups: which rows meet.
      iou_thresholds: T thresholds, ascending.

    References: pycocotools cocoeval.py, evaluateImg: a match needs IoU >= min(t, 1 - 1e-10), the highest IoU is
    preferred, and of equal ones the later.
    """
    bounds = np.minimum(iou_thresholds, 1 - 1e-10)
    found = [_overlapping(detections, ground_truths, groups, block, bounds[0]) for block in _blocks(groups)]
    group, detection, ground_truth, similarity = (
        (np.concatenate(columns) for columns in zip(*found, strict=True))
        if found
        else (np.empty(0, np.int64),) * 3 + (np.empty(0),)
    )
    order = np.lexsort((-ground_truth, -similarity, detection))
    level = np.searchsorted(bounds, similarity[order], side="right").astype(np.int8)
    return Pairs(group[order], detection[order], ground_truth[order], similarity[order], level)


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


def _blocks(groups: Groups) -> Iterator[tuple[int, int, int, int]]:
    """Cuts the work into (first group, last group, first row, last row), rows relative to a group cut in pieces."""
    pairs = groups.detection_count * groups.ground_truth_count
    edges = np.concatenate([[0], np.cumsum(pairs)])
    first = 0
    while first < len(pairs):
        last = int(np.searchsorted(edges, edges[first] + PAIRS_AT_ONCE, side="right")) - 1
        if last > first:
            yield first, last, 0, -1
            first = last
            continue
        count, width = int(groups.detection_count[first]), int(groups.ground_truth_count[first])
        step = max(PAIRS_AT_ONCE // width, 1)  # one group larger than a block, for example a crowd scene
        for row in range(0, count, step):
            yield first, first + 1, row, min(row + step, count)
        first += 1


def _overlapping(
    detections: DetectionTable,
    ground_truths: GroundTruthTable,
    groups: Groups,
    block: tuple[int, int, int, int],
    bound: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns group, detection, ground truth and similarity of the pairs of a block that reach the bound."""
    first, last, row_from, row_to = block
    starts, counts = groups.detection_start[first:last], groups.detection_count[first:last]
    if row_to >= 0:
        starts, counts = starts + row_from, np.array([row_to - row_from])
    widths = groups.ground_truth_count[first:last]
    # All pairs of the block: every detection row repeated for each ground truth of its group.
    row_group = np.repeat(np.arange(last - first), counts)
    rows = _ranges(starts, counts)
    row_width = widths[row_group]
    detection = np.repeat(rows, row_width)
    ground_truth = _ranges(groups.ground_truth_start[first:last][row_group], row_width)
    # Overlap along x decides most pairs for a third of the work; the arithmetic is that of `box_iou_pairs`.
    x, w = detections.boxes[:, 0], detections.boxes[:, 2]
    left, right = x[rows], x[rows] + w[rows]
    other_left, other_width = ground_truths.boxes[:, 0], ground_truths.boxes[:, 2]
    other_right = other_left + other_width
    near = np.minimum(np.repeat(right, row_width), other_right[ground_truth]) > np.maximum(
        np.repeat(left, row_width), other_left[ground_truth]
    )
    detection, ground_truth = detection[near], ground_truth[near]
    similarity = box_iou_pairs(
        detections.boxes[detection], ground_truths.boxes[ground_truth], ground_truths.crowd[ground_truth]
    )
    reaches = similarity >= bound
    group = first + np.repeat(row_group, row_width)[near][reaches]
    return group, detection[reaches], ground_truth[reaches], similarity[reaches]


def _ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns the concatenation of `range(start, start + count)`."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - counts), counts)
