"""WIDER FACE's AP, written down plainly: loops over boxes and scores, nothing of jaxmap's.

Follows eval_tools: norm_score.m, evaluation.m, boxoverlap.m and VOCap.m. Boxes are xywh, and include the pixels at
their ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

NUM_SCORES = 1000
Image = Mapping[str, np.ndarray]


class Numbers(NamedTuple):
    """The AP of the curve at 1,000 scores, and of the whole curve."""

    ap: float
    whole: float


def wider_face(found: Sequence[Image], real: Sequence[Image]) -> Numbers:
    """Scores images of `boxes`, for detections `scores`, for ground truths `ignore`; each image has a face."""
    low, high = (function([function(one["scores"]) for one in found if len(one["scores"])]) for function in (min, max))
    outcomes: list[tuple[float, bool]] = []
    for dt, gt in zip(found, real, strict=True):
        taken: set[int] = set()
        for row in np.argsort(-dt["scores"], kind="stable"):
            overlaps = [overlap(dt["boxes"][row], box) for box in gt["boxes"]]
            best = int(np.argmax(overlaps))
            hit = overlaps[best] >= 0.5
            if hit and gt["ignore"][best]:
                continue
            outcomes.append(((dt["scores"][row] - low) / (high - low), hit and best not in taken))
            taken |= {best} if hit else set()
    total = sum(int((~gt["ignore"]).sum()) for gt in real)
    score, hits = (np.array(column) for column in zip(*sorted(outcomes, key=lambda one: -one[0]), strict=True))
    found_so_far = np.cumsum(hits)
    curve = []
    for step in range(1, NUM_SCORES + 1):
        reported = int((score >= 1 - step / NUM_SCORES).sum())
        if reported:
            curve.append((found_so_far[reported - 1] / total, found_so_far[reported - 1] / reported))
    return Numbers(
        area(*zip(*curve, strict=True)), area(found_so_far / total, found_so_far / np.arange(1, len(hits) + 1))
    )


def overlap(box: np.ndarray, other: np.ndarray) -> float:
    width = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0]) + 1
    height = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    both = (box[2] + 1) * (box[3] + 1) + (other[2] + 1) * (other[3] + 1)
    return float(width * height / (both - width * height))


def area(recall: Sequence[float], precision: Sequence[float]) -> float:
    envelope = np.maximum.accumulate(np.array(precision)[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))
