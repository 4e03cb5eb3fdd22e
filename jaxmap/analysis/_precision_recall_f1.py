"""Precision, recall and F1 of the detections of each image as sets without an order, at every IoU threshold.

Detectors with an open vocabulary and language models give boxes without scores. AP ranks detections by score, so
without scores it depends on the order of the rows. Counts do not:

    precision = TP / (TP + FP)                NaN without a detection
    recall    = TP / G                        G counted ground truths; NaN without any
    F1        = 2 TP / (TP + FP + G)          NaN without ground truth

`micro` adds up the counts of all classes, `macro` is the mean over the classes with ground truth, in which a class
without detections has precision 0, as for operating points. Two matchings count true positives:

- `optimal`: at each threshold as many pairs as possible, each with one detection and one counted ground truth of the
  same image and class. Of all such sets of pairs, the one that leaves the fewest false positives: as many of the other
  detections as possible are ignored, because they reach a crowd or an ignored ground truth. Both numbers are unique.
- `score`: that of AP, in descending order of score, and equal scores in the order of the rows.

A largest matching with all ground truths, counted and ignored, can be reached from a largest one with the counted ones
by paths that each add a pair and keep matched ground truths matched. So its size is TP and the most other detections
that can be ignored, and two largest matchings give both counts.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from .._display import Columns, html_text, plain, short_repr
from .._matching._host import MatchedDataset
from .._planes import read_plane
from .._records._host import DatasetRecords
from ..protocols import EvaluationProtocol
from ..protocols._quantities import f_score
from ..types import Bools, Floats, HostArray, Ints
from ._assignment import in_largest_matching
from ._counted import ALL_CLASSES
from ._operating_points import AVERAGES

__all__ = ["MATCHINGS", "PrecisionRecallF1", "check_score_threshold", "matching_for", "precision_recall_f1"]

MATCHINGS = ("optimal", "score")
RATES = ("precision", "recall", "f1")
COUNTS = ("true_positives", "false_positives", "false_negatives")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PrecisionRecallF1:
    """Counts and rates at every IoU threshold, of each class, then of all classes: `micro` and `macro`.

    Attributes:
      protocol: the protocol as applied, with its T thresholds.
      matching: how true positives were found, `optimal` or `score`.
      score_threshold: the lowest score that was included; None for all detections.
      class_ids: `[K + 2]`; -1 for all classes.
      class_names: K names, `micro` and `macro`.
      num_ground_truths: `[K + 2]`, counted ground truths.
      true_positives, false_positives, false_negatives: `[T, K + 2]` int64.
      precision, recall, f1: `[T, K + 2]` float64; NaN where undefined.
    """

    protocol: EvaluationProtocol
    matching: str
    score_threshold: float | None
    class_ids: HostArray  # [K + 2]
    class_names: tuple[str, ...]
    num_ground_truths: Ints  # [K + 2]
    true_positives: Ints  # [T, K + 2]
    false_positives: Ints  # [T, K + 2]
    false_negatives: Ints  # [T, K + 2]
    precision: Floats  # [T, K + 2]
    recall: Floats  # [T, K + 2]
    f1: Floats  # [T, K + 2]

    __repr__ = short_repr

    def per_class(self, iou_threshold: float | None = None) -> Columns:
        """Returns columns of `[K + 2]`: `class_id`, `class_name`, `num_ground_truths`, then counts and rates.

        Args:
          iou_threshold: one of the thresholds. None for the mean of each rate over all thresholds, without counts; it
            is NaN if the rate is undefined at one of them.

        Raises:
          ValueError: if there is no such threshold.
        """
        columns = {
            "class_id": self.class_ids,
            "class_name": list(self.class_names),
            "num_ground_truths": self.num_ground_truths,
        }
        if iou_threshold is None:
            return Columns(columns | {name: getattr(self, name).mean(axis=0) for name in RATES}).as_lists()
        _, place = self.protocol.locate(self.protocol.area_ranges[0].name, iou_threshold)
        return Columns(columns | {name: getattr(self, name)[place] for name in COUNTS + RATES}).as_lists()

    def per_threshold(self) -> dict[str, Any]:
        """Returns columns of `[T]` about all classes: `iou_threshold`, the counts, and the rates of both averages."""
        columns: dict[str, Any] = {"iou_threshold": np.array(self.protocol.iou_thresholds)}
        columns |= {name: getattr(self, name)[:, -2] for name in COUNTS}
        columns |= {
            f"{average}_{name}": getattr(self, name)[:, place]
            for place, average in zip((-2, -1), AVERAGES, strict=True)
            for name in RATES
        }
        return Columns(columns)

    def __str__(self) -> str:
        included = "all detections" if self.score_threshold is None else f"scores from {self.score_threshold:g}"
        lines = [
            f"Precision, recall and F1 of sets ({self.matching} matching, {included})",
            f"{'':<10}{'micro':>9}{'':16}{'macro':>9}",
            f"{'IoU':<10}{'precision':>9}{'recall':>8}{'F1':>8}{'precision':>11}{'recall':>8}{'F1':>8}",
        ]
        thresholds = self.protocol.iou_thresholds
        rows = [(f"{value:.2f}", slice(t, t + 1)) for t, value in enumerate(thresholds)]
        mean = [(f"{thresholds[0]:.2f}:{thresholds[-1]:.2f}", slice(None))] if len(rows) > 1 else []
        for title, place in mean + rows:
            cells = [getattr(self, name)[place, column].mean() for column in (-2, -1) for name in RATES]
            texts = ["-" if math.isnan(cell) else f"{cell:.3f}" for cell in cells]
            lines.append(f"{title:<10}{''.join(map(str.rjust, texts, (9, 8, 8, 11, 8, 8)))}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return html_text(str(self))

    def to_dict(self) -> dict[str, Any]:
        """Returns all numbers as plain Python values; undefined ones are None.

        `micro`, `macro` and each of `classes` have the mean of each rate over the thresholds, and under
        `per_threshold` counts and rates as lists of T. Counts of `macro` are those of `micro`.
        """

        def row(place: int) -> dict[str, Any]:
            lists = {name: list(map(plain, getattr(self, name)[:, place])) for name in COUNTS + RATES}
            means = {name: plain(getattr(self, name)[:, place].mean()) for name in RATES}
            return {"num_ground_truths": int(self.num_ground_truths[place])} | means | {"per_threshold": lists}

        num_classes = len(self.class_names) - len(AVERAGES)
        return {
            "matching": self.matching,
            "score_threshold": self.score_threshold,
            "iou_thresholds": list(self.protocol.iou_thresholds),
            "micro": row(num_classes),
            "macro": row(num_classes + 1),
            "classes": [
                {"class_id": self.class_ids[place].item(), "class_name": self.class_names[place]} | row(place)
                for place in range(num_classes)
            ],
        }


def precision_recall_f1(
    dataset: DatasetRecords,
    protocol: EvaluationProtocol,
    matched: MatchedDataset | None,
    *,
    score_threshold: float | None = None,
    area: str = "all",
) -> PrecisionRecallF1:
    """Counts true and false positives of sets at all thresholds, within the largest limit on detections.

    Args:
      dataset: the records of a dataset.
      protocol: the protocol as applied.
      matched: the pairs behind the records for `optimal` matching; None for that by `score`.
      score_threshold: the lowest score that is included; None for all detections.
      area: the name of one of the protocol's area ranges.

    Raises:
      ValueError: if an argument is not as described.
      ImportError: if scipy is missing, which `optimal` needs.
    """
    if score_threshold is not None:
        check_score_threshold(score_threshold)
        score_threshold = None if score_threshold == -math.inf else score_threshold
    area_index, _ = protocol.locate(area, protocol.iou_thresholds[0])
    rows = dataset.records.detections
    kept = np.ones(len(rows.scores), bool) if score_threshold is None else rows.scores >= score_threshold
    if matched is None:
        matching, (hits, false) = "score", _by_score(dataset, protocol, area_index, kept)
    else:
        matching, (hits, false) = "optimal", _optimal(matched, protocol, area_index, kept)
    columns = _with_averages(dataset, dataset.num_ground_truths[:, area_index], hits, false)
    return PrecisionRecallF1(protocol=protocol, matching=matching, score_threshold=score_threshold, **columns)


def matching_for(dataset: DatasetRecords, matching: str | None) -> str:
    """Returns the matching by name; by default that of AP, or the optimal one if there are no scores.

    Raises:
      ValueError: if there is no such matching.
    """
    if matching is None:
        return "score" if dataset.ranked else "optimal"
    if matching not in MATCHINGS:
        raise ValueError(f"`matching` must be one of {list(MATCHINGS)}, got {matching!r}.")
    return matching


def check_score_threshold(score_threshold: float) -> None:
    """Refuses NaN, which no score reaches."""
    if math.isnan(score_threshold):
        raise ValueError("`score_threshold` must be a number, got nan.")


def _by_score(dataset: DatasetRecords, protocol: EvaluationProtocol, area: int, kept: Bools) -> tuple[Ints, Ints]:
    """Returns the true and the false positives of each class at each threshold, `[T, K]`, as AP matched them."""
    rows = dataset.records.detections
    num_thresholds = len(protocol.iou_thresholds)
    counts = np.zeros((2, num_thresholds, len(dataset.class_ids)), np.int64)
    for threshold in range(num_thresholds):
        plane = area, threshold, num_thresholds
        counted, hit = kept & ~read_plane(rows.ignored, *plane), read_plane(rows.matched, *plane)
        counts[:, threshold] = [_per_class(rows.labels, flags, dataset) for flags in (counted & hit, counted & ~hit)]
    return counts[0], counts[1]


def _optimal(matched: MatchedDataset, protocol: EvaluationProtocol, area: int, kept: Bools) -> tuple[Ints, Ints]:
    """Returns the most true and the fewest false positives of each class at each threshold, `[T, K]`."""
    dataset, pairs = matched.dataset, matched.pairs
    labels, counted = dataset.records.detections.labels, dataset.records.ground_truths.counted[:, area]
    crowd = matched.ground_truths.crowd
    absorbs = crowd | ~counted if protocol.ignored_absorb else crowd
    uncountable = ~matched.countable(protocol)[:, area]
    shape = len(labels), len(counted)
    counts = np.zeros((2, len(protocol.iou_thresholds), len(dataset.class_ids)), np.int64)
    for threshold in range(counts.shape[1]):
        near = np.flatnonzero((pairs.level > threshold) & kept[pairs.detection])
        detection, ground_truth = pairs.detection[near], pairs.ground_truth[near]
        one, many = counted[ground_truth], absorbs[ground_truth]
        hits = in_largest_matching(detection[one], ground_truth[one], shape)
        excused = uncountable.copy()
        excused[detection[many]] = True
        once = ~(many | excused[detection])  # what is excused need not take a ground truth that takes only one
        covered = excused | in_largest_matching(detection[once], ground_truth[once], shape)
        counts[:, threshold] = [_per_class(labels, flags, dataset) for flags in (hits, kept & ~covered)]
    return counts[0], counts[1]


def _per_class(labels: Ints, flags: Bools, dataset: DatasetRecords) -> Ints:
    return np.bincount(labels[flags], minlength=len(dataset.class_ids))


def _rates(true_positives: Ints, false_positives: Ints, num_ground_truths: Ints) -> dict[str, Floats]:
    """Returns precision, recall and F1 of counts."""
    reported = true_positives + false_positives
    defined = np.where(num_ground_truths > 0, num_ground_truths, np.nan)
    found = np.where(reported > 0, reported, np.nan)
    return {
        "precision": true_positives / found,
        "recall": true_positives / defined,
        "f1": f_score(true_positives, reported, defined),
    }


def _with_averages(dataset: DatasetRecords, num_ground_truths: Ints, hits: Ints, false: Ints) -> dict[str, Any]:
    """Returns the columns of `PrecisionRecallF1` from the counts of each class, `[K]` and `[T, K]`."""

    def summed(counts: Ints) -> Ints:
        total = counts.sum(axis=-1, keepdims=True)
        return np.concatenate([counts, total, total], axis=-1)

    num_ground_truths, hits, false = map(summed, (num_ground_truths, hits, false))
    rates = _rates(hits, false, num_ground_truths)
    averaged = np.flatnonzero(num_ground_truths[: -len(AVERAGES)])
    for values in rates.values():
        of_classes = np.nan_to_num(values[:, averaged])  # a class without detections has precision 0 in the mean
        values[:, -1] = of_classes.mean(axis=1) if len(averaged) else np.nan
    rates["precision"][np.isnan(rates["precision"][:, -2]), -1] = np.nan  # there is no detection of any class
    return rates | {
        "class_ids": np.append(dataset.class_ids, [ALL_CLASSES] * len(AVERAGES)),
        "class_names": (*dataset.class_names, *AVERAGES),
        "num_ground_truths": num_ground_truths,
        "true_positives": hits,
        "false_positives": false,
        "false_negatives": num_ground_truths - hits,
    }
