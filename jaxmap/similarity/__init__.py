"""Similarity of detections and ground truths on the device: exact values, then levels and preference."""

from ._boxes import BoxGeometry, approximate_iou, box_geometry, box_iou, exact_iou
from ._candidates import area_geometry, find_candidates, inside_ranges, similarity_places
from ._double_float import DoubleFloat

__all__ = [
    "BoxGeometry",
    "DoubleFloat",
    "approximate_iou",
    "area_geometry",
    "box_geometry",
    "box_iou",
    "exact_iou",
    "find_candidates",
    "inside_ranges",
    "similarity_places",
]
