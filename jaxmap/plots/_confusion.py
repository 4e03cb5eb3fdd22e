"""The plot of the confusion matrix: the classes with the most errors, and the sum of the others."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .._outputs import rounded_down
from ._canvas import BLUE, GREY, axes_of, best_score, nearest_to_half, plain, say, short_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .._evaluation import Evaluation
    from ..analysis._confusion import Confusion
    from ..types import Ints

__all__ = ["confusion_matrix"]

_NAMES, _CELL, _LEAST_WIDTH = 1.8, (0.34, 0.3), 5.2  # inches: for names, for an entry, and for the title
_STRONGEST = 0.75  # opacity of the colour of a full row: dark and light letters are both readable on it


def confusion_matrix(
    evaluation: Evaluation,
    axes: Axes | None = None,
    *,
    iou_threshold: float | None = None,
    score_threshold: float | None = None,
    limit: int = 14,
) -> Axes:
    """Draws the confusion matrix in counts; the colour shows the share of the row.

    Args:
      evaluation: of any protocol; detections within its largest limit are paired across classes.
      axes: the axes to draw on; None for a new figure.
      iou_threshold: the least IoU of a pair; None for the threshold of the evaluation nearest to 0.5.
      score_threshold: the least score of a detection that is included; None for that of the best F1 over all classes at
        the evaluation's IoU threshold nearest to 0.5, or for all detections if none is correct.
      limit: how many classes have their own row, those with the most errors. The others are summed in one row and
        column, whose diagonal entry counts both correct pairs and confusions among them.

    Returns:
      The axes, which contain one mesh.

    Raises:
      ValueError: if a threshold is not as described.
      ImportError: if matplotlib is missing.
    """
    width, height = (_NAMES + side * (min(len(evaluation.class_ids), limit) + 2) for side in _CELL)
    axes = axes_of(axes, (max(width, _LEAST_WIDTH), height))
    if evaluation.matched is None:
        return say(axes, "The confusion matrix needs boxes, which the state of a metric does not keep.")
    iou = nearest_to_half(evaluation, iou_threshold)
    if score_threshold is None:
        score_threshold = best_score(evaluation)
    confusion = evaluation.confusion_matrix(iou, score_threshold=score_threshold)
    if not confusion.counts.any():
        return say(axes, "There are no detections and no counted ground truths, so the matrix is empty.")
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    counts, names = _most_errors(confusion, limit)
    total = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(total, 1)
    tint = LinearSegmentedColormap.from_list("share", [(*to_rgb(BLUE), 0.0), (*to_rgb(BLUE), _STRONGEST)])
    axes.pcolormesh(shares, cmap=tint, vmin=0, vmax=1, edgecolors=(*to_rgb(GREY), 0.25), linewidth=0.5)
    for row, column in zip(*np.nonzero(counts), strict=True):
        axes.text(
            column + 0.5, row + 0.5, short_count(int(counts[row, column])), ha="center", va="center", fontsize=7.5
        )
    places = np.arange(len(names)) + 0.5
    axes.set_xticks(places, names, rotation=90, rotation_mode="anchor", ha="right", va="center")
    axes.set_yticks(places, names)
    axes.tick_params(length=0, labelsize=8.5)
    axes.spines[:].set_visible(False)
    axes.invert_yaxis()
    reported = f"score from {rounded_down(score_threshold)}" if math.isfinite(score_threshold) else "all scores"
    axes.set_title(f"Confusion matrix, IoU {iou:.2f}, {reported}", loc="left")
    axes.set_xlabel("detected as", loc="left")
    axes.set_ylabel("ground truth", loc="top")
    return axes


def _most_errors(confusion: Confusion, limit: int) -> tuple[Ints, list[str]]:
    """Returns the counts and names of the classes with the most errors, of all others summed, and of the background."""
    counts, num_classes = confusion.counts, len(confusion.class_names)
    errors = (counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal())[:num_classes]
    shown = np.argsort(-errors, kind="stable")[:limit]
    others = np.setdiff1d(np.arange(num_classes), shown)
    group = np.full(num_classes + 1, len(shown))
    group[shown] = np.arange(len(shown))
    group[num_classes] = len(shown) + bool(len(others))
    grouped = np.zeros((group[-1] + 1,) * 2, np.int64)
    np.add.at(grouped, (group[:, None], group), counts)
    names = [plain(confusion.class_names[label]) for label in shown]
    rest = [f"{len(others)} other classes"] if len(others) else []
    return grouped, [*names, *rest, "background"]
