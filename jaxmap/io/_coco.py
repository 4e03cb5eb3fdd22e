"""COCO's detection files to tables: annotation files and results lists.

In: the JSON that pycocotools reads, as a path (plain or gzip) or already parsed. Out: `GroundTruthTable` and
`DetectionTable`, with rows in the order of the file and boxes in xywh as written.

References: pycocotools coco.py, `COCO.createIndex`, `COCO.loadRes`; cocoeval.py, `COCOeval._prepare`. Deviation: data
that pycocotools accepts and scores wrongly, or fails on far from the cause, is refused or warned about, with name and
index.
"""

from __future__ import annotations

import reprlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._garbage_collection import collector_paused
from ..types import Bools, DetectionTable, GroundTruthTable, HostArray, Ints
from ._coco_shapes import CocoShapes, coco_shapes, image_columns
from ._files import PathLike, read_bytes
from ._identifiers import doubtful, index_of
from ._json import Entries, first_few, parse_json
from ._json_fast import Columns, Layout, typed_lists
from ._result_files import read_result_columns, result_columns

__all__ = [
    "coco_detections",
    "coco_ground_truths",
    "detection_table",
    "ground_truth_columns",
    "ground_truth_layouts",
    "ground_truth_table",
    "read_coco_detections",
    "read_coco_ground_truths",
    "read_ground_truth_columns",
    "result_layout",
]


class RepeatedIdsWarning(UserWarning):
    """Annotations repeat ids, which `check_data` finds, too."""


# The fields to read of each list. `ignore` is not read: pycocotools overwrites it by `iscrowd` (cocoeval.py,
# `_prepare`).
_IMAGES: Layout = {
    "id": Entries.identifiers,
    "file_name": Entries.names,
    "height": Entries.names,  # optional, and not checked unless the geometry needs it
    "width": Entries.names,
}
_CATEGORIES: Layout = {"id": Entries.identifiers, "name": Entries.names}
_ANNOTATIONS: Layout = {
    "id": Entries.identifiers,
    "image_id": Entries.identifiers,
    "category_id": Entries.identifiers,
    "area": Entries.numbers_or_nan,
    "iscrowd": Entries.flags,
}
_RESULT: Layout = {
    "image_id": Entries.identifiers,
    "category_id": Entries.identifiers,
    "score": Entries.numbers_or_ones,
}


def ground_truth_layouts(iou_type: str) -> dict[str, Layout]:
    """Returns the fields to read of each list of an annotation file."""
    shape = coco_shapes(iou_type)
    return {
        "images": _IMAGES | shape.images,
        "categories": _CATEGORIES,
        "annotations": _ANNOTATIONS | shape.annotations,
    }


def result_layout(iou_type: str) -> Layout:
    """Returns the fields to read of each result."""
    return _RESULT | coco_shapes(iou_type).results


def read_coco_ground_truths(path: PathLike, *, iou_type: str = "bbox") -> GroundTruthTable:
    """Reads a COCO annotation file: an object with `images`, `annotations` and `categories`.

    Args:
      path: a JSON file, plain or gzip-compressed.
      iou_type: what will be compared, which decides the fields to read: one of `jaxmap.protocols.IOU_TYPES` except
        `obb`.

    Returns:
      One row per annotation of a known category, in the order of the file.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is not JSON, or not as described in `coco_ground_truths`.
    """
    with collector_paused():  # the columns have no name here: they are gone when the collector resumes
        return ground_truth_table(read_ground_truth_columns(path, ground_truth_layouts(iou_type)), iou_type, str(path))


