"""The numbers of a summary under many vectors of image weights: what the bootstrap, comparisons and influence read."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from .._curves._weighted_host import MOST_WEIGHTS, GroundTruthCounts, WeightedCurves, exact_weights
from .._display import short_repr
from .._progress import counted
from .._records._host import DatasetRecords
from .._summary import belongs, summary_lines
from .._threads import in_threads
from ..protocols import EvaluationProtocol
from ..types import Floats, HostArray

__all__ = ["Replicates", "WeightedSummary", "Weights"]

MOST_BYTES = 1 << 28  # of the largest array at once, for each thread
Weights = Callable[[int, int], HostArray]  # the vectors from the first up to the last, exclusive, `[W, I]`


class Replicates(NamedTuple):
    """The numbers under each vector of weights; NaN where undefined.

    Attributes:
      summary: `[L, W]`, each number of the summary.
      of_class: `[K, W]`, the first number of the summary for each class.
    """

    summary: Floats
    of_class: Floats

    def __repr__(self) -> str:
        return short_repr(self)


class WeightedSummary:
    """A dataset, ready for vectors of image weights; only what its summary needs is integrated.

    Attributes:
      names: the L numbers of the summary.
    """

    def __init__(self, dataset: DatasetRecords, protocol: EvaluationProtocol) -> None:
        records, num_classes = dataset.records, len(dataset.class_ids)
        self.num_images, self.num_classes = len(dataset.image_ids), num_classes
        self.num_rows = max(len(records.detections.labels), len(records.ground_truths.labels))
        self.lines = summary_lines(protocol)
        self.names = tuple(line.name for line in self.lines)
        self.groups = [belongs(line.class_group, dataset.class_group, num_classes) for line in self.lines]
        used = [line for line in self.lines if line.thresholds]
        cells = dict.fromkeys((line.area_index, line.limit_index) for line in used)

        def prepare(cell: tuple[int, int]) -> WeightedCurves:
            quantities = [line.quantity for line in used if (line.area_index, line.limit_index) == cell]
            return WeightedCurves(
                records.detections,
                dataset.by_class,
                protocol,
                num_classes,
                area=cell[0],
                limit=cell[1],
                ranked=any(quantity.name == "precision" for quantity in quantities),
                functions={one.name: one.of_counts for one in quantities if one.of_counts is not None},
                miss_rate=any(quantity.name == "miss_rate" for quantity in quantities),
            )

        self.curves = dict(zip(cells, in_threads(prepare, cells), strict=True))
        areas = dict.fromkeys(area for area, _ in cells)
        self.positives = {area: GroundTruthCounts(records.ground_truths, num_classes, area) for area in areas}

    def __call__(self, weights: Weights, num_weights: int) -> Replicates:
        """Returns the numbers under each vector of weights.

        Args:
          weights: a function of two numbers that returns the vectors from the first up to the last, exclusive.
          num_weights: W.
        """
        blocks = counted(self._blocks(num_weights), "samples", num_weights, lambda block: block.stop - block.start)
        parts = [self._integrate(self._vectors(weights, block)) for block in blocks]
        empty = np.empty((len(self.lines), 0)), np.empty((self.num_classes, 0))
        return Replicates(*(np.concatenate(arrays, axis=1) for arrays in zip(empty, *parts, strict=True)))

    def of_classes(self, weights: Weights, num_weights: int) -> Iterator[tuple[slice, list[Floats | None]]]:
        """Yields blocks of vectors: which they are, and each number of the summary for each class, `[K, W]` of them.

        A number is None where its threshold is not in the protocol.
        """
        for block in self._blocks(num_weights):
            yield block, list(self._of_lines(self._vectors(weights, block)))

    def of_dataset(self) -> Replicates:
        """Returns the numbers of the dataset as it is, W = 1."""
        return self(lambda first, last: np.ones((last - first, self.num_images), np.int32), 1)

    def _blocks(self, num_weights: int) -> list[slice]:
        """Splits the vectors into blocks whose arrays fit the memory."""
        widest = max((curves.num_rows for curves in self.curves.values()), default=1)
        most = int(np.clip(MOST_BYTES // (8 * max(widest, self.num_images, 1)), 1, MOST_WEIGHTS))
        edges = np.linspace(0, num_weights, -(-num_weights // most) + 1).astype(int).tolist()
        return [slice(first, last) for first, last in itertools.pairwise(edges)]

    def _vectors(self, weights: Weights, block: slice) -> Floats:
        """Returns the weights of a block, `[I, W]` float64."""
        vectors = weights(block.start, block.stop).T.astype(np.float64, order="C")
        return exact_weights(vectors, self.num_rows)

    def _of_lines(self, vectors: Floats) -> Iterator[Floats | None]:
        """Yields each number of the summary for each class, `[K, W]`."""
        positives = {area: count(vectors) for area, count in self.positives.items()}
        # Cells in parallel, and not blocks of vectors: operations must be long, or threads wait for each other.
        integrated = in_threads(lambda cell: self.curves[cell](vectors, positives[cell[0]]), self.curves)
        numbers = dict(zip(self.curves, integrated, strict=True))
        for line in self.lines:
            values = line.quantity.values(numbers[line.area_index, line.limit_index]) if line.thresholds else None
            yield None if values is None else values[list(line.thresholds)].mean(axis=0)

    def _integrate(self, vectors: Floats) -> Replicates:
        summary = np.full((len(self.lines), vectors.shape[1]), np.nan)
        of_class = np.full((self.num_classes, vectors.shape[1]), np.nan)
        for index, (group, values) in enumerate(zip(self.groups, self._of_lines(vectors), strict=True)):
            if values is not None:
                count = np.count_nonzero(~np.isnan(values[group]), axis=0)
                summary[index] = np.nansum(values[group], axis=0) / np.where(count > 0, count, np.nan)
                of_class = values if index == 0 else of_class
        return Replicates(summary, of_class)
