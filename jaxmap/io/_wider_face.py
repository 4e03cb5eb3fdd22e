"""WIDER FACE's files to tables: one text file of all ground truths, and one of detections per image.

In: `wider_face_val_bbx_gt.txt`, for each image its path, the number of its faces, and their lines `x y width height
blur expression illumination invalid occlusion pose`; and detections as the benchmark takes them, for each image a text
file of its name with the image, the number of faces, and the lines `x y width height score`. Out: tables of the class
`face`, boxes in xywh.

References: WIDER FACE wider_face_split/readme.txt; eval_tools, read_pred.m.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from ..types import DetectionTable, Floats, GroundTruthTable
from ._files import PathLike, read_bytes
from ._lines import IMAGE_SUFFIXES, finite_number, image_name, lines_of, shown
from ._text_files import files_of_images, warn_of_inverted

__all__ = ["is_wider_face", "read_wider_face_detections", "read_wider_face_ground_truths"]

_BOX = ("x", "y", "width", "height")
_FACE = (*_BOX, "blur", "expression", "illumination", "invalid", "occlusion", "pose")
_INVALID = _FACE.index("invalid")
_FOUND = (*_BOX, "score")


def is_wider_face(path: PathLike) -> bool:
    """Returns True for the name of a text file."""
    return os.fspath(path).lower().endswith((".txt", ".txt.gz"))


def read_wider_face_ground_truths(path: PathLike) -> GroundTruthTable:
    """Reads WIDER FACE annotations: the faces of every image, with `invalid` ones as `ignore`.

    The id of an image is its file name without folder and suffix.

    Args:
      path: the file `wider_face_val_bbx_gt.txt`, plain or gzip.

    Returns:
      One row per face, images in the order of their ids; `ids` number the faces of an image from 0.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if a line is invalid, or an image is listed twice; the message names the file, line and field.
    """
    source = os.fspath(path)
    images = dict[str, tuple[str, Floats]]()
    for place, image, rows in _images(source, lines_of(source, read_bytes(path)), _FACE):
        stem = image_name(image)
        if stem in images:
            raise ValueError(f"{place}: the image {shown(stem)} is listed above already; keep one of them.")
        images[stem] = image, rows
    if not any(len(rows) for _, rows in images.values()):
        raise ValueError(f"{source}: none of the {len(images)} images has a face.")
    ordered = sorted(images.items())
    counts = [len(rows) for _, (_, rows) in ordered]
    faces = np.concatenate([rows for _, (_, rows) in ordered])
    warn_of_inverted(path, faces[:, :2], faces[:, :2] + faces[:, 2:4])
    return GroundTruthTable(
        image_index=np.repeat(np.arange(len(ordered)), counts),
        labels=np.zeros(len(faces), np.int64),
        boxes=faces[:, :4],
        area=faces[:, 2] * faces[:, 3],
        crowd=np.zeros(len(faces), bool),
        ignore=faces[:, _INVALID] != 0,
        ids=np.concatenate([np.arange(count) for count in counts]),
        image_ids=np.array([stem for stem, _ in ordered]),
        image_files=np.array([image for _, (image, _) in ordered], object),
        class_ids=np.array([0]),
        class_names=("face",),
    )


def read_wider_face_detections(detections: PathLike, ground_truths: GroundTruthTable) -> DetectionTable:
    """Reads WIDER FACE detections: one text file per image, in folders of events or in one.

    An image without a file has no detections.

    Args:
      detections: a folder or tar archive with the files, on any level, a pattern, or one file.
      ground_truths: the ground truths, which define the images.

    Returns:
      One row per face, files in the order of their names; `ids` number the rows.

    Raises:
      FileNotFoundError: if there is no such folder, archive or file.
      ValueError: if a line is invalid, or an image is not in the ground truths; the message names the file, line and
        field.
    """
    files, images = files_of_images(detections, ground_truths)
    tables = []
    for (name, data), index in zip(files, images.tolist(), strict=True):
        blocks = list(_images(name, lines_of(name, data), _FOUND))
        held = [image_name(image) for _, image, _ in blocks]
        if held != [str(ground_truths.image_ids[index])]:
            raise ValueError(f"{name}, line 1: expected the image of the file's name, got {shown(', '.join(held))}.")
        tables.append(blocks[0][2])
    rows = np.concatenate([np.zeros((0, len(_FOUND))), *tables])
    return DetectionTable(
        image_index=np.repeat(images, [len(table) for table in tables]),
        labels=np.zeros(len(rows), np.int64),
        boxes=rows[:, :4],
        scores=rows[:, 4],
        ids=np.arange(len(rows)),
    )


def _images(name: str, lines: list[str], fields: tuple[str, ...]) -> Iterator[tuple[str, str, Floats]]:
    """Yields the place, the name and the rows `[n, fields]` of each image in a file."""
    rest = [(f"{name}, line {number}", line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
    rest.reverse()
    while rest:
        place, image = rest.pop()
        if len(image) > 1024 or (fields is _FACE and os.path.splitext(image)[1].lower() not in IMAGE_SUFFIXES):
            raise ValueError(f"{place}: expected the path of an image, got {shown(image)}.")
        where, count = rest.pop() if rest else (place, "nothing")
        if not (count.isascii() and count.isdecimal() and len(count) < 9):
            raise ValueError(f"{where}: expected the number of faces of {shown(image)}, got {shown(count)}.")
        number = int(count)
        if len(rest) < number:
            raise ValueError(f"{where}: {number} faces of {shown(image)}, but only {len(rest)} lines follow.")
        rows = [_row(*rest.pop(), fields) for _ in range(number)]
        if not number and rest and len(rest[-1][1].split()) == len(fields):  # no face has one line, of zeros
            if any(_row(*rest[-1], fields)):
                raise ValueError(f"{rest[-1][0]}: a face of {shown(image)}, which has 0; correct the number.")
            rest.pop()
        yield place, image, np.array(rows, np.float64).reshape(-1, len(fields))


def _row(place: str, line: str, fields: tuple[str, ...]) -> list[float]:
    words = line.split()
    if len(words) != len(fields):
        raise ValueError(f"{place}: expected `{' '.join(fields)}`, got {shown(line)}.")
    values = [finite_number(word) for word in words]
    if None in values:
        place_of = values.index(None)
        raise ValueError(f"{place}: `{fields[place_of]}` must be a finite number, got {shown(words[place_of])}.")
    return [value for value in values if value is not None]