def read_coco_detections(path: PathLike, ground_truths: GroundTruthTable, *, iou_type: str = "bbox") -> DetectionTable:
    """Reads a COCO results file: a list of objects with `image_id`, `category_id`, a geometry, and `score`.

    Args:
      path: a JSON file, plain or gzip-compressed; or the same as `.jsonl`, one object per line, or as columns in an
        `.npz` or `.parquet` file, which is read without parsing.
      ground_truths: the ground truths, which define the images and categories.
      iou_type: what will be compared, which decides the fields to read: one of `jaxmap.protocols.IOU_TYPES` except
        `obb`.

    Returns:
      One row per result of a known category, in the order of the file.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it does not have its format, or is not as described in `coco_detections`.
      ImportError: if a `.parquet` file is read without pyarrow.
    """
    with collector_paused():  # the columns have no name here: they are gone when the collector resumes
        return detection_table(read_result_columns(path, result_layout(iou_type)), ground_truths, iou_type, str(path))


def coco_ground_truths(
    data: Mapping[str, Any], *, iou_type: str = "bbox", source: str = "ground truths"
) -> GroundTruthTable:
    """Returns the table of a parsed COCO annotation file.

    Annotations of a category that the file does not list are excluded with a warning; pycocotools excludes them
    silently. An annotation with the id 0 counts like any other, with a warning (pycocotools reads its match as no
    match).

    Args:
      data: has the lists `images` (`id`, optionally `file_name`, `height` and `width`), `categories` (`id`, optionally
        `name`) and `annotations` (`id`, `image_id`, `category_id`, `bbox` in xywh, `area`, and `iscrowd` if it is not
        0). Ids are integers or text, and `"7"` is 7. A missing area is that of the geometry, with a warning. Masks need
        `segmentation` in place of `bbox`, and `height` and `width` of the images; keypoints need `keypoints`, and
        `num_keypoints` if it is not the number of labelled ones.
      iou_type: what will be compared, which decides the fields to read: one of `jaxmap.protocols.IOU_TYPES` except
        `obb`.
      source: the name of the data in messages.

    Returns:
      One row for each annotation of a known category, in their order.

    Raises:
      ValueError: if a list or a field is missing or has a wrong type, the id of an image or category is repeated, or an
        annotation names an image that is not listed.
    """
    columns = ground_truth_columns(data, ground_truth_layouts(iou_type), source)
    return ground_truth_table(columns, iou_type, source)


def coco_detections(
    data: list[dict[str, Any]],
    ground_truths: GroundTruthTable,
    *,
    iou_type: str = "bbox",
    source: str = "results",
) -> DetectionTable:
    """Returns the table of a parsed COCO results file.

    Results of a category that the ground truths do not have are excluded with a warning; pycocotools excludes them
    silently.

    Args:
      data: one object per detection with `image_id`, `category_id`, `score`, and `bbox` in xywh, or `segmentation`, or
        `keypoints`; may be empty. If the first has a `bbox`, all need one, and the area of detections is that of the
        box, as in pycocotools; otherwise it is that of the mask, or of the box around the keypoints. The `image_id` may
        be the file name of the image, with or without its suffix, if no other image has the same name. If no object has
        a `score`, as of a detector that gives none, all scores are 1.
      ground_truths: the ground truths, which define the images and categories.
      iou_type: what will be compared, which decides the fields to read: one of `jaxmap.protocols.IOU_TYPES` except
        `obb`.
      source: the name of the data in messages.

    Returns:
      One row per result of a known category, in their order; `ids` are their positions in `data`.

    Raises:
      ValueError: if `data` is not a list, a field is missing or has a wrong type, or a result names an image that the
        ground truths do not have.
    """
    columns = result_columns(data, result_layout(iou_type), source)
    return detection_table(columns, ground_truths, iou_type, source)


def read_ground_truth_columns(path: PathLike, layouts: Mapping[str, Layout]) -> dict[str, Columns]:
    """Returns the columns of the lists of an annotation file."""
    data = read_bytes(path)
    with collector_paused():
        return typed_lists(data, layouts) or ground_truth_columns(parse_json(data, path), layouts, str(path))


