"""`pycocotools.mask`: run-length encoded masks, `{"size": [height, width], "counts": bytes}`, in NumPy.

The numbers, pixels and texts are those of pycocotools. There is no C code, and every size, run and coordinate is
checked, so encodings may come from anywhere. Deliberate differences: damaged encodings, masks of different sizes in
`decode` or `merge`, and pixels of several values in `encode` are errors, where pycocotools reads memory that it does
not own, or returns a mask without size; runs without set pixels are dropped; dense masks may have any order in memory
and be boolean; tuples count as lists.

>>> import numpy as np
>>> one = encode(np.array([[0, 1, 1], [0, 1, 1]], np.uint8))
>>> one, area(one), toBbox(one)
({'size': [2, 3], 'counts': b'24'}, np.uint32(4), array([1., 0., 2., 2.]))
>>> merge([one, frPyObjects([[0, 0, 2, 1]], 2, 3)[0]], intersect=True)
{'size': [2, 3], 'counts': b'213'}
"""
# ruff: noqa: N802  (the names are pycocotools')

from __future__ import annotations

import numbers
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._geometry._boxes_host import box_iou_pairs
from ..._geometry._rle import (
    box_polygon,
    checked_sizes,
    coco_masks,
    dense_mask,
    encode_masks,
    mask_boxes,
    mask_iou,
    masks_of_segmentations,
    united,
)
from ..._inputs._foreign import to_numpy
from ...types import Floats, Ints, Masks

__all__ = ["area", "decode", "encode", "frPyObjects", "iou", "merge", "toBbox"]

Encoding = dict[str, Any]
OF_DIFFERENT_SIZES = -1.0  # the IoU of such masks whose boxes overlap


def encode(bimask: Any) -> Any:
    """Returns the encoding of a mask `[H, W]`, or a list of those of masks `[H, W, N]`; uint8 or bool.

    Raises:
      ValueError: if it is not such an array, or a mask has several values other than 0.
    """
    dense = to_numpy(bimask)
    if dense.ndim not in (2, 3) or dense.dtype not in (np.uint8, np.bool_):
        raise ValueError(
            f"`bimask` must be [H, W] or [H, W, N], uint8 or bool, got {list(dense.shape)} of {dense.dtype}."
        )
    checked_sizes([dense.shape[:2]], lambda _: "`bimask`", "shape")
    stack = dense if dense.ndim == 3 else dense[..., None]
    if not ((stack == 0) | (stack == stack.max(axis=(0, 1)))).all():
        raise ValueError("`bimask` must have one value where a mask is set and 0 elsewhere; cut probabilities first.")
    encodings = coco_masks(encode_masks(stack.transpose(2, 0, 1)))
    return encodings if dense.ndim == 3 else encodings[0]


def decode(rleObjs: Any) -> NDArray[np.uint8]:
    """Returns the mask of an encoding, `[H, W]` uint8, 0 and 1, or of a list of those of one size, `[H, W, N]`.

    Raises:
      ValueError: if an encoding is damaged, the sizes differ, or the list is empty.
    """
    masks = _read(rleObjs, "rleObjs")
    height, width = _one_size(masks, "rleObjs")[0].tolist()
    if not _is_list(rleObjs):
        return dense_mask(masks, 0)
    dense = np.empty((height, width, len(masks)), np.uint8, order="F")
    for row in range(len(masks)):
        dense[..., row] = dense_mask(masks, row)
    return dense


def area(rleObjs: Any) -> Any:
    """Returns the number of set pixels of an encoding, or of each in a list, `[N]` uint32.

    Raises:
      ValueError: if an encoding is damaged.
    """
    areas = _read(rleObjs, "rleObjs").area.astype(np.uint32)
    return areas if _is_list(rleObjs) else areas[0]


def toBbox(rleObjs: Any) -> Floats:
    """Returns the box around an encoded mask, `[4]` float64 xywh, or around each in a list, `[N, 4]`.

    Raises:
      ValueError: if an encoding is damaged.
    """
    boxes = mask_boxes(_read(rleObjs, "rleObjs"))
    return boxes if _is_list(rleObjs) else boxes[0]


def merge(rleObjs: Sequence[Encoding], intersect: Any = 0) -> Encoding:
    """Returns the union of encoded masks of one size, or their intersection.

    Raises:
      ValueError: if an encoding is damaged, or the sizes differ.
    """
    if not _is_list(rleObjs):
        raise ValueError(f"`rleObjs` must be a list of encodings, got {reprlib.repr(rleObjs)}.")
    if not len(rleObjs):
        return {"size": [0, 0], "counts": b""}
    masks = _read(rleObjs, "rleObjs")
    size = _one_size(masks, "rleObjs")
    least = len(masks) if intersect else 1
    return coco_masks(united(masks, np.zeros(len(masks), np.int64), size, least))[0]


