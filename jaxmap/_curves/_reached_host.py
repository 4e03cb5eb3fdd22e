"""How much of the recall axis some true positives reach, as a protocol averages precision over it; in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..protocols import EvaluationProtocol
from ..types import Floats
from ._envelope import FIRST_SHARE

__all__ = ["reached_of"]


def reached_of(
    protocol: EvaluationProtocol, positives: Floats
) -> tuple[Callable[[Floats, slice, Floats], Floats], int]:
    """Returns the function of true positives that gives how much of the recall axis they reach, and its whole.

    Args:
      protocol: the protocol, for its recall points and its kind of average.
      positives: `[S, W]`, the ground truths of each curve; the function is given the first of the S, and an array of
        their shape to write to.
    """
    if protocol.average == "area":
        return lambda true_positives, active, spare: true_positives / positives[active], 1
    points = np.asarray(protocol.recall_points)
    exceeded = bool(points[0] > 0)  # the points may lie just above even ones, which recall then has to exceed
    even = np.nextafter(points, 0) if exceeded else points
    step = even[1] if len(points) > 1 else 1.0

    def searched(true_positives: Floats, active: slice, spare: Floats) -> Floats:
        return np.searchsorted(points, true_positives / positives[active], side="right").astype(np.float64)

    def evenly_spaced(true_positives: Floats, active: slice, spare: Floats) -> Floats:
        recall = true_positives / positives[active]
        nearest = np.multiply(recall, 1 / step, out=spare)
        np.rint(nearest, out=nearest)  # recall reaches all points before the nearest, and none after it
        reached = nearest + (not exceeded)
        nearest *= step
        recall -= nearest
        # 1 where it exceeds the nearest, or -1 where it is short of it.
        (np.ceil if exceeded else np.floor)(recall, out=recall)
        reached += recall
        return reached

    is_even = np.array_equal(np.arange(len(points)) * step, even) and (len(points) - (not exceeded)) * step == 1
    reached = evenly_spaced if is_even else searched
    if protocol.average == "trapezoid":
        return (lambda *arguments: np.maximum(reached(*arguments) - (1 - FIRST_SHARE), 0.0)), len(points)
    return reached, len(points)
