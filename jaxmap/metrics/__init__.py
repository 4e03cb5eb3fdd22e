"""Metrics with explicit state: `init`, `update`, `merge`, `compute` inside `jit`, `summarize` on the host."""

from ..integers import image_id_words
from ._average_precision import AveragePrecision, average_precision
from ._confusion import ConfusionMatrix, ConfusionMatrixResult, ConfusionMatrixState
from ._exact_pixels import pixel_average_precision
from ._histogram import HistogramAveragePrecision, HistogramState
from ._host import HostAveragePrecision, HostState
from ._panoptic import PanopticQuality, PanopticQualityResult, PanopticQualityState
from ._pixel_average_precision import (
    PixelAveragePrecision,
    PixelAveragePrecisionResult,
    PixelAveragePrecisionState,
)
from ._ranking import average_precision_at_k, rank_classes
from ._ranking_metric import (
    MeanAveragePrecisionAtK,
    MeanAveragePrecisionAtKResult,
    MeanAveragePrecisionAtKState,
    mean_average_precision_at_k,
)
from ._result import AveragePrecisionResult
from ._segment_maps import SegmentMaps, category_instance_to_segments
from ._segmentation import SegmentationResult, SegmentationState, SemanticSegmentation, semantic_segmentation
from ._state import AveragePrecisionState

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
