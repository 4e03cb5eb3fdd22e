"""The optimal LRP of each class as a bar, in the parts that add up to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._canvas import BLUE, GREY, ORANGE, VERMILION, axes_of, legend_below, nearest_to_half, plain, say, without_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .._evaluation import Evaluation

__all__ = ["localisation_recall_precision", "nothing_to_localise"]


def nothing_to_localise(evaluation: Evaluation) -> str | None:
    """Returns the reason why there is no LRP at the threshold nearest to 0.5; None if there is one."""
    if evaluation.matched is None:
        return "LRP needs boxes, which the state of a metric does not keep."
    if not evaluation.summary_curves.num_ground_truths[:, 0].any():
        return "There is no counted ground truth, so LRP is not defined."
    if nearest_to_half(evaluation) >= 1:
        return "At an IoU threshold of 1 no box can be badly placed, so LRP is not defined."
    return None


def localisation_recall_precision(
    evaluation: Evaluation, axes: Axes | None = None, *, iou_threshold: float | None = None, limit: int = 12
) -> Axes:
    """Draws the optimal LRP of each class: what badly placed boxes, false positives and missed objects add to it.

    Args:
      evaluation: of any protocol, with boxes; its first area range and largest limit of detections are used.
      axes: the axes to draw on; None for a new figure.
      iou_threshold: one of the protocol's, less than 1; None for the one nearest to 0.5.
      limit: how many classes to draw: half of them those with the lowest error, half those with the highest.

    Returns:
      The axes, which contain a bar of three parts for each of these classes, and a line at the mean of all, moLRP.

    Raises:
      ValueError: if an argument is not as described.
      ImportError: if matplotlib is missing.
    """
    axes = axes_of(axes)
    threshold, area = nearest_to_half(evaluation, iou_threshold), evaluation.protocol.area_ranges[0].name
    if (reason := nothing_to_localise(evaluation)) is not None:
        return say(axes, reason)
    columns = evaluation.localisation_recall_precision(threshold, area=area)
    lrp, mean = columns["lrp"][:-1], columns["lrp"][-1]
    false, missed = (columns[name][:-1] for name in ("false_positives", "false_negatives"))
    total = np.maximum(false + missed + columns["true_positives"][:-1], 1)
    by_error = np.argsort(lrp, kind="stable")[: int((~np.isnan(lrp)).sum())]
    num_best, num_others = (limit + 1) // 2, max(len(by_error) - limit, 0)
    chosen = np.delete(by_error, slice(num_best, num_best + num_others))
    parts = {
        "badly placed boxes": (np.maximum(lrp - (false + missed) / total, 0), BLUE),
        "false positives": (false / total, ORANGE),
        "missed objects": (missed / total, VERMILION),
    }
    place, left = np.arange(len(chosen)), np.zeros(len(chosen))
    handles: list[Any] = []
    for label, (values, color) in parts.items():
        handles.append(axes.barh(place, values[chosen], left=left, color=color, alpha=0.8, label=label))
        left = left + values[chosen]
    handles.append(axes.axvline(mean, color=GREY, linestyle="--", linewidth=1, label=f"moLRP {mean:.3f}"))
    axes.set_yticks(place, [plain(evaluation.class_names[label]) for label in chosen], fontsize="small")
    axes.invert_yaxis()
    num_worst = len(chosen) - num_best
    classes = f"{num_best} best, {num_worst} worst of {len(by_error)} classes" if num_others else "class"
    axes.set(xlim=(0, 1), xlabel="oLRP (0 is best, 1 is worst)", ylabel=classes)
    axes.set_title(f"Optimal LRP per class, IoU {threshold:.2f}")
    without_frame(axes)
    legend_below(axes, handles, columns=2)
    return axes
