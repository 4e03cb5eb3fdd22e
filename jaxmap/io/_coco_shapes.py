"""The shapes in COCO's files: boxes, segmentations and keypoints, and the areas that go with them.

References: pycocotools coco.py, `COCO.annToRLE`, `COCO.loadRes`; cocoeval.py, `COCOeval._prepare`.
"""

from __future__ import annotations

import contextlib
import reprlib
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._geometry._keypoints import keypoints_extent, num_labelled
from .._geometry._rle import box_polygon, mask_boxes, masks_of_segmentations, warn_of_no_pixels
from ..types import Masks
from ._json import Entries
from ._typed import Columns, Layout

__all__ = ["ShapeLayouts", "detection_shapes", "ground_truth_shapes", "image_columns", "shape_layouts"]

LARGEST = 1e150  # of coordinates: the area of such a box is still a double
AREA_OF_BOX = 0.53  # crowdposetools cocoeval.py: the share of its box that a person fills, where no area is given


class ShapeLayouts(NamedTuple):
    """What is read of images, annotations and results beside the fields that all kinds have."""

    images: Layout
    annotations: Layout
    results: Layout


_BOX: Layout = {"bbox": Entries.boxes}
_MASKS = ShapeLayouts(
    {"height": Entries.integers, "width": Entries.integers},
    {"segmentation": Entries.objects, "bbox": Entries.names},
    {"segmentation": Entries.names, "bbox": Entries.names},
)
_LAYOUTS = {
    "bbox": ShapeLayouts({}, _BOX, _BOX),
    "segm": _MASKS,
    "boundary": _MASKS,
    "keypoints": ShapeLayouts(
        {"crowdIndex": Entries.names},
        _BOX | {"keypoints": Entries.keypoints, "num_keypoints": Entries.names, "area": Entries.numbers_or_nan},
        {"keypoints": Entries.keypoints, "bbox": Entries.names},
    ),
}


def shape_layouts(iou_type: str) -> ShapeLayouts:
    """Returns what a kind of shape needs of the files.

    Raises:
      ValueError: if COCO's files know no such shapes.
    """
    if iou_type not in _LAYOUTS:
        raise ValueError(f"`iou_type` must be one of {list(_LAYOUTS)} for COCO's files, got {iou_type!r}.")
    return _LAYOUTS[iou_type]


def image_columns(images: Columns, order: np.ndarray, source: str) -> dict[str, Any]:
    """Returns what a table holds of images, in their order there, as far as it was read."""
    columns = {}
    if "height" in images:
        columns["image_sizes"] = np.stack([images["height"], images["width"]], axis=1)[order]
    if any(value is not None for value in images.get("crowdIndex", [])):
        columns["crowd_index"] = _entries(images, "crowdIndex", "images", source).numbers("crowdIndex")[order]
    return columns


def ground_truth_shapes(
    rows: Columns,
    iou_type: str,
    image_index: np.ndarray,
    image_sizes: np.ndarray | None,
    source: str,
    *,
    area_expected: bool = True,
) -> dict[str, Any]:
    """Returns the columns of shapes of all annotations, their areas, and which are ignored.

    An area that is missing (NaN) is that of the shape, with a warning unless none is expected, as in CrowdPose's files.
    """
    ignore = rows.get("ignore", np.zeros(len(image_index), bool))
    if iou_type == "bbox":
        boxes = _bounded(rows["bbox"], "bbox", "annotations", source)
        area = _areas(rows["area"], lambda: _products(boxes), "width x height of its box", source)
        return {"boxes": boxes, "area": area, "ignore": ignore}
    if iou_type == "keypoints":
        boxes = _bounded(rows["bbox"], "bbox", "annotations", source)
        keypoints = _bounded(rows["keypoints"], "keypoints", "annotations", source)
        labelled = num_labelled(keypoints)
        counts = [labelled[row] if count is None else count for row, count in enumerate(rows["num_keypoints"])]
        given = _entries({"num_keypoints": counts}, "num_keypoints", "annotations", source).integers("num_keypoints")
        told = f"{AREA_OF_BOX} x width x height of its box" if area_expected else None
        area = _areas(rows["area"], lambda: _products(boxes) * AREA_OF_BOX, told, source)
        return {"boxes": boxes, "keypoints": keypoints, "area": area, "ignore": given == 0}
    where = f"{source}: `annotations`"
    masks = _masks(rows["segmentation"], image_index, image_sizes, where)
    box_area = _box_areas(rows["bbox"], masks.area == 0)
    stated = np.nan_to_num(rows["area"])  # a missing area is NaN
    warn_of_no_pixels(masks, rows["segmentation"], stated, box_area, rows["id"], where)
    if image_sizes is not None:  # the results of these images are of the masks' size too, and no news
        image_sizes[image_index] = masks.sizes
    area = _areas(rows["area"], lambda: masks.area, "that of its mask", source)
    return {"boxes": mask_boxes(masks), "masks": masks, "area": area, "ignore": ignore}


