"""LRP and oLRP by the book, one class at a time in loops, from an evaluation's matches.

References: Oksuz et al., One Metric to Measure them All, TPAMI 2021, equations 1 to 5.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jaxmap

NAMES = ("lrp", "lrp_loc", "lrp_fp", "lrp_fn")


@dataclasses.dataclass(frozen=True)
class PlainErrors:
    """The errors of a class at a score threshold."""

    score_threshold: float
    true_positives: int
    false_positives: int
    lrp: float
    lrp_loc: float
    lrp_fp: float
    lrp_fn: float


class PlainClass:
    """The counted detections of a class, as (score, IoU of a true positive or None), and its ground truths."""

    def __init__(self, evaluation: jaxmap.Evaluation, label: int, iou: float, area: str, limit: int) -> None:
        names = [one.name for one in evaluation.protocol.area_ranges]
        self.iou = iou
        self.num_ground_truths = int(evaluation.curves.num_ground_truths[label, names.index(area)])
        self.detections: list[tuple[float, float | None]] = []
        rows, rank = evaluation.matches(iou, area), {}
        for i in range(len(rows["score"])):
            image = rows["image_id"][i]
            if rows["class_id"][i] == evaluation.class_ids[label]:
                place = rank[image] = rank.get(image, -1) + 1
                if place < limit and not rows["ignored"][i]:
                    overlap = float(rows["iou"][i]) if rows["matched"][i] else None
                    self.detections.append((float(rows["score"][i]), overlap))

    def at(self, threshold: float) -> PlainErrors:
        overlaps = [overlap for score, overlap in self.detections if score >= threshold]
        losses = [1 - overlap for overlap in overlaps if overlap is not None]
        true, total, objects = len(losses), len(overlaps), self.num_ground_truths
        false, missed = total - true, objects - true
        if objects == 0:
            return PlainErrors(threshold, true, false, *[math.nan] * 4)
        return PlainErrors(
            threshold,
            true,
            false,
            (math.fsum(losses) / (1 - self.iou) + false + missed) / (true + false + missed),
            math.fsum(losses) / true if true else math.nan,
            false / total if total else math.nan,
            missed / objects,
        )

    def candidates(self) -> list[PlainErrors]:
        """The errors at every score, of those with equal error the last is the best."""
        return [self.at(score) for score in sorted({score for score, _ in self.detections}, reverse=True)]

    def best(self) -> PlainErrors:
        candidates = self.candidates() if self.num_ground_truths else []
        lowest = min((one.lrp for one in candidates), default=1.0)
        if lowest > 1 - 1e-12:  # nothing reported has an error of 1
            return self.at(math.inf)
        return [one for one in candidates if one.lrp <= lowest + 1e-12][-1]


def assert_same_errors(columns: dict[str, Any], label: int, expected: PlainErrors, tolerance: float = 1e-12) -> None:
    """Checks one row of `localisation_recall_precision`."""
    assert columns["score_threshold"][label] == expected.score_threshold
    assert columns["true_positives"][label] == expected.true_positives
    assert columns["false_positives"][label] == expected.false_positives
    for name in NAMES:
        ours, plain = float(columns[name][label]), getattr(expected, name)
        assert (math.isnan(ours) and math.isnan(plain)) or abs(ours - plain) <= tolerance, (name, ours, plain)
