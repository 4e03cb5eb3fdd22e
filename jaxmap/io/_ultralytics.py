"""Ultralytics' `predictions.json`, which `val(save_json=True)` writes, to a table.

In: a list of COCO's results, but the `image_id` is the name of the image's file without suffix, as an integer if it has
only digits; later versions also write the `file_name`. The `category_id` is the class counted from 0 (older versions)
or from 1, or the number that COCO gives the class, for COCO's own images. Out: a table for ground truths in YOLO's or
COCO's files.

References: Ultralytics models/yolo/detect/val.py, `pred_to_json` and `init_metrics`.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..types import DetectionTable, GroundTruthTable, HostArray, Ints
from ._coco import detection_table, result_layout
from ._files import PathLike, open_file
from ._json import Entries, first_few
from ._lines import image_name, known_names
from ._result_files import read_result_columns

__all__ = ["is_ultralytics", "read_ultralytics_detections"]

_COCO_UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}  # numbers of COCO's 91 that no class has
_COCO_NUMBERS = [number for number in range(1, 91) if number not in _COCO_UNUSED]
_HEAD = 1 << 12  # bytes with the first result


def is_ultralytics(path: PathLike) -> bool:
    """Returns True for results whose first has a `file_name`, as later versions of Ultralytics write."""
    head = b""
    with contextlib.suppress(OSError, ValueError), open_file(path) as file:
        head = file.read(_HEAD)
    return b'"file_name"' in head.split(b"}", 1)[0] and head.lstrip()[:1] == b"["


def read_ultralytics_detections(
    path: PathLike, ground_truths: GroundTruthTable, *, category_ids: str | None = None, iou_type: str = "bbox"
) -> DetectionTable:
    """Reads Ultralytics' `predictions.json`.

    Args:
      path: a JSON file, plain or gzip-compressed.
      ground_truths: the ground truths, which define the images, by the names of their files, and the classes.
      category_ids: what `category_id` is: the `same` as in the ground truths; the place of the class among them,
        `from-0` or `from-1`; or its number among COCO's 91, `coco91`, for 80 classes. None finds out: several are
        possible only if they give the same classes.
      iou_type: what will be compared, which decides the fields to read: one of `jaxmap.protocols.IOU_TYPES` except
        `obb`.

    Returns:
      One row per result, in the order of the file.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is not JSON, or not as described in `coco_detections`; if an image is not known, or its name
        stands for several; or if `category_ids` is needed.
    """
    source = str(path)
    columns = read_result_columns(path, result_layout(iou_type) | {"file_name": Entries.names})
    files = columns.pop("file_name")
    named = bool(files) and all(isinstance(file, str) and file for file in files)
    names = list(map(image_name, files)) if named else columns["image_id"].astype(str).tolist()
    images = _images(names, ground_truths, spelled=named, source=source)
    columns["image_id"] = ground_truths.image_ids[images]
    labels = _labels(columns["category_id"], ground_truths.class_ids, category_ids, named, source)
    columns["category_id"] = ground_truths.class_ids[labels]
    return detection_table(columns, ground_truths, iou_type, source)


def _images(names: Sequence[str], truth: GroundTruthTable, *, spelled: bool, source: str) -> Ints:
    """Returns the index of the image of each name; `spelled` names have their leading zeros."""
    known = truth.image_ids.astype(str).tolist()
    if truth.image_files is not None:
        pairs = zip(truth.image_files.tolist(), known, strict=True)
        known = [image_name(file) if file else one for file, one in pairs]
    places = defaultdict(list)
    for place, stem in enumerate(known):
        places[stem if spelled or not (stem.isascii() and stem.isdecimal()) else str(int(stem))].append(place)
    distinct = list(dict.fromkeys(names))
    if unknown := [name for name in distinct if name not in places]:
        raise ValueError(
            f"{source}: {len(unknown)} of {len(distinct)} images are not in the ground truths: "
            f"{first_few(np.array(unknown))}; {known_names(unknown, known)}."
        )
    if several := [name for name in distinct if len(places[name]) > 1]:
        meant = [str(truth.image_ids[place]) for place in places[several[0]]]
        raise ValueError(
            f"{source}: the image {several[0]!r} can be {' or '.join(map(repr, meant))} of the ground truths; give "
            "their files distinct names, or write `file_name`, as later versions of Ultralytics do."
        )
    return np.array([places[name][0] for name in names], np.int64)


def _labels(ids: HostArray, class_ids: HostArray, chosen: str | None, named: bool, source: str) -> Ints:
    """Returns the index of the class of each `category_id`."""
    number = len(class_ids)
    meanings: dict[str, Any] = {"same": class_ids, "from-0": np.arange(number), "from-1": np.arange(1, number + 1)}
    if number == len(_COCO_NUMBERS):
        meanings["coco91"] = np.array(_COCO_NUMBERS)
    if chosen is not None:
        if chosen not in meanings:
            raise ValueError(f"`category_ids` must be one of {list(meanings)} for {number} classes, got {chosen!r}.")
        meanings = {chosen: meanings[chosen]}
    elif named:  # a version that counts from 1
        del meanings["from-0"]
        if np.array_equal(class_ids, np.arange(number)):
            del meanings["same"]
    found = {}
    for name, meaning in meanings.items():
        place_of = dict(zip(meaning.tolist(), range(number), strict=True))
        labels = np.array([place_of.get(one, -1) for one in ids.tolist()], np.int64)
        if (labels >= 0).all():
            found[name] = labels
    if not found:
        raise ValueError(
            f"{source}: the category ids {first_few(np.unique(ids))} are not those of the {number} classes of the "
            f"ground truths (tried {', '.join(meanings)}); use the class names that the detector was trained with."
        )
    first, *others = found.values()
    if not all(np.array_equal(first, other) for other in others):
        raise ValueError(
            f"{source}: the category ids {first_few(np.unique(ids))} can mean {' or '.join(found)}; say which by "
            "`category_ids` or --category-ids."
        )
    return first
