"""Analyses of an evaluation, from its records, curves and matches; three of them pair boxes again."""

from ._bootstrap import Bootstrap, bootstrap
from ._calibration import Calibration, calibration
from ._cgf1 import ConceptF1, concept_f1
from ._comparison import Comparison, Difference
from ._confusion import Confusion, confusion_matrix
from ._error_types import ErrorTypes, error_types
from ._explain import explain
from ._explanation import Explanation
from ._images import ImageCurves, image_curves
from ._intervals import Interval
from ._learning_curve import sequential_comparison
from ._lrp import localisation_recall_precision
from ._operating_points import OperatingPoint, ScoreCurve, operating_points, score_curve
from ._precision_recall_f1 import PrecisionRecallF1, precision_recall_f1
from ._ties import TieBounds, tie_bounds

__all__ = [
    "Bootstrap",
    "Calibration",
    "Comparison",
    "ConceptF1",
    "Confusion",
    "Difference",
    "ErrorTypes",
    "Explanation",
    "ImageCurves",
    "Interval",
    "OperatingPoint",
    "PrecisionRecallF1",
    "ScoreCurve",
    "TieBounds",
    "bootstrap",
    "calibration",
    "concept_f1",
    "confusion_matrix",
    "error_types",
    "explain",
    "image_curves",
    "localisation_recall_precision",
    "operating_points",
    "precision_recall_f1",
    "score_curve",
    "sequential_comparison",
    "tie_bounds",
]


def __dir__() -> list[str]:
    return list(__all__)
