"""Every image scored as if it were the whole dataset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .._curves._best_score_host import best_of_curves
from .._curves._miss_rate_host import miss_rate_of_curves
from .._display import short_repr
from .._planes import read_plane
from .._records._host import DatasetRecords
from ..protocols import EvaluationProtocol
from ..types import Bools, Floats, Ints
from ._rankings import Outcomes, outcomes_of, rank

__all__ = ["ImageCurves", "image_curves"]


class ImageCurves(NamedTuple):
    """Per-image curves, one for each image and class with counted ground truth.

    Attributes:
      image: `[S]`, index of the image, ascending.
      label: `[S]`, index of the class.
      num_ground_truths: `[S]`, the number of counted ground truths.
      average_precision: `[T, S]`.
      recall: `[T, S]`.
      at_best_score: by name, `[T, S]` for each quantity of the protocol's summary that is the best over all scores.
      miss_rate: `[T, S]`; None if the protocol's summary does not ask for it.
      rows: the detections of these images and classes, `[n]`, ascending; all others are of a class that their image
        does not have.
    """

    image: Ints
    label: Ints
    num_ground_truths: Ints
    average_precision: Floats
    recall: Floats
    at_best_score: dict[str, Floats]
    miss_rate: Floats | None
    rows: Ints

    def __repr__(self) -> str:
        return short_repr(self)

    def mean_per_image(self, values: Floats, num_images: int) -> Floats:
        """Returns the mean of `[S]` values over the classes of each image, `[I]`; NaN for one without ground truth."""
        count = np.bincount(self.image, minlength=num_images)
        total = np.bincount(self.image, weights=values, minlength=num_images)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def image_curves(dataset: DatasetRecords, protocol: EvaluationProtocol) -> ImageCurves:
    """Integrates the per-image curves, for the first area range and the largest limit."""
    truth, found = dataset.records.ground_truths, dataset.records.detections
    num_classes = max(len(dataset.class_ids), 1)
    counted = truth.counted[:, 0]
    truth_group = (truth.image_index * num_classes + truth.labels)[counted]
    groups, count = np.unique(truth_group, return_counts=True)

    group = found.image_index * np.int64(num_classes) + found.labels  # ascending, as the detections are sorted
    first, last = (np.searchsorted(group, groups, side=side) for side in ("left", "right"))
    curve = np.repeat(np.arange(len(groups)), last - first)
    rows = np.arange(len(curve)) + (first - np.cumsum(last - first) + (last - first))[curve]
    outcomes = outcomes_of(dataset, protocol)
    runs = rank(outcomes, rows, curve, len(groups)).true_positives(protocol, count)
    scores, counted_rows = found.scores[rows], list(_counted(outcomes, rows))
    return ImageCurves(
        image=groups // num_classes,
        label=groups % num_classes,
        num_ground_truths=count,
        average_precision=runs.average_precision(),
        recall=runs.found / count,
        at_best_score={
            name: np.stack(
                [best_of_curves(function, curve[kept], scores[kept], hits, count) for kept, hits in counted_rows]
            )
            for name, function in protocol.functions_of_counts.items()
        },
        miss_rate=np.stack([miss_rate_of_curves(curve[kept], hits, count, 1) for kept, hits in counted_rows])
        if protocol.has_miss_rate
        else None,
        rows=rows,
    )


def _counted(outcomes: Outcomes, rows: Ints) -> Iterator[tuple[Ints, Bools]]:
    """Yields, for each threshold, the places of the true and false positives among some rows, and which are true."""
    for threshold in range(outcomes.num_thresholds):
        hits, false = (
            read_plane(words[rows], 0, threshold, outcomes.num_thresholds) for words in (outcomes.hits, outcomes.false)
        )
        kept = np.flatnonzero(hits | false)
        yield kept, hits[kept]
