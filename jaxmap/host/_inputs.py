"""What users pass in, brought to tables: padded arrays or one dict an image, NumPy or JAX, any box format.

Everything is checked here, once, and every error names the image, the field, what was expected and what came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..types import BOX_FORMATS, Array, Detections, DetectionTable, GroundTruths, GroundTruthTable
from ._ordering import OF_DATASET

__all__ = ["as_tables", "to_xywh"]

ALIASES = {"iscrowd": "crowd"}
DETECTION_FIELDS = ("boxes", "scores", "labels")
GROUND_TRUTH_FIELDS = ("boxes", "labels", "crowd", "area", "ignore")
OPTIONAL_FIELDS = ("crowd", "area", "ignore")


class _Columns(NamedTuple):
    """One side's rows: `image` and `row` say where each came from, `fields` holds the arrays that were given."""

    side: str
    num_images: int
    image: np.ndarray
    row: np.ndarray
    fields: dict[str, np.ndarray]


def as_tables(
    detections: Any,
    ground_truths: Any,
    *,
    box_format: str,
    class_names: Sequence[str] | Mapping[int, str] | None,
    num_classes: int | None,
) -> tuple[DetectionTable, GroundTruthTable]:
    """Brings both sides to tables over the same images and classes.

    Args:
      detections: `Detections` or a mapping of its fields, `[I, D, ...]`; a sequence of one mapping an image; a table.
      ground_truths: likewise.
      box_format: of both sides' boxes; tables are xywh whatever it says.
      class_names: names of the classes 0 .. K-1, or a mapping from label to name.
      num_classes: K; by default the names' number, or, without names, the labels that occur.

    Raises:
      ValueError: if shapes, lengths, values or labels are not as the fields' docs say.
      TypeError: if an input is of another kind, or labels are not integers.
    """
    if box_format not in BOX_FORMATS:
        raise ValueError(f"`box_format` must be one of {list(BOX_FORMATS)}, got {box_format!r}.")
    are_tables = isinstance(detections, DetectionTable), isinstance(ground_truths, GroundTruthTable)
    if all(are_tables):
        _check_table("detections", detections, ground_truths)
        _check_table("ground_truths", ground_truths, ground_truths)
        return detections, ground_truths
    if any(are_tables):
        raise TypeError(
            "`detections` and `ground_truths` must both be tables or neither, got "
            f"{type(detections).__name__} and {type(ground_truths).__name__}."
        )
    found = _read("detections", detections, Detections, DETECTION_FIELDS)
    truth = _read("ground_truths", ground_truths, GroundTruths, GROUND_TRUTH_FIELDS)
    if found.num_images != truth.num_images:
        raise ValueError(
            f"`detections` and `ground_truths` must cover the same images, got {found.num_images} and "
            f"{truth.num_images}; pass empty arrays for an image without boxes."
        )
    class_ids, names = _classes(found, truth, class_names, num_classes)
    boxes = to_xywh(truth.fields["boxes"], box_format)
    nothing = np.zeros(len(boxes), bool)
    return (
        DetectionTable(
            image_index=found.image,
            labels=_index_of(found.fields["labels"], class_ids),
            boxes=to_xywh(found.fields["boxes"], box_format),
            scores=found.fields["scores"],
            ids=found.row,
        ),
        GroundTruthTable(
            image_index=truth.image,
            labels=_index_of(truth.fields["labels"], class_ids),
            boxes=boxes,
            area=truth.fields.get("area", boxes[:, 2] * boxes[:, 3]),
            crowd=truth.fields.get("crowd", nothing),
            ignore=truth.fields.get("ignore", nothing),
            ids=truth.row,
            image_ids=np.arange(truth.num_images),
            class_ids=class_ids,
            class_names=names,
        ),
    )


def to_xywh(boxes: np.ndarray, box_format: str) -> np.ndarray:
    """Returns `[N, 4]` float64 boxes as x, y, width, height."""
    if box_format == "xywh":
        return boxes
    if box_format == "yxyx":
        boxes = boxes[:, [1, 0, 3, 2]]
    first, second = boxes[:, :2], boxes[:, 2:]
    if box_format == "cxcywh":
        return np.concatenate([first - second / 2, second], axis=1)
    return np.concatenate([first, second - first], axis=1)


