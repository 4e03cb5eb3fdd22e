"""Datasets as many small text files: one of ground truths an image, one of detections a class.

PASCAL VOC began it, DOTA took it over. Here is what such formats share: finding the files in folders and archives,
image lists, tables from the objects of each image, and the detections' lines, whose first words are image and score.
"""

from __future__ import annotations

import errno
import glob
import os
import pathlib
import re
import tarfile
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..types import GroundTruthTable
from ._files import PathLike, read_bytes
from ._json import first_few

__all__ = ["Found", "Object", "decoded", "finite_number", "ground_truth_columns", "read_detections", "read_objects"]


class Object(NamedTuple):
    """A ground truth: the name of its class, whether it is difficult, and its coordinates in the file's order."""

    label: str
    difficult: bool
    coordinates: tuple[float, ...]


class Found(NamedTuple):
    """The lines of all files of detections, files in the order of their names."""

    image_index: np.ndarray  # [N]
    labels: np.ndarray  # [N]
    scores: np.ndarray  # [N]
    coordinates: np.ndarray  # [N, numbers]


def read_objects(source: PathLike, suffix: str, read: Callable[[str, bytes], list[Object]]) -> dict[str, list[Object]]:
    """Returns the objects of every image by its id, the name of its file without the suffix.

    Args:
      source: a folder or tar archive.
      suffix: of the files, such as `.xml`.
      read: takes name and content of one file.

    Raises:
      FileNotFoundError: if there is no such folder or archive.
      ValueError: if two files have one name, or none of them holds an object.
    """
    objects: dict[str, list[Object]] = {}
    origin: dict[str, str] = {}
    for name, data in _files(source, suffix):
        image_id = pathlib.PurePath(name).stem
        if image_id in objects:
            raise ValueError(f"{origin[image_id]} and {name} annotate one image, {image_id!r}; keep one of them.")
        objects[image_id], origin[image_id] = read(name, data), name
    if not any(objects.values()):
        raise ValueError(f"{source}: none of the {len(objects)} annotations holds an object.")
    return objects


def ground_truth_columns(
    objects: Mapping[str, Sequence[Object]],
    *,
    source: PathLike,
    suffix: str,
    image_list: PathLike | Sequence[str] | None,
) -> tuple[dict[str, Any], np.ndarray]:
    """Returns the columns of a `GroundTruthTable` that do not depend on the shape, and `[N, numbers]` coordinates.

    Classes are all that occur in the annotations, also in images that the list leaves out, in the order of the
    alphabet; images in the order of their ids.

    Args:
      objects: of every image.
      source: what messages call the annotations.
      suffix: of the annotations' files.
      image_list: which images count: a text file, plain or gzip, with one id a line, or the ids; None for all.

    Raises:
      FileNotFoundError: if there is no such list.
      ValueError: if the list names an image that has no annotation.
    """
    class_names = sorted({one.label for image in objects.values() for one in image})
    image_ids = sorted(objects if image_list is None else _read_image_list(image_list))
    missing = [image_id for image_id in image_ids if image_id not in objects]
    if missing:
        raise ValueError(
            f"{source}: no annotation for {len(missing)} of {len(image_ids)} images of the list: "
            f"{first_few(np.array(missing))}; expected {missing[0]}{suffix}."
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
    """Reads the detections' files, whose lines are an image, a score and coordinates.

    Args:
      source: a folder or tar archive with the files, a pattern, or one file.
      ground_truths: defines the images and classes.
      prefix: a regular expression of what may stand before the class in a file's name.
      example: such a prefix, for messages.
      coordinates: what messages call the numbers after the score.

    Raises:
      FileNotFoundError: if there is no such folder, archive or file.
      ValueError: if a line is not as it should be, or a class or image is not among the ground truths'.
    """
    label_of = {name: label for label, name in enumerate(ground_truths.class_names)}
    index_of = {str(image_id): index for index, image_id in enumerate(ground_truths.image_ids.tolist())}
    columns = ("image", "score", *coordinates)
    labels, images, numbers = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros((0, len(columns) - 1))]
    origin: dict[int, str] = {}
    for name, data in _files(source, ".txt"):
        label = _label_of_file(name, label_of, prefix, example)
        if label in origin:
            raise ValueError(f"{origin[label]} and {name} hold detections of one class; keep one of them.")
        origin[label] = name
        found = _read_lines(name, data, index_of, columns)
        labels.append(np.full(len(found[0]), label))
        images.append(found[0])
        numbers.append(found[1])
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


