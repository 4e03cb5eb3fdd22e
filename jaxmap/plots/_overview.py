"""The plots of a first look on one sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._canvas import require_matplotlib
from ._confusion import confusion_matrix
from ._curves import f_score_curve, iou_curves, precision_recall_curves
from ._histograms import image_histogram, score_histogram

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .._evaluation import Evaluation

__all__ = ["overview"]


def overview(evaluation: Evaluation) -> Figure:
    """Draws curves, histograms and the confusion matrix on one figure, with their default arguments.

    Raises:
      ImportError: if matplotlib is missing.
    """
    require_matplotlib()
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    from ._notebook import NotebookFigure

    figure = NotebookFigure(figsize=(15.5, 10.8), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))
    axes = figure.subplots(2, 3)
    precision_recall_curves(evaluation, axes[0, 0])
    iou_curves(evaluation, axes[0, 1])
    confusion_matrix(evaluation, axes[0, 2], limit=10)
    f_score_curve(evaluation, axes[1, 0])
    score_histogram(evaluation, axes[1, 1])
    image_histogram(evaluation, axes[1, 2])
    return figure
