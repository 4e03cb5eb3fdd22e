"""KITTI's files to tables: one text file of labels per image, and one of detections.

In: `label_2/000001.txt` with the lines `type truncated occluded alpha left top right bottom height width length x y z
rotation_y`, and results with a `score` after them; of these, type, corners and score are read, and for a difficulty
also truncated and occluded. Out: tables, boxes in xywh in pixels.

A `DontCare` region excuses detections of every class that lie in it, by the share of the detection that is inside, and
any number of them, as a crowd region of COCO does; so it becomes one crowd region of each class.

References: KITTI object development kit, readme.txt; evaluate_object.cpp, `cleanData`, `boxoverlap` and
`computeStatistics`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from ..types import DetectionTable, Floats, GroundTruthTable
from ._files import PathLike
from ._json import first_few
from ._lines import finite_number, lines_of, shown
from ._recognition import is_kitti_label
from ._text_files import Object, files_of_images, ground_truth_columns, read_objects, warn_of_inverted

__all__ = ["read_kitti_detections", "read_kitti_ground_truths"]

_FIELDS = (
    *("type", "truncated", "occluded", "alpha", "left", "top", "right", "bottom"),
    *("height", "width", "length", "x", "y", "z", "rotation_y"),
)
_CORNERS = _FIELDS[4:8]
_REGION = "DontCare"
_CLASSES = ("Car", "Cyclist", "Pedestrian")
_NEIGHBOURS = {"Van": "Car", "Person_sitting": "Pedestrian"}  # an object of the first is ignored for the second


class _Limits(NamedTuple):
    """What an object of a difficulty may have: a height above the first number, and at most the others."""

    height: float
    occluded: float
    truncated: float


_DIFFICULTIES = {"easy": _Limits(40, 0, 0.15), "moderate": _Limits(25, 1, 0.30), "hard": _Limits(25, 2, 0.50)}


def read_kitti_ground_truths(
    labels: PathLike, *, image_list: PathLike | Sequence[str] | None = None, difficulty: str | None = None
) -> GroundTruthTable:
    """Reads KITTI labels: the objects of every image, with `DontCare` regions as `crowd` of every class.

    The id of an image is its file name without `.txt`. Classes are all types that occur, including images that are not
    in the list, in alphabetical order.

    Args:
      labels: a folder or tar archive with one text file per image, on any level.
      image_list: the images to include: a text file, plain or gzip, with one id per line, or the ids; None for all.
      difficulty: `easy`, `moderate` or `hard`: objects that are too low, too occluded or too truncated for it are
        `ignore`; so are a `Van` as a `Car` and a `Person_sitting` as a `Pedestrian`. Types other than these and
        `Cyclist` are left out, and each class is its own group, for the protocol `kitti`. None to keep all objects and
        types. Use the same value for the detections.

    Returns:
      One row per object, images in the order of their ids, and then one per region and class; `ids` number the rows of
      an image from 0.

    Raises:
      FileNotFoundError: if there is no such folder, archive or list.
      ValueError: if a line is invalid, two files have the same name, or the list names an image without a file; the
        message names the file, line and field. Also if there is no such difficulty.
    """
    limits = _limits(difficulty)
    objects = read_objects(labels, ".txt", partial(_read_lines, _FIELDS, limits=limits))
    counted = {image: [one for one in rows if one.label != _REGION] for image, rows in objects.items()}
    if not any(counted.values()):
        raise ValueError(f"{labels}: none of the {len(objects)} label files has an object beside {_REGION}.")
    columns, corners = ground_truth_columns(counted, source=labels, suffix=".txt", image_list=image_list)
    warn_of_inverted(labels, corners[:, :2], corners[:, 2:])
    image_ids, num_classes = columns["image_ids"].tolist(), len(columns["class_names"])
    regions = [
        (index, len(counted[image]) + number, label, *one.coordinates)
        for index, image in enumerate(image_ids)
        for number, one in enumerate(row for row in objects[image] if row.label == _REGION)
        for label in range(num_classes)
    ]
    table = np.array(regions, np.float64).reshape(-1, 7)
    index, number, label = table[:, :3].astype(np.int64).T
    boxes = _boxes(np.concatenate([corners, table[:, 3:]]))
    more = {
        "image_index": index,
        "labels": label,
        "ids": number * num_classes + label,
        "crowd": np.ones(len(table), bool),
        "ignore": np.zeros(len(table), bool),
    }
    columns |= {name: np.concatenate([columns[name], column]) for name, column in more.items()}
    if limits is not None:
        columns["class_group"] = np.array(columns["class_names"])
    return GroundTruthTable(boxes=boxes, area=boxes[:, 2] * boxes[:, 3], **columns)


def read_kitti_detections(
    detections: PathLike, ground_truths: GroundTruthTable, *, difficulty: str | None = None
) -> DetectionTable:
    """Reads KITTI results: one text file per image, with the lines of labels and a score as 16th word.

    An image without a file has no detections.

    Args:
      detections: a folder or tar archive with the files, a pattern, or one file.
      ground_truths: the ground truths, which define the images and classes.
      difficulty: as for the ground truths: detections that are lower than its objects, and of other types, are left
        out. None to keep all.

    Returns:
      One row per line, files in the order of their names; `ids` number the rows.

    Raises:
      FileNotFoundError: if there is no such folder, archive or file.
      ValueError: if a line is invalid, or an image or class is not in the ground truths; the message names the file,
        line and field. Also if there is no such difficulty.
    """
    limits = _limits(difficulty)
    files, images = files_of_images(detections, ground_truths)
    label_of = {name: label for label, name in enumerate(ground_truths.class_names)}
    rows = [_read_lines((*_FIELDS, "score"), name, data) for name, data in files]
    if limits is not None:
        rows = [
            [one for one in of_file if one.label in label_of and _height(one.coordinates) >= limits.height]
            for of_file in rows
        ]
    labels = []
    for (name, _), of_file in zip(files, rows, strict=True):
        for one in of_file:
            if one.label not in label_of:
                known = first_few(np.array(list(label_of)))
                raise ValueError(f"{name}: {shown(one.label)} is not among the classes of the ground truths, {known}.")
            labels.append(label_of[one.label])
    numbers = np.array([one.coordinates for of_file in rows for one in of_file], np.float64).reshape(-1, 5)
    return DetectionTable(
        image_index=np.repeat(images, [len(of_file) for of_file in rows]),
        labels=np.array(labels, np.int64),
        boxes=_boxes(numbers[:, :4]),
        scores=numbers[:, 4],
        ids=np.arange(len(numbers)),
    )


def _boxes(corners: Floats) -> Floats:
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def _limits(difficulty: str | None) -> _Limits | None:
    if difficulty is not None and difficulty not in _DIFFICULTIES:
        raise ValueError(f"`difficulty` must be one of {list(_DIFFICULTIES)}, got {difficulty!r}.")
    return None if difficulty is None else _DIFFICULTIES[difficulty]


def _height(corners: Sequence[float]) -> float:
    return abs(corners[3] - corners[1])


def _read_lines(fields: Sequence[str], name: str, data: bytes, *, limits: _Limits | None = None) -> list[Object]:
    """Returns the objects of a file: type, corners, and the score if it is among the fields; those within limits."""
    objects = []
    columns = [*_CORNERS, *fields[len(_FIELDS) :], *(("occluded", "truncated") if limits else ())]
    for number, line in enumerate(lines_of(name, data), start=1):
        if not (words := line.split()):
            continue
        place = f"{name}, line {number}"
        if len(words) != len(fields) or not is_kitti_label(words[: len(_FIELDS)]):
            raise ValueError(f"{place}: expected `{' '.join(fields)}`, got {shown(line.strip())}.")
        wanted = [words[fields.index(column)] for column in columns]
        values = [finite_number(word) for word in wanted]
        if None in values:
            column = columns[values.index(None)]
            raise ValueError(f"{place}: `{column}` must be a finite number, got {shown(wanted[values.index(None)])}.")
        numbers = tuple(value for value in values if value is not None)
        if limits is None:
            objects.append(Object(words[0], False, numbers))
        elif (label := _NEIGHBOURS.get(words[0], words[0])) in (*_CLASSES, _REGION):
            *corners, occluded, truncated = numbers
            is_within = (
                _height(corners) > limits.height and occluded <= limits.occluded and truncated <= limits.truncated
            )
            objects.append(Object(label, words[0] in _NEIGHBOURS or not is_within, tuple(corners)))
    return objects
