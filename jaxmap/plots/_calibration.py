"""The reliability diagram: precision in bins of the score, against the diagonal where both are equal."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

import numpy as np

from ._canvas import BLUE, GREY, ORANGE, axes_of, legend_below, nearest_to_half, say, short_count, without_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .._evaluation import Evaluation

__all__ = ["nothing_to_calibrate", "reliability_diagram"]

_COUNTS_AT = 1.05  # above all bars and marks


def nothing_to_calibrate(evaluation: Evaluation) -> str | None:
    """Returns the reason why scores cannot be compared with precision; None if they can."""
    scores = evaluation.dataset.records.detections.scores
    if not len(scores):
        return "There are no detections, so there are no scores to compare with precision."
    if scores.min() < 0 or scores.max() > 1:
        return (
            f"Scores lie in [{scores.min():.3g}, {scores.max():.3g}] and not in [0, 1], so they are no probabilities."
        )
    return None


def reliability_diagram(
    evaluation: Evaluation,
    axes: Axes | None = None,
    *,
    iou_threshold: float | None = None,
    class_id: Hashable | None = None,
    num_bins: int = 10,
) -> Axes:
    """Draws the precision of the detections in each bin of the score; a calibrated detector is on the diagonal.

    Args:
      evaluation: of any protocol; its first area range and largest limit of detections are used.
      axes: the axes to draw on; None for a new figure.
      iou_threshold: one of the protocol's; None for the one nearest to 0.5.
      class_id: one of `class_ids`; None for all classes.
      num_bins: the number of bins, of equal width.

    Returns:
      The axes, which contain the diagonal, and for each bin with detections a bar, their number at the top, and a mark
      at their mean score.

    Raises:
      ValueError: if an argument is not as described.
      ImportError: if matplotlib is missing.
    """
    axes = axes_of(axes)
    threshold, area = nearest_to_half(evaluation, iou_threshold), evaluation.protocol.area_ranges[0].name
    if (reason := nothing_to_calibrate(evaluation)) is not None:
        return say(axes, reason)
    result = evaluation.calibration(threshold, num_bins=num_bins, class_id=class_id, area=area)
    bins = result.bins
    if not result.num_detections:
        return say(axes, "There are no counted detections, so there are no scores to compare with precision.")
    low, high, precision, mean = (bins[name] for name in ("score_low", "score_high", "precision", "mean_score"))
    bars = axes.bar(low, precision, width=high - low, align="edge", color=BLUE, alpha=0.6, edgecolor=BLUE)
    bars.set_label("precision; counts at the top")
    for left, right, count in zip(low, high, bins["num_detections"], strict=True):
        axes.text((left + right) / 2, _COUNTS_AT, short_count(count), ha="center", va="center", fontsize="x-small")
    marks = axes.scatter(mean, mean, marker="_", s=120, color=ORANGE, zorder=3, label="mean score")
    [diagonal] = axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="calibrated")
    axes.set(xlim=(0, 1), ylim=(0, 1.1), xlabel="score", ylabel="precision", yticks=np.arange(6) / 5)
    axes.set_title(f"Reliability, IoU {threshold:.2f}: ECE {result.ece:.3f}, MCE {result.mce:.3f}")
    without_frame(axes)
    legend_below(axes, [bars, marks, diagonal], columns=2)
    return axes
