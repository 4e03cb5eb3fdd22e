"""Similarity of detections and ground truths on the device: exact fractions, then levels and preference."""

from ._boxes import BOX_FORMATS, BoxGeometry, approximate_iou, box_geometry, box_iou, box_ratio
from ._candidates import Ratio, area_geometry, find_candidates, inside_ranges

__all__ = [
    "BOX_FORMATS",
    "BoxGeometry",
    "Ratio",
    "approximate_iou",
    "area_geometry",
    "box_geometry",
    "box_iou",
    "box_ratio",
    "find_candidates",
    "inside_ranges",
]
