"""Precision-recall curves of a whole dataset in float64, cell for cell as pycocotools computes them.

Only a true positive can raise the precision envelope, so all rows are needed for running counts, but only rows that
match something for the [T, ...] planes. The best precision at a recall point is a maximum over the true positives from
the one that reaches the point to the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..planes import plane_bit
from ..protocols import EvaluationProtocol
from ..types import PrecisionRecall, Records

__all__ = ["first_to_reach", "precision_recall"]

CELLS_AT_ONCE = 1 << 21


def precision_recall(
    records: Records, order: np.ndarray, num_ground_truths: np.ndarray, protocol: EvaluationProtocol
) -> PrecisionRecall:
    """Integrates records into interpolated precision and recall.

    Args:
      records: of `[N]`; `labels` number the S curves, which are classes or any finer division.
      order: the rows that take part, sorted by label, then by descending score, image and position.
      num_ground_truths: `[S, A]` int, how many ground truths count in each curve.
      protocol: its grids.

    Returns:
      Curves in float64 with S in the place of K; NaN where no ground truth counts.

    References: pycocotools cocoeval.py, accumulate.
    """
    num_curves = len(num_ground_truths)
    num_thresholds, num_points = len(protocol.iou_thresholds), len(protocol.recall_points)
    grid = len(protocol.area_ranges), len(protocol.max_detections)
    precision = np.empty((*grid, num_thresholds, num_points, num_curves))
    scores = np.empty_like(precision)
    recall = np.empty((*grid, num_thresholds, num_curves))

    labels, rank = records.labels[order], records.rank[order]
    plain = ~records.matched.any(axis=1)[order]
    matching = np.flatnonzero(~plain)
    starts = np.searchsorted(labels, np.arange(num_curves + 1))
    matching_starts = np.searchsorted(matching, starts)
    has_rows = np.diff(starts) > 0
    top_score = np.zeros(num_curves)
    top_score[has_rows] = records.scores[order[starts[:-1][has_rows]]]

    def integrate(area: int) -> None:
        positives = num_ground_truths[:, area]
        needed = first_to_reach(protocol.recall_points, positives)
        # Rows that match nothing are alike at all thresholds.
        counted_plain = plain & ~_plane(records.ignored, area, 0, num_thresholds)[order]
        running = np.zeros(len(plain) + 1, np.int32)
        befores = []
        for limit in protocol.max_detections:
            np.cumsum(counted_plain & (rank < limit), out=running[1:])
            befores.append(running[matching] - np.repeat(running[starts[:-1]], np.diff(matching_starts)))
        for first, last in _blocks(matching_starts, num_thresholds * num_points):
            block, of_block = slice(first, last), slice(matching_starts[first], matching_starts[last])
            rows = order[matching[of_block]]
            matches = _Matches(records, rows, matching_starts[first : last + 1] - of_block.start, area, num_thresholds)
            for index, (limit, before) in enumerate(zip(protocol.max_detections, befores, strict=True)):
                found, total, hit_scores = matches.within(limit, before[of_block])
                values = interpolate(found, total, hit_scores, needed[block], top_score[block])
                precision[area, index, :, :, block], scores[area, index, :, :, block] = values
                recall[area, index, :, block] = found / np.maximum(positives[block], 1)
        for cells in (precision, scores, recall):
            cells[area][..., positives == 0] = np.nan

    with ThreadPoolExecutor() as pool:  # NumPy lets go of the interpreter, and area ranges have nothing in common
        list(pool.map(integrate, range(grid[0])))

    def last(cells: np.ndarray) -> np.ndarray:  # [A, M, ...] to [..., A, M]
        return np.moveaxis(cells, (0, 1), (-2, -1))

    return PrecisionRecall(
        precision=last(precision), recall=last(recall), scores=last(scores), num_ground_truths=num_ground_truths
    )


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


class _Matches:
    """The planes of one area range for the rows that match something, in a run of curves.

    Attributes:
      hits: `[T, n]` bool, true positives.
      counted: `[T, n]` bool, true or false positives.
    """

    def __init__(self, records: Records, rows: np.ndarray, starts: np.ndarray, area: int, num_thresholds: int) -> None:
        matched, ignored = records.matched[rows], records.ignored[rows]
        thresholds = range(num_thresholds)
        self.counted = ~np.stack([_plane(ignored, area, index, num_thresholds) for index in thresholds])
        self.hits = np.stack([_plane(matched, area, index, num_thresholds) for index in thresholds]) & self.counted
        self.scores, self.rank, self.starts = records.scores[rows], records.rank[rows], starts

        self.hit_threshold, self.hit_row = np.nonzero(self.hits)

    def within(self, limit: int, before: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Takes the true positives among the first `limit` detections of each image and class.

        Args:
          limit: a max-detections limit.
          before: `[n]`, how many counted rows that match nothing stand before each row in its curve.

        Returns:
          What `interpolate` takes: found, total and scores.
        """
        inside = self.rank < limit
        counted = np.zeros((len(self.hits), len(inside) + 1), np.int32)
        np.cumsum(self.counted & inside, axis=1, out=counted[:, 1:])
        kept = inside[self.hit_row]
        threshold, row = self.hit_threshold[kept], self.hit_row[kept]
        num_curves = len(self.starts) - 1
        curve = np.repeat(np.arange(num_curves), np.diff(self.starts))[row]
        total = before[row] + counted[threshold, row + 1] - counted[threshold, self.starts[curve]]
        found = np.bincount(threshold * num_curves + curve, minlength=len(self.hits) * num_curves)
        return found.reshape(-1, num_curves), total, self.scores[row]


