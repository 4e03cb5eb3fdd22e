"""Similarity of detections and ground truths on the device: exact values, then levels and preference."""

from ._boxes import box_iou
from ._candidates import find_candidates, inside_ranges, similarity_places
from ._double_float import DoubleFloat
from ._image import BoxSimilarity, DenseSimilarity, image_similarity
from ._oriented import oriented_box_iou

__all__ = [
    "BoxSimilarity",
    "DenseSimilarity",
    "DoubleFloat",
    "box_iou",
    "find_candidates",
    "image_similarity",
    "inside_ranges",
    "oriented_box_iou",
    "similarity_places",
]
