"""Histograms of per-image AP, and of the scores of true and false positives."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

import numpy as np

from ._canvas import (
    BLUE,
    ORANGE,
    VERMILION,
    axes_of,
    legend_below,
    nearest_to_half,
    nothing_to_rank,
    plain,
    say,
    without_frame,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .._evaluation import Evaluation

__all__ = ["image_histogram", "score_histogram"]

_IMAGE_BINS = 20
_SCORE_BINS = 40
_HIDDEN = 1 / 20  # share of the height of the plot; lower bars cannot be read


def image_histogram(evaluation: Evaluation, axes: Axes | None = None, *, worst: int = 5) -> Axes:
    """Draws the histogram of per-image AP, and names the images with the lowest.

    Args:
      evaluation: of any protocol; its first area range and largest limit of detections are used.
      axes: the axes to draw on; None for a new figure.
      worst: how many images with the lowest AP to name; of equal ones those with the most objects.

    Returns:
      The axes, which contain one bar per 0.05 of AP. Images without ground truth have no AP and are in no bar.

    Raises:
      ImportError: if matplotlib is missing.
    """
    axes = axes_of(axes)
    if (reason := nothing_to_rank(evaluation)) is not None:
        return say(axes, reason)
    from matplotlib.lines import Line2D

    columns = evaluation.explain().images()
    held = np.flatnonzero(columns["num_ground_truths"])
    image_ids, average, objects = (columns[name][held] for name in ("image_id", "AP", "num_ground_truths"))
    counts, edges = np.histogram(average, bins=_IMAGE_BINS, range=(0, 1))
    axes.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color=BLUE, alpha=0.8, edgecolor="none")
    label = f"mean of {len(average):,} images: {average.mean():.3f}"
    handles = [axes.axvline(average.mean(), color=VERMILION, linestyle="--", label=label)]
    lines = ["the lowest:"]
    for row in np.lexsort((image_ids, -objects, average))[:worst]:
        count = f"{objects[row]:,} object{'' if objects[row] == 1 else 's'}"
        lines.append(f"image {plain(image_ids[row], 24)}: AP {average[row]:.3f}, {count}")
    handles += [Line2D([], [], linestyle="none", label=line) for line in lines]
    axes.set(xlim=(0, 1), xlabel="per-image AP", ylabel="images per 0.05 of AP", title="Per-image AP")
    axes.locator_params(axis="y", integer=True)
    without_frame(axes)
    legend_below(axes, handles)
    return axes


def score_histogram(
    evaluation: Evaluation,
    axes: Axes | None = None,
    *,
    iou_threshold: float | None = None,
    class_id: Hashable | None = None,
) -> Axes:
    """Draws the histograms of the scores of true and of false positives.

    Args:
      evaluation: of any protocol; its first area range and largest limit of detections are used.
      axes: the axes to draw on; None for a new figure.
      iou_threshold: one of the protocol's; None for the one nearest to 0.5.
      class_id: one of `class_ids`; None for all classes.

    Returns:
      The axes, which contain one outline each; counts have a logarithmic scale if one outline is much higher.

    Raises:
      ValueError: if an argument is not as described.
      ImportError: if matplotlib is missing.
    """
    axes = axes_of(axes)
    threshold, area = nearest_to_half(evaluation, iou_threshold), evaluation.protocol.area_ranges[0].name
    curve = evaluation.curve(threshold, class_id, area=area)
    if not len(curve.scores):
        return say(axes, "There are no counted detections, so there are no scores to show.")
    low, high = min(0.0, curve.scores[-1]), max(1.0, curve.scores[0])
    handles, heights = [], []
    for title, color, running in (
        ("true positives", BLUE, curve.true_positives),
        ("false positives", ORANGE, curve.false_positives),
    ):
        at_score = np.diff(running, prepend=0)
        counts, edges = np.histogram(curve.scores, bins=_SCORE_BINS, range=(low, high), weights=at_score)
        handles.append(axes.stairs(counts, edges, fill=True, color=color, alpha=0.55, label=f"{running[-1]:,} {title}"))
        heights.append(counts.max())
    if 0 < min(heights) < _HIDDEN * max(heights):
        axes.set_yscale("log")
    else:
        axes.locator_params(axis="y", integer=True)
    axes.set(xlabel="score", ylabel=f"detections per {(high - low) / _SCORE_BINS:.3g} of score")
    axes.set_title(f"Scores of true and false positives, IoU {threshold:.2f}")
    without_frame(axes)
    legend_below(axes, handles, columns=2)
    return axes
