"""Curves: precision against recall per class and per IoU threshold, and the F-score against the score."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from .._outputs import rounded_down
from ..protocols import QUANTITIES
from ._canvas import (
    BLUE,
    GREY,
    ORANGE,
    PALETTE,
    SKY,
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
    from matplotlib.lines import Line2D

    from .._evaluation import Evaluation
    from ..types import Floats

__all__ = ["f_score_curve", "iou_curves", "precision_recall_curves"]

_STYLES = ("-", "--", ":", "-.")
_FAINT = {"color": GREY, "alpha": 0.4, "linewidth": 0.7, "zorder": 1.5}


def precision_recall_curves(
    evaluation: Evaluation,
    axes: Axes | None = None,
    *,
    iou_threshold: float | None = None,
    limit: int = 12,
    max_others: int = 200,
) -> Axes:
    """Draws the precision of each class that AP averages: the best precision at or above each recall point.

    Args:
      evaluation: of any protocol; its first area range and largest limit of detections are used.
      axes: to draw on; None for a figure of its own.
      iou_threshold: one of the protocol's; None for the one nearest to 0.5.
      limit: how many classes get a colour and a name: half of them those with the highest AP, half those with the
        lowest. The others are grey.
      max_others: how many grey lines there are at most; of more classes, evenly spaced by AP.

    Returns:
      The axes, which contain one line for each class with ground truth, up to `limit + max_others`.

    Raises:
      ValueError: if the protocol has no such threshold.
      ImportError: if matplotlib is missing.
    """
    axes = axes_of(axes)
    if (reason := nothing_to_rank(evaluation)) is not None:
        return say(axes, reason)
    threshold = nearest_to_half(evaluation, iou_threshold)
    _, index = evaluation.protocol.locate(evaluation.protocol.area_ranges[0].name, threshold)
    average = _average_precision(evaluation)[index]

    def draw(label: int, **style: Any) -> Line2D:
        title = f"{average[label]:.3f}  {plain(evaluation.class_names[label])}"
        precision = evaluation.precision[index, :, label, 0, -1]
        return axes.plot(evaluation.protocol.recall_points, precision, label=title, **style)[0]

    by_average = np.argsort(-average, kind="stable")[: int((~np.isnan(average)).sum())]
    num_best, num_others = (limit + 1) // 2, max(len(by_average) - limit, 0)
    best, others, worst = np.split(by_average, [num_best, num_best + num_others])
    named = [draw(label, **_style(place)) for place, label in enumerate([*best, *worst])]
    spaced = np.unique(np.linspace(0, num_others - 1, min(num_others, max_others)).round().astype(int))
    grey = [draw(label, **_FAINT) for label in others[spaced]]
    for line in grey[:1]:  # one legend entry for all of them
        which = f"{len(grey)} of {num_others:,}" if len(grey) < num_others else f"{num_others}"
        line.set_label(f"{which} other classes")
    _label(axes, f"Precision and recall per class, IoU {threshold:.2f}")
    legend_below(axes, [*named[: len(best)], *grey[:1], *named[len(best) :]], columns=2, title="AP and class")
    return axes


def iou_curves(evaluation: Evaluation, axes: Axes | None = None, *, limit: int = 10) -> Axes:
    """Draws the precision-recall curve of each IoU threshold, as AP averages it, averaged over the classes.

    Args:
      evaluation: of any protocol; its first area range and largest limit of detections are used.
      axes: to draw on; None for a figure of its own.
      limit: the most thresholds to draw, evenly spaced.

    Returns:
      The axes, which contain one line for each threshold.

    Raises:
      ImportError: if matplotlib is missing.
    """
    axes = axes_of(axes)
    if (reason := nothing_to_rank(evaluation)) is not None:
        return say(axes, reason)
    from matplotlib.colors import LinearSegmentedColormap

    thresholds = evaluation.protocol.iou_thresholds
    chosen = np.unique(np.linspace(0, len(thresholds) - 1, min(limit, len(thresholds))).round().astype(int))
    defined = evaluation.summary_curves.num_ground_truths[:, 0] > 0
    precision = evaluation.precision[:, :, defined, 0, -1].mean(axis=2)
    average = _average_precision(evaluation)[:, defined].mean(axis=1)
    colors = LinearSegmentedColormap.from_list("iou", [BLUE, SKY, ORANGE, VERMILION])(np.linspace(0, 1, len(chosen)))
    lines = []
    for index, color in zip(chosen, colors, strict=True):
        title = f"{average[index]:.3f}  IoU {thresholds[index]:.2f}"
        lines += axes.plot(evaluation.protocol.recall_points, precision[index], color=color, label=title)
    _label(axes, "Mean precision over the classes per IoU")
    legend_below(axes, lines, columns=2, title="AP and IoU threshold")
    return axes


def f_score_curve(
    evaluation: Evaluation,
    axes: Axes | None = None,
    *,
    iou_threshold: float | None = None,
    class_id: Hashable | None = None,
    beta: float = 1.0,
) -> Axes:
    """Draws the F-score, precision and recall against the score threshold, from raw counts, and marks the best F-score.

    Args:
      evaluation: of any protocol; its first area range and largest limit of detections are used.
      axes: to draw on; None for a figure of its own.
      iou_threshold: one of the protocol's; None for the one nearest to 0.5.
      class_id: one of `class_ids`; None for all classes, with their counts added up.
      beta: the weight of recall relative to precision.

    Returns:
      The axes, which contain the lines of the F-score, precision and recall, and the mark.

    Raises:
      ValueError: if an argument is not as described.
      ImportError: if matplotlib is missing.
    """
    axes = axes_of(axes)
    threshold, area = nearest_to_half(evaluation, iou_threshold), evaluation.protocol.area_ranges[0].name
    curve = evaluation.curve(threshold, class_id, area=area, beta=beta)
    if not curve.num_ground_truths:
        return say(axes, "There is no counted ground truth, so the F-score is not defined.")
    if not len(curve.scores):
        return say(axes, "There are no counted detections, so there is no score to choose.")
    name = f"F{beta:g}"
    rates = {name: (curve.f_score, BLUE, 2.0), "precision": (curve.precision, ORANGE, 1.0),
             "recall": (curve.recall, VERMILION, 1.0)}  # fmt: skip
    lines = []
    for label, (values, color, width) in rates.items():
        # Scores descend, and a value applies from its score down to the next.
        lines += axes.plot(curve.scores, values, drawstyle="steps-post", color=color, linewidth=width, label=label)
    best = curve.best
    if math.isfinite(best.score_threshold):
        title = (
            f"best {name} {best.f_score:.3f} from score {rounded_down(best.score_threshold)}\n"
            f"(precision {best.precision:.3f}, recall {best.recall:.3f})"
        )
        axes.axvline(best.score_threshold, color=GREY, linewidth=0.8, linestyle=":")
        lines += axes.plot(best.score_threshold, best.f_score, "o", color=BLUE, label=title)
    axes.set_ylim(0, 1.02)
    axes.set(xlabel="score threshold", ylabel=f"{name}, precision, recall")
    axes.set_title(f"{name} against the score threshold, IoU {threshold:.2f}")
    without_frame(axes)
    legend_below(axes, lines, columns=2)
    return axes


def _average_precision(evaluation: Evaluation) -> Floats:
    """Returns the AP of each threshold and class, `[T, K]`; NaN without ground truth."""
    values = np.asarray(QUANTITIES["precision"].values(evaluation.curves))[..., 0, -1]
    means: Floats = values.mean(axis=tuple(range(1, values.ndim - 1)))
    return means


def _style(place: int) -> dict[str, Any]:
    return {"color": PALETTE[place % len(PALETTE)], "linestyle": _STYLES[place // len(PALETTE) % len(_STYLES)]}


def _label(axes: Axes, title: str) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision", title=title)
    without_frame(axes)
