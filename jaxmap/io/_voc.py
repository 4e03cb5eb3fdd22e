"""PASCAL VOC's files to tables: one XML file per image, and one text file of detections per class.

In: `Annotations/*.xml`, an image list (`ImageSets/Main/test.txt`), and `comp4_det_test_CLASS.txt` with the lines `image
score x1 y1 x2 y2`; each kind in a folder, its subfolders, or a tar archive. Out: tables, boxes in xywh.

VOC numbers pixels from 1 and gives the first and the last pixel of a box, so a box covers `x2 - x1 + 1` pixels and
starts at `x1 - 1`. This is converted here, and nowhere else. Other tools (TensorFlow's object detection API,
torchvision) read the same files as plain corners, without the 1: `inclusive=False`.

References: VOCdevkit VOCevaldet.m, VOCreadxml.m.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from xml.etree import ElementTree

import numpy as np

from ..types import DetectionTable, Floats, GroundTruthTable
from ._files import PathLike, is_archive
from ._lines import finite_number, shown
from ._text_files import Object, ground_truth_columns, read_detections, read_objects, warn_of_inverted

__all__ = ["is_voc", "read_voc_detections", "read_voc_ground_truths"]

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_PREFIX = r"comp\d+_det_[^_]+_"  # comp4_det_test_car, or just car


def is_voc(path: PathLike) -> bool:
    """Returns True for a folder or a tar archive, as VOC's files are; COCO's are single JSON files."""
    return os.path.isdir(path) or is_archive(path)


def read_voc_ground_truths(
    annotations: PathLike, *, image_list: PathLike | Sequence[str] | None = None, inclusive: bool = True
) -> GroundTruthTable:
    """Reads VOC annotations: the objects of every image, with `difficult` ones as `ignore`.

    The id of an image is its file name without `.xml`. Classes are all that occur in the annotations, including images
    that are not in the list, in alphabetical order.

    Args:
      annotations: a folder or tar archive with one XML file per image, on any level.
      image_list: the images to include: a text file, plain or gzip, with one id per line, or the ids; None for all.
      inclusive: whether `xmax` and `ymax` are the last pixels inside, numbered from 1, as in VOC; False for plain
        corners.

    Returns:
      One row per object, images in the order of their ids; `ids` number the objects of an image from 0.

    Raises:
      FileNotFoundError: if there is no such folder, archive or list.
      ValueError: if a file is not a VOC annotation, two have the same name, or the list names an image without a file;
        the message names the file, object and field.
    """
    objects = read_objects(annotations, ".xml", _read_objects)
    columns, corners = ground_truth_columns(objects, source=annotations, suffix=".xml", image_list=image_list)
    warn_of_inverted(annotations, corners[:, :2], corners[:, 2:])
    boxes = _boxes(corners, inclusive)
    return GroundTruthTable(boxes=boxes, area=boxes[:, 2] * boxes[:, 3], **columns)


def read_voc_detections(
    detections: PathLike, ground_truths: GroundTruthTable, *, inclusive: bool = True
) -> DetectionTable:
    """Reads VOC detections: one text file per class, `comp4_det_test_CLASS.txt` or `CLASS.txt`.

    Args:
      detections: a folder or tar archive with the files, a pattern such as `results/comp4_det_test_*.txt`, or one file.
      ground_truths: the ground truths, which define the images and classes.
      inclusive: whether corners are pixels, numbered from 1, of which the last one is inside; False for plain corners.

    Returns:
      One row per line, files in the order of their names; `ids` number the rows.

    Raises:
      FileNotFoundError: if there is no such folder, archive or file.
      ValueError: if a line is invalid, or a class or image is not in the ground truths; the message names the file,
        line and field.
    """
    found = read_detections(
        detections, ground_truths, prefix=_PREFIX, example="comp4_det_test_", coordinates=("x1", "y1", "x2", "y2")
    )
    return DetectionTable(
        image_index=found.image_index,
        labels=found.labels,
        boxes=_boxes(found.coordinates, inclusive),
        scores=found.scores,
        ids=np.arange(len(found.scores)),
    )


def _boxes(corners: Floats, inclusive: bool) -> Floats:
    """Returns `[N, 4]` xywh of `[N, 4]` corners."""
    first, last = corners[:, :2], corners[:, 2:]
    if inclusive:
        return np.concatenate([first - 1, last - first + 1], axis=1)
    return np.concatenate([first, last - first], axis=1)


def _read_objects(name: str, data: bytes) -> list[Object]:
    if b"<!ENTITY" in data:
        raise ValueError(f"{name}: entities are not read; write what they stand for in their place.")
    try:
        root = ElementTree.fromstring(data)
    # ParseError gives line and column; the others are about encodings that Python does not support.
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ValueError(f"{name}: not valid XML ({error}); the file is damaged, write it again.") from error
    if root.tag != "annotation":
        raise ValueError(f"{name}: expected a VOC <annotation>, got <{root.tag}>.")
    # Parts of a body also have a name and a box, one level deeper.
    objects = root.findall("object")
    elsewhere = len(list(root.iter("object"))) - len(objects)
    if elsewhere or (not objects and "object" in map(_local_name, root.iter())):
        raise ValueError(
            f"{name}: an <object> must be directly inside <annotation>, in lower case and without a namespace."
        )
    return [_read_object(f"{name}: object {number}", one) for number, one in enumerate(objects, start=1)]


def _local_name(element: ElementTree.Element) -> str:
    """Returns the tag of an element without its namespace, in lower case."""
    return element.tag.rpartition("}")[2].lower()


def _read_object(place: str, element: ElementTree.Element) -> Object:
    flag = element.find("difficult")
    difficult = "0" if flag is None else (flag.text or "0").strip()
    if difficult not in ("0", "1") or (flag is not None and len(flag)):
        raise ValueError(f"{place}: <difficult> must be 0 or 1, got {shown(difficult)}.")
    label = (element.findtext("name") or "").strip()
    if not label:
        raise ValueError(f"{place}: <name> must be the class of the object, got none.")
    boxes = element.findall("bndbox")
    if len(boxes) != 1:
        held = ", ".join(f"<{one.tag}>" for one in element) or "nothing"
        raise ValueError(f"{place}: expected one <bndbox>, got {len(boxes)} and {held}.")
    return Object(label, difficult == "1", tuple(_corner(place, boxes[0], field) for field in _CORNERS))


def _corner(place: str, box: ElementTree.Element, field: str) -> float:
    text = box.findtext(field)
    value = finite_number(text or "")
    if value is None:
        raise ValueError(f"{place}: <bndbox><{field}> must be a finite number, got {shown(text)}.")
    return value
