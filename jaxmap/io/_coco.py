"""COCO's detection files to tables: ground truths with their images and categories, and results lists.

In: the JSON that pycocotools reads, as a path (plain or gzip) or already parsed. Out: `GroundTruthTable` and
`DetectionTable`, rows in the order of the file, boxes in xywh as written.

References: pycocotools coco.py, `COCO.createIndex`, `COCO.loadRes`; cocoeval.py, `COCOeval._prepare`. Deviation: data
that those take and then score wrongly, or stop at far from the cause, is refused or warned about, by name and index.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..types import DetectionTable, GroundTruthTable
from ._json import Entries, PathLike, collector_paused, first_few, parse_json, read_bytes
from ._typed import Columns, Layout, typed_list, typed_lists

__all__ = ["coco_detections", "coco_ground_truths", "read_coco_detections", "read_coco_ground_truths"]

# What is read of each list. `ignore` is not: pycocotools overwrites it by `iscrowd` (cocoeval.py, `_prepare`).
_IMAGES: Layout = {"id": Entries.identifiers}
_CATEGORIES: Layout = {"id": Entries.identifiers, "name": Entries.names}
_ANNOTATIONS: Layout = {
    "id": Entries.integers,
    "image_id": Entries.identifiers,
    "category_id": Entries.identifiers,
    "bbox": Entries.boxes,
    "area": Entries.numbers,
    "iscrowd": Entries.flags,
}
_GROUND_TRUTHS = {"images": _IMAGES, "categories": _CATEGORIES, "annotations": _ANNOTATIONS}
_RESULTS: Layout = {
    "image_id": Entries.identifiers,
    "category_id": Entries.identifiers,
    "bbox": Entries.boxes,
    "score": Entries.numbers,
}


def read_coco_ground_truths(path: PathLike) -> GroundTruthTable:
    """Reads a COCO annotation file: an object with `images`, `annotations` and `categories`.

    Args:
      path: a JSON file, plain or gzip-compressed.

    Returns:
      One row for each annotation of a known category, in the order of the file.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is not JSON, or not as `coco_ground_truths` wants it.
    """
    data, source = read_bytes(path), str(path)
    with collector_paused():
        columns = typed_lists(data, _GROUND_TRUTHS) or _ground_truth_columns(parse_json(data, path), source)
    return _ground_truth_table(columns, source)


def read_coco_detections(path: PathLike, ground_truths: GroundTruthTable) -> DetectionTable:
    """Reads a COCO results file: a list of objects with `image_id`, `category_id`, `bbox` and `score`.

    Args:
      path: a JSON file, plain or gzip-compressed.
      ground_truths: defines the images and categories.

    Returns:
      One row for each result of a known category, in the order of the file.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is not JSON, or not as `coco_detections` wants it.
    """
    data, source = read_bytes(path), str(path)
    with collector_paused():
        columns = typed_list(data, _RESULTS) or _result_columns(parse_json(data, path), source)
    return _detection_table(columns, ground_truths, source)


def coco_ground_truths(data: Mapping[str, Any], *, source: str = "ground truths") -> GroundTruthTable:
    """Returns the table of a parsed COCO annotation file.

    Annotations of a category that the file does not list are left out with a warning, as pycocotools leaves them out
    silently. An annotation whose id is 0 counts like any other (pycocotools reads its match as none).

    Args:
      data: holds the lists `images` (`id`), `categories` (`id`, and `name` if it has one) and `annotations` (`id`,
        `image_id`, `category_id`, `bbox` in xywh, `area`, and `iscrowd` if it is not 0). Ids are integers; those of
        images and categories may be strings, and `"7"` is 7.
      source: what messages call the data.

    Returns:
      One row for each annotation of a known category, in their order.

    Raises:
      ValueError: if a list or a field is missing or of a wrong kind, an id of an image or category is repeated, or an
        annotation names an image that is not listed.
    """
    return _ground_truth_table(_ground_truth_columns(data, source), source)


def coco_detections(
    data: list[dict[str, Any]], ground_truths: GroundTruthTable, *, source: str = "results"
) -> DetectionTable:
    """Returns the table of a parsed COCO results file.

    Results of a category that the ground truths do not have are left out with a warning, as pycocotools leaves them out
    silently.

    Args:
      data: one object for each detection with `image_id`, `category_id`, `bbox` in xywh and `score`; may be empty.
      ground_truths: defines the images and categories.
      source: what messages call the data.

    Returns:
      One row for each result of a known category, in their order; `ids` are their positions in `data`.

    Raises:
      ValueError: if `data` is not a list, a field is missing or of a wrong kind, or a result names an image that the
        ground truths do not have.
    """
    return _detection_table(_result_columns(data, source), ground_truths, source)


def _ground_truth_columns(data: Any, source: str) -> dict[str, Columns]:
    if not isinstance(data, Mapping):
        hint = "; is it the results file? Ground truths come first" if isinstance(data, list) else ""
        raise ValueError(
            f"{source}: ground truths must be an object with `images`, `annotations` and `categories`, "
            f"got a {type(data).__name__}{hint}."
        )
    lists = {name: _entries(data, name, source) for name in _GROUND_TRUTHS}
    return {
        name: {field: read(lists[name], field) for field, read in layout.items()}
        for name, layout in _GROUND_TRUTHS.items()
    }


def _result_columns(data: Any, source: str) -> Columns:
    if not isinstance(data, list):
        hint = ""
        if isinstance(data, Mapping) and "annotations" in data:
            hint = "; save the list under its `annotations` alone, or was a ground-truth file given as results?"
        raise ValueError(
            f"{source}: results must be a list of objects with `image_id`, `category_id`, `bbox` and `score`, "
            f"got a {type(data).__name__}{hint or '.'}"
        )
    entries = Entries(items=data, name="results", source=source)
    return {field: read(entries, field) for field, read in _RESULTS.items()}


def _ground_truth_table(columns: Mapping[str, Columns], source: str) -> GroundTruthTable:
    image_ids, class_ids = columns["images"]["id"], columns["categories"]["id"]
    for name, ids in (("images", image_ids), ("categories", class_ids)):
        if not len(ids):
            raise ValueError(f"{source}: `{name}` must list at least one entry, got none.")
        if len(repeated := _repeated(ids)):
            raise ValueError(
                f"{source}: `{name}` must have distinct `id`s, got these more than once: {first_few(repeated)}; "
                "keep one entry of each."
            )
    image_ids = np.sort(image_ids)
    order = np.argsort(class_ids)
    class_ids = class_ids[order]
    names = columns["categories"]["name"]
    class_names = tuple(
        str(class_id) if names[index] is None else str(names[index])
        for class_id, index in zip(class_ids.tolist(), order.tolist(), strict=True)
    )

    rows, name = columns["annotations"], "annotations"
    if len(repeated := _repeated(rows["id"])):
        warnings.warn(
            f"{source}: `{name}` repeat {len(repeated)} ids: {first_few(repeated)}; all are scored, while pycocotools "
            "scores the last one of each id in place of the others.",
            UserWarning,
            stacklevel=3,
        )
    advice = "add these images to `images` or drop the annotations"
    image_index = _image_index(rows["image_id"], image_ids, source=source, name=name, advice=advice)
    labels, known = _labels(rows["category_id"], class_ids, source=source, name=name)
    return GroundTruthTable(
        image_index=image_index[known],
        labels=labels[known],
        boxes=rows["bbox"][known],
        area=rows["area"][known],
        crowd=rows["iscrowd"][known],
        ignore=np.zeros(int(known.sum()), dtype=bool),
        ids=rows["id"][known],
        image_ids=image_ids,
        class_ids=class_ids,
        class_names=class_names,
    )


def _detection_table(rows: Columns, ground_truths: GroundTruthTable, source: str) -> DetectionTable:
    name, advice = "results", "drop these results or use the ground truths that they were made for"
    image_index = _image_index(rows["image_id"], ground_truths.image_ids, source=source, name=name, advice=advice)
    labels, known = _labels(rows["category_id"], ground_truths.class_ids, source=source, name=name)
    return DetectionTable(
        image_index=image_index[known],
        labels=labels[known],
        boxes=rows["bbox"][known],
        scores=rows["score"][known],
        ids=np.flatnonzero(known),
    )


def _entries(data: Mapping[str, Any], name: str, source: str) -> Entries:
    if name not in data:
        raise ValueError(
            f"{source}: ground truths must have `images`, `annotations` and `categories`, got no `{name}` "
            f"among {sorted(map(str, data))}."
        )
    if not isinstance(data[name], list):
        raise ValueError(f"{source}: `{name}` must be a list of objects, got a {type(data[name]).__name__}.")
    return Entries(items=data[name], name=name, source=source)


def _image_index(ids: np.ndarray, image_ids: np.ndarray, *, source: str, name: str, advice: str) -> np.ndarray:
    """Returns the index of every row's image; all must be known."""
    index, known = _index_of(ids, image_ids)
    if not known.all():
        unknown = np.unique(ids[~known])
        raise ValueError(
            f"{source}: {int((~known).sum())} of {len(ids)} `{name}` are for {len(unknown)} image "
            f"ids that the ground truths do not list: {first_few(unknown)}; {advice}."
        )
    return index


def _labels(ids: np.ndarray, class_ids: np.ndarray, *, source: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the class index of every row and whether its category is known."""
    index, known = _index_of(ids, class_ids)
    if not known.all():
        unknown = np.unique(ids[~known])
        warnings.warn(
            f"{source}: ignored {int((~known).sum())} of {len(ids)} `{name}`, whose category ids "
            f"the ground truths do not list: {first_few(unknown)}.",
            UserWarning,
            stacklevel=4,
        )
    return index, known


def _index_of(ids: np.ndarray, ascending: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if ascending.dtype.kind == "U":
        ids = ids.astype(str)
    elif ids.dtype.kind == "U":  # not one of them spells an integer, and all known ids are integers
        return np.zeros(len(ids), np.int64), np.zeros(len(ids), bool)
    index = np.searchsorted(ascending, ids)
    index[index == len(ascending)] = 0  # larger than all: any index will do, the comparison finds it unknown
    return index, ascending[index] == ids


def _repeated(ids: np.ndarray) -> np.ndarray:
    distinct, counts = np.unique(ids, return_counts=True)
    return distinct[counts > 1]
