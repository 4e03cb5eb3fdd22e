"""The geometries in COCO's files: boxes, segmentations and keypoints, with their areas; one layout for each.

References: pycocotools coco.py, `COCO.annToRLE`, `COCO.loadRes`; cocoeval.py, `COCOeval._prepare`.
"""

from __future__ import annotations

import contextlib
import itertools
import reprlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._geometry import GEOMETRIES, geometry_of
from .._geometry._keypoints import keypoints_extent, num_labelled
from .._geometry._rle import box_polygon, mask_boxes, masks_of_segmentations, warn_of_no_pixels
from ..types import Bools, Floats, HostArray, Ints, Masks
from ._json import Entries
from ._json_fast import Columns, Layout

__all__ = ["CocoShapes", "coco_shapes", "image_columns", "names_of"]

LARGEST = 1e150  # of coordinates; the area of such a box still fits a double
FEW = 0.01  # share of boxes; real files have some of size 0
AREA_OF_BOX = 0.53  # crowdposetools cocoeval.py: the share of the box that a person fills, if no area is given


class CocoShapes(NamedTuple):
    """A layout of COCO's files: the fields that it has in addition to the common ones, and their conversion.

    Attributes:
      images: fields of images.
      annotations: fields of annotations.
      results: fields of results.
      of_annotations: converts their columns, the image of each row `[N]`, the sizes of images `[I, 2]` or None, the
        name of the source, and whether areas are expected, to the columns of the geometry, its areas, and which rows
        are ignored. A missing area (NaN) is that of the geometry, with a warning unless none is expected.
      of_results: likewise, without the last, to the columns of the geometry and its areas.
      unmatchable: from the columns of `of_annotations` and flags `[N]` of counted rows, returns the annotations that
        nothing can match, or that are ignored although they have content, and a text that says so.
    """

    images: Layout
    annotations: Layout
    results: Layout
    of_annotations: Callable[[Columns, Ints, Ints | None, str, bool], dict[str, Any]]
    of_results: Callable[[Columns, Ints, Ints | None, str], dict[str, Any]]
    unmatchable: Callable[[Mapping[str, HostArray], Bools], list[tuple[Bools, str]]] = lambda *_: []


def coco_shapes(iou_type: str) -> CocoShapes:
    """Returns the layout of an `iou_type`.

    Raises:
      ValueError: if COCO's files have no such geometry.
    """
    layout = _LAYOUTS.get(geometry_of(iou_type).shape.column) if iou_type in GEOMETRIES else None
    if layout is None:
        raise ValueError(f"`iou_type` must be one of {names_of(*_LAYOUTS)} for COCO's files, got {iou_type!r}.")
    return layout


def names_of(*columns: str) -> list[str]:
    """Returns every `iou_type` whose geometry is in one of the columns of a table."""
    return [name for name in GEOMETRIES if geometry_of(name).shape.column in columns]


def image_columns(images: Columns, order: Ints, source: str) -> dict[str, Any]:
    """Returns the columns of images, in the order of the table, as far as they were read."""
    columns = {}
    if "height" in images:
        sides = images["height"], images["width"]
        required = isinstance(sides[0], np.ndarray)  # by masks, and checked
        if required or all(type(side) is int and 0 < side < 2**31 for side in itertools.chain(*sides)):
            columns["image_sizes"] = np.stack(sides, axis=1)[order]
    if any(value is not None for value in images.get("crowdIndex", [])):
        columns["crowd_index"] = _entries(images, "crowdIndex", "images", source).numbers("crowdIndex")[order]
    return columns


def _boxes_of_annotations(
    rows: Columns, image_index: Ints, _: Ints | None, source: str, area_expected: bool
) -> dict[str, Any]:
    boxes = _bounded(rows["bbox"], "bbox", "annotations", source)
    area = _areas(rows["area"], lambda: _products(boxes), "width x height of its box", source)
    return {"boxes": boxes, "area": area, "ignore": _ignore(rows, image_index)}


def _boxes_of_results(rows: Columns, _: Ints, __: Ints | None, source: str) -> dict[str, Any]:
    return {"boxes": _bounded(rows["bbox"], "bbox", "results", source)}


