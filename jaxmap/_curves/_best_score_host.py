"""The best value of a quantity over all score thresholds, from counts, in float64."""

from __future__ import annotations

import numpy as np

from .._planes import read_plane
from ..protocols import EvaluationProtocol, OfCounts
from ..types import Bools, Floats, HostArray, Ints, Records

__all__ = ["best_of_curves", "best_over_scores"]


def best_over_scores(
    records: Records[HostArray], *, protocol: EvaluationProtocol, num_ground_truths: Ints, order: Ints
) -> dict[str, Floats]:
    """Returns `[T, K, A, M]` float64 by name, for each such quantity of the protocol's summary; NaN where undefined.

    Args:
      records: NumPy arrays.
      protocol: the protocol, for its grids and its summary.
      num_ground_truths: `[K, A]`.
      order: the rows of the detections, by label, then by descending score.
    """
    functions = protocol.functions_of_counts
    if not functions:
        return {}
    rows = records.detections
    labels, scores, rank = (column.take(order) for column in (rows.labels, rows.scores, rows.rank))
    num_thresholds, limits = len(protocol.iou_thresholds), protocol.max_detections
    num_classes, num_areas = num_ground_truths.shape
    best = {name: np.empty((num_thresholds, num_classes, num_areas, len(limits))) for name in functions}
    for area, threshold in np.ndindex(num_areas, num_thresholds):
        plane = area, threshold, num_thresholds
        matched, ignored = (read_plane(words, *plane).take(order) for words in (rows.matched, rows.ignored))
        for index, limit in enumerate(limits):
            counted = np.flatnonzero(~ignored & (rank < limit))
            for name, of_counts in functions.items():
                best[name][threshold, :, area, index] = best_of_curves(
                    of_counts, labels[counted], scores[counted], matched[counted], num_ground_truths[:, area]
                )
    return best


def best_of_curves(
    of_counts: OfCounts,
    curve: Ints,
    scores: Floats,
    hits: Bools,
    num_ground_truths: Ints,
) -> Floats:
    """Returns `[S]` float64, the largest value of each curve over its scores; NaN without ground truth.

    Args:
      of_counts: that of a `Quantity`.
      curve: `[N]`, the curve of each true or false positive, ascending.
      scores: `[N]`, descending in each curve.
      hits: `[N]` bool, the true positives.
      num_ground_truths: `[S]`, the number of ground truths of each curve.
    """
    starts = np.searchsorted(curve, np.arange(len(num_ground_truths) + 1))
    hits_before = np.concatenate([[0], np.cumsum(hits)])
    # Detections of equal score are reported together: only the last of them is a threshold.
    last = np.flatnonzero(np.append((curve[1:] != curve[:-1]) | (scores[1:] != scores[:-1]), True)[: len(curve)])
    first = starts[curve[last]]
    values = of_counts(
        (hits_before[last + 1] - hits_before[first]).astype(np.float64),
        (last + 1 - first).astype(np.float64),
        np.maximum(num_ground_truths, 1)[curve[last]].astype(np.float64),
    )
    best = np.zeros(len(num_ground_truths))
    np.maximum.at(best, curve[last], values)
    return np.where(num_ground_truths > 0, best, np.nan)
