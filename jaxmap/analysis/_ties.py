"""The lowest and the highest AP over all orders of equal scores.

AP ranks by score, and equal scores by image and position, which is arbitrary. Within a run of equal scores of a class,
AP is highest with all true positives first and lowest with all false positives first, so both bounds follow from the
counts before and after each run, without trying any order.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from .._display import html_text, short_repr
from .._matching._host import MatchedDataset
from .._records._host import DatasetRecords
from ..protocols import EvaluationProtocol
from ..types import Floats, Ints, Words
from ._rankings import TruePositives, outcomes_of, rank, rank_classes

__all__ = ["TieBounds", "tie_bounds"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TieBounds:
    """Bounds of AP over all orders of detections of equal score and class, for the first area range and largest limit.

    The included detections and their matches are held fixed. The order can change matches only if several detections of
    one image, class and score reach the same ground truth; `num_contested` counts those.

    Attributes:
      lowest: no order has a lower AP.
      conventional: in the order of the evaluation: equal scores by image, then by position.
      highest: no order has a higher AP.
      lowest_reached: the AP of one actual order. It equals `lowest` unless each of two tied detections is true at an
        IoU threshold at which the other is false, so that no order is the worst at both. Each entry of `lowest_cells`
        is reached by some order.
      highest_reached: the AP of another order, likewise.
      lowest_cells: `[T, K]` float64, the lowest AP of each class at each threshold; NaN without ground truth.
      highest_cells: `[T, K]` float64, likewise.
      num_tied: how many detections have the same score as another of their class.
      num_contested: how many have the same score as another of the same image and class that reaches the same ground
        truth; None if pairs are not known, as from the state of a metric.
    """

    lowest: float
    conventional: float
    highest: float
    lowest_reached: float
    highest_reached: float
    lowest_cells: Floats  # [T, K]
    highest_cells: Floats  # [T, K]
    num_tied: int
    num_contested: int | None

    __repr__ = short_repr

    @property
    def differ(self) -> bool:
        """Whether the order of ties can change AP by more than rounding does."""
        return self.highest - self.lowest > 1e-12

    def __str__(self) -> str:
        tied = f"{self.num_tied:,} detections have the same score as another of their class"
        if not self.differ:
            lines = [f"No order of equal scores changes AP ({tied})."]
        else:
            lines = [
                f"AP depends on the order of equal scores ({tied}):",
                f"  lowest {self.lowest:.10f}, as evaluated {self.conventional:.10f}, highest {self.highest:.10f}",
            ]
        if self.num_contested:
            lines.append(
                f"{self.num_contested:,} of them compete for the same object in an image, where the order may also "
                f"change matches; the bounds hold matches fixed."
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return html_text(str(self))

    def to_dict(self) -> dict[str, Any]:
        """Returns the numbers without the arrays, as plain Python values; undefined numbers are None."""
        names = ("lowest", "lowest_reached", "conventional", "highest_reached", "highest")
        numbers = {name: getattr(self, name) for name in names}
        return {name: None if np.isnan(value) else value for name, value in numbers.items()} | {
            name: getattr(self, name) for name in ("differ", "num_tied", "num_contested")
        }


def tie_bounds(
    dataset: DatasetRecords, protocol: EvaluationProtocol, matched: MatchedDataset | None = None
) -> TieBounds:
    """Bounds AP over all orders of equal scores.

    Args:
      dataset: the records of a dataset.
      protocol: the protocol that it was matched with.
      matched: the pairs behind the records, to count competing detections; None if they are not known.
    """
    outcomes = outcomes_of(dataset, protocol)
    ranking = rank_classes(dataset, outcomes)
    rows = dataset.records.detections
    labels, scores = rows.labels[ranking.order], rows.scores[ranking.order]
    tie, edges = _ties(labels, scores)
    positives = dataset.num_ground_truths[:, 0]

    def cells(runs: TruePositives, false_above: Ints) -> Floats:
        return np.where(positives > 0, runs.average_precision(false_above), np.nan)

    runs = ranking.true_positives(protocol, positives)
    first, last = edges[tie[runs.place]], edges[tie[runs.place] + 1]
    false_inside = [ranking.false_between(runs.threshold, *ends) for ends in ((first, runs.place), (runs.place, last))]
    highest_cells = cells(runs, runs.false_above - false_inside[0])
    lowest_cells = cells(runs, runs.false_above + false_inside[1])

    def reached(sign: int) -> float:  # one order for all thresholds: by how often each is true rather than false
        balance = _num_bits(outcomes.false) - _num_bits(outcomes.hits)
        order = ranking.order[np.lexsort((sign * balance[ranking.order], tie))]
        tried = rank(outcomes, order, labels, len(positives)).true_positives(protocol, positives)
        return _mean(cells(tried, tried.false_above))

    sizes = np.diff(edges)
    return TieBounds(
        lowest=_mean(lowest_cells),
        conventional=_mean(cells(runs, runs.false_above)),
        highest=_mean(highest_cells),
        lowest_reached=reached(-1),
        highest_reached=reached(1),
        lowest_cells=lowest_cells,
        highest_cells=highest_cells,
        num_tied=int(sizes[sizes > 1].sum()),
        num_contested=None if matched is None else _num_contested(matched),
    )


def _ties(curve: Ints, scores: Floats) -> tuple[Ints, Ints]:
    """Returns the run of equal scores of each position, `[N]`, and the first position of each run and the end."""
    starts = np.ones(len(curve), bool)
    starts[1:] = (curve[1:] != curve[:-1]) | (scores[1:] != scores[:-1])
    return np.cumsum(starts) - 1, np.append(np.flatnonzero(starts), len(curve))


def _num_contested(matched: MatchedDataset) -> int:
    """Counts the detections that compete with another of equal score for a ground truth that takes only one."""
    pairs = matched.pairs
    kept = np.flatnonzero(~matched.ground_truths.crowd[pairs.ground_truth])
    truth, row = pairs.ground_truth[kept], pairs.detection[kept]
    score = matched.dataset.records.detections.scores[row]
    order = np.lexsort((score, truth))
    group, edges = _ties(truth[order], score[order])
    return len(np.unique(row[order][np.diff(edges)[group] > 1]))


def _num_bits(words: Words) -> Ints:
    bits: Ints = np.bitwise_count(words).sum(axis=1, dtype=np.int64)
    return bits


def _mean(values: Floats) -> float:
    """Returns the mean over thresholds and the classes with ground truth; NaN if there is none."""
    values = values[:, ~np.isnan(values).any(axis=0)]
    return float(values.mean()) if values.size else float("nan")
