"""Precision, recall and F1 of sets of detections against the IoU threshold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._outputs import rounded_down
from ._canvas import BLUE, ORANGE, VERMILION, axes_of, best_score, legend_below, nothing_to_rank, say, without_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .._evaluation import Evaluation

__all__ = ["iou_rates"]

_LINES = {"f1": ("F1", BLUE, 2.0), "precision": ("precision", ORANGE, 1.0), "recall": ("recall", VERMILION, 1.0)}


def iou_rates(evaluation: Evaluation, axes: Axes | None = None, *, score_threshold: float | None = None) -> Axes:
    """Draws precision, recall and F1 of all classes, with their counts added up, against the IoU threshold.

    Args:
      evaluation: of any protocol; its first area range and largest limit of detections are used.
      axes: the axes to draw on; None for a new figure.
      score_threshold: the least score of a detection that is included; None for that of the best F1 over all classes at
        the evaluation's IoU threshold nearest to 0.5, or for all detections if none is correct.

    Returns:
      The axes, which contain one line for each rate; the means over the thresholds are in the legend.

    Raises:
      ValueError: if the score threshold is NaN.
      ImportError: if matplotlib is missing, or scipy, which detections without scores need.
    """
    axes = axes_of(axes)
    if not evaluation.dataset.ranked and evaluation.matched is None:
        return say(axes, "Detections without scores are matched by boxes, which the state of a metric does not keep.")
    if (reason := nothing_to_rank(evaluation)) is not None:
        return say(axes, reason)
    score = best_score(evaluation) if score_threshold is None else score_threshold
    area = evaluation.protocol.area_ranges[0].name
    rates = evaluation.precision_recall_f1(score_threshold=score, area=area)
    handles = []
    for name, (title, color, width) in _LINES.items():
        values = getattr(rates, name)[:, -2]
        mean = f"{title}, mean {values.mean():.3f}"
        thresholds = evaluation.protocol.iou_thresholds
        handles += axes.plot(thresholds, values, marker="o", markersize=3, color=color, linewidth=width, label=mean)
    everything = not evaluation.dataset.ranked or not math.isfinite(score)
    included = "all detections" if everything else f"score from {rounded_down(score)}"
    axes.set(ylim=(0, 1.02), xlabel="IoU threshold", ylabel="precision, recall, F1")
    axes.set_title(f"Precision, recall and F1, {included}")
    without_frame(axes)
    legend_below(axes, handles)
    return axes
