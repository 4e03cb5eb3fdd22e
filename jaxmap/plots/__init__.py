"""Pictures of an evaluation, with matplotlib (`pip install 'jaxmap[plot]'`), which loads when the first one is drawn.

Each takes an evaluation and draws on the axes that it is given, or on those of a figure of its own, which pyplot does
not know: `axes.figure.savefig("curves.png")` writes it, and a notebook shows it where the axes are the value of a cell.
Where there is nothing to draw, a sentence says why.

    axes = plots.precision_recall_curves(evaluation)
    plots.overview(evaluation).savefig("overview.png")
"""

from ._canvas import nearest_to_half, require_matplotlib
from ._confusion import confusion_matrix
from ._curves import f_score_curve, iou_curves, precision_recall_curves
from ._histograms import image_histogram, score_histogram
from ._overview import overview

__all__ = [
    "confusion_matrix",
    "f_score_curve",
    "image_histogram",
    "iou_curves",
    "nearest_to_half",
    "overview",
    "precision_recall_curves",
    "require_matplotlib",
    "score_histogram",
]


def __dir__() -> list[str]:
    return list(__all__)
