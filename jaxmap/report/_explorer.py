"""The curves of the classes: a plot whose script reads them under the cursor, and the points that it reads."""

from __future__ import annotations

import numpy as np

from .. import plots
from .._evaluation import Evaluation
from ..types import Floats
from ._markup import Markup
from ._pictures import picture

__all__ = ["curves_of_classes", "points_of_curves"]

_MOST_POINTS = 60_000  # of all curves together, some 18 bytes each


def curves_of_classes(evaluation: Evaluation) -> Markup:
    """Returns the plot of the precision of each class."""
    caption = (
        "AP is the mean height of a curve. Solid lines are the best classes, dashed lines the worst, grey lines others."
    )
    return picture(plots.precision_recall_curves, evaluation, caption, framed=True)


def points_of_curves(evaluation: Evaluation) -> list[str]:
    """Returns the curve of each class as text: recall, precision and score of each point; empty without ground truth.

    Of a run of equal points, its ends are kept, and of too many points, evenly spaced ones.
    """
    protocol = evaluation.protocol
    index = protocol.iou_thresholds.index(plots.nearest_to_half(evaluation))
    precision, scores = (values[index, :, :, 0, -1] for values in (evaluation.precision, evaluation.scores))
    most = max(_MOST_POINTS // max(precision.shape[1], 1), 2)
    return [_points(protocol.recall_points, *columns, most) for columns in zip(precision.T, scores.T, strict=True)]


def _points(recall: tuple[float, ...], precision: Floats, scores: Floats, most: int) -> str:
    if np.isnan(precision).any():
        return ""
    changes = (np.diff(precision) != 0) | (np.diff(scores) != 0)
    kept = np.flatnonzero(np.r_[True, changes] | np.r_[changes, True])
    kept = kept[np.unique(np.linspace(0, len(kept) - 1, min(len(kept), most)).round().astype(int))]
    return " ".join(f"{recall[one]:.4g} {precision[one]:.4g} {scores[one]:.4g}" for one in kept)