def detection_shapes(
    rows: Columns, iou_type: str, image_index: np.ndarray, image_sizes: np.ndarray | None, source: str
) -> dict[str, Any]:
    """Returns the columns of shapes of all results, and their areas."""
    if iou_type == "bbox":
        return {"boxes": _bounded(rows["bbox"], "bbox", "results", source)}
    given = None
    first = next(iter(rows["bbox"]), None)
    if first is not None and np.size(first):  # the first alone decides, as in pycocotools
        given = _bounded(_entries(rows, "bbox", "results", source).boxes("bbox"), "bbox", "results", source)
    if iou_type == "keypoints":
        keypoints = _bounded(rows["keypoints"], "keypoints", "results", source)
        boxes = keypoints_extent(keypoints)
        columns = {"keypoints": keypoints, "boxes": boxes, "area": _products(boxes)}
    else:
        segmentations = rows["segmentation"]
        if given is not None and any(one is None for one in segmentations):  # a box alone stands for all inside it
            pairs = zip(segmentations, given.tolist(), strict=True)
            segmentations = [box_polygon(box) if one is None else one for one, box in pairs]
        masks = _masks(segmentations, image_index, image_sizes, f"{source}: `results`")
        box_area = None if given is None else given[:, 2] * given[:, 3]
        warn_of_no_pixels(masks, segmentations, None, box_area, range(len(masks)), f"{source}: `results`")
        columns = {"masks": masks, "boxes": mask_boxes(masks), "area": masks.area}
    if given is not None:
        columns["area"] = _products(given)
    return columns


def _entries(rows: Columns, field: str, name: str, source: str) -> Entries:
    """Returns one column as it came, to be read once more: as what it must be where it is there at all."""
    return Entries(items=[{field: value} for value in rows[field]], name=name, source=source)


def _areas(given: np.ndarray, of_shape: Callable[[], np.ndarray], what: str | None, source: str) -> np.ndarray:
    """Returns areas, where they are NaN those of the shapes; the warning says `what` these are."""
    missing = np.isnan(given)
    if not missing.any():
        return given
    if what is not None:
        warnings.warn(
            f"{source}: {int(missing.sum())} of {len(given)} `annotations` have no `area`; {what} is taken for it, "
            "where pycocotools stops.",
            UserWarning,
            stacklevel=5,
        )
    return np.where(missing, of_shape(), given)


def _products(boxes: np.ndarray) -> np.ndarray:
    return boxes[:, 2] * boxes[:, 3]


def _bounded(values: np.ndarray, field: str, name: str, source: str) -> np.ndarray:
    """Returns `[N, ...]` numbers as they are; refuses those whose products overflow."""
    if values.size and max(values.max(), -values.min()) > LARGEST:
        row = int(np.argmax((np.abs(values) > LARGEST).reshape(len(values), -1).any(axis=1)))
        raise ValueError(
            f"{source}: `{name}[{row}].{field}` must hold numbers up to {LARGEST:g}, whose areas are finite, got "
            f"{reprlib.repr(values[row].ravel().tolist())}; correct or drop the entry."
        )
    return values


def _masks(segmentations: list[Any], image_index: np.ndarray, image_sizes: np.ndarray | None, where: str) -> Masks:
    if image_sizes is None:
        raise ValueError(f"{where} need the sizes of images: read the ground truths with the same `iou_type`.")
    sizes = image_sizes[image_index]
    masks = masks_of_segmentations(segmentations, sizes, lambda row: f"{where}[{row}].segmentation")
    other = np.flatnonzero((masks.sizes != sizes).any(axis=1))
    if len(other):
        row = other[0]
        warnings.warn(
            f"{where}: {len(other)} of {len(masks)} masks are of another size than their image, for example "
            f"{masks.sizes[row].tolist()} at [{row}] where the image has [height, width] = {sizes[row].tolist()}; "
            "masks of one image are compared if their own sizes agree.",
            UserWarning,
            stacklevel=5,
        )
    return masks


def _box_areas(boxes: list[Any], wanted: np.ndarray) -> np.ndarray:
    """Returns `[N]`: width times height of the wanted ones among boxes that may be anything, 0 for others."""
    areas = np.zeros(len(wanted))
    for row in np.flatnonzero(wanted).tolist():
        with contextlib.suppress(TypeError, ValueError, IndexError):
            areas[row] = float(boxes[row][2]) * float(boxes[row][3])
    return areas
