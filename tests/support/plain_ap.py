"""AP of one class at one threshold by the book, from an evaluation's matches: the reference of the analyses of AP."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

import jaxmap


@dataclasses.dataclass(frozen=True)
class PlainRecords:
    """What `Evaluation.matches` says at every threshold, in the rows of `evaluation.matched.detections`.

    Attributes:
      hits, false: `[T, N]` bool, true and false positives.
      labels, scores: `[N]`.
      positives: `[K]`, how many ground truths count.
      protocol: of the evaluation.
    """

    hits: np.ndarray
    false: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    positives: np.ndarray
    protocol: jaxmap.EvaluationProtocol

    @classmethod
    def of(cls, evaluation: jaxmap.Evaluation) -> PlainRecords:
        area = evaluation.protocol.area_ranges[0].name
        planes = [evaluation.matches(threshold, area) for threshold in evaluation.protocol.iou_thresholds]
        matched, ignored = (np.stack([plane[name] for plane in planes]) for name in ("matched", "ignored"))
        return cls(
            hits=matched & ~ignored,
            false=~matched & ~ignored,
            labels=evaluation.matched.detections.labels,
            scores=evaluation.matched.detections.scores,
            positives=np.asarray(evaluation.curves.num_ground_truths)[:, 0],
            protocol=evaluation.protocol,
        )

    @property
    def defined(self) -> np.ndarray:
        """The classes with ground truth."""
        return np.flatnonzero(self.positives > 0)

    @functools.cached_property
    def ranked(self) -> list[np.ndarray]:
        """The rows of each class by rank: the rows stand by image and position, and a stable sort keeps that."""
        order = np.argsort(-self.scores, kind="stable")
        return [order[self.labels[order] == label] for label in range(len(self.positives))]

    def average_precision(self, label: int, threshold: int, rows: np.ndarray) -> float:
        """Returns the AP of a class at the index of a threshold, from its rows in some order.

        References: pycocotools cocoeval.py, accumulate; VOCdevkit VOCap.m where the protocol averages the area.
        """
        hits = np.cumsum(self.hits[threshold, rows])
        counted = hits + np.cumsum(self.false[threshold, rows])
        recall = hits / self.positives[label]
        precision = hits / (counted + np.spacing(1))
        envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
        if self.protocol.average == "area":
            return float(np.sum(np.diff(recall, prepend=0.0) * envelope[:-1]))
        return float(envelope[np.searchsorted(recall, self.protocol.recall_points)].mean())

    def cells(self, order: np.ndarray | None = None) -> np.ndarray:
        """Returns `[T, classes with ground truth]`; `order` gives each row a place among those of equal score."""
        result = np.zeros((len(self.hits), len(self.defined)))
        for index, label in enumerate(self.defined):
            rows = self.ranked[label]
            if order is not None:
                rows = rows[np.lexsort((order[rows], -self.scores[rows]))]
            for threshold in range(len(self.hits)):
                result[threshold, index] = self.average_precision(label, threshold, rows)
        return result
