"""Run-length encoded masks on the host, in NumPy, with the same pixels and the same text as pycocotools.

In: COCO's `segmentation`s, checked, or dense masks. Out: a column `Masks`, and from it areas, boxes, IoUs, boundaries,
and COCO's objects again. Deliberate difference from pycocotools: empty runs of set pixels are dropped, so that they do
not widen boxes.

>>> import numpy as np
>>> masks = encode_masks(np.array([[[0, 1, 1], [0, 1, 1]]], bool))
>>> masks.area, mask_boxes(masks)
(array([4.]), array([[1., 0., 2., 2.]]))
>>> coco_masks(masks)
[{'size': [2, 3], 'counts': b'24'}]
"""

from ._boundaries import boundary_distance, boundary_masks, distance_of_square
from ._counts import masks_of_runs, runs_of_masks
from ._encodings import Encodings, encodings_of, join_encodings
from ._masks import dense_mask, encode_masks, join_masks, mask_boxes, mask_iou, mask_iou_bound, united
from ._no_pixels import warn_of_no_pixels
from ._segmentations import (
    box_polygon,
    checked_sizes,
    coco_masks,
    decode_mask,
    mask_of_segmentation,
    masks_of_segmentations,
)

__all__ = [
    "Encodings",
    "boundary_distance",
    "boundary_masks",
    "box_polygon",
    "checked_sizes",
    "coco_masks",
    "decode_mask",
    "dense_mask",
    "distance_of_square",
    "encode_masks",
    "encodings_of",
    "join_encodings",
    "join_masks",
    "mask_boxes",
    "mask_iou",
    "mask_iou_bound",
    "mask_of_segmentation",
    "masks_of_runs",
    "masks_of_segmentations",
    "runs_of_masks",
    "united",
    "warn_of_no_pixels",
]
