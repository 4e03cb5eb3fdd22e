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
from ._json import Entries, PathLike, first_few, load_json

__all__ = ["coco_detections", "coco_ground_truths", "read_coco_detections", "read_coco_ground_truths"]


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
    return coco_ground_truths(load_json(path), source=str(path))


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
    return coco_detections(load_json(path), ground_truths, source=str(path))


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
    if not isinstance(data, Mapping):
        hint = "; is it the results file? Ground truths come first" if isinstance(data, list) else ""
        raise ValueError(
            f"{source}: ground truths must be an object with `images`, `annotations` and `categories`, "
            f"got a {type(data).__name__}{hint}."
        )
    images = _entries(data, "images", source)
    categories = _entries(data, "categories", source)
    annotations = _entries(data, "annotations", source)
    for entries in (images, categories):
        if not len(entries):
            raise ValueError(f"{source}: `{entries.name}` must list at least one entry, got none.")

    image_ids = np.sort(images.unique("id"))
    class_ids = categories.unique("id")
    order = np.argsort(class_ids)
    class_ids = class_ids[order]
    names = categories.values("name", default=None)
    class_names = tuple(
        str(class_id) if names[index] is None else str(names[index])
        for class_id, index in zip(class_ids.tolist(), order.tolist(), strict=True)
    )

    ids = annotations.integers("id")
    _warn_of_repeated_ids(ids, source)
    image_index = _image_index(annotations, image_ids, "add these images to `images` or drop the annotations")
    labels, known = _labels(annotations, class_ids)
    return GroundTruthTable(
        image_index=image_index[known],
        labels=labels[known],
        boxes=annotations.boxes("bbox")[known],
        area=annotations.numbers("area")[known],
        crowd=annotations.flags("iscrowd")[known],
        # Never read from the file: pycocotools overwrites `ignore` by `iscrowd` (cocoeval.py, `_prepare`).
        ignore=np.zeros(int(known.sum()), dtype=bool),
        ids=ids[known],
        image_ids=image_ids,
        class_ids=class_ids,
        class_names=class_names,
    )


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
    if not isinstance(data, list):
        hint = ""
        if isinstance(data, Mapping) and "annotations" in data:
            hint = "; save the list under its `annotations` alone, or was a ground-truth file given as results?"
        raise ValueError(
            f"{source}: results must be a list of objects with `image_id`, `category_id`, `bbox` and `score`, "
            f"got a {type(data).__name__}{hint or '.'}"
        )
    results = Entries(items=data, name="results", source=source)
    image_index = _image_index(
        results, ground_truths.image_ids, "drop these results or use the ground truths that they were made for"
    )
    labels, known = _labels(results, ground_truths.class_ids)
    return DetectionTable(
        image_index=image_index[known],
        labels=labels[known],
        boxes=results.boxes("bbox")[known],
        scores=results.numbers("score")[known],
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


def _image_index(entries: Entries, image_ids: np.ndarray, advice: str) -> np.ndarray:
    """Returns the index of every entry's image; all must be known."""
    ids = entries.identifiers("image_id")
    index, known = _index_of(ids, image_ids)
    if not known.all():
        unknown = np.unique(ids[~known])
        raise ValueError(
            f"{entries.source}: {int((~known).sum())} of {len(entries)} `{entries.name}` are for {len(unknown)} image "
            f"ids that the ground truths do not list: {first_few(unknown)}; {advice}."
        )
    return index


def _labels(entries: Entries, class_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the class index of every entry and whether its category is known."""
    ids = entries.identifiers("category_id")
    index, known = _index_of(ids, class_ids)
    if not known.all():
        unknown = np.unique(ids[~known])
        warnings.warn(
            f"{entries.source}: ignored {int((~known).sum())} of {len(entries)} `{entries.name}`, whose category ids "
            f"the ground truths do not list: {first_few(unknown)}.",
            UserWarning,
            stacklevel=3,
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


def _warn_of_repeated_ids(ids: np.ndarray, source: str) -> None:
    distinct, counts = np.unique(ids, return_counts=True)
    if len(distinct) < len(ids):
        warnings.warn(
            f"{source}: `annotations` repeat {int((counts > 1).sum())} ids: {first_few(distinct[counts > 1])}; all are "
            "scored, while pycocotools scores the last one of each id in place of the others.",
            UserWarning,
            stacklevel=3,
        )