def ground_truth_columns(data: Any, layouts: Mapping[str, Layout], source: str) -> dict[str, Columns]:
    """Returns the columns of the lists of a parsed annotation file."""
    if not isinstance(data, Mapping):
        hint = "; is it the results file? Ground truths come first" if isinstance(data, list) else ""
        raise ValueError(
            f"{source}: ground truths must be an object with `images`, `annotations` and `categories`, "
            f"got a {type(data).__name__}{hint}."
        )
    lists = {name: _entries(data, name, source) for name in layouts}
    return {
        name: {field: read(lists[name], field) for field, read in layout.items()} for name, layout in layouts.items()
    }


def ground_truth_table(columns: Mapping[str, Columns], iou_type: str, source: str) -> GroundTruthTable:
    """Returns the table of an annotation file; without a column `iscrowd` there are no crowds."""
    image_ids, class_ids = columns["images"]["id"], columns["categories"]["id"]
    for name, ids in (("images", image_ids), ("categories", class_ids)):
        if not len(ids):
            raise ValueError(f"{source}: `{name}` must list at least one entry, got none.")
        if len(repeated := _repeated(ids)):
            raise ValueError(
                f"{source}: `{name}` must have distinct `id`s, got these more than once: {first_few(repeated)}; "
                "keep one entry of each."
            )
    image_order, order = np.argsort(image_ids), np.argsort(class_ids)
    image_ids = image_ids[image_order]
    class_ids = class_ids[order]
    names = columns["categories"]["name"]
    class_names = tuple(
        str(class_id) if names[index] is None else str(names[index])
        for class_id, index in zip(class_ids.tolist(), order.tolist(), strict=True)
    )

    rows, name = columns["annotations"], "annotations"
    if len(repeated := _repeated(rows["id"])):
        warnings.warn(
            f"{source}: `{name}` repeat {len(repeated)} ids: {first_few(repeated)}; all are scored, whereas "
            f"pycocotools scores the last one of each id in place of the others.",
            RepeatedIdsWarning,
            stacklevel=3,
        )
    advice = "add these images to `images` or drop the annotations"
    image_index = _image_index(rows["image_id"], image_ids, source=source, name=name, advice=advice)
    labels, known = _labels(rows["category_id"], class_ids, class_names, source=source, name=name)
    of_images = image_columns(columns["images"], image_order, source)
    files = np.array([one if isinstance(one, str) else None for one in columns["images"]["file_name"]], object)
    sizes, area_expected = of_images.get("image_sizes"), "crowd_index" not in of_images
    layout = coco_shapes(iou_type)
    shapes = layout.of_annotations(rows, image_index, sizes, source, area_expected)
    _warn_of_unmatchable(shapes, rows, layout, f"{source}: `annotations`")
    kept = _selection(known)
    return GroundTruthTable(
        image_index=image_index[kept],
        labels=labels[kept],
        crowd=rows.get("iscrowd", np.zeros_like(known))[kept],
        ids=rows["id"][kept],
        **{name: column[kept] for name, column in shapes.items()},
        **of_images,
        image_files=files[image_order],
        image_ids=image_ids,
        class_ids=class_ids,
        class_names=class_names,
    )


def detection_table(rows: Columns, ground_truths: GroundTruthTable, iou_type: str, source: str) -> DetectionTable:
    """Returns the table of results."""
    name, advice = "results", "drop these results or use the ground truths that they were made for"
    image_ids, files = ground_truths.image_ids, ground_truths.image_files
    image_index = _image_index(rows["image_id"], image_ids, files, source=source, name=name, advice=advice)
    class_ids, class_names = ground_truths.class_ids, ground_truths.class_names
    labels, known = _labels(rows["category_id"], class_ids, class_names, source=source, name=name)
    shapes = coco_shapes(iou_type).of_results(rows, image_index, ground_truths.image_sizes, source)
    kept = _selection(known)
    return DetectionTable(
        image_index=image_index[kept],
        labels=labels[kept],
        scores=rows["score"][kept],
        ids=np.flatnonzero(known),
        **{name: column[kept] for name, column in shapes.items()},
    )