def finite_number(text: str) -> float | None:
    """Returns the number that a text spells; None if it spells none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def decoded(name: str, data: bytes) -> str:
    """Returns the text that a file holds.

    Raises:
      ValueError: if it is not UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: not a text file in UTF-8 ({error}).") from error


def _files(source: PathLike, suffix: str) -> Iterator[tuple[str, bytes]]:
    """Yields name and content of the files with a suffix, by name: of a folder, an archive, a pattern, or one file."""
    path = pathlib.Path(source)
    files: Iterable[tuple[str, bytes]]
    if os.path.isfile(path) and tarfile.is_tarfile(path):
        files = _archived(path, suffix)
    elif path.is_file():
        files = [(str(path), path.read_bytes())]
    else:
        found = path.rglob(f"*{suffix}") if path.is_dir() else map(pathlib.Path, glob.glob(str(source)))
        paths = sorted(one for one in found if one.is_file() and not one.name.startswith("."))
        if not paths and not path.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(source))
        files = ((str(one), one.read_bytes()) for one in paths)
    empty = True
    for file in files:
        empty = False
        yield file
    if empty:
        raise ValueError(f"{source}: no *{suffix} file in it; is it the folder or archive that was meant?")


def _archived(path: pathlib.Path, suffix: str) -> list[tuple[str, bytes]]:
    try:
        with tarfile.open(path) as archive:
            members = [one for one in archive if one.isfile() and one.name.endswith(suffix)]
            members = [one for one in members if not pathlib.PurePath(one.name).name.startswith(".")]
            contents = [archive.extractfile(one) for one in members]
            files = [(f"{path}/{one.name}", file.read()) for one, file in zip(members, contents, strict=True) if file]
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path}: broken archive ({error}); it is damaged or cut off, copy it again.") from error
    return sorted(files)


def _read_image_list(image_list: PathLike | Sequence[str]) -> list[str]:
    if isinstance(image_list, Sequence) and not isinstance(image_list, str):
        source, ids = "image_list", [str(one) for one in image_list]
    else:
        source, ids = str(image_list), []
        for number, line in enumerate(decoded(source, read_bytes(image_list)).splitlines(), start=1):
            if len(line.split()) > 1:
                raise ValueError(f"{source}, line {number}: expected one image id, got {line!r}.")
            ids += line.split()
    if not ids:
        raise ValueError(f"{source}: expected the ids of images, got none.")
    repeated = [one for one, count in Counter(ids).items() if count > 1]
    if repeated:
        raise ValueError(f"{source}: images listed more than once: {first_few(np.array(repeated))}; keep one of each.")
    return ids


def _label_of_file(name: str, label_of: Mapping[str, int], prefix: str, example: str) -> int:
    match = re.fullmatch(f"(?:{prefix})?(.+)", pathlib.PurePath(name).stem)
    class_name = match[1] if match else ""
    if class_name not in label_of:
        raise ValueError(
            f"{name}: {class_name!r} is not among the {len(label_of)} classes of the ground truths, "
            f"{first_few(np.array(list(label_of)))}; name the file {example}CLASS.txt or CLASS.txt."
        )
    return label_of[class_name]


def _read_lines(
    name: str, data: bytes, index_of: Mapping[str, int], columns: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns image indices `[n]` and numbers `[n, columns - 1]`, from the score on."""
    lines = [(number, line.split()) for number, line in enumerate(decoded(name, data).splitlines(), start=1)]
    lines = [(number, words) for number, words in lines if words]
    for number, words in lines:
        if len(words) != len(columns):
            raise ValueError(f"{name}, line {number}: expected `{' '.join(columns)}`, got {' '.join(words)!r}.")
        if words[0] not in index_of:
            raise ValueError(
                f"{name}, line {number}: image {words[0]!r} is not among the {len(index_of)} of the ground truths; "
                "drop its detections, or use the annotations and the list that they were made for."
            )
    try:
        values = np.array([words[1:] for _, words in lines], np.float64).reshape(-1, len(columns) - 1)
    except ValueError:
        values = np.full((len(lines), len(columns) - 1), np.nan)
    if not np.isfinite(values).all():
        number, column, word = next(
            (number, column, word)
            for number, words in lines
            for column, word in zip(columns[1:], words[1:], strict=True)
            if finite_number(word) is None
        )
        raise ValueError(f"{name}, line {number}: `{column}` must be a finite number, got {word!r}.")
    return np.array([index_of[words[0]] for _, words in lines], np.int64), values
