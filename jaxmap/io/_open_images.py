"""Open Images' CSV files to tables: boxes, image-level labels, the class hierarchy, and detections.

In: CSV files with a header, plain or gzip; only these columns are read, in any order:

- boxes: `ImageID`, `LabelName`, `XMin`, `XMax`, `YMin`, `YMax`, `IsGroupOf`;
- image-level labels: `ImageID`, `LabelName`, `Confidence`, 1 for a class that is present and 0 for one that is not;
- detections: `ImageID`, `LabelName`, `Score`, `XMin`, `XMax`, `YMin`, `YMax`;
- class descriptions, without a header: `LabelName,name`, or the challenge's `LabelName,name,number`.

Coordinates are fractions of the width and height of the image, and are kept: boxes are xywh in [0, 1], and areas are
fractions of the image, so area ranges in pixels are meaningless. All boxes of an image are scaled equally, so IoUs are
the same as in pixels.

References: TensorFlow object detection API, oid_hierarchical_labels_expansion.py, oid_challenge_evaluation_utils.py,
OpenImagesDetectionEvaluator; per_image_evaluation.py, `_remove_invalid_boxes`.
"""

from __future__ import annotations

import os
import reprlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from .._garbage_collection import collector_paused
from ..types import Bools, DetectionTable, Floats, GroundTruthTable, HostArray, Ints
from ._csv import Block, blocks
from ._files import PathLike, read_bytes
from ._json import first_few, load_json
from ._lines import ends_with_line, finite_number, finite_numbers, known_names, shown, warn_of_cut
from ._text_files import warn_of_inverted

__all__ = ["is_open_images", "read_open_images_detections", "read_open_images_ground_truths"]

_CORNERS = ("XMin", "XMax", "YMin", "YMax")
_UNKNOWN = -1
_ANY: tuple[float, ...] = ()  # of a column that may have any number
_BOX = dict.fromkeys(_CORNERS, _ANY)

Hierarchy = Mapping[str, set[str]]


def is_open_images(path: PathLike) -> bool:
    """Returns True for the name of a CSV file, plain or gzip."""
    return os.fspath(path).lower().endswith((".csv", ".csv.gz"))


def read_open_images_ground_truths(
    boxes: PathLike,
    *,
    image_labels: PathLike | None = None,
    hierarchy: PathLike | None = None,
    class_descriptions: PathLike | None = None,
) -> GroundTruthTable:
    """Reads Open Images annotations: the boxes of every image, with groups (`IsGroupOf`) as `crowd`.

    The verified classes of an image are those of its boxes and of its image-level labels, present or not. With a
    hierarchy, a box also counts for every parent class, a class that is present verifies its parents, and a class that
    is not present verifies its children. Classes are those with boxes after that; images are all that any file names.

    Args:
      boxes: the CSV of boxes. An unknown `IsGroupOf` (-1) means that it is not a group.
      image_labels: the CSV of image-level labels; without it, only the classes of its boxes are verified in an image.
      hierarchy: the JSON tree of `LabelName` and `Subcategory`. Its root is not a class; `Part` is not read.
      class_descriptions: the CSV of names; boxes of classes that it does not list are excluded with a warning.

    Returns:
      One row per box and class, in the order of the file; `ids` are rows of the file from 0. Classes and images are
      sorted by id; class ids are label names such as `/m/01g317`.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if a column is missing, a line is invalid, or no box remains; the message says where.
    """
    above, below = _read_hierarchy(hierarchy)
    images, classes = _Numbers(), _Numbers()
    columns = _read(boxes, {"ImageID": images, "LabelName": classes}, _BOX | {"IsGroupOf": (-1, 0, 1)})
    rows, label = _related(columns["LabelName"], classes, above)
    names = {one: one for one in classes}
    if class_descriptions is not None:
        names = _read_descriptions(class_descriptions)
    class_ids = sorted({list(classes)[one] for one in np.unique(label)} & names.keys())
    if not class_ids:
        raise ValueError(f"{boxes}: no boxes in it, or none of a class that is described.")

    image, searched = columns["ImageID"][rows], [(columns["ImageID"][rows], label)]
    if image_labels is not None:
        of_images = _read(image_labels, {"ImageID": images, "LabelName": classes}, {"Confidence": (0, 1)})
        for is_there, relation in ((True, above), (False, below)):
            kind = (of_images["Confidence"] > 0) == is_there
            kind_rows, kind_label = _related(of_images["LabelName"][kind], classes, relation)
            searched.append((of_images["ImageID"][kind][kind_rows], kind_label))

    image_ids, label_of = sorted(images), _places(classes, class_ids)
    index_of = _places(images, image_ids)
    verified = np.zeros((len(image_ids), len(class_ids)), bool)
    for of_image, of_label in searched:
        known = label_of[of_label] != _UNKNOWN
        verified[index_of[of_image[known]], label_of[of_label[known]]] = True
    known = label_of[label] != _UNKNOWN
    rows = rows[known]
    without = np.bincount(rows, minlength=len(columns["LabelName"])) == 0
    why = "of classes that are not described"
    _warn_of_left_out(boxes, "boxes", why, without, columns["LabelName"], classes, list(names))
    xywh = _xywh(columns)
    warn_of_inverted(boxes, xywh[:, :2], xywh[:, :2] + xywh[:, 2:])
    xywh = xywh[rows]
    return GroundTruthTable(
        image_index=index_of[image[known]],
        labels=label_of[label[known]],
        boxes=xywh,
        area=xywh[:, 2] * xywh[:, 3],
        crowd=columns["IsGroupOf"][rows] > 0,
        ignore=np.zeros(len(rows), bool),
        ids=rows,
        image_ids=np.array(image_ids),
        class_ids=np.array(class_ids),
        class_names=tuple(names[one] for one in class_ids),
        verified=verified,
    )


