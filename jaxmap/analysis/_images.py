"""Every image scored as if it were the whole dataset."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._records._host import DatasetRecords
from ..protocols import EvaluationProtocol
from ._rankings import outcomes_of, rank

__all__ = ["ImageCurves", "image_curves"]


class ImageCurves(NamedTuple):
    """The curves of images alone: one for each image and class that holds ground truth that counts.

    Attributes:
      image: `[S]`, index of the image, ascending.
      label: `[S]`, index of the class.
      num_ground_truths: `[S]`, how many count.
      average_precision: `[T, S]`.
      recall: `[T, S]`.
      rows: the detections of these images and classes, `[n]`, ascending; all others are of a class that their image
        does not hold.
    """

    image: np.ndarray
    label: np.ndarray
    num_ground_truths: np.ndarray
    average_precision: np.ndarray
    recall: np.ndarray
    rows: np.ndarray

    def mean_per_image(self, values: np.ndarray, num_images: int) -> np.ndarray:
        """Returns the mean of `[S]` values over the classes of each image, `[I]`; NaN for one without ground truth."""
        count = np.bincount(self.image, minlength=num_images)
        total = np.bincount(self.image, weights=values, minlength=num_images)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def image_curves(dataset: DatasetRecords, protocol: EvaluationProtocol) -> ImageCurves:
    """Integrates the curves of images alone, over the first area range and the largest limit."""
    truth, found = dataset.records.ground_truths, dataset.records.detections
    num_classes = max(len(dataset.class_ids), 1)
    counted = truth.counted[:, 0]
    truth_group = (truth.image_index * num_classes + truth.labels)[counted]
    groups, count = np.unique(truth_group, return_counts=True)

    group = found.image_index * num_classes + found.labels  # ascending, as the detections are sorted
    first, last = (np.searchsorted(group, groups, side=side) for side in ("left", "right"))
    curve = np.repeat(np.arange(len(groups)), last - first)
    rows = np.arange(len(curve)) + (first - np.cumsum(last - first) + (last - first))[curve]
    runs = rank(outcomes_of(dataset, protocol), rows, curve, len(groups)).true_positives(protocol, count)
    return ImageCurves(
        image=groups // num_classes,
        label=groups % num_classes,
        num_ground_truths=count,
        average_precision=runs.average_precision(),
        recall=runs.found / count,
        rows=rows,
    )