def _unmatchable_boxes(shapes: Mapping[str, HostArray], _: Bools) -> list[tuple[Bools, str]]:
    sizes = shapes["boxes"][:, 2:]
    empty = np.any(sizes <= 0, axis=1)
    if not (sizes < 0).any() and empty.sum() <= FEW * len(sizes):
        return []
    return [(empty, "a `bbox` without area, which nothing can match; it must be [x, y, width, height]")]


def _masks_of_annotations(
    rows: Columns, image_index: Ints, image_sizes: Ints | None, source: str, area_expected: bool
) -> dict[str, Any]:
    where = f"{source}: `annotations`"
    masks = _masks(rows["segmentation"], image_index, image_sizes, where)
    box_area = _box_areas(rows["bbox"], masks.area == 0)
    stated = np.nan_to_num(rows["area"])  # a missing area is NaN
    warn_of_no_pixels(masks, rows["segmentation"], stated, box_area, rows["id"], where)
    if image_sizes is not None:  # results of these images have the size of the masks too; do not warn again
        image_sizes[image_index] = masks.sizes
    area = _areas(rows["area"], lambda: masks.area, "that of its mask", source)
    return {"boxes": mask_boxes(masks), "masks": masks, "area": area, "ignore": _ignore(rows, image_index)}


def _masks_of_results(rows: Columns, image_index: Ints, image_sizes: Ints | None, source: str) -> dict[str, Any]:
    given, segmentations = _given_boxes(rows, source), rows["segmentation"]
    if given is not None and isinstance(segmentations, list):  # a box stands for all pixels inside it
        pairs = zip(segmentations, given.tolist(), strict=True)
        segmentations = [box_polygon(box) if one is None else one for one, box in pairs]
    masks = _masks(segmentations, image_index, image_sizes, f"{source}: `results`")
    box_area = None if given is None else _products(given)
    warn_of_no_pixels(masks, segmentations, None, box_area, range(len(masks)), f"{source}: `results`")
    return {"masks": masks, "boxes": mask_boxes(masks), "area": masks.area if box_area is None else box_area}


def _keypoints_of_annotations(
    rows: Columns, image_index: Ints, _: Ints | None, source: str, area_expected: bool
) -> dict[str, Any]:
    boxes = _bounded(rows["bbox"], "bbox", "annotations", source)
    keypoints = _bounded(rows["keypoints"], "keypoints", "annotations", source)
    labelled = num_labelled(keypoints)
    counts = [labelled[row] if count is None else count for row, count in enumerate(rows["num_keypoints"])]
    given = _entries({"num_keypoints": counts}, "num_keypoints", "annotations", source).integers("num_keypoints")
    told = f"{AREA_OF_BOX} x width x height of its box" if area_expected else None
    area = _areas(rows["area"], lambda: _products(boxes) * AREA_OF_BOX, told, source)
    return {"boxes": boxes, "keypoints": keypoints, "area": area, "ignore": given == 0}


def _keypoints_of_results(rows: Columns, _: Ints, __: Ints | None, source: str) -> dict[str, Any]:
    given = _given_boxes(rows, source)
    keypoints = _bounded(rows["keypoints"], "keypoints", "results", source)
    boxes = keypoints_extent(keypoints)
    return {"keypoints": keypoints, "boxes": boxes, "area": _products(boxes if given is None else given)}


def _unmatchable_keypoints(shapes: Mapping[str, HostArray], counted: Bools) -> list[tuple[Bools, str]]:
    unread = shapes["ignore"] & (num_labelled(shapes["keypoints"]) > 0)
    return [
        (unread, "labelled keypoints, but a `num_keypoints` of 0, and so are ignored"),
    ]


