"""Plots of an evaluation, with matplotlib (`pip install 'jaxmap[plot]'`), which is imported when the first is drawn.

Each function takes an evaluation, or an analysis of one, draws on the given axes or on those of a new figure, and
returns the axes. New figures are not registered in pyplot: `axes.figure.savefig("curves.png")` saves one, and a
notebook displays it if the axes are the last value of a cell. If there is nothing to draw, the axes show a sentence
that says why.

    axes = plots.precision_recall_curves(evaluation)
    plots.overview(evaluation).savefig("overview.png")
"""

from ._calibration import nothing_to_calibrate, reliability_diagram
from ._canvas import best_score, nearest_to_half, require_matplotlib
from ._certainty import differences, intervals, learning_curve, sequential_comparison
from ._confusion import confusion_matrix
from ._curves import f_score_curve, iou_curves, precision_recall_curves
from ._errors import error_types
from ._histograms import image_histogram, score_histogram
from ._lrp import localisation_recall_precision, nothing_to_localise
from ._overview import overview
from ._sets import iou_rates

__all__ = [
    "best_score",
    "confusion_matrix",
    "differences",
    "error_types",
    "f_score_curve",
    "image_histogram",
    "intervals",
    "iou_curves",
    "iou_rates",
    "learning_curve",
    "localisation_recall_precision",
    "nearest_to_half",
    "nothing_to_calibrate",
    "nothing_to_localise",
    "overview",
    "precision_recall_curves",
    "reliability_diagram",
    "require_matplotlib",
    "score_histogram",
    "sequential_comparison",
]


def __dir__() -> list[str]:
    return list(__all__)
