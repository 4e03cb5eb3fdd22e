"""Ultralytics' definition of AP, written down plainly: loops over detections and boxes, nothing of jaxmap's.

Written from what release 8.4.190 computes (`match_predictions` and `compute_ap`), in other words: its package equals
these numbers on random scenes, and on real detections but for the rounding of its float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from support.plain_visdrone import iou

THRESHOLDS = np.linspace(0.5, 0.95, 10)
LIMIT = 300
Image = Mapping[str, np.ndarray]


def ultralytics(
    found: Sequence[Image], real: Sequence[Image], num_classes: int, *, only_best: bool = False
) -> np.ndarray:
    """Returns `[K, 10]`, the AP of each class at each threshold, NaN for a class without objects.

    Args:
      found: images with `boxes` xywh, `labels` and `scores`, of which the best 300 count.
      real: images with `boxes` xywh and `labels`; those with a true `crowd` do not count.
      num_classes: K.
      only_best: whether a detection may only match its most similar object, as before release 8.4.176.
    """
    ap = np.full((num_classes, len(THRESHOLDS)), np.nan)
    kept = [np.argsort(-image["scores"], kind="stable")[:LIMIT] for image in found]
    for label in range(num_classes):
        num_objects, scores, hits = 0, [], []
        for dt, gt, order in zip(found, real, kept, strict=True):
            rows = [row for row in order if dt["labels"][row] == label]
            counts = (gt["labels"] == label) & ~gt.get("crowd", np.zeros(len(gt["labels"]), bool))
            objects = gt["boxes"][counts].tolist()
            overlaps = [[iou(box, other) for other in objects] for box in dt["boxes"][rows].tolist()]
            hits += [[hit(overlaps, place, t, only_best=only_best) for t in THRESHOLDS] for place in range(len(rows))]
            scores += dt["scores"][rows].tolist()
            num_objects += len(objects)
        if num_objects:
            ranked = np.array(hits, bool).reshape(-1, len(THRESHOLDS))[np.argsort(-np.array(scores), kind="stable")]
            ap[label] = [average_precision(column.tolist(), num_objects) for column in ranked.T]
    return ap


def hit(overlaps: list[list[float]], place: int, threshold: float, *, only_best: bool) -> bool:
    """Returns whether the detection at a place takes an object, when those before it have chosen theirs."""
    free = set(range(len(overlaps[0])))
    for row in overlaps[: place + 1]:
        choice = max(range(len(row)) if only_best else sorted(free), key=row.__getitem__, default=None)
        took = choice in free and row[choice] >= threshold
        if took:
            free.remove(choice)
    return took


def average_precision(hits: list[bool], num_objects: int) -> float:
    """Returns the area under the envelope by the trapezoid rule at 101 recalls; straight lines join its corners.

    The corners are (0, 1), one for each detection, and then a fall to precision 0, which stays to recall 1.
    """
    if not hits:
        return 0.0
    corners, found = [(0.0, 1.0)], 0
    for reported, is_hit in enumerate(hits, 1):
        found += is_hit
        corners.append((found / num_objects, found / reported))
    corners += [(found / num_objects, 0.0), (1.0, 0.0)]
    best, envelope = 0.0, []
    for recall, precision in reversed(corners):
        best = max(best, precision)
        envelope.append((recall, best))
    recalls, heights = zip(*reversed(envelope), strict=True)
    grid = np.linspace(0.0, 1.0, 101)
    height = np.interp(grid, recalls, heights)
    return float(((height[:-1] + height[1:]) / 2 * np.diff(grid)).sum())
