"""The plot of the types of errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..analysis._error_types import background_of
from ._canvas import BLUE, ORANGE, axes_of, nearest_to_half, nothing_to_rank, say, without_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .._evaluation import Evaluation

__all__ = ["error_types"]

_ALL = 2  # the last types, which hold all errors of their kind


def error_types(
    evaluation: Evaluation,
    axes: Axes | None = None,
    *,
    iou_threshold: float | None = None,
    background_threshold: float | None = None,
) -> Axes:
    """Draws how much AP rises if all errors of a type are fixed, with the number of errors.

    Args:
      evaluation: of any protocol; its first area range and largest limit of detections are used.
      axes: the axes to draw on; None for a new figure.
      iou_threshold: one of the protocol's; None for the one nearest to 0.5.
      background_threshold: the IoU below which a detection is on the background; None for 0.1, or half of the IoU
        threshold if that is lower.

    Returns:
      The axes, which contain one bar for each type.

    Raises:
      ValueError: if a threshold is not as described.
      ImportError: if matplotlib is missing.
    """
    axes = axes_of(axes)
    if evaluation.matched is None:
        return say(axes, "The types of errors need boxes, which the state of a metric does not keep.")
    if (reason := nothing_to_rank(evaluation)) is not None:
        return say(axes, reason)
    iou = nearest_to_half(evaluation, iou_threshold)
    background = background_of(iou) if background_threshold is None else background_threshold
    errors = evaluation.error_types(iou, background)
    columns = errors.table()
    colors = [BLUE] * (len(columns["error"]) - _ALL) + [ORANGE] * _ALL
    bars = axes.barh(columns["error"], columns["gain"], color=colors, alpha=0.8)
    axes.bar_label(bars, [f"{count:,}" for count in columns["count"]], padding=3, fontsize="small")
    axes.invert_yaxis()
    axes.margins(x=0.2)  # for the counts
    axes.set_xlim(left=0)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("gain in AP if all of them are fixed")
    axes.set_ylabel("type of error (numbers are counts)")
    axes.set_title(f"Error types, IoU {iou:.2f}, AP {errors.average_precision:.3f}")
    without_frame(axes)
    return axes
