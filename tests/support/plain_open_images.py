"""The AP of Open Images with groups, written down plainly: loops over detections and boxes, nothing of jaxmap's.

Follows per_image_evaluation.py, `_compute_tp_fp_for_single_class`, and object_detection_evaluation.py of the TensorFlow
object detection API, for boxes and with `group_of_weight` 0 or 1. There equal scores rank in no order; here they rank
by image, then by position.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Image = Mapping[str, np.ndarray]


def open_images_ap(found: Sequence[Image], real: Sequence[Image], label: int, *, group_of_weight: int) -> float:
    """Returns AP of a class; NaN without a ground truth that counts.

    Args:
      found: images of `boxes` xyxy, `labels`, `scores`.
      real: images of `boxes` xyxy, `labels`, `ignore` for difficult ones, `crowd` for groups, `verified` by class.
      label: the class.
      group_of_weight: 1 if a group counts as one object.
    """
    rows = list[tuple[float, bool]]()
    num_objects = 0
    for dt, gt in zip(found, real, strict=True):
        own = gt["labels"] == label
        difficult = gt["ignore"][own & ~gt["crowd"]]
        objects, groups = gt["boxes"][own & ~gt["crowd"]].tolist(), gt["boxes"][own & gt["crowd"]].tolist()
        num_objects += int((~difficult).sum()) + group_of_weight * len(groups)
        if not gt["verified"][label]:
            continue
        mine = np.flatnonzero(dt["labels"] == label)
        mine = mine[np.argsort(-dt["scores"][mine], kind="stable")]
        boxes = dt["boxes"][mine].tolist()
        outcomes = of_objects(boxes, objects, difficult.tolist())
        if groups:
            outcomes = of_groups(boxes, groups, outcomes, group_of_weight)
        in_position = sorted(zip(mine.tolist(), outcomes, strict=True))
        rows += [(dt["scores"][index], outcome) for index, outcome in in_position if outcome is not None]
    if not num_objects:
        return math.nan
    hits = np.array([hit for _, hit in rows], bool)[np.argsort([-score for score, _ in rows], kind="stable")]
    recall, precision = np.cumsum(hits) / num_objects, np.cumsum(hits) / np.arange(1, len(hits) + 1)
    recall, precision = np.concatenate([[0.0], recall, [1.0]]), np.concatenate([[0.0], precision, [0.0]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * envelope[1:]))


def of_objects(boxes: list[Any], objects: list[Any], difficult: list[bool]) -> list[bool | None]:
    """Returns True for a true positive, False for a false one, None for one that is left out."""
    result: list[bool | None] = [False] * len(boxes)
    taken = [False] * len(objects)
    for row, box in enumerate(boxes):
        overlaps = [overlap(box, other, union=True) for other in objects]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best < 0 or overlaps[best] < 0.5:
            continue
        if difficult[best]:
            result[row] = None
        elif not taken[best]:
            result[row] = taken[best] = True
    return result


def of_groups(boxes: list[Any], groups: list[Any], outcomes: list[bool | None], weight: int) -> list[bool | None]:
    """Leaves out what is inside a group; with a weight, the first of each group is a true positive instead."""
    result = list(outcomes)
    hit = [False] * len(groups)
    for row, (box, outcome) in enumerate(zip(boxes, outcomes, strict=True)):
        shares = [overlap(box, group, union=False) for group in groups]
        best = int(np.argmax(shares))
        if outcome is not False or shares[best] < 0.5:
            continue
        result[row] = None if hit[best] or not weight else True
        hit[best] = True
    return result


def overlap(box: Any, other: Any, *, union: bool) -> float:
    """IoU, or the share of the first box inside the other."""
    width, height = (min(box[2 + axis], other[2 + axis]) - max(box[axis], other[axis]) for axis in (0, 1))
    if width <= 0 or height <= 0:
        return 0.0
    area, other_area = ((one[2] - one[0]) * (one[3] - one[1]) for one in (box, other))
    return width * height / (area + other_area - width * height if union else area)
