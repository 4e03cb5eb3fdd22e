"""Exact detection metrics for JAX: on arrays, on files, and inside `jit`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__ as __version__

if TYPE_CHECKING:
    from . import adapters, analysis, distributed, interop, io, metrics, plots, protocols, report, types
    from ._checks._check import check_data
    from ._checks._findings import DataCheck
    from ._compilation import warmup, warmup_metric
    from ._curves._device import precision_recall
    from ._device_check import DeviceCheck, check_device
    from ._evaluation import Evaluation, compare, evaluate
    from ._geometry._boxes import box_iou
    from ._geometry._oriented_device import oriented_box_iou
    from ._matching._kernel import match
    from ._panoptic._quality import PanopticEvaluation, panoptic_quality
    from ._planes import area_words, level_words, read_plane
    from ._scalars import to_scalars
    from .analysis import Confusion, confusion_matrix
    from .metrics import AveragePrecision, average_precision
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
    from .types import (
        Candidates,
        DetectionRecords,
        Detections,
        DetectionTable,
        GroundTruthRecords,
        GroundTruths,
        GroundTruthTable,
        PrecisionRecall,
        Records,
    )

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
    "Candidates",
    "Confusion",
    "DataCheck",
    "DetectionRecords",
    "DetectionTable",
    "Detections",
    "DeviceCheck",
    "Evaluation",
    "EvaluationProtocol",
    "GroundTruthRecords",
    "GroundTruthTable",
    "GroundTruths",
    "PanopticEvaluation",
    "PrecisionRecall",
    "Records",
    "adapters",
    "analysis",
    "area_words",
    "average_precision",
    "box_iou",
    "check_data",
    "check_device",
    "compare",
    "confusion_matrix",
    "distributed",
    "evaluate",
    "interop",
    "io",
    "level_words",
    "match",
    "metrics",
    "oriented_box_iou",
    "panoptic_quality",
    "plots",
    "precision_recall",
    "protocols",
    "read_plane",
    "report",
    "to_scalars",
    "types",
    "warmup",
    "warmup_metric",
]

# The module of each name, as imported above; loaded at its first use, so that `jaxmap --help` need not wait for JAX.
_MODULES = {
    "_compilation": ("warmup", "warmup_metric"),
    "analysis": ("Confusion", "confusion_matrix"),
    "_checks._check": ("check_data",),
    "_checks._findings": ("DataCheck",),
    "_curves._device": ("precision_recall",),
    "_device_check": ("DeviceCheck", "check_device"),
    "_evaluation": ("Evaluation", "compare", "evaluate"),
    "_matching._kernel": ("match",),
    "metrics": ("AveragePrecision", "average_precision"),
    "_panoptic._quality": ("PanopticEvaluation", "panoptic_quality"),
    "_planes": ("area_words", "level_words", "read_plane"),
    "_scalars": ("to_scalars",),
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
    "_geometry._boxes": ("box_iou",),
    "_geometry._oriented_device": ("oriented_box_iou",),
    "types": (
        "Candidates",
        "DetectionRecords",
        "DetectionTable",
        "Detections",
        "GroundTruthRecords",
        "GroundTruthTable",
        "GroundTruths",
        "PrecisionRecall",
        "Records",
    ),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f".{_MODULE_OF.get(name, name)}", __name__)
    value = globals()[name] = getattr(module, name) if name in _MODULE_OF else module
    return value


def __dir__() -> list[str]:
    return list(__all__)
