"""Sets of detections and cgF1 by their definitions, in plain loops over the entries of COCO files."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from pycocotools import mask
from scipy.optimize import linear_sum_assignment

Rows = list[dict[str, Any]]


def queries(ground_truths: dict[str, Any], results: Rows) -> Iterator[tuple[int, Rows, Rows]]:
    """Yields the class, the detections and the ground truths of every image and class, in the order of the files."""
    sides: tuple[dict[Any, Rows], dict[Any, Rows]] = {}, {}
    for side, rows in zip(sides, (results, ground_truths["annotations"]), strict=True):
        for row in rows:
            side.setdefault((row["image_id"], row["category_id"]), []).append(row)
    for image in ground_truths["images"]:
        for category in ground_truths["categories"]:
            found, truth = (side.get((image["id"], category["id"]), []) for side in sides)
            yield category["id"], found, truth


def overlaps(found: Rows, truth: Rows) -> np.ndarray:
    """Returns `[D, G]`, pycocotools' IoU, or for a crowd the share of the detection inside."""
    if not found or not truth:
        return np.zeros((len(found), len(truth)))
    boxes = [row["bbox"] for row in found], [row["bbox"] for row in truth]
    return np.asarray(mask.iou(*boxes, [int(row["iscrowd"]) for row in truth]))


def best_counts(found: Rows, truth: Rows, threshold: float, area: tuple[float, float]) -> tuple[int, int]:
    """Returns the most true positives, and with as many the fewest false positives, after trying every matching."""
    near = overlaps(found, truth) >= min(threshold, 1 - 1e-10)
    low, high = area
    counted = [not row["iscrowd"] and low <= row["area"] <= high for row in truth]
    inside = [low <= row["bbox"][2] * row["bbox"][3] <= high for row in found]

    @functools.cache
    def best(row: int, taken: int) -> tuple[int, int]:  # (true positives, minus the false positives)
        if row == len(found):
            return 0, 0
        rest = best(row + 1, taken)
        options = [(rest[0], rest[1] - inside[row])]
        for place in np.flatnonzero(near[row]).tolist():
            if truth[place]["iscrowd"]:
                options.append(rest)
            elif not taken >> place & 1:
                after = best(row + 1, taken | 1 << place)
                options.append((after[0] + counted[place], after[1]))
        return max(options)

    true_positives, negative = best(0, 0)
    return true_positives, -negative


def concept_counts(
    ground_truths: dict[str, Any], results: Rows, thresholds: list[float], score_threshold: float
) -> tuple[np.ndarray, list[int]]:
    """Returns TP, FP and FN of the positive queries at each threshold, `[3, T]`, and TP, FP, FN and TN of queries."""
    boxes, answers = np.zeros((3, len(thresholds)), np.int64), [0, 0, 0, 0]
    for _, found, truth in queries(ground_truths, results):
        found = [row for row in found if row.get("score", 1.0) >= score_threshold]
        truth = [row for row in truth if not row["iscrowd"]]
        answers[{(True, True): 0, (True, False): 1, (False, True): 2}.get((bool(found), bool(truth)), 3)] += 1
        if not truth:
            continue
        values = overlaps(found, truth)
        assigned = values[linear_sum_assignment(-values)]
        hits = np.array([(assigned >= threshold).sum() for threshold in thresholds])
        boxes += [hits, len(found) - hits, len(truth) - hits]
    return boxes, answers


def concept_f1(boxes: np.ndarray, answers: list[int]) -> tuple[float, float, float]:
    """Returns cgF1, the positive micro F1 and Matthews' coefficient from the counts; NaN where undefined."""
    hits, false, missed = boxes
    if not (hits + missed).all():
        return math.nan, math.nan, coefficient(answers)
    f1 = float((2 * hits / (2 * hits + false + missed)).mean())
    return f1 * coefficient(answers), f1, coefficient(answers)


def coefficient(answers: list[int]) -> float:
    """Returns the correlation of having ground truth and having an answer, from its definition as a correlation."""
    truth = np.repeat([1.0, 0.0, 1.0, 0.0], answers)
    found = np.repeat([1.0, 1.0, 0.0, 0.0], answers)
    truth, found = truth - truth.mean(), found - found.mean()
    scale = math.sqrt((truth @ truth) * (found @ found))
    return float(truth @ found) / scale if scale > 1e-9 else math.nan
