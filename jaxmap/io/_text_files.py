"""Datasets of many small text files: one file of ground truths per image, one of detections per class.

PASCAL VOC and DOTA are such formats. They share the search for files in folders and archives, image lists, tables from
the objects of each image, and lines of detections, whose first words are image and score.
"""

from __future__ import annotations

import pathlib
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..types import Floats, GroundTruthTable, Ints
from ._files import PathLike, files_in
from ._image_lists import listed_how, read_image_list
from ._json import first_few
from ._lines import ends_with_line, finite_number, finite_numbers, known_names, lines_of, shown, warn_of_cut
from ._recognition import contents_of

__all__ = [
    "Found",
    "Object",
    "files_of_images",
    "ground_truth_columns",
    "read_detections",
    "read_objects",
    "warn_of_inverted",
]


class Object(NamedTuple):
    """A ground truth: its class name, whether it is difficult, and its coordinates in the order of the file."""

    label: str
    difficult: bool
    coordinates: tuple[float, ...]


class Found(NamedTuple):
    """The lines of all files of detections, sorted by file name."""

    image_index: Ints  # [N]
    labels: Ints  # [N]
    scores: Floats  # [N]
    coordinates: Floats  # [N, numbers]


def read_objects(source: PathLike, suffix: str, read: Callable[[str, bytes], list[Object]]) -> dict[str, list[Object]]:
    """Returns the objects of every image by its id, which is its file name without the suffix.

    Args:
      source: a folder or tar archive.
      suffix: the suffix of the files, such as `.xml`.
      read: reads the objects of a file from its name and content.

    Raises:
      FileNotFoundError: if there is no such folder or archive.
      ValueError: if two files have the same name, or no file has an object.
    """
    objects: dict[str, list[Object]] = {}
    origin: dict[str, str] = {}
    for name, data in _some_files(source, suffix):
        image_id = pathlib.PurePath(name).stem
        if image_id in objects:
            raise ValueError(f"{origin[image_id]} and {name} annotate the same image, {image_id!r}; keep one of them.")
        objects[image_id], origin[image_id] = read(name, data), name
    if not any(objects.values()):
        raise ValueError(f"{source}: none of the {len(objects)} annotations has an object.")
    return objects


def ground_truth_columns(
    objects: Mapping[str, Sequence[Object]],
    *,
    source: PathLike,
    suffix: str,
    image_list: PathLike | Sequence[str] | None,
) -> tuple[dict[str, Any], Floats]:
    """Returns the columns of a `GroundTruthTable` except the geometry, and `[N, numbers]` coordinates.

    Classes are all that occur in the annotations, including images that are not in the list, in alphabetical order.
    Images are sorted by id.

    Args:
      objects: the objects of every image.
      source: the name of the annotations in messages.
      suffix: the suffix of the annotation files.
      image_list: the images to include: a text file, plain or gzip, with one id per line, or the ids; None for all.

    Raises:
      FileNotFoundError: if there is no such list.
      ValueError: if the list names an image without an annotation file.
    """
    class_names = sorted({one.label for image in objects.values() for one in image})
    image_ids = sorted(objects if image_list is None else read_image_list(image_list))
    missing = [image_id for image_id in image_ids if image_id not in objects]
    if missing:
        raise ValueError(
            f"{source}: no annotation for {len(missing)} of {len(image_ids)} images of the list: "
            f"{first_few(np.array(missing))}; expected {missing[0] + suffix!r}; {listed_how(missing, list(objects))}."
        )
    counts = [len(objects[image_id]) for image_id in image_ids]
    rows = [one for image_id in image_ids for one in objects[image_id]]
    label_of = {name: label for label, name in enumerate(class_names)}
    width = len(next(one for image in objects.values() for one in image).coordinates)
    columns = {
        "image_index": np.repeat(np.arange(len(image_ids)), counts),
        "labels": np.array([label_of[row.label] for row in rows], np.int64),
        "crowd": np.zeros(len(rows), bool),
        "ignore": np.array([row.difficult for row in rows], bool),
        "ids": np.concatenate([np.zeros(0, np.int64), *map(np.arange, counts)]),
        "image_ids": np.array(image_ids),
        "class_ids": np.arange(len(class_names)),
        "class_names": tuple(class_names),
    }
    return columns, np.array([row.coordinates for row in rows], np.float64).reshape(-1, width)


