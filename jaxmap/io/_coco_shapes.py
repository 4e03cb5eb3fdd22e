"""The shapes in COCO's files: boxes, segmentations and keypoints, and the areas that go with them.

References: pycocotools coco.py, `COCO.annToRLE`, `COCO.loadRes`; cocoeval.py, `COCOeval._prepare`.
"""

from __future__ import annotations

import contextlib
import warnings
from typing import Any, NamedTuple

import numpy as np

from ..keypoints import keypoints_extent, num_labelled
from ..rle import box_polygon, mask_boxes, masks_of_segmentations, warn_of_no_pixels
from ..types import Masks
from ._json import Entries
from ._typed import Columns, Layout

__all__ = ["ShapeLayouts", "detection_shapes", "ground_truth_shapes", "image_columns", "shape_layouts"]

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
        _BOX | {"keypoints": Entries.vectors, "num_keypoints": Entries.names, "area": Entries.names},
        {"keypoints": Entries.vectors, "bbox": Entries.names},
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
    rows: Columns, iou_type: str, image_index: np.ndarray, image_sizes: np.ndarray | None, source: str
) -> dict[str, Any]:
    """Returns the columns of shapes of all annotations, their areas, and which are ignored."""
    others = {"area": rows["area"], "ignore": rows.get("ignore", np.zeros(len(image_index), bool))}
    if iou_type == "bbox":
        return {"boxes": rows["bbox"]} | others
    if iou_type == "keypoints":
        keypoints = _keypoints(rows["keypoints"], f"{source}: `annotations`")
        labelled = num_labelled(keypoints)
        counts = [labelled[row] if count is None else count for row, count in enumerate(rows["num_keypoints"])]
        given = _entries({"num_keypoints": counts}, "num_keypoints", "annotations", source).integers("num_keypoints")
        area = rows["bbox"][:, 2] * rows["bbox"][:, 3] * AREA_OF_BOX
        if any(value is not None for value in rows["area"]):
            area = _entries(rows, "area", "annotations", source).numbers("area")
        return {"boxes": rows["bbox"], "keypoints": keypoints, "area": area, "ignore": given == 0}
    where = f"{source}: `annotations`"
    masks = _masks(rows["segmentation"], image_index, image_sizes, where)
    box_area = _box_areas(rows["bbox"], masks.area == 0)
    warn_of_no_pixels(masks, rows["segmentation"], rows["area"], box_area, rows["id"], where)
    if image_sizes is not None:  # the results of these images are of the masks' size too, and no news
        image_sizes[image_index] = masks.sizes
    return {"boxes": mask_boxes(masks), "masks": masks} | others


def detection_shapes(
    rows: Columns, iou_type: str, image_index: np.ndarray, image_sizes: np.ndarray | None, source: str
) -> dict[str, Any]:
    """Returns the columns of shapes of all results, and their areas."""
    if iou_type == "bbox":
        return {"boxes": rows["bbox"]}
    given = None
    first = next(iter(rows["bbox"]), None)
    if first is not None and np.size(first):  # the first alone decides, as in pycocotools
        given = _entries(rows, "bbox", "results", source).boxes("bbox")
    if iou_type == "keypoints":
        keypoints = _keypoints(rows["keypoints"], f"{source}: `results`")
        boxes = keypoints_extent(keypoints)
        columns = {"keypoints": keypoints, "boxes": boxes, "area": boxes[:, 2] * boxes[:, 3]}
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
        columns["area"] = given[:, 2] * given[:, 3]
    return columns


def _entries(rows: Columns, field: str, name: str, source: str) -> Entries:
    """Returns one column as it came, to be read once more: as what it must be where it is there at all."""
    return Entries(items=[{field: value} for value in rows[field]], name=name, source=source)


def _keypoints(vectors: np.ndarray, where: str) -> np.ndarray:
    """Returns `[N, P, 3]`."""
    if not len(vectors):
        return np.zeros((0, 1, 3))
    if vectors.shape[1] % 3 or not vectors.size:
        raise ValueError(f"{where} must hold three numbers for each of their keypoints, got {vectors.shape[1]}.")
    return vectors.reshape(len(vectors), -1, 3)


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
