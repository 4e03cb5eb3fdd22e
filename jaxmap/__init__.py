"""Exact detection metrics for JAX: on arrays, on files, and inside `jit`."""

from . import adapters, distributed, io, metrics
from .curves import precision_recall
from .evaluation import Evaluation, evaluate
from .matching import match
from .metrics import AveragePrecision, average_precision
from .protocols import COCO, AreaRange, EvaluationProtocol
from .similarity import box_iou
from .types import Detections, DetectionTable, GroundTruths, GroundTruthTable

__version__ = "0.1.0"

__all__ = [
    "COCO",
    "AreaRange",
    "AveragePrecision",
    "DetectionTable",
    "Detections",
    "Evaluation",
    "EvaluationProtocol",
    "GroundTruthTable",
    "GroundTruths",
    "adapters",
    "average_precision",
    "box_iou",
    "distributed",
    "evaluate",
    "io",
    "match",
    "metrics",
    "precision_recall",
]