def _read(side: str, value: Any, kind: type, fields: tuple[str, ...]) -> _Columns:
    """Reads one side into flat, checked columns."""
    if isinstance(value, kind):
        columns = _from_padded(side, vars(value), fields)
    elif isinstance(value, Mapping):
        columns = _from_padded(side, value, fields)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        columns = _from_list(side, value, fields)
    else:
        raise TypeError(
            f"`{side}` must be a {kind.__name__}, a mapping of padded arrays, or a sequence of one mapping an image, "
            f"got {type(value).__name__}."
        )
    _check_finite(columns)
    _reject(columns, "labels", columns.fields["labels"] < 0, "must be class indices from 0")
    return columns


def _from_padded(side: str, value: Mapping[str, Any], fields: tuple[str, ...]) -> _Columns:
    given = _given(side, value, (*fields, "valid"))
    boxes = np.asarray(given["boxes"])
    if boxes.ndim != 3 or boxes.shape[-1] != 4:
        raise ValueError(f"`{side}.boxes` must have shape [images, boxes, 4], got {list(boxes.shape)}.")
    for name, array in given.items():
        if name != "boxes" and array.shape != boxes.shape[:2]:
            raise ValueError(
                f"`{side}.{name}` must have shape {list(boxes.shape[:2])}, the first two axes of `boxes`, got "
                f"{list(array.shape)}."
            )
    valid = _typed(f"{side}.valid", "valid", given.pop("valid")) if "valid" in given else np.ones(boxes.shape[:2], bool)
    image, row = np.nonzero(valid)
    flat = {
        name: _typed(f"{side}.{name}", name, _flattened(array) if valid.all() else array[valid])
        for name, array in given.items()
    }
    return _Columns(side, len(boxes), image, row, flat)


def _flattened(array: np.ndarray) -> np.ndarray:
    """Joins the first two axes, without a copy."""
    return array.reshape(-1, *array.shape[2:])


def _from_list(side: str, value: Sequence[Any], fields: tuple[str, ...]) -> _Columns:
    columns: dict[str, list[np.ndarray]] = {}
    counts = []
    for image, entry in enumerate(value):
        where = f"{side}[{image}]"
        if not isinstance(entry, Mapping):
            raise TypeError(f"`{where}` must be a mapping with {list(fields)}, got {type(entry).__name__}.")
        given = _given(where, entry, fields)
        boxes = given["boxes"]
        if boxes.size == 0:
            boxes = given["boxes"] = boxes.reshape(0, 4)
        if boxes.ndim != 2 or boxes.shape[-1] != 4:
            raise ValueError(f"`{where}['boxes']` must have shape [boxes, 4], got {list(boxes.shape)}.")
        for name, array in given.items():
            if name != "boxes" and array.shape != (len(boxes),):
                raise ValueError(
                    f"`{where}['{name}']` must have shape [{len(boxes)}], one value for each of `boxes`, got "
                    f"{list(array.shape)}."
                )
            if image == 0:
                columns[name] = []
        if image == 0:
            columns["boxes"] = []
        if given.keys() != columns.keys():
            raise ValueError(f"`{where}` must have the fields of `{side}[0]`, {sorted(columns)}, got {sorted(given)}.")
        for name, array in given.items():
            columns[name].append(_typed(f"{where}['{name}']", name, array))
        counts.append(len(boxes))
    if not counts:
        raise ValueError(f"`{side}` must hold at least one image, got an empty sequence.")
    image_of_row = np.repeat(np.arange(len(counts)), counts)
    row = np.arange(len(image_of_row)) - np.repeat(np.cumsum(counts) - counts, counts)
    return _Columns(side, len(counts), image_of_row, row, {name: np.concatenate(v) for name, v in columns.items()})


