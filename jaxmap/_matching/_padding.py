"""Padding of ragged tables: one row of slots per image, as `update` takes it."""

from __future__ import annotations

import numpy as np

from ..types import (
    Detections,
    DetectionTable,
    GroundTruths,
    GroundTruthTable,
    HostArray,
    Ints,
)

__all__ = ["pad_detections", "pad_ground_truths"]


def pad_detections(table: DetectionTable, num_images: int) -> Detections:
    """Returns a table as `[I, D, ...]` NumPy arrays, boxes (xywh) and scores in float32; D is the most per image."""
    columns = {
        "boxes": table.boxes.astype(np.float32),
        "scores": table.scores.astype(np.float32),
        "labels": table.labels.astype(np.int32),
    }
    return Detections(**_pad(table.image_index, num_images, columns))


def pad_ground_truths(table: GroundTruthTable) -> GroundTruths:
    """Returns a table as `[I, G, ...]` NumPy arrays, boxes (xywh) and areas in float32; G is the most per image."""
    columns = {
        "boxes": table.boxes.astype(np.float32),
        "labels": table.labels.astype(np.int32),
        "crowd": table.crowd,
        "area": table.area.astype(np.float32),
        "ignore": table.ignore,
    }
    return GroundTruths(**_pad(table.image_index, len(table.image_ids), columns))


def _pad(image_index: Ints, num_images: int, columns: dict[str, HostArray]) -> dict[str, HostArray]:
    """Copies rows to `[I, slots, ...]`, in order within each image, with `valid`; unused slots are 0."""
    order = np.argsort(image_index, kind="stable")
    image = image_index[order]
    slot = np.arange(len(image)) - np.searchsorted(image, image)
    shape = (num_images, int(slot.max(initial=0)) + 1)
    padded = {name: np.zeros(shape + column.shape[1:], column.dtype) for name, column in columns.items()}
    padded["valid"] = np.zeros(shape, bool)
    padded["valid"][image, slot] = True
    for name, column in columns.items():
        padded[name][image, slot] = column[order]
    return padded
