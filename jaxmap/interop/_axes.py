"""Grids in any order and with repeats, which other libraries accept, mapped to a protocol with ascending grids."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..protocols import COCO, AreaRange, EvaluationProtocol
from ..types import HostArray, Ints, PrecisionRecall

__all__ = ["Axes"]


class Axes(NamedTuple):
    """A protocol, and the index of each requested value on its axes.

    Attributes:
      protocol: the protocol, with the values ascending and without repeats.
      thresholds, recall_points, limits: `[T]`, `[R]` and `[M]` int, indices on the axes of the protocol.
    """

    protocol: EvaluationProtocol
    thresholds: Ints
    recall_points: Ints
    limits: Ints

    @classmethod
    def of(
        cls,
        iou_thresholds: Any,
        recall_points: Any,
        max_detections: Any,
        *,
        base: EvaluationProtocol = COCO,
        area_ranges: Sequence[AreaRange] | None = None,
        class_agnostic: bool = False,
    ) -> Axes:
        """Sorts the grids.

        Args:
          iou_thresholds, recall_points, max_detections: numbers in any order.
          base: the protocol for everything else.
          area_ranges: None for those of `base`.
          class_agnostic: whether all classes are scored as one.

        Raises:
          ValueError: if there is no threshold, recall point or limit, or if a threshold is not positive, because at 0
            every pair would match.
        """
        asked = {"IoU thresholds": iou_thresholds, "recall points": recall_points, "detection limits": max_detections}
        kinds = (np.float64, np.float64, np.int64)
        grids, places = [], []
        for (name, values), kind in zip(asked.items(), kinds, strict=True):
            try:
                grid, place = np.unique(np.asarray(values, kind), return_inverse=True)
                rounded = kind is np.int64 and (grid[place] != np.ravel(values)).any()
            except (TypeError, ValueError, OverflowError):
                grid, place, rounded = np.zeros(0), np.zeros(0, int), False
            if not len(grid) or not np.isfinite(grid).all() or rounded:
                number = "whole number" if kind is np.int64 else "finite number"
                raise ValueError(f"The {name} must be at least one {number}, got {values}.")
            grids.append(tuple(grid.tolist()))
            places.append(place)
        if grids[0][0] <= 0:
            raise ValueError(f"The IoU thresholds must be above 0, got {iou_thresholds}.")
        protocol = dataclasses.replace(
            base,
            iou_thresholds=grids[0],
            recall_points=grids[1],
            area_ranges=base.area_ranges if area_ranges is None else tuple(area_ranges),
            max_detections=grids[2],
            class_agnostic=class_agnostic,
        )
        return cls(protocol, *places)

    def spread(self, curves: PrecisionRecall[HostArray]) -> PrecisionRecall[HostArray]:
        """Returns the curves of the protocol at the requested values, in their order."""
        return PrecisionRecall(
            precision=curves.precision[self.thresholds][:, self.recall_points][..., self.limits],
            recall=curves.recall[self.thresholds][..., self.limits],
            scores=curves.scores[self.thresholds][:, self.recall_points][..., self.limits],
            num_ground_truths=curves.num_ground_truths,
        )

    def asked(self) -> EvaluationProtocol:
        """Returns the protocol with the requested values, for the numbers of such curves; do not match with it."""
        thresholds, points, limits = (
            tuple(grid[place] for place in places.tolist())
            for grid, places in (
                (self.protocol.iou_thresholds, self.thresholds),
                (self.protocol.recall_points, self.recall_points),
                (self.protocol.max_detections, self.limits),
            )
        )
        grids = {"iou_thresholds": thresholds, "recall_points": points, "max_detections": limits}
        return _Asked(**vars(self.protocol) | grids)


class _Asked(EvaluationProtocol):
    """A protocol whose grids may be in any order and have repeats, unlike all others."""

    def __post_init__(self) -> None:
        pass
