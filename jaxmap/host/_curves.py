"""Precision-recall curves of a whole dataset in float64, cell for cell as pycocotools computes them.

Only a true positive can raise the precision envelope, so all rows are needed for running counts, but only rows that
match something for the [T, ...] planes. The best precision at a recall point is a maximum over the true positives from
the one that reaches the point to the last.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..planes import plane_bit
from ..protocols import EvaluationProtocol
from ..types import PrecisionRecall, Records

__all__ = ["first_to_reach", "precision_recall"]

CELLS_AT_ONCE = 1 << 21


def precision_recall(
    records: Records, num_ground_truths: np.ndarray, protocol: EvaluationProtocol
) -> PrecisionRecall:
    """Integrates sorted records into interpolated precision and recall.

    Args:
      records: rows sorted by label, then by descending score, image and position; `labels` number the S curves, which
        are classes or any finer division.
      num_ground_truths: `[S, A]` int, how many ground truths count in each curve.
      protocol: its grids.

    Returns:
      Curves in float64 with S in the place of K; NaN where no ground truth counts.

    References: pycocotools cocoeval.py, accumulate.
    """
    num_curves = len(num_ground_truths)
    shape = (len(protocol.iou_thresholds), len(protocol.recall_points), num_curves)
    grid = (len(protocol.area_ranges), len(protocol.max_detections))
    precision = np.full((*shape, *grid), np.nan)
    scores = np.full((*shape, *grid), np.nan)
    recall = np.full((shape[0], num_curves, *grid), np.nan)

    matching = np.flatnonzero(records.matched.any(axis=1))
    plain = np.ones(len(records.labels), bool)
    plain[matching] = False
    starts = np.searchsorted(records.labels, np.arange(num_curves + 1))
    matching_starts = np.searchsorted(matching, starts)
    has_rows = np.diff(starts) > 0
    top_score = np.zeros(num_curves)
    top_score[has_rows] = records.scores[starts[:-1][has_rows]]

    for area in range(grid[0]):
        counted_plain = plain & ~_plane(records.ignored, area, 0, shape[0])  # unmatched rows are alike at all thresholds
        for limit_index, limit in enumerate(protocol.max_detections):
            running = np.zeros(len(plain) + 1, np.int64)
            np.cumsum(counted_plain & (records.rank < limit), out=running[1:])
            for first, last in _blocks(matching_starts, shape[0] * shape[1]):
                rows = matching[matching_starts[first] : matching_starts[last]]
                rows = rows[records.rank[rows] < limit]
                block = slice(first, last)
                cells = _Block(records, rows, records.labels[rows] - first, last - first, area, shape[0])
                before = running[rows] - running[starts[records.labels[rows]]]
                needed = first_to_reach(protocol.recall_points, num_ground_truths[block, area])
                values = cells.interpolate(before, needed, top_score[block])
                defined = num_ground_truths[block, area] > 0
                positives = np.maximum(num_ground_truths[block, area], 1)
                precision[:, :, block, area, limit_index] = np.where(defined, values[0], np.nan)
                scores[:, :, block, area, limit_index] = np.where(defined, values[1], np.nan)
                recall[:, block, area, limit_index] = np.where(defined, cells.found / positives, np.nan)
    return PrecisionRecall(precision=precision, recall=recall, scores=scores, num_ground_truths=num_ground_truths)


def first_to_reach(recall_points: tuple[float, ...], num_ground_truths: np.ndarray) -> np.ndarray:
    """Returns `[n, R]` int64: the smallest number of true positives whose recall, in float64, reaches each point.

    Args:
      recall_points: R points in [0, 1].
      num_ground_truths: `[n]` int.
    """
    points = np.asarray(recall_points)
    total = np.maximum(num_ground_truths, 1)[:, None].astype(np.int64)
    needed = np.ceil(points * total).astype(np.int64)  # off by one at most, where the product was rounded
    needed -= (needed - 1) / total >= points
    needed += needed / total < points
    return needed


class _Block:
    """The planes of one area range for the rows that match something, in a run of curves."""

    def __init__(
        self, records: Records, rows: np.ndarray, curve: np.ndarray, num_curves: int, area: int, num_thresholds: int
    ) -> None:
        thresholds = range(num_thresholds)
        ignored = np.stack([_plane(records.ignored[rows], area, index, num_thresholds) for index in thresholds])
        matched = np.stack([_plane(records.matched[rows], area, index, num_thresholds) for index in thresholds])
        self.scores = records.scores[rows]
        self.curve = curve
        self.counted = ~ignored  # [T, n]
        self.hits = matched & ~ignored  # [T, n]
        self.starts = np.searchsorted(curve, np.arange(num_curves + 1))
        self.found = np.diff(_running(self.hits)[:, self.starts], axis=1)  # [T, S]

    def interpolate(
        self, before: np.ndarray, needed: np.ndarray, top_score: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns precision and scores, `[T, R, S]`.

        Args:
          before: `[n]`, how many rows that match nothing are counted before each row in its curve.
          needed: `[S, R]`, true positives that reach each recall point.
          top_score: `[S]`, the score at recall 0.
        """
        threshold, row = np.nonzero(self.hits)
        first_row = self.starts[self.curve]
        hits, counted = _running(self.hits), _running(self.counted)
        true_positives = (hits[:, 1:] - hits[:, first_row])[threshold, row]
        total = (counted[:, 1:] - counted[:, first_row])[threshold, row] + before[row]
        precision = true_positives / (total + np.spacing(1))  # the reference's guard against 0 / 0, felt at n = 1

        # One run of true positives for each (threshold, curve). A leading point that needs one true positive makes
        # every run start a segment of its own, whatever the recall points.
        run_start = (np.cumsum(self.found) - self.found.ravel()).reshape(self.found.shape)[..., None]  # [T, S, 1]
        points = np.concatenate([np.ones_like(needed[:, :1]), np.maximum(needed, 1)], axis=1)  # [S, 1 + R]
        reached = points <= self.found[..., None]  # [T, S, 1 + R]
        first = run_start + np.minimum(points - 1, self.found[..., None])
        best = np.maximum.reduceat(np.append(precision, 0.0), first.ravel()).reshape(first.shape)
        best = np.where(reached, best, 0.0)
        best = np.maximum.accumulate(best[..., ::-1], axis=-1)[..., ::-1]
        scores = np.where(reached, np.append(self.scores[row], 0.0)[first], 0.0)[..., 1:]
        scores = np.where(needed == 0, top_score[:, None], scores)
        return np.moveaxis(best[..., 1:], -1, 1), np.moveaxis(scores, -1, 1)


def _plane(words: np.ndarray, area: int, threshold: int, num_thresholds: int) -> np.ndarray:
    """Returns `[N]` bool: one plane of `[N, W]` words."""
    word, bit = plane_bit(area, threshold, num_thresholds)
    return (words[:, word] & np.uint32(1 << bit)) != 0


def _running(flags: np.ndarray) -> np.ndarray:
    """Returns `[T, n + 1]` int64: how many flags are set before each column."""
    totals = np.zeros((len(flags), flags.shape[1] + 1), np.int64)
    np.cumsum(flags, axis=1, out=totals[:, 1:])
    return totals


def _blocks(starts: np.ndarray, cells_per_curve: int) -> Iterator[tuple[int, int]]:
    """Cuts the curves into runs whose planes fit `CELLS_AT_ONCE`; `starts` are their first matching rows, `[S + 1]`."""
    weight = starts * 10 + np.arange(len(starts)) * cells_per_curve
    first = 0
    while first < len(starts) - 1:
        last = int(np.searchsorted(weight, weight[first] + CELLS_AT_ONCE, side="right")) - 1
        last = min(max(last, first + 1), len(starts) - 1)
        yield first, last
        first = last