def iou(dt: Any, gt: Any, pyiscrowd: Any) -> Any:
    """Returns the IoU of every detection with every ground truth, `[D, G]` float64; `[]` if either side is empty.

    Args:
      dt, gt: both `[N, 4]` boxes xywh, or both lists of encodings. If two masks differ in size and their boxes overlap,
        the value is -1.
      pyiscrowd: `[G]`, for each ground truth whether to divide by the area of the detection alone.

    Raises:
      AssertionError: if `pyiscrowd` and `gt` differ in length.
      ValueError: if a side is neither, or an encoding is damaged.
    """
    if len(pyiscrowd) != len(gt):
        raise AssertionError("iou(iscrowd=) must have the same length as gt")
    if not len(dt) or not len(gt):
        return []
    found, truth = _boxes_or_masks(dt, "dt"), _boxes_or_masks(gt, "gt")
    rows, others = (side.ravel(order="F") for side in np.indices((len(found), len(truth))))
    crowd = np.asarray(pyiscrowd).astype(bool)[others]
    if isinstance(found, Masks) and isinstance(truth, Masks):
        values = _mask_ious(found, truth, (rows, others), crowd)
    elif isinstance(found, Masks) or isinstance(truth, Masks):
        raise ValueError("`dt` and `gt` must both be boxes, or both be encodings, got one of each.")
    else:
        values = box_iou_pairs(found[rows], truth[others], crowd)
    return values.reshape(len(found), len(truth), order="F")


def frPyObjects(pyobj: Any, h: int, w: int) -> Any:
    """Returns the encodings of boxes, polygons or uncompressed encodings; of a single one, its encoding.

    Args:
      pyobj: `[N, 4]` boxes xywh, or a list of boxes, polygons `[x1, y1, x2, y2, ...]` or objects
        `{"size": [h, w], "counts": [...]}`, which the first one decides; or one of these.
      h, w: the size of the image, for boxes and polygons.

    Raises:
      ValueError: if it is none of these, or a value is invalid.
    """
    if not isinstance(pyobj, list | tuple | np.ndarray | Mapping):
        raise ValueError(f"`pyobj` must be boxes, polygons or uncompressed encodings, got {reprlib.repr(pyobj)}.")
    single = isinstance(pyobj, Mapping) or (len(pyobj) > 0 and isinstance(pyobj[0], numbers.Real))
    objects = [pyobj] if single else list(pyobj)
    if objects and isinstance(objects[0], Mapping):
        masks = _read(objects, "pyobj")
    else:
        drawings: list[Any] = [[polygon] for polygon in objects]
        if objects and len(objects[0]) == 4:
            drawings = [box_polygon(box) for box in _boxes(objects, "pyobj").tolist()]
        sizes = np.tile(checked_sizes([[h, w]], lambda _: "`pyobj`", "size [h, w] of the image"), (len(drawings), 1))
        masks = masks_of_segmentations(drawings, sizes, lambda row: f"`pyobj[{row}]`")
    encodings = coco_masks(masks)
    return encodings[0] if single else encodings


def _is_list(values: Any) -> bool:
    return isinstance(values, list | tuple)


def _read(encodings: Any, name: str) -> Masks:
    """Returns the masks of an encoding or of a list of them."""
    encodings = list(encodings) if _is_list(encodings) else [encodings]
    for row, one in enumerate(encodings):
        if not isinstance(one, Mapping):
            raise ValueError(
                f"`{name}[{row}]` must be an encoding, {{'size': [h, w], 'counts': ...}}, got {reprlib.repr(one)}; "
                "`frPyObjects` makes one of a polygon or a box."
            )
    return masks_of_segmentations(encodings, None, lambda row: f"`{name}[{row}]`")


def _one_size(masks: Masks, name: str) -> Ints:
    """Returns the size of all masks, `[1, 2]`."""
    sizes = np.unique(masks.sizes, axis=0)
    if len(sizes) != 1:
        raise ValueError(f"`{name}` must be encodings of one size, got {sizes.tolist()}.")
    return sizes


def _boxes_or_masks(values: Any, name: str) -> Floats | Masks:
    if _is_list(values) and all(isinstance(one, Mapping) for one in values):
        return _read(values, name)
    return _boxes(values, name)


def _boxes(values: Any, name: str) -> Floats:
    try:
        boxes = np.asarray([to_numpy(one) for one in values], np.float64)
    except (TypeError, ValueError):
        boxes = np.zeros(0)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
        raise ValueError(f"`{name}` must be encodings, or [N, 4] finite boxes xywh, got {reprlib.repr(values)}.")
    return boxes


def _mask_ious(found: Masks, truth: Masks, pairs: tuple[Ints, Ints], crowd: Any) -> Floats:
    """Returns `[P]` float64; only masks whose boxes overlap are compared.

    References: pycocotools maskApi.c, rleIou.
    """
    rows, others = pairs
    values = box_iou_pairs(mask_boxes(found)[rows], mask_boxes(truth)[others], crowd)
    near = np.flatnonzero(values > 0)
    same = (found.sizes[rows[near]] == truth.sizes[others[near]]).all(axis=1)
    values[near[~same]] = OF_DIFFERENT_SIZES
    near = near[same]
    values[near] = mask_iou(found.take(rows[near]), truth.take(others[near]), crowd[near])
    return values
