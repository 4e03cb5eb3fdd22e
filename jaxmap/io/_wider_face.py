"""WIDER FACE's files to tables: one text file of all ground truths, and one of detections per image.

In: `wider_face_val_bbx_gt.txt`, for each image its path, the number of its faces, and their lines `x y width height
blur expression illumination invalid occlusion pose`; and detections as the benchmark takes them, for each image a text
file of its name with the image, the number of faces, and the lines `x y width height score`. Out: tables of the class
`face`, boxes in xywh. The sets easy, medium and hard are lists of the faces that count, `wider_easy_val.mat` and so on:
all other faces are ignored, whatever their size.

References: WIDER FACE wider_face_split/readme.txt; eval_tools, read_pred.m, evaluation.m and boxoverlap.m.
"""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..types import Bools, DetectionTable, Floats, GroundTruthTable
from ._files import PathLike, read_bytes
from ._json import first_few
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


def read_wider_face_ground_truths(
    path: PathLike, *, faces: PathLike | Mapping[str, Sequence[int]] | None = None, inclusive: bool = False
) -> GroundTruthTable:
    """Reads WIDER FACE annotations: the faces of every image, with `invalid` ones as `ignore`.

    The id of an image is its file name without folder and suffix.

    Args:
      path: the file `wider_face_val_bbx_gt.txt`, plain or gzip.
      faces: the faces that count: one of the benchmark's files `wider_easy_val.mat`, `wider_medium_val.mat` and
        `wider_hard_val.mat` (they need SciPy), or a mapping from image id to the numbers of its faces from 0. All
        others are `ignore`, and `invalid` is not read. None for all faces that are not `invalid`.
      inclusive: True if boxes include the pixels at their ends, as in the benchmark's evaluation: they are one pixel
        wider and higher than `width` and `height` say. Use the same value for the detections.

    Returns:
      One row per face, images in the order of their ids; `ids` number the faces of an image from 0.

    Raises:
      FileNotFoundError: if there is no such file.
      ImportError: if a .mat file is given and SciPy is not installed.
      ValueError: if a line is invalid, or an image is listed twice; the message names the file, line and field. Also if
        `faces` has a face or an image that the annotations do not have, or not all of their images.
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
    rows = np.concatenate([rows for _, (_, rows) in ordered])
    warn_of_inverted(path, rows[:, :2], rows[:, :2] + rows[:, 2:4])
    boxes = _boxes(rows, inclusive)
    stems = [stem for stem, _ in ordered]
    ignore = rows[:, _INVALID] != 0 if faces is None else ~_counted(faces, stems, counts)
    return GroundTruthTable(
        image_index=np.repeat(np.arange(len(ordered)), counts),
        labels=np.zeros(len(rows), np.int64),
        boxes=boxes,
        area=boxes[:, 2] * boxes[:, 3],
        crowd=np.zeros(len(rows), bool),
        ignore=ignore,
        ids=np.concatenate([np.arange(count) for count in counts]),
        image_ids=np.array(stems),
        image_files=np.array([image for _, (image, _) in ordered], object),
        class_ids=np.array([0]),
        class_names=("face",),
    )


def read_wider_face_detections(
    detections: PathLike, ground_truths: GroundTruthTable, *, inclusive: bool = False
) -> DetectionTable:
    """Reads WIDER FACE detections: one text file per image, in folders of events or in one.

    An image without a file has no detections.

    Args:
      detections: a folder or tar archive with the files, on any level, a pattern, or one file.
      ground_truths: the ground truths, which define the images.
      inclusive: as for the ground truths.

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
        boxes=_boxes(rows, inclusive),
        scores=rows[:, 4],
        ids=np.arange(len(rows)),
    )


def _boxes(rows: Floats, inclusive: bool) -> Floats:
    boxes: Floats = rows[:, :4] + (0, 0, inclusive, inclusive)
    return boxes


def _counted(faces: PathLike | Mapping[str, Sequence[int]], stems: Sequence[str], counts: Sequence[int]) -> Bools:
    """Returns `[N]` bool, the faces of all images that count.

    Args:
      faces: as `read_wider_face_ground_truths` takes it.
      stems: the images.
      counts: the number of faces of each.
    """
    source, chosen = "faces", faces
    if isinstance(faces, str | os.PathLike):
        source, chosen = os.fspath(faces), _read_subset(faces)
    assert isinstance(chosen, Mapping)
    for images, others, what in ((chosen, stems, "the annotations do not have"), (stems, chosen, "it does not have")):
        if missing := sorted(set(images) - set(others)):
            raise ValueError(
                f"{source}: {what} {len(missing)} of {len(images)} images: {first_few(np.array(missing))}; use the "
                "annotations and the list of the same split."
            )
    flags = []
    for stem, count in zip(stems, counts, strict=True):
        numbers = np.asarray(chosen[stem]).ravel()
        if len(numbers) and (numbers.dtype.kind not in "iu" or numbers.min() < 0 or numbers.max() >= count):
            raise ValueError(
                f"{source}: the faces of {shown(stem)} must be whole numbers from 0 to {count - 1}, got "
                f"{first_few(numbers)}."
            )
        flags.append(np.isin(np.arange(count), numbers))
    return np.concatenate(flags)


def _read_subset(path: PathLike) -> dict[str, Any]:
    """Returns the numbers of the faces of each image from 0, from a file such as `wider_easy_val.mat`."""
    try:
        loadmat = importlib.import_module("scipy.io").loadmat
    except ImportError as error:
        raise ImportError(
            'files such as wider_easy_val.mat need SciPy, which is not installed: pip install "jaxmap[sets]"'
        ) from error
    try:
        content = loadmat(io.BytesIO(read_bytes(path)), variable_names=["file_list", "gt_list"])
        events = zip(content["file_list"].ravel(), content["gt_list"].ravel(), strict=True)
        pairs = [pair for files, kept in events for pair in zip(files.ravel(), kept.ravel(), strict=True)]
        return {str(np.asarray(name).item()): kept.astype(np.int64) - 1 for name, kept in pairs}  # they count from 1
    # SciPy has no common error for other files.
    except (ValueError, KeyError, TypeError, AttributeError, NotImplementedError, IndexError) as error:
        raise ValueError(
            f"{os.fspath(path)}: not a list of faces such as wider_easy_val.mat, with `file_list` and `gt_list` "
            f"({error})."
        ) from error


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
