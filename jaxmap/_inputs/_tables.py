"""Conversion of user input to tables: padded arrays or one mapping per image, NumPy or JAX, any box format.

Everything is checked here, once, and every error names the image, the field, what was expected and what was given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from .._geometry import geometry_of
from .._geometry._rle import masks_of_segmentations
from .._ordering import Table, columns_of, take_rows
from ..types import BOX_FORMATS, Detections, DetectionTable, GroundTruths, GroundTruthTable, Ints, Masks
from ._columns import Columns, check_finite, read_columns, reject

__all__ = ["as_tables", "merge_classes"]

DETECTION_FIELDS = ("scores", "labels")
MAX_CLASSES = 1 << 16  # the curves of more classes would take gigabytes
GROUND_TRUTH_FIELDS = ("labels", "crowd", "area", "ignore", "verified", "not_exhaustive")


def as_tables(
    detections: Any,
    ground_truths: Any,
    *,
    iou_type: str,
    box_format: str,
    class_names: Sequence[str] | Mapping[int, str] | None,
    num_classes: int | None,
) -> tuple[DetectionTable, GroundTruthTable]:
    """Converts both sides to tables with the same images and classes.

    Args:
      detections: `Detections` or a mapping of its fields, `[I, D, ...]`; a sequence of one mapping per image; a table.
      ground_truths: likewise.
      iou_type: what the protocol compares, which decides the fields to read.
      box_format: the format of boxes of both sides; not used for tables, which are always xywh.
      class_names: names of the classes 0 .. K-1, or a mapping from label to name.
      num_classes: K; by default the number of names, or, without names, the labels that occur.

    Raises:
      ValueError: if shapes, lengths, values or labels are not as documented.
      TypeError: if an input has another type, or labels are not integers.
    """
    if box_format not in BOX_FORMATS:
        raise ValueError(f"`box_format` must be one of {list(BOX_FORMATS)}, got {box_format!r}.")
    if isinstance(detections, GroundTruths | GroundTruthTable) or isinstance(
        ground_truths, Detections | DetectionTable
    ):
        raise TypeError(
            "`detections` come first and `ground_truths` second, got "
            f"{type(detections).__name__} and {type(ground_truths).__name__}; swap them."
        )
    are_tables = isinstance(detections, DetectionTable), isinstance(ground_truths, GroundTruthTable)
    if all(are_tables):
        detections, ground_truths = _with_masks("detections", detections), _with_masks("ground_truths", ground_truths)
        _check_table("detections", detections, ground_truths)
        _check_table("ground_truths", ground_truths, ground_truths)
        return detections, ground_truths
    if any(are_tables):
        raise TypeError(
            "`detections` and `ground_truths` must both be tables or neither, got "
            f"{type(detections).__name__} and {type(ground_truths).__name__}."
        )
    geometry = geometry_of(iou_type)
    shape, truth_fields = geometry.shape, (*geometry.beside, *GROUND_TRUTH_FIELDS)
    found = read_columns("detections", detections, Detections, shape, DETECTION_FIELDS)
    truth = read_columns("ground_truths", ground_truths, GroundTruths, shape, truth_fields)
    if found.num_images != truth.num_images:
        raise ValueError(
            f"`detections` and `ground_truths` must cover the same images, got {found.num_images} and "
            f"{truth.num_images}; pass empty arrays for an image without boxes."
        )
    class_ids, names = _classes(found, truth, class_names, num_classes)
    for name, flags in truth.of_images.items():
        if flags.shape[1] != len(class_ids):
            raise ValueError(
                f"`ground_truths.{name}` must have {len(class_ids)} classes, got {flags.shape[1]}; give the classes "
                f"by `num_classes` or `class_names`."
            )
    shapes, truth_shapes = (geometry.columns(columns.fields, box_format) for columns in (found, truth))
    truth_shapes.setdefault("area", truth_shapes["boxes"][:, 2] * truth_shapes["boxes"][:, 3])
    nothing = np.zeros(len(truth.image), bool)
    ignore = truth.fields.get("ignore", nothing)
    if geometry.ignored is not None:
        ignore = ignore | geometry.ignored(truth.fields)
    return (
        DetectionTable(
            image_index=found.image,
            labels=_index_of(found.fields["labels"], class_ids),
            scores=found.fields.get("scores", np.ones(len(found.row))),
            ids=found.row,
            **shapes,
        ),
        GroundTruthTable(
            image_index=truth.image,
            labels=_index_of(truth.fields["labels"], class_ids),
            crowd=truth.fields.get("crowd", nothing),
            ignore=ignore,
            ids=truth.row,
            image_ids=np.arange(truth.num_images),
            class_ids=class_ids,
            class_names=names,
            **truth_shapes | ({"area": truth.fields["area"]} if "area" in truth.fields else {}),
            **truth.of_images,
        ),
    )


def merge_classes(found: DetectionTable, truth: GroundTruthTable) -> tuple[DetectionTable, GroundTruthTable]:
    """Merges all classes into one, with rows by image, class and input, as in pycocotools with useCats=0."""
    found = take_rows(found, np.argsort(found.labels, kind="stable"))
    truth = take_rows(truth, np.argsort(truth.labels, kind="stable"))
    return dataclasses.replace(found, labels=np.zeros_like(found.labels)), dataclasses.replace(
        truth,
        labels=np.zeros_like(truth.labels),
        class_ids=np.array([0]),
        class_names=("all classes",),
        verified=None,  # any object of the image could be of a class that was not verified
        not_exhaustive=None,
        class_group=None,
    )


def _with_masks(side: str, table: Table) -> Table:
    """Returns a table with encoded masks, if a program has filled the column with COCO's objects."""
    if table.masks is None or isinstance(table.masks, Masks):
        return table
    return dataclasses.replace(
        table, masks=masks_of_segmentations(list(table.masks), None, lambda row: f"`{side}.masks[{row}]`")
    )


