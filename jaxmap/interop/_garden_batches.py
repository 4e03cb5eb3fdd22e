"""Batches of Model Garden's evaluator: checked, copied to the host, and ground truths converted to tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .._inputs._foreign import to_numpy
from ..types import Bools, GroundTruthTable, HostArray, Ints
from ._image_tables import floats, integers

__all__ = ["ImageTruth", "as_table", "read_batch", "read_ids", "read_image_truths", "yxyx_to_xywh"]

GROUND_TRUTH_FIELDS = ("source_id", "height", "width", "num_detections", "classes", "boxes")
ONE_VALUE_AN_IMAGE = ("source_id", "num_detections", "height", "width")


class ImageTruth(NamedTuple):
    """One image's annotations on the host."""

    boxes: HostArray  # [G, 4], xywh in pixels
    class_ids: Ints  # [G]
    area: HostArray  # [G]
    crowd: Bools  # [G]


def read_batch(data: Mapping[str, Any], side: str, fields: tuple[str, ...], boxes: str) -> dict[str, HostArray]:
    """Returns all arrays of a batch on the host, with the leading axes of the boxes."""
    missing = [field for field in fields if field not in data]
    if missing:
        raise ValueError(f"Missing the required keys {missing} in {side}, which has only {sorted(data)}.")
    wanted = [name for name in data if name in fields or name in ("is_crowds", "areas")]
    arrays = {}
    for name in wanted:
        value = data[name]
        arrays[name] = np.concatenate([*map(to_numpy, value)]) if isinstance(value, tuple) else to_numpy(value)
    shape = arrays[boxes].shape
    if len(shape) != 3 or shape[2] != 4:
        raise ValueError(f"`{side}['{boxes}']` must have shape [B, N, 4], got {list(shape)}.")
    expected_shapes = {boxes: shape, "image_info": (shape[0], 4, 2)} | dict.fromkeys(ONE_VALUE_AN_IMAGE, shape[:1])
    for name, values in arrays.items():
        if name in ONE_VALUE_AN_IMAGE:
            arrays[name] = values.reshape(-1)  # pipelines also use [B, 1]
        expected = expected_shapes.get(name, shape[:2])
        if arrays[name].shape != expected:
            raise ValueError(f"`{side}['{name}']` must have shape {list(expected)}, got {list(values.shape)}.")
    return arrays


def read_ids(values: HostArray, side: str, as_text: bool) -> list[Any]:
    """Returns ids, given as integers, text or bytes, in the type of the ground truths: integers or text.

    Raises:
      ValueError: if one of them should be an integer and is not.
    """
    name = f"{side}['source_id']"
    items = [value.decode() if isinstance(value, bytes) else value for value in values.tolist()]
    if as_text:
        return list(map(str, items))
    try:
        items = [int(item) if isinstance(item, str) else item for item in items]
    except ValueError as error:
        raise ValueError(f"`{name}` must hold integers, or text that spells them: {error}.") from error
    whole: list[int] = integers(items, name).tolist()
    return whole


def yxyx_to_xywh(boxes: HostArray) -> HostArray:
    """Converts boxes in the dtype of the input, like the originals: rounding can move an IoU over a threshold."""
    return np.concatenate([boxes[:, 1::-1], (boxes[:, 2:] - boxes[:, :2])[:, ::-1]], axis=1)


def read_image_truths(groundtruths: Mapping[str, Any]) -> dict[int, ImageTruth]:
    """Returns the annotations of every image of a batch except padding, and of repeated ids the first."""
    truth = read_batch(groundtruths, "groundtruths", GROUND_TRUTH_FIELDS, "boxes")
    images: dict[int, ImageTruth] = {}
    counts = integers(truth["num_detections"], "groundtruths['num_detections']")
    for index, image_id in enumerate(read_ids(truth["source_id"], "groundtruths", as_text=False)):
        if image_id < 0 or truth["height"][index] <= 0:
            continue
        rows = slice(max(int(counts[index]), 0))
        boxes = yxyx_to_xywh(floats(truth["boxes"][index, rows]))
        annotations = ImageTruth(
            boxes=boxes,
            class_ids=integers(truth["classes"][index, rows], "groundtruths['classes']"),
            area=floats(truth["areas"][index, rows]) if "areas" in truth else boxes[:, 2] * boxes[:, 3],
            crowd=truth["is_crowds"][index, rows] > 0 if "is_crowds" in truth else np.zeros(len(boxes), bool),
        )
        images.setdefault(image_id, annotations)
    return images


def as_table(images: Mapping[int, ImageTruth]) -> GroundTruthTable:
    image_ids = sorted(images)
    rows = [images[image_id] for image_id in image_ids]
    labels = np.concatenate([np.zeros(0, np.int64), *(image.class_ids for image in rows)])
    class_ids = np.unique(labels)
    return GroundTruthTable(
        image_index=np.repeat(np.arange(len(rows)), [len(image.area) for image in rows]),
        labels=np.searchsorted(class_ids, labels),
        boxes=np.concatenate([np.zeros((0, 4)), *(image.boxes for image in rows)]),
        area=np.concatenate([np.zeros(0), *(image.area for image in rows)]),
        crowd=np.concatenate([np.zeros(0, bool), *(image.crowd for image in rows)]),
        ignore=np.zeros(len(labels), bool),
        ids=np.arange(len(labels)),
        image_ids=np.array(image_ids, np.int64),
        class_ids=class_ids,
        class_names=tuple(map(str, class_ids.tolist())),
    )
