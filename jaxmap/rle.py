"""Run-length encoded masks on the host: the one place that talks to pycocotools' codec, the `coco` extra.

A mask is COCO's object `{"size": [height, width], "counts": ...}` with compressed counts; a column of masks is an
object array of them.

>>> import numpy as np
>>> masks = encode_masks(np.array([[[0, 1, 1], [0, 1, 1]]], bool))
>>> mask_areas(masks), mask_boxes(masks)
(array([4.]), array([[1., 0., 2., 2.]]))
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = [
    "boundary_masks",
    "box_polygon",
    "decode_mask",
    "encode_masks",
    "mask_areas",
    "mask_boxes",
    "mask_column",
    "mask_iou",
    "mask_of_segmentation",
]

AREAS_AT_ONCE = 255  # pycocotools 2.0.11 puts the number of masks into a byte, which NumPy 2 refuses if it does not fit


def mask_column(masks: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Returns masks as a column, an object array `[N]`."""
    column = np.empty(len(masks), object)
    column[:] = masks
    return column


def encode_masks(masks: np.ndarray) -> np.ndarray:
    """Encodes dense masks, `[N, H, W]` bool or 0 and 1, as a column `[N]`."""
    planes = np.asfortranarray(masks.astype(np.uint8, copy=False).transpose(1, 2, 0))
    return mask_column(_codec().encode(planes))


def decode_mask(mask: Mapping[str, Any]) -> np.ndarray:
    """Returns one mask as `[H, W]` uint8, 0 and 1."""
    with warnings.catch_warnings():  # of NumPy 2, about how pycocotools 2.0.11 hands over its memory
        warnings.simplefilter("ignore", DeprecationWarning)
        dense: np.ndarray = _codec().decode(dict(mask))
    return dense


def mask_of_segmentation(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """Returns the mask of a COCO `segmentation`: polygons, or a run-length encoding, compressed or not.

    Args:
      segmentation: a list of polygons, each `[x1, y1, x2, y2, ...]`; or `{"size": [h, w], "counts": ...}`.
      height, width: of the image.

    Raises:
      ValueError: if it is neither, or of another size than the image.
    """
    if isinstance(segmentation, list):
        if not segmentation:
            return dict(_codec().frPyObjects({"size": [height, width], "counts": [height * width]}, height, width))
        if any(not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2 for polygon in segmentation):
            raise ValueError("polygons must be lists [x1, y1, x2, y2, ...] of at least three corners")
        return dict(_codec().merge(_codec().frPyObjects(segmentation, height, width)))
    if not isinstance(segmentation, Mapping) or not {"size", "counts"} <= segmentation.keys():
        raise ValueError("it must be a list of polygons, or an object with `size` and `counts`")
    if list(segmentation["size"]) != [height, width]:
        raise ValueError(f"its size {segmentation['size']} is not that of the image, [{height}, {width}]")
    if isinstance(segmentation["counts"], list):
        if sum(segmentation["counts"]) != height * width:
            raise ValueError(f"its counts must add up to {height} x {width}, got {sum(segmentation['counts'])}")
        return dict(_codec().frPyObjects(dict(segmentation), height, width))
    return dict(segmentation)


def box_polygon(box: Sequence[float]) -> list[list[float]]:
    """Returns an xywh box as the `segmentation` that stands for all inside it."""
    x, y, width, height = box
    return [[x, y, x, y + height, x + width, y + height, x + width, y]]


def mask_areas(masks: np.ndarray) -> np.ndarray:
    """Returns how many pixels each mask of a column has, `[N]` float64."""
    parts = [masks[first : first + AREAS_AT_ONCE] for first in range(0, len(masks), AREAS_AT_ONCE)]
    return np.concatenate([np.zeros(0), *(_codec().area(list(part)) for part in parts)])


def mask_boxes(masks: np.ndarray) -> np.ndarray:
    """Returns what encloses each mask of a column, `[N, 4]` float64 xywh; zeros for an empty mask."""
    return np.asarray(_codec().toBbox(list(masks)), np.float64) if len(masks) else np.zeros((0, 4))


def mask_iou(
    masks: np.ndarray, other_masks: np.ndarray, crowd: np.ndarray, classes: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """IoU of the pairs of one class of two columns of one image; with a crowd the share of the detection inside.

    It is computed to the end only where the enclosing boxes overlap.

    Args:
      masks: `[D]`, detections.
      other_masks: `[G]`, ground truths.
      crowd: `[G]` bool.
      classes: of both, `[D]` and `[G]` int from 0.

    Returns:
      `[D, G]` float64; -1 for pairs of two classes.

    References: pycocotools maskApi.c, rleIou.
    """
    # The codec compares no pixel of masks whose sizes differ, and columns beyond the last run change nothing: with a
    # width of its own, each class is compared with itself alone, in one call.
    sides = [
        [
            {"size": [one["size"][0], one["size"][1] + label], "counts": one["counts"]}
            for one, label in zip(*side, strict=True)
        ]
        for side in ((masks, classes[0].tolist()), (other_masks, classes[1].tolist()))
    ]
    iou = _codec().iou(*sides, crowd.astype(np.uint8).tolist())
    return np.asarray(iou, np.float64).reshape(len(masks), len(other_masks))


def boundary_masks(masks: np.ndarray, ratio: float) -> np.ndarray:
    """Returns the part of each mask that lies within a distance of its contour, or of the image's edge, as a column.

    Args:
      masks: a column.
      ratio: the distance, as a share of the image's diagonal; at least one pixel.

    References: Cheng et al., Boundary IoU, 2021: the mask without its erosion by a square, repeated once a pixel.
    """
    return mask_column([_boundary(mask, ratio) for mask in masks])


def _boundary(mask: dict[str, Any], ratio: float) -> dict[str, Any]:
    height, width = mask["size"]
    distance = max(round(ratio * float(np.sqrt(height**2 + width**2))), 1)
    dense = decode_mask(mask)
    rows, columns = np.flatnonzero(dense.any(axis=1)), np.flatnonzero(dense.any(axis=0))
    if not len(rows):
        return mask
    inside = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    dense[inside] &= 1 - _eroded(dense[inside], distance)  # outside there is nothing that could change it
    return dict(_codec().encode(np.asfortranarray(dense)))


def _eroded(mask: np.ndarray, distance: int) -> np.ndarray:
    """Returns `[H, W]` uint8: where the whole square of so many pixels to each side is set; outside nothing is."""
    window = 2 * distance + 1
    for axis in (0, 1):
        padding = [(distance + 1, distance) if one == axis else (0, 0) for one in (0, 1)]
        running = np.cumsum(np.pad(mask, padding), axis=axis, dtype=np.int32)
        length = mask.shape[axis]
        full = np.take(running, np.arange(window, window + length), axis=axis)
        full -= np.take(running, np.arange(length), axis=axis)
        mask = (full == window).astype(np.uint8)
    return mask


def _codec() -> Any:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ImportError('masks need pycocotools: pip install "jaxmap[coco]"') from error
    return mask
