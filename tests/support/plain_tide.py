"""Types of errors in plain loops over COCO dictionaries: by our rules, and by those of tidecv where they differ."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as codec

MAIN_TYPES = ("classification", "localization", "both", "duplicate", "background", "missed")
ERROR_TYPES = (*MAIN_TYPES, "false_positives", "false_negatives")
HUNDREDTHS = tuple(i / 100 for i in range(101))

# The rules of tidecv 1.0.1 that are not ours.
DIFFERENCES = {
    "crowds": "a detection on a crowd has a type, too, and may be fixed",
    "classes": "a class without objects has the AP 0, and is included in the mean if it has detections",
    "ties": "once errors are fixed, all detections that were not true positives are the first of equal scores",
    "edges": "an IoU that equals a threshold is below it, except where a detection finds an object",
    "first": "of equally similar objects the first is the most similar",
    "raised": "a negative gain of a main type is reported as 0",
}
TIDECV = frozenset(DIFFERENCES)

Row = dict[str, Any]
Rules = frozenset[str]


class PlainErrors:
    """The errors of a detector.

    Args:
      truth, results: the contents of COCO files.
      iou_type: `bbox` or `segm`.
      iou_threshold, background_threshold, recall_points: as `jaxmap` takes them.
      limit: on the detections of an image, over all classes.
      rules: which of `DIFFERENCES` apply.

    Attributes:
      detections: by position among the results: the outcome, the id of the object or -1, and the IoU or NaN.
      ground_truths: by id: the outcome of every counted object.
      average_precision: the AP of each class by its id, and the mean by None.
    """

    def __init__(
        self,
        truth: Row,
        results: list[Row],
        *,
        iou_type: str = "bbox",
        iou_threshold: float = 0.5,
        background_threshold: float = 0.1,
        recall_points: Sequence[float] = HUNDREDTHS,
        limit: int = 100,
        rules: Rules = frozenset(),
    ) -> None:
        self.results, self.iou_type, self.rules, self.recall_points = results, iou_type, rules, recall_points
        self.high, self.low = iou_threshold, background_threshold
        self.class_of = {row["id"]: row["category_id"] for row in truth["annotations"]}
        self.detections: dict[int, tuple[str, int, float]] = {}  # in the order of images, then of scores
        self.ground_truths: dict[int, str] = {}
        self.ignored: set[int] = set()  # among the results
        self.fixes: dict[int, int] = {}  # the object that an error finds if it is fixed
        found: dict[int, list[int]] = {image["id"]: [] for image in truth["images"]}
        objects: dict[int, list[Row]] = {image_id: [] for image_id in found}
        for place, row in enumerate(results):
            found[row["image_id"]].append(place)
        for row in truth["annotations"]:
            objects[row["image_id"]].append(row)
        for image_id in sorted(found):
            by_score = sorted(found[image_id], key=lambda place: -results[place]["score"])
            self._add_image(by_score[:limit], objects[image_id])
        self.average_precision = self._fixed(None)

    @property
    def count(self) -> dict[str, int]:
        of_detections = Counter(outcome for outcome, _, _ in self.detections.values())
        count = {name: of_detections[name] for name in MAIN_TYPES}
        outcomes = [*self.ground_truths.values()]
        return count | {
            "missed": outcomes.count("missed"),
            "false_positives": sum(count.values()),
            "false_negatives": len(outcomes) - outcomes.count("found"),
        }

    def gain(self, error: str) -> dict[int | None, float]:
        """Returns how much the AP of each class, and their mean, rises if all errors of a type are fixed."""
        gain = {name: value - self.average_precision.get(name, 0.0) for name, value in self._fixed(error).items()}
        if "raised" in self.rules and error in MAIN_TYPES:
            gain[None] = max(gain[None], 0.0)
        return gain

    def _add_image(self, rows: list[int], objects: list[Row]) -> None:
        crowd = [row["iscrowd"] for row in objects]
        counted = [g for g, row in enumerate(objects) if not crowd[g] and _in_range(row["area"])]
        iou = self._iou(rows, objects)
        taken: set[int] = set()
        for d, place in enumerate(rows):
            reached = [
                g
                for g, row in enumerate(objects)
                if row["category_id"] == self.results[place]["category_id"]
                and (crowd[g] or g not in taken)
                and (iou[d, g] >= self.high if g in counted or "edges" not in self.rules else iou[d, g] > self.high)
            ]
            match = self._nearest(iou[d], [g for g in reached if g in counted] or reached)
            if match is not None:
                taken.add(match)
                outcome = "true positive" if match in counted else "ignored"
                self.detections[place] = outcome, objects[match]["id"], iou[d, match]
            elif self.iou_type == "bbox" and not _in_range(math.prod(self.results[place]["bbox"][2:])):
                self.detections[place] = "ignored", -1, math.nan
            else:
                self.detections[place] = "wrong", -1, math.nan
            if self.detections[place][0] == "ignored":
                self.ignored.add(place)
        self.ground_truths |= {objects[g]["id"]: "found" if g in taken else "missed" for g in counted}
        for d, place in enumerate(rows):
            if self.detections[place][0] == "wrong" or (place in self.ignored and "crowds" in self.rules):
                self._add_error(place, iou[d], objects, counted)

    def _add_error(self, place: int, iou: np.ndarray, objects: list[Row], counted: list[int]) -> None:
        class_id = self.results[place]["category_id"]
        own = self._nearest(iou, [g for g in counted if objects[g]["category_id"] == class_id])
        other = self._nearest(iou, [g for g in counted if objects[g]["category_id"] != class_id])
        own_iou, other_iou = (0.0 if g is None else iou[g] for g in (own, other))
        edges = "edges" in self.rules
        if self.low <= own_iou < self.high or (edges and own_iou == self.high):
            outcome, g = "localization", own
        elif other_iou >= self.high:
            outcome, g = "classification", other
        elif own_iou >= self.high:
            outcome, g = "duplicate", own
        elif other_iou > self.low or (other_iou == self.low and not edges):
            outcome, g = "both", other
        else:
            outcome, g = "background", None
        self.detections[place] = (outcome, -1, math.nan) if g is None else (outcome, objects[g]["id"], iou[g])
        if outcome in ("localization", "classification") and self.ground_truths[objects[g]["id"]] == "missed":
            self.ground_truths[objects[g]["id"]] = outcome
            self.fixes[place] = objects[g]["id"]

    def _nearest(self, iou: np.ndarray, objects: list[int]) -> int | None:
        best = None
        for g in objects:
            if best is None or iou[g] > iou[best] or (iou[g] == iou[best] and "first" not in self.rules):
                best = g
        return best

    def _iou(self, rows: list[int], objects: list[Row]) -> np.ndarray:
        if not rows or not objects:
            return np.zeros((len(rows), len(objects)))
        crowd = [row["iscrowd"] for row in objects]
        if self.iou_type == "segm":
            masks = [self.results[place]["segmentation"] for place in rows]
            return codec.iou(masks, [row["segmentation"] for row in objects], crowd)
        boxes = np.array([self.results[place]["bbox"] for place in rows], float)
        return codec.iou(boxes, np.array([row["bbox"] for row in objects], float), crowd)

    def _fixed(self, error: str | None) -> dict[int | None, float]:
        """Returns the AP of each class, and the mean, with the errors of a type fixed."""
        hits: dict[int, list[tuple[Any, bool]]] = {}  # by class: sort key and whether it is a true positive
        for place, (at, (outcome, _, _)) in zip(self.detections, enumerate(self.detections.values()), strict=True):
            row, is_hit = self.results[place], outcome == "true positive"
            class_id, last = row["category_id"], is_hit and error is not None and "ties" in self.rules
            key = (-row["score"] if is_hit or error != "false_positives" else math.inf, last, at)
            if outcome == error:
                if place not in self.fixes:
                    continue
                class_id, is_hit = self.class_of[self.fixes[place]], True
            elif place in self.ignored:
                continue
            hits.setdefault(class_id, []).append((key, is_hit))
        removed = {"missed": ("missed",), "false_negatives": ("missed", "localization", "classification")}.get(
            error, ()
        )
        kept = [one for one, outcome in self.ground_truths.items() if outcome not in removed]
        positives = Counter(self.class_of[one] for one in kept)
        classes = {self.class_of[one] for one in self.ground_truths}
        if "classes" in self.rules:
            classes = {*hits, *positives}
        numbers: dict[int | None, float] = {
            name: self._average_precision([is_hit for _, is_hit in sorted(hits.get(name, []))], positives[name])
            for name in classes
        }
        return numbers | {None: float(np.mean([*numbers.values()])) if numbers else math.nan}

    def _average_precision(self, hits: list[bool], num_objects: int) -> float:
        if not num_objects:
            return 0.0
        found = np.cumsum(hits)
        envelope = np.maximum.accumulate((found / np.arange(1, len(hits) + 1))[::-1])[::-1]
        reached = np.searchsorted(found / num_objects, self.recall_points)
        return float(np.append(envelope, 0.0)[reached].mean())


def _in_range(area: float) -> bool:
    return 0 <= area <= 1e10