def interpolate(
    found: np.ndarray, total: np.ndarray, scores: np.ndarray, needed: np.ndarray, top_score: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns precision `[T, R, S]` and scores `[T, R, S]` from true positives in runs, one a (threshold, curve).

    Args:
      found: `[T, S]`, the length of each run.
      total: `[n]`, how many detections of the curve count up to and with each true positive.
      scores: `[n]`, descending in each run.
      needed: `[S, R]`, true positives that reach each recall point.
      top_score: `[S]`, the score at recall 0.
    """
    run_start = np.cumsum(found) - found.ravel()
    true_positives = np.arange(1, len(total) + 1) - np.repeat(run_start, found.ravel())
    precision = true_positives / (total + np.spacing(1))  # the reference's guard against 0 / 0, felt at n = 1
    # The best precision over the true positives from one point to the next, then over all later points. A leading point
    # that needs one true positive makes every run a segment of its own, whatever the recall points.
    points = np.concatenate([np.ones_like(needed[:, :1]), np.maximum(needed, 1)], axis=1)  # [S, 1 + R]
    reached = points <= found[..., None]  # [T, S, 1 + R]
    first = run_start.reshape(*found.shape, 1) + np.minimum(points - 1, found[..., None])
    best = np.maximum.reduceat(np.append(precision, 0.0), first.ravel()).reshape(first.shape)
    best = np.where(reached, best, 0.0)[..., ::-1]
    best = np.maximum.accumulate(best, axis=-1)[..., ::-1]
    at_point = np.where(reached, np.append(scores, 0.0)[first], 0.0)[..., 1:]
    at_point = np.where(needed == 0, top_score[:, None], at_point)
    return np.moveaxis(best[..., 1:], -1, 1), np.moveaxis(at_point, -1, 1)


def _plane(words: np.ndarray, area: int, threshold: int, num_thresholds: int) -> np.ndarray:
    """Returns `[N]` bool: one plane of `[N, W]` words."""
    word, bit = plane_bit(area, threshold, num_thresholds)
    return (words[:, word] & np.uint32(1 << bit)) != 0


def _blocks(starts: np.ndarray, cells_per_curve: int) -> Iterator[tuple[int, int]]:
    """Cuts the curves into runs whose planes fit `CELLS_AT_ONCE`; `starts` are their first matching rows, `[S + 1]`."""
    weight = starts * 10 + np.arange(len(starts)) * cells_per_curve
    first = 0
    while first < len(starts) - 1:
        last = int(np.searchsorted(weight, weight[first] + CELLS_AT_ONCE, side="right")) - 1
        last = min(max(last, first + 1), len(starts) - 1)
        yield first, last
        first = last