def read_detections(
    source: PathLike, ground_truths: GroundTruthTable, *, prefix: str, example: str, coordinates: Sequence[str]
) -> Found:
    """Reads the files of detections, whose lines are an image, a score and coordinates.

    Args:
      source: a folder or tar archive with the files, a pattern, or one file.
      ground_truths: the ground truths, which define the images and classes.
      prefix: a regular expression for the part of a file name before the class.
      example: such a prefix, for messages.
      coordinates: the names of the numbers after the score, for messages.

    Raises:
      FileNotFoundError: if there is no such folder, archive or file.
      ValueError: if a line is invalid, or a class or image is not in the ground truths.
    """
    label_of = {name: label for label, name in enumerate(ground_truths.class_names)}
    index_of = {str(image_id): index for index, image_id in enumerate(ground_truths.image_ids.tolist())}
    columns = ("image", "score", *coordinates)
    labels, images, numbers = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros((0, len(columns) - 1))]
    origin: dict[int, str] = {}
    whole: list[bool] = []  # of the files with lines
    cut: list[str] = []
    for name, data in _some_files(source, ".txt"):
        label = _label_of_file(name, label_of, index_of, prefix, example)
        if label in origin:
            raise ValueError(f"{origin[label]} and {name} have detections of the same class; keep one of them.")
        origin[label] = name
        found = _read_lines(name, data, index_of, columns)
        labels.append(np.full(len(found[0]), label))
        images.append(found[0])
        numbers.append(found[1])
        if data:
            whole.append(ends_with_line(data))
            cut += [name] if found[2] and not whole[-1] else []
    if any(whole) or len(whole) == 1:  # if no file ends its last line, the writer omits the line end
        warn_of_cut(cut)
    silent = [name for name, label in label_of.items() if label not in origin]
    if silent:
        warnings.warn(
            f"{source}: no file for {len(silent)} of {len(label_of)} classes, which count as never detected: "
            f"{first_few(np.array(silent))}.",
            UserWarning,
            stacklevel=3,
        )
    values = np.concatenate(numbers)
    return Found(np.concatenate(images), np.concatenate(labels), values[:, 0], values[:, 1:])


def files_of_images(source: PathLike, ground_truths: GroundTruthTable) -> tuple[list[tuple[str, bytes]], Ints]:
    """Returns name and content of detection files that each belong to an image, and the image index of each.

    Args:
      source: a folder or tar archive with files named like the images, a pattern, or one file. Empty files are left
        out.
      ground_truths: the ground truths, which define the images.

    Raises:
      FileNotFoundError: if there is no such folder, archive or file.
      ValueError: if a file has the name of no image, or several have the same name, or there is none.
    """
    files = list(_some_files(source, ".txt"))
    known = ground_truths.image_ids.astype(str).tolist()
    index_of = {name: index for index, name in enumerate(known)}
    origin: dict[str, str] = {}
    for name, _ in files:
        stem = pathlib.PurePath(name).stem
        if stem not in index_of:
            raise ValueError(
                f"{name}: image {shown(stem)} is not among the {len(known)} of the ground truths; "
                f"{known_names([stem], known)}."
            )
        if origin.setdefault(stem, name) != name:
            raise ValueError(f"{origin[stem]} and {name} are for the same image, {stem!r}; keep one of them.")
    files = [(name, data) for name, data in files if data]
    return files, np.array([index_of[pathlib.PurePath(name).stem] for name, _ in files], np.int64)