def _selection(known: Bools) -> Bools | slice:
    """Returns what takes the known rows, without a copy if all are."""
    return slice(None) if known.all() else known


def _entries(data: Mapping[str, Any], name: str, source: str) -> Entries:
    if name not in data:
        raise ValueError(
            f"{source}: ground truths must have `images`, `annotations` and `categories`, got no `{name}` "
            f"among {reprlib.repr(sorted(map(str, data)))}."
        )
    if not isinstance(data[name], list):
        raise ValueError(f"{source}: `{name}` must be a list of objects, got a {type(data[name]).__name__}.")
    return Entries(items=data[name], name=name, source=source)


def _image_index(
    ids: HostArray,
    image_ids: HostArray,
    files: NDArray[np.object_] | None = None,
    *,
    source: str,
    name: str,
    advice: str,
) -> Ints:
    """Returns the image index of every row; all images must be known."""
    index, known = index_of(ids, image_ids, files)
    if not known.all():
        unknown = np.unique(ids[~known])
        if unknown.dtype.kind == "U" and not all(map(str.isdecimal, unknown.tolist())):
            file = None if files is None else next(filter(None, files.tolist()), None)
            advice = (
                f"the files of images are named like {file!r}; {advice}"
                if file
                else "if they are file names, as in Ultralytics' predictions.json, replace them by the `id`s of the "
                f"images, otherwise {advice}"
            )
        raise ValueError(
            f"{source}: {int((~known).sum())} of {len(ids)} `{name}` are for {len(unknown)} image ids that the ground "
            f"truths do not list: {first_few(unknown)}{_listed(unknown, image_ids, files)}; {advice}."
        )
    return index


def _labels(
    ids: HostArray, class_ids: HostArray, class_names: Sequence[str], *, source: str, name: str
) -> tuple[Ints, Bools]:
    """Returns the class index of every row and whether its category is known."""
    index, known = index_of(ids, class_ids)
    if not known.all():
        unknown = np.unique(ids[~known])
        are_names = not set(unknown.tolist()).isdisjoint(class_names)
        hint = "; these are names of categories; write their `id`s" if are_names else ""
        warnings.warn(
            f"{source}: ignored {int((~known).sum())} of {len(ids)} `{name}`, whose category ids the ground truths do "
            f"not list: {first_few(unknown)}{_listed(unknown, class_ids)}{hint}.",
            UserWarning,
            stacklevel=4,
        )
    return index, known


def _listed(unknown: HostArray, known: HostArray, files: NDArray[np.object_] | None = None) -> str:
    """Returns the ids that the ground truths list in place of unknown ones."""
    if others := doubtful(unknown, known, files):
        return f" (they list {' and '.join(map(repr, others))}: which of these?)"
    return f" (they list {first_few(known, 3)})"


def _warn_of_unmatchable(shapes: Mapping[str, HostArray], rows: Columns, layout: CocoShapes, where: str) -> None:
    """Warns once about each kind of annotation that nothing can match, or that pycocotools reads as unmatched."""
    ids, area = rows["id"], shapes["area"]
    counted = ~shapes["ignore"] & ~rows.get("iscrowd", np.zeros(len(ids), bool))
    faults = [
        (area < 0, "a negative `area`, which is in no area range, and so are ignored"),
        (
            (ids == ids.dtype.type(0)) & counted,
            "the `id` 0: here it counts like any other, whereas pycocotools reads its match as no match and may "
            "report less; number annotations from 1 to compare the two",
        ),
        *layout.unmatchable(shapes, counted),
    ]
    for at_fault, what in faults:
        if at_fault.any():
            warnings.warn(f"{where}: {int(at_fault.sum())} of {len(ids)} have {what}.", UserWarning, stacklevel=4)


def _repeated(ids: HostArray) -> HostArray:
    distinct, counts = np.unique(ids, return_counts=True)
    return distinct[counts > 1]
