"""Which errors a detector makes, and how much AP is lost to each type: the result of TIDE's analysis."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from .._display import Columns, html_table, short_repr
from .._matching._host import MatchedDataset
from ..protocols import EvaluationProtocol
from ..types import Floats, HostArray, Ints
from ._errors import ERROR_TYPES, IGNORED, MAIN_TYPES, MISSED, OUTCOMES, Errors, find_errors, fix_errors
from ._explanation_text import aligned

__all__ = ["ErrorTypes", "background_of", "error_types"]

BACKGROUND = 0.1  # the usual background threshold


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ErrorTypes:
    """The errors of a detector by type, and the AP gained by fixing all errors of each.

    The types, E = 8, are `classification`, `localization`, `both`, `duplicate`, `background` and `missed`, of which
    every false positive has one; and `false_positives` and `false_negatives`, which are all errors of their kind. A
    false negative that a classification or localization error would find is not missed. `str` returns a table.

    Attributes:
      iou_threshold: the IoU at which detections match.
      background_threshold: the IoU below which a detection is on the background.
      class_average_precision: `[K]` float64, the AP of each class at the IoU threshold; NaN without ground truth.
      class_gain: `[E, K]` float64, how much that AP rises if all errors of a type are fixed, in all classes; NaN
        without ground truth.
      class_count: `[E, K]` int64, how many detections of each class, or ground truths that are not found, have each
        type.
      errors: what became of every detection and of every ground truth.
      matched: the dataset.
    """

    iou_threshold: float
    background_threshold: float
    class_average_precision: Floats  # [K]
    class_gain: Floats  # [E, K]
    class_count: Ints  # [E, K]
    errors: Errors
    matched: MatchedDataset

    __repr__ = short_repr

    @property
    def average_precision(self) -> float:
        """The mean AP of the classes with ground truth, at the IoU threshold; NaN if there are none."""
        return _mean(self.class_average_precision)

    @property
    def gain(self) -> dict[str, float]:
        """How much `average_precision` rises if all errors of a type are fixed, by type; NaN without ground truth."""
        return dict(zip(ERROR_TYPES, map(_mean, self.class_gain), strict=True))

    @property
    def count(self) -> dict[str, int]:
        """How many errors there are, by type."""
        return dict(zip(ERROR_TYPES, self.class_count.sum(axis=1).tolist(), strict=True))

    def per_class(self) -> dict[str, list[Any]]:
        """Returns the numbers of each class.

        Returns:
          Columns of `[K]`: `class_id`, `class_name`, `num_ground_truths`, `AP`, then for each type its count
          (`background`), and for each type its gain (`background_gain`). Errors are counted in the class of the
          detection, or of the ground truth if it is missed.
        """
        dataset = self.matched.dataset
        columns: dict[str, Any] = {
            "class_id": dataset.class_ids,
            "class_name": list(dataset.class_names),
            "num_ground_truths": dataset.num_ground_truths[:, 0],
            "AP": self.class_average_precision,
        }
        columns |= dict(zip(ERROR_TYPES, self.class_count, strict=True))
        columns |= zip((f"{name}_gain" for name in ERROR_TYPES), self.class_gain, strict=True)
        return Columns(columns).as_lists()

    def detections(self) -> dict[str, HostArray]:
        """Returns what became of every included detection: rows by image, class and descending score.

        Returns:
          Columns `image_id`, `class_id`, `detection` (position in the file, or row in the image), `score`, `outcome`
          (`true positive`, `ignored`, or the type of the error), `ground_truth` (the one that it matched, or the one
          that gives the error its type: annotation id, or row in the image; -1 if none), `iou` (with it; NaN if none)
          and `fixable` (whether it finds that ground truth if it is fixed).
        """
        dataset, rows = self.matched.dataset, self.matched.dataset.records.detections
        fixable = np.zeros(len(rows.scores), bool)
        fixable[self.errors.fixable] = True
        columns = {
            "image_id": dataset.image_ids[rows.image_index],
            "class_id": dataset.class_ids[rows.labels],
            "detection": dataset.detection_ids,
            "score": rows.scores,
            "outcome": np.array(OUTCOMES)[self.errors.detections],
            "ground_truth": self.matched.ground_truth_ids(self.errors.partner),
            "iou": self.errors.similarity,
            "fixable": fixable,
        }
        return Columns(columns)

    def ground_truths(self) -> dict[str, HostArray]:
        """Returns what became of every counted ground truth: rows by image and class.

        Returns:
          Columns `image_id`, `class_id`, `ground_truth` (annotation id, or row in the image) and `outcome`: `found`,
          `missed`, or the type of the error that finds it if it is fixed.
        """
        truth, outcome = self.matched.ground_truths, self.errors.ground_truths
        kept = np.flatnonzero(outcome != IGNORED)
        columns = {
            "image_id": truth.image_ids[truth.image_index[kept]],
            "class_id": truth.class_ids[truth.labels[kept]],
            "ground_truth": truth.ids[kept],
            "outcome": np.array(OUTCOMES)[outcome[kept]],
        }
        return Columns(columns)

    def table(self) -> dict[str, Any]:
        """Returns the errors of all classes by type.

        Returns:
          Columns of `[E]`: `error` (the type), `count`, `gain` and `meaning` (in words).
        """
        low, high = f"{self.background_threshold:g}", f"{self.iou_threshold:g}"
        meanings = [
            f"IoU of {high} or more with an object of another class",
            f"IoU from {low} to {high} with an object of its class",
            f"IoU from {low} to {high} with an object of another class",
            f"IoU of {high} or more with an object that is found already",
            f"IoU below {low} with every object",
            "objects that are not found, even if the errors above are fixed",
            "all detections that are wrong",
            "all objects that are not found",
        ]
        columns = {
            "error": [name.replace("_", " ") for name in ERROR_TYPES],
            "count": np.array([*self.count.values()]),
            "gain": np.array([*self.gain.values()]),
            "meaning": meanings,
        }
        return Columns(columns)

    def __str__(self) -> str:
        if math.isnan(self.average_precision):
            return "There is no counted ground truth, so AP is not defined, and no error lowers it."
        rows = [["error", "count", "AP gain", ""]]
        for name, count, gain, meaning in zip(*self.table().values(), strict=True):
            rows.append([name, f"{count:,}", f"{gain:.4f}", meaning])
        average = f"{self.average_precision:.4f}"
        lead = f"AP at IoU {self.iou_threshold:g} is {average}. It rises if all errors of one type are fixed:"
        return f"{lead}\n\n{aligned(rows, '<>><')}"

    def _repr_html_(self) -> str:
        return html_table(self.table().items())

    def to_dict(self) -> dict[str, Any]:
        """Returns the numbers of all classes and of each, as plain Python values; undefined numbers are None."""
        columns = {name: np.asarray(values).tolist() for name, values in self.per_class().items()}
        classes = zip(*columns.values(), strict=True)
        return {
            "iou_threshold": self.iou_threshold,
            "background_threshold": self.background_threshold,
            "AP": _plain(self.average_precision),
            "errors": {name: {"count": count, "gain": _plain(self.gain[name])} for name, count in self.count.items()},
            "classes": [dict(zip(columns, map(_plain, row), strict=True)) for row in classes],
        }


def error_types(
    matched: MatchedDataset,
    protocol: EvaluationProtocol,
    *,
    iou_threshold: float = 0.5,
    background_threshold: float = BACKGROUND,
) -> ErrorTypes:
    """Finds the type of every error, and the AP gained by fixing each type.

    Args:
      matched: a dataset after matching.
      protocol: the protocol that it was matched with; its first area range and its largest limit are used.
      iou_threshold: one of its thresholds.
      background_threshold: the IoU below which a detection is on the background, between 0 and `iou_threshold`.

    Raises:
      ValueError: if a threshold is not as described.
    """
    _, threshold = protocol.locate(protocol.area_ranges[0].name, iou_threshold)
    if not 0 < background_threshold < iou_threshold:
        raise ValueError(
            f"`background_threshold` must lie between 0 and `iou_threshold`, {iou_threshold}, got "
            f"{background_threshold}."
        )
    errors = find_errors(matched, protocol, threshold=threshold, background_threshold=background_threshold)
    as_is, fixed = fix_errors(errors, matched, protocol)
    return ErrorTypes(
        iou_threshold=iou_threshold,
        background_threshold=background_threshold,
        class_average_precision=as_is,
        class_gain=fixed - as_is,
        class_count=_count(errors, matched),
        errors=errors,
        matched=matched,
    )


def background_of(iou_threshold: float) -> float:
    """Returns the usual background threshold, or half the IoU threshold if that is lower."""
    return min(BACKGROUND, iou_threshold / 2)


def _count(errors: Errors, matched: MatchedDataset) -> Ints:
    """Returns `[E, K]`, the errors of each type and class."""
    records, num_classes = matched.dataset.records, len(matched.dataset.class_ids)

    def per_class(labels: Ints, outcomes: Ints) -> Ints:
        cells = np.bincount(outcomes * num_classes + labels, minlength=len(OUTCOMES) * num_classes)
        return cells.reshape(len(OUTCOMES), num_classes)[: len(MAIN_TYPES)]

    of_detections = per_class(records.detections.labels, errors.detections)
    of_truths = per_class(records.ground_truths.labels, errors.ground_truths)
    return np.stack([*of_detections[:MISSED], of_truths[MISSED], of_detections.sum(axis=0), of_truths.sum(axis=0)])


def _mean(values: Floats) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