def warn_of_inverted(source: PathLike, starts: Floats, ends: Floats) -> None:
    """Warns once about ground truths whose ends `[N, 2]` are before their starts `[N, 2]`."""
    inverted = (ends < starts).any(axis=1)
    if inverted.any():
        (left, top), (right, bottom) = starts[inverted.argmax()], ends[inverted.argmax()]
        warnings.warn(
            f"{source}: {int(inverted.sum())} of {len(starts)} boxes end before they start, so they overlap nothing; "
            f"correct or drop them. The first goes from ({left:g}, {top:g}) to ({right:g}, {bottom:g}).",
            UserWarning,
            stacklevel=3,
        )


def _some_files(source: PathLike, suffix: str) -> Iterator[tuple[str, bytes]]:
    """Yields name and content of the files with a suffix; there must be at least one."""
    empty = True
    for file in files_in(source, suffix):
        empty = False
        yield file
    if empty:
        contents = contents_of(source)
        raise ValueError(f"{source}: no *{suffix} file in it, it has {contents}; {contents.advice()}.")


def _label_of_file(
    name: str, label_of: Mapping[str, int], index_of: Mapping[str, int], prefix: str, example: str
) -> int:
    stem = pathlib.PurePath(name.removesuffix(".gz")).stem
    match = re.fullmatch(f"(?:{prefix})?(.+)", stem)
    class_name = match[1] if match else ""
    if class_name not in label_of:
        advice = f"name the file {example}CLASS.txt or CLASS.txt"
        if stem in index_of:
            advice = "it has the name of an image, but one file per class is expected, with the images in its lines"
        raise ValueError(
            f"{name}: {class_name!r} is not among the {len(label_of)} classes of the ground truths, "
            f"{first_few(np.array(list(label_of)))}; {advice}."
        )
    return label_of[class_name]


def _read_lines(
    name: str, data: bytes, index_of: Mapping[str, int], columns: Sequence[str]
) -> tuple[Ints, Floats, bool]:
    """Returns image indices `[n]`, numbers `[n, columns - 1]`, and whether the last line is shorter than the others."""
    lines, width = lines_of(name, data), len(columns) - 1
    # Names may contain blanks, numbers do not.
    rows = [words for line in lines if (words := line.strip().rsplit(maxsplit=width))]
    if set(map(len, rows)) <= {len(columns)}:
        numbers = finite_numbers([word for words in rows for word in words[1:]])
        images = [index_of.get(words[0], -1) for words in rows]
        if numbers is not None and -1 not in images:
            lengths = [len(words[-1]) for words in rows[-1:] + rows[:-1]]
            return np.array(images, np.int64), numbers.reshape(-1, width), len(rows) > 1 and lengths[0] < max(lengths)
    raise _fault(name, lines, index_of, columns)


def _fault(name: str, lines: Sequence[str], index_of: Mapping[str, int], columns: Sequence[str]) -> ValueError:
    """Returns what is wrong with the first invalid line."""
    for number, line in enumerate(lines, start=1):
        words = line.strip().rsplit(maxsplit=len(columns) - 1)
        if not words:
            continue
        image, place = words[0], f"{name}, line {number}"
        if len(words) != len(columns) or (image not in index_of and len(line.split()) != len(columns)):
            return ValueError(f"{place}: expected `{' '.join(columns)}`, got {shown(line.strip())}.")
        if image not in index_of:
            return ValueError(
                f"{place}: image {shown(image)} is not among the {len(index_of)} of the ground truths; "
                f"{known_names([image], list(index_of))}; drop its detections, or use the annotations and the list "
                "that they were made for."
            )
        for column, word in zip(columns[1:], words[1:], strict=True):
            if finite_number(word) is None:
                return ValueError(f"{place}: `{column}` must be a finite number, got {shown(word)}.")
    raise AssertionError("a line is invalid")