def read_open_images_detections(path: PathLike, ground_truths: GroundTruthTable) -> DetectionTable:
    """Reads Open Images detections.

    Detections are excluded with a warning if the ground truths do not name their image, in which no class is verified;
    if their class has no boxes there, so that AP is not defined; or if their box has no area, as in the challenge.

    Args:
      path: the CSV of detections.
      ground_truths: the ground truths, which define the images and classes.

    Returns:
      One row per remaining detection, in the order of the file; `ids` are rows of the file from 0.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if a column is missing or a line is invalid; the message says where.
    """
    images, classes = _Numbers(), _Numbers()
    columns = _read(path, {"ImageID": images, "LabelName": classes}, {"Score": _ANY} | _BOX)
    known_images, known_classes = (
        ground_truths.image_ids.astype(str).tolist(),
        ground_truths.class_ids.astype(str).tolist(),
    )
    image_index = _places(images, known_images)[columns["ImageID"]]
    labels = _places(classes, known_classes)[columns["LabelName"]]
    xywh = _xywh(columns)
    for why, places, field, numbers, known in (
        ("of images that the ground truths do not name", image_index, "ImageID", images, known_images),
        ("of classes that have no boxes in the ground truths", labels, "LabelName", classes, known_classes),
    ):
        _warn_of_left_out(path, "detections", why, places == _UNKNOWN, columns[field], numbers, known)
    has_area = np.minimum(xywh[:, 2], xywh[:, 3]) > 0
    if not has_area.all():
        warnings.warn(
            f"{path}: ignored {int((~has_area).sum())} of {len(has_area)} detections, whose boxes have no area.",
            UserWarning,
            stacklevel=2,
        )
    kept = np.flatnonzero(has_area & (image_index != _UNKNOWN) & (labels != _UNKNOWN))
    return DetectionTable(
        image_index=image_index[kept], labels=labels[kept], boxes=xywh[kept], scores=columns["Score"][kept], ids=kept
    )


class _Numbers(dict[str, int]):
    """Numbers strings from 0, in the order of their first occurrence."""

    def __missing__(self, key: str) -> int:
        number = self[key] = len(self)
        return number


@collector_paused()
def _read(
    path: PathLike, numbered: Mapping[str, _Numbers], numeric: Mapping[str, tuple[float, ...]]
) -> dict[str, HostArray]:
    """Returns columns of a CSV file with a header: strings as int64 numbers, and numbers as float64.

    Args:
      path: the file.
      numbered: the columns of strings, each with its numbering.
      numeric: the columns of numbers, each with its allowed values.
    """
    fields = [*numbered, *numeric]
    pieces: dict[str, list[HostArray]] = {
        field: [np.empty(0, np.int64 if field in numbered else np.float64)] for field in fields
    }
    header: list[str] = []
    data, cut = read_bytes(path), False
    for block in blocks(path, data):
        if not header:
            header = block.rows.pop(0) if block.rows else []
            if any(header.count(field) != 1 for field in fields):
                break
            pick = itemgetter(*map(header.index, fields))
        if not set(map(len, block.rows)) <= {len(header)}:
            row = next(row for row in block.rows if len(row) != len(header))
            raise block.error(row, f"expected {len(header)} values, as in line 1, got {len(row)}")
        columns = list(zip(*map(pick, block.rows), strict=True))
        for field, column in zip(fields, columns, strict=bool(columns)):
            if field in numeric:
                pieces[field].append(_numbers(field, column, numeric[field], block))
                continue
            codes = map(numbered[field].__getitem__, column)
            pieces[field].append(np.fromiter(codes, np.int64, len(column)))
            if "" in numbered[field]:
                raise block.error(block.rows[column.index("")], f"`{field}` is empty; every line needs one")
        lengths = [len(row[-1]) for row in block.rows[-1:] + block.rows[:-1]]
        cut = bool(lengths) and lengths[0] < max(lengths)
    if cut and not ends_with_line(data):
        warn_of_cut([str(path)])
    if any(header.count(field) != 1 for field in fields):
        raise ValueError(
            f"{path}: expected the columns {', '.join(fields)} in line 1, each once, got {shown(', '.join(header))}."
        )
    return {field: np.concatenate(values) for field, values in pieces.items()}