_BOX: Layout = {"bbox": Entries.boxes}
_LAYOUTS = {  # by the column of a table with the geometry
    "boxes": CocoShapes({}, _BOX, _BOX, _boxes_of_annotations, _boxes_of_results, _unmatchable_boxes),
    "masks": CocoShapes(
        {"height": Entries.integers, "width": Entries.integers},
        {"segmentation": Entries.segmentations, "bbox": Entries.names},
        {"segmentation": Entries.segmentations_or_none, "bbox": Entries.names},
        _masks_of_annotations,
        _masks_of_results,
    ),
    "keypoints": CocoShapes(
        {"crowdIndex": Entries.names},
        _BOX | {"keypoints": Entries.keypoints, "num_keypoints": Entries.names, "area": Entries.numbers_or_nan},
        {"keypoints": Entries.keypoints, "bbox": Entries.names},
        _keypoints_of_annotations,
        _keypoints_of_results,
        _unmatchable_keypoints,
    ),
}


def _ignore(rows: Columns, image_index: Ints) -> Bools:
    """Returns `[N]` bool from a column `ignore`, which LVIS's files have."""
    ignore: Bools = rows.get("ignore", np.zeros(len(image_index), bool))
    return ignore


def _given_boxes(rows: Columns, source: str) -> Floats | None:
    """Returns the boxes of results with another geometry, or None; only the first result decides, as in pycocotools."""
    first = next(iter(rows["bbox"]), None)
    if first is None or not np.size(first):
        return None
    return _bounded(_entries(rows, "bbox", "results", source).boxes("bbox"), "bbox", "results", source)


def _entries(rows: Columns, field: str, name: str, source: str) -> Entries:
    """Returns one unchecked column as entries, to read it again with the type that it must have where it is present."""
    return Entries(items=[{field: value} for value in rows[field]], name=name, source=source)


def _areas(given: Floats, of_shape: Callable[[], Floats], what: str | None, source: str) -> Floats:
    """Returns areas, with NaN replaced by those of the geometry; the warning says `what` these are."""
    missing = np.isnan(given)
    if not missing.any():
        return given
    if what is not None:
        warnings.warn(
            f"{source}: {int(missing.sum())} of {len(given)} `annotations` have no `area`; {what} is used in its "
            f"place (pycocotools raises an error).",
            UserWarning,
            stacklevel=5,
        )
    return np.where(missing, of_shape(), given)


def _products(boxes: Floats) -> Floats:
    return boxes[:, 2] * boxes[:, 3]


def _bounded(values: Floats, field: str, name: str, source: str) -> Floats:
    """Returns `[N, ...]` numbers unchanged; refuses those whose products overflow."""
    if values.size and max(values.max(), -values.min()) > LARGEST:
        row = int(np.argmax((np.abs(values) > LARGEST).reshape(len(values), -1).any(axis=1)))
        raise ValueError(
            f"{source}: `{name}[{row}].{field}` must hold numbers up to {LARGEST:g}, whose areas are finite, got "
            f"{reprlib.repr(values[row].ravel().tolist())}; correct or drop the entry."
        )
    return values


def _masks(segmentations: Sequence[Any], image_index: Ints, image_sizes: Ints | None, where: str) -> Masks:
    if image_sizes is None:
        raise ValueError(f"{where} need the sizes of images: read the ground truths with the same `iou_type`.")
    sizes = image_sizes[image_index]
    masks = masks_of_segmentations(segmentations, sizes, lambda row: f"{where}[{row}].segmentation")
    other = np.flatnonzero((masks.sizes != sizes).any(axis=1))
    if len(other):
        row = other[0]
        warnings.warn(
            f"{where}: {len(other)} of {len(masks)} masks differ in size from their image, for example "
            f"{masks.sizes[row].tolist()} at [{row}] where the image has [height, width] = {sizes[row].tolist()}; "
            f"masks of one image are compared if their sizes agree.",
            UserWarning,
            stacklevel=5,
        )
    return masks


def _box_areas(boxes: list[Any], wanted: Bools) -> Floats:
    """Returns `[N]`, width times height of the selected boxes, and 0 for others, which may be invalid."""
    areas = np.zeros(len(wanted))
    for row in np.flatnonzero(wanted).tolist():
        with contextlib.suppress(TypeError, ValueError, IndexError):
            areas[row] = float(boxes[row][2]) * float(boxes[row][3])
    return areas