def _given(where: str, value: Mapping[str, Any], fields: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Returns the fields that were given, as arrays; unknown ones are errors, since a typo would change the number."""
    for alias, name in ALIASES.items():
        if value.get(alias) is not None and value.get(name) is not None:
            raise ValueError(f"`{where}` has both `{name}` and `{alias}`, which mean the same; keep one.")
    named = {ALIASES.get(name, name): array for name, array in value.items() if array is not None}
    unknown = sorted(set(named) - set(fields))
    if unknown:
        raise ValueError(f"`{where}` has unknown fields {unknown}; expected some of {list(fields)}.")
    missing = [name for name in fields if name not in named and name not in (*OPTIONAL_FIELDS, "valid")]
    if missing:
        raise ValueError(f"`{where}` must have the fields {missing}, got {sorted(named)}.")
    arrays = {}
    for name in fields:
        if name in named:
            try:
                arrays[name] = np.asarray(named[name])
            except ValueError as error:
                raise ValueError(f"`{where}['{name}']` must be a rectangular array: {error}.") from error
    return arrays


def _typed(where: str, name: str, array: Array) -> np.ndarray:
    """Returns a column in the table's dtype."""
    if name == "labels":
        if array.size and not np.issubdtype(array.dtype, np.integer):
            raise TypeError(f"`{where}` must be integers, class indices from 0, got dtype {array.dtype}.")
        return array.astype(np.int64, copy=False)
    if name in ("crowd", "ignore", "valid"):
        if not ((array == 0) | (array == 1)).all():
            raise ValueError(f"`{where}` must be boolean, or 0 and 1, got {array[(array != 0) & (array != 1)][0]!r}.")
        return array.astype(bool)
    if array.size and not (array.dtype.kind in "iuf" or array.dtype.name == "bfloat16"):
        raise TypeError(f"`{where}` must be real numbers, got dtype {array.dtype}.")
    return array.astype(np.float64, copy=False)


def _reject(columns: _Columns, name: str, bad: np.ndarray, expected: str) -> None:
    """Raises for the first bad row, naming its place."""
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"`{columns.side}.{name}` {expected}, got {columns.fields[name][first].tolist()} in image "
            f"{columns.image[first]}, row {columns.row[first]} ({int(bad.sum())} such rows in all); mark padding as "
            "not valid."
        )


def _check_table(side: str, table: DetectionTable | GroundTruthTable, truth: GroundTruthTable) -> None:
    """Checks a table that a program made: columns of one length, indices in range, finite numbers."""
    columns = {name: np.asarray(value) for name, value in vars(table).items() if name not in OF_DATASET}
    shape = (len(columns["boxes"]),)
    for name, column in columns.items():
        expected = (*shape, 4) if name == "boxes" else shape
        if column.shape != expected:
            raise ValueError(f"`{side}.{name}` must have shape {list(expected)}, got {list(column.shape)}.")
    for name, limit in (("image_index", len(truth.image_ids)), ("labels", len(truth.class_ids))):
        bad = (columns[name] < 0) | (columns[name] >= limit)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise ValueError(f"`{side}.{name}` must be in [0, {limit}), got {columns[name][row]} in row {row}.")
    rows = np.arange(shape[0])
    _check_finite(_Columns(side, len(truth.image_ids), truth.image_ids[columns["image_index"]], rows, columns))


def _check_finite(columns: _Columns) -> None:
    for name in ("boxes", "scores", "area"):
        if name in columns.fields and not np.isfinite(columns.fields[name]).all():
            bad = ~np.isfinite(columns.fields[name])
            _reject(columns, name, bad.any(-1) if bad.ndim > 1 else bad, "must be finite")


def _classes(
    found: _Columns,
    truth: _Columns,
    class_names: Sequence[str] | Mapping[int, str] | None,
    num_classes: int | None,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns the class labels, ascending, and their names."""
    if num_classes is not None and not (isinstance(num_classes, int | np.integer) and num_classes > 0):
        raise ValueError(f"`num_classes` must be a whole number of at least 1, got {num_classes!r}.")
    if isinstance(class_names, str):
        raise TypeError(
            f"`class_names` must be a sequence of names or a mapping from label to name, got {class_names!r}."
        )
    if isinstance(class_names, Mapping):
        if not all(isinstance(label, int | np.integer) for label in class_names):
            raise TypeError(f"`class_names` must map integer labels to names, got the keys {list(class_names)[:5]}.")
        class_ids = np.array(sorted(class_names), np.int64)
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
        _reject(columns, "labels", outside, f"must be one of the {len(class_ids)} classes {_shown(class_ids)}")
    return class_ids, names


def _index_of(labels: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
    return labels if _consecutive(class_ids) else np.searchsorted(class_ids, labels)


def _consecutive(class_ids: np.ndarray) -> bool:
    return bool(len(class_ids)) and class_ids[-1] == len(class_ids) - 1  # distinct, ascending and from 0


def _distinct(labels: np.ndarray) -> np.ndarray:
    """Returns the labels that occur, ascending; small ones are counted, which is ten times faster than sorting."""
    small = len(labels) and labels.max() <= len(labels)
    return np.flatnonzero(np.bincount(labels)) if small else np.unique(labels)


def _shown(class_ids: np.ndarray) -> str:
    values = class_ids.tolist()
    return str(values) if len(values) <= 8 else f"[{values[0]}, {values[1]}, ..., {values[-1]}]"
