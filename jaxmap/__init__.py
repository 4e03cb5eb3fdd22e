"""Exact detection metrics for JAX: on arrays, on files, and inside `jit`."""

from .evaluation import Evaluation, evaluate
from .protocols import COCO, AreaRange, EvaluationProtocol
from .types import Detections, DetectionTable, GroundTruths, GroundTruthTable

__version__ = "0.1.0"

__all__ = [
    "COCO",
    "AreaRange",
    "DetectionTable",
    "Detections",
    "Evaluation",
    "EvaluationProtocol",
    "GroundTruthTable",
    "GroundTruths",
    "evaluate",
]
