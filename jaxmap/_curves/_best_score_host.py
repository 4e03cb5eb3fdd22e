"""The best value of a quantity over all score thresholds, from counts, in float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .._planes import read_plane
from ..protocols import EvaluationProtocol, OfCounts
from ..types import Bools, Floats, HostArray, Ints, Records

__all__ = ["best_of_curves", "best_over_scores", "counted_rows"]


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
    scores = records.detections.scores.take(order)
    shape = len(protocol.iou_thresholds), *num_ground_truths.shape, len(protocol.max_detections)
    best = {name: np.empty(shape) for name in functions}
    for cell, counted, labels, hits in counted_rows(records, protocol=protocol, order=order):
        for name, of_counts in functions.items():
            threshold, area, limit = cell
            best[name][threshold, :, area, limit] = best_of_curves(
                of_counts, labels, scores[counted], hits, num_ground_truths[:, area]
            )
    return best


def counted_rows(
    records: Records[HostArray], *, protocol: EvaluationProtocol, order: Ints
) -> Iterator[tuple[tuple[int, int, int], Ints, Ints, Bools]]:
    """Yields the true and false positives of every cell: indices on T, A and M, places in `order`, labels, hits."""
    rows = records.detections
    labels, rank = rows.labels.take(order), rows.rank.take(order)
    num_thresholds = len(protocol.iou_thresholds)
    for area, threshold in np.ndindex(len(protocol.area_ranges), num_thresholds):
        plane = area, threshold, num_thresholds
        matched, ignored = (read_plane(words, *plane).take(order) for words in (rows.matched, rows.ignored))
        for index, limit in enumerate(protocol.max_detections):
            counted = np.flatnonzero(~ignored & (rank < limit))
            yield (threshold, area, index), counted, labels[counted], matched[counted]


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
