"""Detections collected by image under dataset ids, and scored over the images that were added."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .._evaluation import Evaluation, evaluate
from .._inputs._foreign import to_numpy
from ..types import Bools, DetectionTable, GroundTruthTable, HostArray, Ints

__all__ = ["ImageDetections", "evaluate_images", "floats", "integers", "plain"]

ROW_FIELDS = ("labels", "boxes", "area", "crowd", "ignore", "ids")


class ImageDetections(NamedTuple):
    """One image's detections on the host, in the order that decides between equal scores."""

    boxes: HostArray  # [D, 4], xywh in pixels
    scores: HostArray  # [D]
    class_ids: Ints  # [D]


def evaluate_images(images: Mapping[Any, ImageDetections], truth: GroundTruthTable, **options: Any) -> Evaluation:
    """Scores some images of a dataset; detections of unknown classes are excluded.

    Args:
      images: the images by id; each is one of `truth.image_ids`.
      truth: the dataset; its other images are excluded.
      **options: the options of `evaluate`.
    """
    seen = np.array([image_id in images for image_id in truth.image_ids.tolist()], bool)
    truth = _cut(truth, seen)
    rows = [images[image_id] for image_id in truth.image_ids.tolist()]
    class_ids = np.concatenate([np.zeros(0, np.int64), *(image.class_ids for image in rows)])
    known = np.isin(class_ids, truth.class_ids)
    found = DetectionTable(
        image_index=np.repeat(np.arange(len(rows)), [len(image.scores) for image in rows])[known],
        labels=np.searchsorted(truth.class_ids, class_ids[known]),
        boxes=np.concatenate([np.zeros((0, 4)), *(image.boxes for image in rows)])[known],
        scores=np.concatenate([np.zeros(0), *(image.scores for image in rows)])[known],
        ids=np.flatnonzero(known),
    )
    return evaluate(found, truth, **options)


def integers(values: Any, name: str) -> Ints:
    """Returns int64 of any shape; whole floats, which some pipelines use for ids and counts, are accepted.

    Raises:
      ValueError: if one of them is not an integer, or is not exact in its type.
    """
    # NumPy would convert a list of integers to floats if some are 2^63 or more.
    array = to_numpy(values) if hasattr(values, "__array__") else np.array(values, object)
    if array.dtype.kind in "iu" and np.can_cast(array.dtype, np.int64):
        return array.astype(np.int64)
    for one in array.ravel().tolist():
        bound = 2**53 if isinstance(one, float) else 2**63
        if not isinstance(one, int | float) or isinstance(one, bool) or one // 1 != one or not -bound <= one < bound:
            raise ValueError(f"`{name}` must hold integers of 64 bits, got {one!r}.")
    return array.astype(np.int64)


def floats(values: Any) -> HostArray:
    """Returns a copy on the host, in the same dtype if that is float32 or wider."""
    array = np.array(to_numpy(values))
    return array.astype(np.promote_types(array.dtype, np.float32))


def plain(value: float) -> float:
    """Returns the number, or -1 if it is undefined."""
    return -1.0 if np.isnan(value) else float(value)


def _cut(truth: GroundTruthTable, chosen: Bools) -> GroundTruthTable:
    """Returns the table of the images that `chosen` `[I]` marks."""
    rows = chosen[truth.image_index]
    columns = {name: getattr(truth, name)[rows] for name in ROW_FIELDS}
    place = np.cumsum(chosen) - 1
    return dataclasses.replace(
        truth, **columns, image_index=place[truth.image_index[rows]], image_ids=truth.image_ids[chosen]
    )
