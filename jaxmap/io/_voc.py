"""PASCAL VOC's files to tables: one XML file an image, and one text file of detections a class.

In: `Annotations/*.xml`, an image list (`ImageSets/Main/test.txt`), and `comp4_det_test_CLASS.txt` with the lines `image
score x1 y1 x2 y2`; each kind in a folder, below it, or in a tar archive. Out: tables, boxes in xywh.

VOC numbers pixels from 1 and names the first and the last that belong to a box, so a box covers `x2 - x1 + 1` pixels
and starts at `x1 - 1`. That is translated here, and nothing that follows knows of it. Other tools (TensorFlow's object
detection API, torchvision) read the same files as plain corners, without the 1: `inclusive=False`.

References: VOCdevkit VOCevaldet.m, VOCreadxml.m.
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
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from ..types import DetectionTable, GroundTruthTable
from ._json import PathLike, first_few, read_bytes

__all__ = ["is_voc", "read_voc_detections", "read_voc_ground_truths"]

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_COLUMNS = ("image", "score", "x1", "y1", "x2", "y2")
_DETECTIONS_NAME = re.compile(r"(?:comp\d+_det_[^_]+_)?(.+)")  # comp4_det_test_car, or car alone


class _Object(NamedTuple):
    label: str
    difficult: bool
    corners: tuple[float, ...]


def is_voc(path: PathLike) -> bool:
    """Returns True for a folder or a tar archive, in which VOC's files come; COCO's are single JSON files."""
    return os.path.isdir(path) or (os.path.isfile(path) and tarfile.is_tarfile(path))


def read_voc_ground_truths(
    annotations: PathLike, *, image_list: PathLike | Sequence[str] | None = None, inclusive: bool = True
) -> GroundTruthTable:
    """Reads VOC annotations: the objects of every image, `difficult` ones as `ignore`.

    The id of an image is the name of its file without `.xml`. Classes are all that occur in the annotations, also in
    images that the list leaves out, in the order of the alphabet.

    Args:
      annotations: a folder or tar archive with one XML file an image, on any level.
      image_list: which images count: a text file, plain or gzip, with one id a line, or the ids; None for all.
      inclusive: `xmax` and `ymax` are the last pixels inside, numbered from 1, as VOC defines; False for plain corners.

    Returns:
      One row for each object, images in the order of their ids; `ids` number the objects of an image from 0.

    Raises:
      FileNotFoundError: if there is no such folder, archive or list.
      ValueError: if a file is not a VOC annotation, two have one name, or the list names an image that has none; the
        message says which file, object and field.
    """
    objects: dict[str, list[_Object]] = {}
    origin: dict[str, str] = {}
    for name, data in _files(annotations, ".xml"):
        image_id = pathlib.PurePath(name).stem
        if image_id in objects:
            raise ValueError(f"{origin[image_id]} and {name} annotate one image, {image_id!r}; keep one of them.")
        objects[image_id], origin[image_id] = _read_objects(name, data), name
    class_names = sorted({one.label for image in objects.values() for one in image})
    if not class_names:
        raise ValueError(f"{annotations}: none of the {len(objects)} annotations holds an object.")
    image_ids = sorted(objects if image_list is None else _read_image_list(image_list))
    missing = [image_id for image_id in image_ids if image_id not in objects]
    if missing:
        raise ValueError(
            f"{annotations}: no annotation for {len(missing)} of {len(image_ids)} images of the list: "
            f"{first_few(np.array(missing))}; expected {missing[0]}.xml."
        )
    counts = [len(objects[image_id]) for image_id in image_ids]
    rows = [one for image_id in image_ids for one in objects[image_id]]
    label_of = {name: label for label, name in enumerate(class_names)}
    boxes = _boxes(np.array([row.corners for row in rows]).reshape(-1, 4), inclusive)
    return GroundTruthTable(
        image_index=np.repeat(np.arange(len(image_ids)), counts),
        labels=np.array([label_of[row.label] for row in rows], np.int64),
        boxes=boxes,
        area=boxes[:, 2] * boxes[:, 3],
        crowd=np.zeros(len(rows), bool),
        ignore=np.array([row.difficult for row in rows], bool),
        ids=np.concatenate([np.zeros(0, np.int64), *map(np.arange, counts)]),
        image_ids=np.array(image_ids),
        class_ids=np.arange(len(class_names)),
        class_names=tuple(class_names),
    )


def read_voc_detections(
    detections: PathLike, ground_truths: GroundTruthTable, *, inclusive: bool = True
) -> DetectionTable:
    """Reads VOC detections: a text file for each class, `comp4_det_test_CLASS.txt` or `CLASS.txt`.

    Args:
      detections: a folder or tar archive with the files, a pattern such as `results/comp4_det_test_*.txt`, or one file.
      ground_truths: defines the images and classes.
      inclusive: corners are pixels numbered from 1 and the last ones are inside; False for plain corners.

    Returns:
      One row for each line, files in the order of their names; `ids` number the rows.

    Raises:
      FileNotFoundError: if there is no such folder, archive or file.
      ValueError: if a line is not as it should be, or a class or image is not among the ground truths'; the message
        says which file, line and field.
    """
    label_of = {name: label for label, name in enumerate(ground_truths.class_names)}
    index_of = {str(image_id): index for index, image_id in enumerate(ground_truths.image_ids.tolist())}
    labels, images, numbers = [], [np.zeros(0, np.int64)], [np.zeros((0, 5))]
    origin: dict[int, str] = {}
    for name, data in _files(detections, ".txt"):
        label = _label_of_file(name, label_of)
        if label in origin:
            raise ValueError(f"{origin[label]} and {name} hold detections of one class; keep one of them.")
        origin[label] = name
        found = _read_lines(name, data, index_of)
        labels.append(np.full(len(found[0]), label))
        images.append(found[0])
        numbers.append(found[1])
    silent = [name for name, label in label_of.items() if label not in origin]
    if silent:
        warnings.warn(
            f"{detections}: no file for {len(silent)} of {len(label_of)} classes, which count as never detected: "
            f"{first_few(np.array(silent))}.",
            UserWarning,
            stacklevel=2,
        )
    values = np.concatenate(numbers)
    return DetectionTable(
        image_index=np.concatenate(images),
        labels=np.concatenate([np.zeros(0, np.int64), *labels]),
        boxes=_boxes(values[:, 1:], inclusive),
        scores=values[:, 0],
        ids=np.arange(len(values)),
    )


def _boxes(corners: np.ndarray, inclusive: bool) -> np.ndarray:
    """Returns `[N, 4]` xywh of `[N, 4]` corners."""
    first, last = corners[:, :2], corners[:, 2:]
    if inclusive:
        return np.concatenate([first - 1, last - first + 1], axis=1)
    return np.concatenate([first, last - first], axis=1)


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
        for number, line in enumerate(_text(source, read_bytes(image_list)).splitlines(), start=1):
            if len(line.split()) > 1:
                raise ValueError(f"{source}, line {number}: expected one image id, got {line!r}.")
            ids += line.split()
    if not ids:
        raise ValueError(f"{source}: expected the ids of images, got none.")
    repeated = [one for one, count in Counter(ids).items() if count > 1]
    if repeated:
        raise ValueError(f"{source}: images listed more than once: {first_few(np.array(repeated))}; keep one of each.")
    return ids


def _read_objects(name: str, data: bytes) -> list[_Object]:
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:  # it says line and column
        raise ValueError(f"{name}: not valid XML ({error}); the file is damaged, write it again.") from error
    if root.tag != "annotation":
        raise ValueError(f"{name}: expected a VOC <annotation>, got <{root.tag}>.")
    # Parts of a body have a name and a box as well, one level deeper.
    return [_read_object(f"{name}: object {number}", one) for number, one in enumerate(root.findall("object"), start=1)]


def _read_object(place: str, element: ElementTree.Element) -> _Object:
    difficult = (element.findtext("difficult") or "0").strip()
    if difficult not in ("0", "1"):
        raise ValueError(f"{place}: <difficult> must be 0 or 1, got {difficult!r}.")
    label = (element.findtext("name") or "").strip()
    if not label:
        raise ValueError(f"{place}: <name> must be the object's class, got none.")
    return _Object(label, difficult == "1", tuple(_corner(place, element, field) for field in _CORNERS))


def _corner(place: str, element: ElementTree.Element, field: str) -> float:
    text = element.findtext(f"bndbox/{field}")
    value = _number(text or "")
    if value is None:
        raise ValueError(f"{place}: <bndbox><{field}> must be a finite number, got {text!r}.")
    return value


def _label_of_file(name: str, label_of: dict[str, int]) -> int:
    match = _DETECTIONS_NAME.fullmatch(pathlib.PurePath(name).stem)
    class_name = match[1] if match else ""
    if class_name not in label_of:
        raise ValueError(
            f"{name}: {class_name!r} is not among the {len(label_of)} classes of the ground truths, "
            f"{first_few(np.array(list(label_of)))}; name the file comp4_det_test_CLASS.txt or CLASS.txt."
        )
    return label_of[class_name]


def _read_lines(name: str, data: bytes, index_of: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns image indices `[n]` and numbers `[n, 5]`, score and corners."""
    lines = [(number, line.split()) for number, line in enumerate(_text(name, data).splitlines(), start=1)]
    lines = [(number, words) for number, words in lines if words]
    for number, words in lines:
        if len(words) != len(_COLUMNS):
            raise ValueError(f"{name}, line {number}: expected `{' '.join(_COLUMNS)}`, got {' '.join(words)!r}.")
        if words[0] not in index_of:
            raise ValueError(
                f"{name}, line {number}: image {words[0]!r} is not among the {len(index_of)} of the ground truths; "
                "drop its detections, or use the annotations and the list that they were made for."
            )
    try:
        values = np.array([words[1:] for _, words in lines], np.float64).reshape(-1, 5)
    except ValueError:
        values = np.full((len(lines), 5), np.nan)
    if not np.isfinite(values).all():
        number, column, word = next(
            (number, column, word)
            for number, words in lines
            for column, word in zip(_COLUMNS[1:], words[1:], strict=True)
            if _number(word) is None
        )
        raise ValueError(f"{name}, line {number}: `{column}` must be a finite number, got {word!r}.")
    return np.array([index_of[words[0]] for _, words in lines], np.int64), values


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _text(name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: not a text file in UTF-8 ({error}).") from error
