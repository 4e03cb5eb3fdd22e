"""VisDrone's definition of AP and AR, written down plainly: loops over detections and boxes, nothing of jaxmap's.

Follows VisDrone2018-DET-toolkit: calcAccuracy.m, evalRes.m, compOas.m and VOCap.m, for scenes without ignored objects.
A class without objects, which the toolkit counts as 0, is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

THRESHOLDS = np.linspace(0.5, 0.95, 10)
LIMITS = (1, 10, 100, 500)
Image = Mapping[str, np.ndarray]


class Numbers(NamedTuple):
    """AP and AR, means over classes and thresholds; AR by limit."""

    ap: float
    ap50: float
    ap75: float
    ar: dict[int, float]


def visdrone(found: Sequence[Image], real: Sequence[Image], num_classes: int) -> Numbers:
    """Scores images of `boxes` xywh, `labels`, and for detections `scores`."""
    classes = [one for one in range(num_classes) if any((image["labels"] == one).any() for image in real)]
    ap = np.zeros((len(classes), len(THRESHOLDS)))
    ar = {limit: np.zeros_like(ap) for limit in LIMITS}
    best_first = [np.argsort(-image["scores"], kind="stable") for image in found]
    for row, label in enumerate(classes):
        for column, threshold in enumerate(THRESHOLDS):
            for limit in LIMITS:
                scores, hits, num_objects = [], [], 0
                for dt, gt, order in zip(found, real, best_first, strict=True):
                    kept = [index for index in order[:limit] if dt["labels"][index] == label]
                    objects = gt["boxes"][gt["labels"] == label].tolist()
                    hits += matched(dt["boxes"][kept].tolist(), objects, float(threshold))
                    scores += dt["scores"][kept].tolist()
                    num_objects += len(objects)
                hit = np.array(hits, bool)[np.argsort(-np.array(scores), kind="stable")]
                recall = np.cumsum(hit) / num_objects
                ar[limit][row, column] = recall.max(initial=0.0)
            ap[row, column] = area_under(recall, np.cumsum(hit) / np.arange(1, len(hit) + 1))
    return Numbers(ap.mean(), ap[:, 0].mean(), ap[:, 5].mean(), {limit: values.mean() for limit, values in ar.items()})


def matched(found: Sequence[Any], real: Sequence[Any], threshold: float) -> list[bool]:
    """Returns which detections of one class, best first, take an object: the most similar free one, or the later."""
    taken = [False] * len(real)
    result = []
    for box in found:
        most, best = threshold, -1
        for index, other in enumerate(real):
            if not taken[index] and (overlap := iou(box, other)) >= most:
                most, best = overlap, index
        result.append(best >= 0)
        if best >= 0:
            taken[best] = True
    return result


def iou(box: Any, other: Any) -> float:
    width = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    height = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (box[2] * box[3] + other[2] * other[3] - width * height)


def area_under(recall: np.ndarray, precision: np.ndarray) -> float:
    """VOCap: the area under the precision envelope."""
    recall, precision = np.concatenate([[0.0], recall, [1.0]]), np.concatenate([[0.0], precision, [0.0]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * envelope[1:]))
