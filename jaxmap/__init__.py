"""Exact detection metrics for JAX: on arrays, on files, and inside `jit`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import adapters, distributed, io, metrics
    from .compilation import warmup, warmup_metric
    from .confusion import Confusion, confusion_matrix
    from .curves import precision_recall
    from .evaluation import Evaluation, evaluate
    from .matching import match
    from .metrics import AveragePrecision, average_precision
    from .panoptic import PanopticEvaluation, panoptic_quality
    from .protocols import (
        ALL_POINT,
        COCO,
        COCO_KEYPOINTS,
        CROWDPOSE,
        LVIS,
        OPEN_IMAGES,
        VOC2007,
        VOC2012,
        AreaRange,
        EvaluationProtocol,
    )
    from .similarity import box_iou, oriented_box_iou
    from .types import Detections, DetectionTable, GroundTruths, GroundTruthTable

__version__ = "0.1.0"

__all__ = [
    "ALL_POINT",
    "COCO",
    "COCO_KEYPOINTS",
    "CROWDPOSE",
    "LVIS",
    "OPEN_IMAGES",
    "VOC2007",
    "VOC2012",
    "AreaRange",
    "AveragePrecision",
    "Confusion",
    "DetectionTable",
    "Detections",
    "Evaluation",
    "EvaluationProtocol",
    "GroundTruthTable",
    "GroundTruths",
    "PanopticEvaluation",
    "adapters",
    "average_precision",
    "box_iou",
    "confusion_matrix",
    "distributed",
    "evaluate",
    "io",
    "match",
    "metrics",
    "oriented_box_iou",
    "panoptic_quality",
    "precision_recall",
    "warmup",
    "warmup_metric",
]

# The module of each name, as imported above; loaded at its first use, so that `jaxmap --help` need not wait for JAX.
_MODULES = {
    "compilation": ("warmup", "warmup_metric"),
    "confusion": ("Confusion", "confusion_matrix"),
    "curves": ("precision_recall",),
    "evaluation": ("Evaluation", "evaluate"),
    "matching": ("match",),
    "metrics": ("AveragePrecision", "average_precision"),
    "panoptic": ("PanopticEvaluation", "panoptic_quality"),
    "protocols": (
        "ALL_POINT",
        "COCO",
        "COCO_KEYPOINTS",
        "CROWDPOSE",
        "LVIS",
        "OPEN_IMAGES",
        "VOC2007",
        "VOC2012",
        "AreaRange",
        "EvaluationProtocol",
    ),
    "similarity": ("box_iou", "oriented_box_iou"),
    "types": ("DetectionTable", "Detections", "GroundTruthTable", "GroundTruths"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f".{_MODULE_OF.get(name, name)}", __name__)
    value = globals()[name] = getattr(module, name) if name in _MODULE_OF else module
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