def _check_table(side: str, table: DetectionTable | GroundTruthTable, truth: GroundTruthTable) -> None:
    """Checks a table that a program made: columns of equal length, indices in range, finite numbers."""
    columns = columns_of(table)
    columns |= {name: np.asarray(value) for name, value in columns.items() if name != "masks"}
    shape = (len(columns["boxes"]),)
    trailing = {
        "boxes": (4,),
        "oriented": (5,),
        "keypoints": (*columns.get("keypoints", np.empty((0, 0))).shape[1:2], 3),
    }
    for name, column in columns.items():
        expected = (*shape, *trailing.get(name, ()))
        if column.shape != expected:
            raise ValueError(f"`{side}.{name}` must have shape {list(expected)}, got {list(column.shape)}.")
    for name, limit in (("image_index", len(truth.image_ids)), ("labels", len(truth.class_ids))):
        bad = (columns[name] < 0) | (columns[name] >= limit)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise ValueError(f"`{side}.{name}` must be in [0, {limit}), got {columns[name][row]} in row {row}.")
    for name in ("verified", "not_exhaustive"):
        flags = getattr(table, name, None)
        if flags is not None and np.shape(flags) != (len(truth.image_ids), len(truth.class_ids)):
            raise ValueError(
                f"`{side}.{name}` must have shape {[len(truth.image_ids), len(truth.class_ids)]}, images and classes, "
                f"got {list(np.shape(flags))}."
            )
    rows = np.arange(shape[0])
    check_finite(Columns(side, len(truth.image_ids), truth.image_ids[columns["image_index"]], rows, columns, {}))


def _classes(
    found: Columns,
    truth: Columns,
    class_names: Sequence[str] | Mapping[int, str] | None,
    num_classes: int | None,
) -> tuple[Ints, tuple[str, ...]]:
    """Returns the class labels, ascending, and their names."""
    if num_classes is not None and (
        isinstance(num_classes, bool)
        or not (isinstance(num_classes, int | np.integer) and 0 < num_classes <= MAX_CLASSES)
    ):
        raise ValueError(
            f"`num_classes` must be a whole number of at least 1, got {num_classes!r}; at most {MAX_CLASSES}."
        )
    if class_names is not None and (isinstance(class_names, str | bytes) or not isinstance(class_names, Collection)):
        raise TypeError(
            f"`class_names` must be a sequence of names or a mapping from label to name, got {class_names!r}."
        )
    if isinstance(class_names, Mapping):
        if not all(isinstance(label, int | np.integer) for label in class_names):
            raise TypeError(f"`class_names` must map integer labels to names, got the keys {list(class_names)[:5]}.")
        class_ids: Ints = np.array(sorted(class_names), np.int64)
        names = tuple(str(class_names[label]) for label in class_ids.tolist())
    elif class_names is not None:
        names = tuple(str(name) for name in class_names)
        class_ids = np.arange(len(names))
    else:
        observed = np.union1d(*(_distinct(columns.fields["labels"]) for columns in (found, truth)))
        class_ids = observed if num_classes is None else np.arange(num_classes)
        names = tuple(str(label) for label in class_ids.tolist())
    if num_classes is not None and len(class_ids) != num_classes:
        raise ValueError(f"`class_names` must hold `num_classes` = {num_classes} names, got {len(class_ids)}.")
    for columns in (found, truth):
        labels = columns.fields["labels"]
        outside = labels >= len(class_ids) if _consecutive(class_ids) else ~np.isin(labels, class_ids)
        reject(columns, "labels", outside, f"must be one of the {len(class_ids)} classes {_shown(class_ids)}")
    return class_ids, names


def _index_of(labels: Ints, class_ids: Ints) -> Ints:
    return labels if _consecutive(class_ids) else np.searchsorted(class_ids, labels)


def _consecutive(class_ids: Ints) -> bool:
    return bool(len(class_ids)) and class_ids[-1] == len(class_ids) - 1  # distinct, ascending and from 0


def _distinct(labels: Ints) -> Ints:
    """Returns the labels that occur, ascending; small labels are counted, which is ten times faster than sorting."""
    small = len(labels) and labels.max() <= len(labels)
    return np.flatnonzero(np.bincount(labels)) if small else np.unique(labels)


def _shown(class_ids: Ints) -> str:
    values = class_ids.tolist()
    return str(values) if len(values) <= 8 else f"[{values[0]}, {values[1]}, ..., {values[-1]}]"