def _numbers(field: str, column: tuple[str, ...], allowed: tuple[float, ...], block: Block) -> Floats:
    values = finite_numbers(column)
    if values is not None and (not allowed or np.isin(values, allowed).all()):
        return values
    expected = f"one of {', '.join(map(str, allowed))}" if allowed else "a finite number"
    for row, word in zip(block.rows, column, strict=True):
        value = finite_number(word)
        if value is None or (allowed and value not in allowed):
            raise block.error(row, f"`{field}` must be {expected}, got {shown(word)}")
    raise AssertionError("a value is invalid")


def _read_descriptions(path: PathLike) -> dict[str, str]:
    names: dict[str, str] = {}
    for block in blocks(path, read_bytes(path)):
        for row in block.rows:
            if len(row) != 2 and not (len(row) == 3 and row[2].strip().isdecimal()):  # the challenge's file has numbers
                fault = f"expected `LabelName,name` or `LabelName,name,number`, got {shown(','.join(row))}"
                raise block.error(row, f"{fault}; put a name with a comma into quotes")
            if names.setdefault(row[0], row[1]) != row[1]:
                raise block.error(row, f"{row[0]!r} is named {row[1]!r}, but {names[row[0]]!r} above; keep one of them")
    return names


def _read_hierarchy(path: PathLike | None) -> tuple[Hierarchy, Hierarchy]:
    """Returns the parents and the children of each class, on all levels."""
    above: dict[str, set[str]] = {}
    below: dict[str, set[str]] = {}

    def visit(node: Any, ancestors: frozenset[str]) -> None:
        children = node.get("Subcategory", []) if isinstance(node, dict) else None
        if not isinstance(children, list) or not isinstance(node.get("LabelName"), str):
            raise ValueError(
                f"{path}: expected a tree of objects with `LabelName` and `Subcategory`, got {reprlib.repr(node)}."
            )
        above.setdefault(node["LabelName"], set()).update(ancestors)  # a class may occur in several places
        for ancestor in ancestors:
            below.setdefault(ancestor, set()).add(node["LabelName"])
        for child in children:
            visit(child, ancestors | {node["LabelName"]})

    if path is not None:
        root = load_json(path)
        top = root.get("Subcategory") if isinstance(root, dict) else None
        try:
            for node in top if isinstance(top, list) else [root]:
                visit(node, frozenset())
        except RecursionError as error:
            raise ValueError(f"{path}: the class hierarchy is too deep; is it the right file?") from error
    return above, below


def _related(labels: Ints, classes: _Numbers, relation: Hierarchy) -> tuple[Ints, Ints]:
    """Repeats rows for all classes related to the class of each row; returns their rows and labels."""
    numbered = list(classes.items())
    related = [[number, *(classes[one] for one in sorted(relation.get(name, ())))] for name, number in numbered]
    counts = np.array([*map(len, related), 0])
    flat = np.array([number for one in related for number in one], np.int64)
    start = np.cumsum(counts) - counts
    repeats = counts[labels]
    rows = np.repeat(np.arange(len(labels)), repeats)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    return rows, flat[start[labels[rows]] + place]


def _places(numbers: _Numbers, values: Iterable[str]) -> Ints:
    """Returns the index in the values of the string of each number; `_UNKNOWN` if it is not there."""
    place_of = {value: place for place, value in enumerate(values)}
    return np.array([place_of.get(one, _UNKNOWN) for one in numbers], np.int64)


def _warn_of_left_out(
    path: PathLike,
    what: str,
    why: str,
    left_out: Bools,
    column: Ints,
    numbers: _Numbers,
    known: Sequence[str],
) -> None:
    if left_out.any():
        names = np.array(list(numbers))[np.unique(column[left_out])]
        warnings.warn(
            f"{path}: ignored {int(left_out.sum())} of {len(column)} {what}, {why}: {first_few(names)}; "
            f"{known_names(names.tolist(), known)}.",
            UserWarning,
            stacklevel=3,
        )


def _xywh(columns: Mapping[str, HostArray]) -> Floats:
    left, right, top, bottom = (columns[field] for field in _CORNERS)
    return np.stack([left, top, right - left, bottom - top], axis=1)
