"""Metrics with explicit state: `init`, `update`, `merge`, `compute` inside `jit`, `summarize` on the host."""

from .._integers import image_id_words
from ._detection._average_precision import AveragePrecision, average_precision
from ._detection._confusion import ConfusionMatrix, ConfusionMatrixResult, ConfusionMatrixState
from ._detection._histogram import HistogramAveragePrecision, HistogramState
from ._detection._host_average_precision import HostAveragePrecision, HostState
from ._detection._result import AveragePrecisionResult
from ._detection._state import AveragePrecisionState
from ._ranking._at_k import average_precision_at_k, rank_classes
from ._ranking._metric import (
    MeanAveragePrecisionAtK,
    MeanAveragePrecisionAtKResult,
    MeanAveragePrecisionAtKState,
    mean_average_precision_at_k,
)
from ._segmentation._exact_pixels import pixel_average_precision
from ._segmentation._panoptic import PanopticQuality, PanopticQualityResult, PanopticQualityState
from ._segmentation._pixel_average_precision import (
    PixelAveragePrecision,
    PixelAveragePrecisionResult,
    PixelAveragePrecisionState,
)
from ._segmentation._segment_maps import SegmentMaps, category_instance_to_segments
from ._segmentation._semantic import SegmentationResult, SegmentationState, SemanticSegmentation, semantic_segmentation

__all__ = [
    "AveragePrecision",
    "AveragePrecisionResult",
    "AveragePrecisionState",
    "ConfusionMatrix",
    "ConfusionMatrixResult",
    "ConfusionMatrixState",
    "HistogramAveragePrecision",
    "HistogramState",
    "HostAveragePrecision",
    "HostState",
    "MeanAveragePrecisionAtK",
    "MeanAveragePrecisionAtKResult",
    "MeanAveragePrecisionAtKState",
    "PanopticQuality",
    "PanopticQualityResult",
    "PanopticQualityState",
    "PixelAveragePrecision",
    "PixelAveragePrecisionResult",
    "PixelAveragePrecisionState",
    "SegmentMaps",
    "SegmentationResult",
    "SegmentationState",
    "SemanticSegmentation",
    "average_precision",
    "average_precision_at_k",
    "category_instance_to_segments",
    "image_id_words",
    "mean_average_precision_at_k",
    "pixel_average_precision",
    "rank_classes",
    "semantic_segmentation",
]


def __dir__() -> list[str]:
    return list(__all__)
