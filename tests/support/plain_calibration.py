"""ECE and MCE by the book, one bin at a time in loops, from an evaluation's matches.

References: Guo et al., On Calibration of Modern Neural Networks, ICML 2017; Kueppers et al., Multivariate Confidence
Calibration for Object Detection, CVPR workshops 2020.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np

import jaxmap


@dataclasses.dataclass(frozen=True)
class PlainBin:
    """The detections of a bin, and its place along every dimension."""

    place: tuple[int, ...]
    count: int
    mean_score: float
    precision: float

    @property
    def gap(self) -> float:
        return self.mean_score - self.precision


def counted_rows(evaluation: jaxmap.Evaluation, iou: float) -> dict[str, np.ndarray]:
    """Returns the rows of `matches` that are true or false positives."""
    rows = evaluation.matches(iou)
    return {name: column[~rows["ignored"]] for name, column in rows.items()}


def plain_bins(values: np.ndarray, hits: np.ndarray, edges: list[np.ndarray]) -> list[PlainBin]:
    """Returns the bins with detections.

    Args:
      values: `[N, dimensions]`, the scores first.
      hits: `[N]`.
      edges: the edges of each dimension; what lies outside belongs to the first or the last bin.
    """
    bins = []
    for place in itertools.product(*(range(len(edge) - 1) for edge in edges)):
        inside = np.ones(len(hits), bool)
        for column, edge, index in zip(values.T, edges, place, strict=True):
            inside &= (column >= edge[index]) | (index == 0)
            inside &= (column < edge[index + 1]) | (index == len(edge) - 2)
        if inside.any():
            count = int(inside.sum())
            bins.append(PlainBin(place, count, math.fsum(values[inside, 0]) / count, int(hits[inside].sum()) / count))
    return bins


def plain_errors(bins: list[PlainBin]) -> tuple[float, float]:
    """Returns ECE and MCE."""
    total = sum(one.count for one in bins)
    if not total:
        return math.nan, math.nan
    return math.fsum(one.count * abs(one.gap) for one in bins) / total, max(abs(one.gap) for one in bins)
