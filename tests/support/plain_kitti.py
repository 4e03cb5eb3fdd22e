"""KITTI's AP of boxes at 40 recall points, written down plainly: loops over boxes, nothing of jaxmap's.

Follows the devkit's evaluate_object.cpp: cleanData, computeStatistics and getThresholds. Boxes are corners.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LIMITS = {"easy": (40, 0, 0.15), "moderate": (25, 1, 0.30), "hard": (25, 2, 0.50)}  # height, occlusion, truncation
NEIGHBOUR = {"Car": "Van", "Pedestrian": "Person_sitting"}
Image = Sequence[Mapping[str, Any]]


def at_41_scores(found: Sequence[Image], real: Sequence[Image], label: str, difficulty: str, threshold: float) -> float:
    """AP as the devkit computes it, of images of objects with `type`, `box`, `occluded` and `truncated`, or `score`."""
    images, total = judged(found, real, label, difficulty)
    hits = sorted((score for image in images for score in highest_scores(*image[:2], threshold)), reverse=True)
    curve = [counts(images, score, threshold) for score in points(hits, total)]
    precision = [tp / (tp + fp) for tp, fp in curve]
    return sum(max(precision[point:], default=0.0) for point in range(1, 41)) / 40


def at_every_score(
    found: Sequence[Image], real: Sequence[Image], label: str, difficulty: str, threshold: float
) -> float:
    """The same, but of the curve at every score, with the best precision at each recall."""
    images, total = judged(found, real, label, difficulty)
    curve = [counts(images, one[1], threshold) for image in images for one in image[1] if not one[2]]
    best = [
        max((tp / (tp + fp) for tp, fp in curve if tp and tp / total >= point / 40), default=0.0)
        for point in range(1, 41)
    ]
    return float(np.mean(best))


def judged(found: Sequence[Image], real: Sequence[Image], label: str, difficulty: str) -> tuple[list[Any], int]:
    """Returns objects, detections and regions of each image, and the number of objects that count."""
    height, occlusion, truncation = LIMITS[difficulty]
    images, total = [], 0
    for dt, gt in zip(found, real, strict=True):
        objects = []
        for one in gt:
            too_hard = one["occluded"] > occlusion or one["truncated"] > truncation or tall(one["box"]) <= height
            if one["type"] in (label, NEIGHBOUR.get(label)):
                objects.append((one["box"], one["type"] != label or too_hard))
        total += sum(not ignored for _, ignored in objects)
        # Low detections of all classes are ignored, those of other classes are not there.
        detections = [
            (one["box"], one["score"], int(tall(one["box"])) < height)
            for one in dt
            if one["type"] == label or int(tall(one["box"])) < height
        ]
        images.append((objects, detections, [one["box"] for one in gt if one["type"] == "DontCare"]))
    return images, total


def highest_scores(objects: Sequence[Any], detections: Sequence[Any], threshold: float) -> list[float]:
    """The scores of the true positives if each object takes its best-scored detection."""
    taken: set[int] = set()
    scores = []
    for box, ignored in objects:
        near = [j for j, one in enumerate(detections) if j not in taken and share(one[0], box) > threshold]
        if near:
            best = max(near, key=lambda j: detections[j][1])
            taken.add(best)
            if not ignored and not detections[best][2]:
                scores.append(detections[best][1])
    return scores


def points(scores: Sequence[float], total: int) -> list[float]:
    """The scores at which the curve is read: about one for each of 41 recalls."""
    result, recall = [], 0.0
    for place, score in enumerate(scores):
        left, last = (place + 1) / total, place == len(scores) - 1
        right = left if last else (place + 2) / total
        if right - recall < recall - left and not last:
            continue
        result.append(score)
        recall += 1 / 40
    return result


def counts(images: Sequence[Any], score: float, threshold: float) -> tuple[int, int]:
    """The numbers of true and false positives of a score or above."""
    true = false = 0
    for objects, every, regions in images:
        detections = [one for one in every if one[1] >= score]
        taken: set[int] = set()
        for box, ignored in objects:
            near = [(share(one[0], box), j) for j, one in enumerate(detections) if j not in taken]
            near = [(overlap, j) for overlap, j in near if overlap > threshold]
            tall_ones = [(overlap, -j) for overlap, j in near if not detections[j][2]]
            best = -max(tall_ones)[1] if tall_ones else min((j for _, j in near), default=-1)
            if best >= 0:
                taken.add(best)
                true += not ignored and not detections[best][2]
        for j, (box, _, low) in enumerate(detections):
            inside = any(share(box, region, union=False) > threshold for region in regions)
            false += j not in taken and not low and not inside
    return true, false


def tall(box: Sequence[float]) -> float:
    return math.fabs(box[3] - box[1])


def share(box: Sequence[float], other: Sequence[float], *, union: bool = True) -> float:
    width, height = (min(box[2 + k], other[2 + k]) - max(box[k], other[k]) for k in (0, 1))
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(one[2] - one[0]) * (one[3] - one[1]) for one in (box, other)]
    return width * height / (areas[0] + (areas[1] - width * height if union else 0.0))
