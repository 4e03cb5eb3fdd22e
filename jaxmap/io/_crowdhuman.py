"""CrowdHuman's files to tables: one JSON object per line and image.

In: `annotation_val.odgt`, whose lines have `ID` and `gtboxes`; of a box, `tag`, `extra`, `head_attr`, and one of
`fbox`, `vbox` and `hbox` are read; and detections as CrowdDet writes them, with `ID`, `height`, `width` and `dtboxes`,
which have `box` and `score`. Out: tables of the class `person`, boxes in xywh. As in CrowdDet's evaluation, ignore
regions excuse detections by the share that lies inside, so they are crowds, and boxes are clipped to the image.

References: CrowdDet evaluate/APMRToolkits/image.py, load_gt_boxes and clip_all_boader; tools/test.py, boxes_dump.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter

import numpy as np

from .._garbage_collection import collector_paused
from ..types import DetectionTable, Floats, GroundTruthTable, HostArray, Ints
from ._files import PathLike, read_bytes
from ._identifiers import index_of
from ._json import Entries, first_few, parse_json
from ._lines import known_names, lines_of

__all__ = ["is_crowdhuman", "read_crowdhuman_detections", "read_crowdhuman_ground_truths"]

_PARTS = {"full": "fbox", "visible": "vbox", "head": "hbox"}
_PERSON = "person"


def is_crowdhuman(path: PathLike) -> bool:
    """Returns True for the name of an .odgt file."""
    return os.fspath(path).lower().endswith((".odgt", ".odgt.gz"))


def read_crowdhuman_ground_truths(
    path: PathLike, *, part: str = "full", image_sizes: PathLike | None = None
) -> GroundTruthTable:
    """Reads CrowdHuman annotations: the people of every image, with what is to be ignored as `crowd`.

    Args:
      path: the file `annotation_val.odgt`, plain or gzip.
      part: which box of a person: `full` (`fbox`), `visible` (`vbox`) or `head` (`hbox`).
      image_sizes: a file whose lines have `ID`, `height` and `width`, such as CrowdDet's detections; None if the
        annotations have them. Boxes are clipped to their images as in CrowdDet's evaluation; without sizes they are
        not, with a warning.

    Returns:
      One row per box, images in the order of their ids; `ids` number the boxes of an image from 0.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if a line or a box is invalid, an image is listed twice, or its size is missing; the message says
        where.
    """
    if part not in _PARTS:
        raise ValueError(f"`part` must be one of {list(_PARTS)}, got {part!r}.")
    source = os.fspath(path)
    records = _records(path)
    ids = records.identifiers("ID").astype(str)
    _refuse_repeated(source, ids)
    order = np.argsort(ids)
    sizes = _sizes(records if image_sizes is None else _records(image_sizes), ids)
    image_index, people = _flattened(records, "gtboxes", np.argsort(order))
    rows = np.argsort(image_index, kind="stable")
    boxes = people.boxes(_PARTS[part])
    ignore = np.array([tag != _PERSON for tag in people.objects("tag")], bool)
    for field in ("extra", "head_attr") if part == "head" else ("extra",):
        attributes = [value if value is not None else {} for value in people.names(field)]
        ignore |= Entries(items=attributes, name=f"gtboxes.{field}", source=source).flags("ignore")
    if sizes is not None:
        boxes = _clipped(boxes, sizes[order][image_index])
    elif len(boxes):
        _warn_of_no_sizes(source)
    counts = np.bincount(image_index, minlength=len(ids))
    return GroundTruthTable(
        image_index=image_index[rows],
        labels=np.zeros(len(rows), np.int64),
        boxes=boxes[rows],
        area=boxes[rows, 2] * boxes[rows, 3],
        crowd=ignore[rows],
        ignore=np.zeros(len(rows), bool),
        ids=np.concatenate([np.zeros(0, np.int64), *map(np.arange, counts)]),
        image_ids=ids[order],
        class_ids=np.array([1]),
        class_names=(_PERSON,),
        image_sizes=None if sizes is None else sizes[order],
    )


def read_crowdhuman_detections(path: PathLike, ground_truths: GroundTruthTable) -> DetectionTable:
    """Reads detections as CrowdDet writes them, clipped to their images if the ground truths have sizes.

    An image without a line has no detections. All boxes are people; their `tag` is not read.

    Args:
      path: a file with one JSON object per line, plain or gzip.
      ground_truths: the ground truths, which define the images.

    Returns:
      One row per box, in the order of the file; `ids` number the rows.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if a line or a box is invalid, an image is listed twice, or is not in the ground truths; the message
        says where.
    """
    source = os.fspath(path)
    records = _records(path)
    ids = records.identifiers("ID").astype(str)
    _refuse_repeated(source, ids)
    index, found = index_of(ids, ground_truths.image_ids)
    if not found.all():
        unknown, known = ids[~found].tolist(), ground_truths.image_ids.astype(str).tolist()
        raise ValueError(
            f"{source}: {len(unknown)} of {len(ids)} images are not in the ground truths: "
            f"{first_few(np.array(unknown))}; {known_names(unknown, known)}."
        )
    image_index, people = _flattened(records, "dtboxes", index)
    boxes = people.boxes("box")
    if ground_truths.image_sizes is not None:
        boxes = _clipped(boxes, ground_truths.image_sizes[image_index])
    return DetectionTable(
        image_index=image_index,
        labels=np.zeros(len(boxes), np.int64),
        boxes=boxes,
        scores=people.numbers("score"),
        ids=np.arange(len(boxes)),
    )


@collector_paused()
def _records(path: PathLike) -> Entries:
    """Returns the objects in the lines of a file."""
    source = os.fspath(path)
    lines = enumerate(lines_of(source, read_bytes(path)), start=1)
    items = [parse_json(line.encode(), f"{source}, line {number}") for number, line in lines if line.strip()]
    if not items:
        raise ValueError(f"{source}: expected one JSON object per line, got an empty file.")
    return Entries(items=items, name="lines", source=source)


def _flattened(records: Entries, field: str, places: Ints) -> tuple[Ints, Entries]:
    """Returns the place `[N]` of the image of each box, and the boxes of all images."""
    of_images = records.objects(field)
    for number, boxes in enumerate(of_images):
        if not isinstance(boxes, list):
            raise ValueError(f"{records.source}: `lines[{number}].{field}` must be a list, got {boxes!r:.80}.")
    image_index = np.repeat(places, list(map(len, of_images))).astype(np.int64)
    boxes = [box for of_image in of_images for box in of_image]
    return image_index, Entries(items=boxes, name=field, source=records.source)


def _refuse_repeated(source: str, ids: HostArray) -> None:
    repeated = [one for one, count in Counter(ids.tolist()).items() if count > 1]
    if repeated:
        raise ValueError(f"{source}: images listed more than once: {first_few(np.array(repeated))}; keep one of each.")


def _sizes(records: Entries, ids: HostArray) -> Ints | None:
    """Returns `[I, 2]` int64, height and width of the images; None if no record has them."""
    if not any(value is not None for value in records.names("width")):
        return None
    sizes = np.stack([records.integers("height"), records.integers("width")], axis=1)
    index, found = index_of(ids, records.identifiers("ID").astype(str))
    if not found.all():
        missing = first_few(ids[~found])
        raise ValueError(
            f"{records.source}: no size of {np.count_nonzero(~found)} of {len(ids)} images: {missing}; add their lines."
        )
    if (sizes <= 0).any():
        raise ValueError(f"{records.source}: `height` and `width` must be at least 1, got {sizes.min()}.")
    return sizes[index]


def _clipped(boxes: Floats, sizes: Ints) -> Floats:
    """Returns boxes clipped to images of some sizes: starts to the last pixel, ends to the border, as in CrowdDet."""
    border = sizes[:, ::-1]
    starts = np.clip(boxes[:, :2], 0, border - 1)
    ends = np.clip(boxes[:, :2] + boxes[:, 2:], 0, border)
    return np.concatenate([starts, ends - starts], axis=1)


def _warn_of_no_sizes(source: str) -> None:
    warnings.warn(
        f"{source}: the sizes of the images are unknown, so boxes are not clipped to them as in CrowdDet's evaluation; "
        "pass its detections as `image_sizes`, or --image-sizes, whose lines have `height` and `width`.",
        UserWarning,
        stacklevel=3,
    )
