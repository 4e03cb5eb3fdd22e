"""Object keypoint similarity; both routes share the arithmetic, for NumPy and JAX arrays.

References: pycocotools cocoeval.py, `COCOeval.computeOks`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from .._expected import given
from ..types import Array, DetectionTable, Floats, GroundTruthTable, Ints, SameArray
from ._boxes_host import to_xywh
from ._host import PairSimilarity
from ._record import Constants, Geometry, Shape, in_jit

__all__ = ["KEYPOINTS", "keypoint_similarity", "keypoints_extent", "num_labelled"]

EPSILON = 2.0**-52  # np.spacing(1), which pycocotools adds to areas


def keypoint_similarity(
    keypoints: SameArray,
    other_keypoints: SameArray,
    other_boxes: SameArray,
    other_area: SameArray,
    sigmas: SameArray,
) -> SameArray:
    """Returns OKS: the mean over labelled keypoints of exp(-d^2 / (2 s^2 (2 sigma)^2)), d the distance, s^2 the area.

    For objects without a labelled keypoint, distances are those to the box, doubled on each side, over all keypoints.

    Args:
      keypoints: `[..., P, 3]`, detections: x, y and a value that is not used.
      other_keypoints: `[..., P, 3]`, ground truths: x, y, visibility; the leading axes equal those of the detections or
        are 1.
      other_boxes: `[..., 4]` xywh.
      other_area: `[...]`.
      sigmas: `[P]`, with the same dtype as all others.

    Returns:
      `[...]` in [0, 1].
    """
    xp = keypoints.__array_namespace__()
    labelled = other_keypoints[..., 2] > 0
    any_labelled = labelled.any(axis=-1, keepdims=True)
    squared = xp.zeros_like(keypoints[..., 0] - other_keypoints[..., 0])
    for axis in (0, 1):
        place = keypoints[..., axis]
        low = (other_boxes[..., axis] - other_boxes[..., 2 + axis])[..., None]
        high = (other_boxes[..., axis] + other_boxes[..., 2 + axis] * 2)[..., None]
        outside = xp.maximum(low - place, 0) + xp.maximum(place - high, 0)
        squared = squared + xp.where(any_labelled, place - other_keypoints[..., axis], outside) ** 2
    scale = ((sigmas * 2) ** 2).reshape((1,) * (squared.ndim - 1) + (-1,))
    exponent = squared / scale / (other_area[..., None] + EPSILON) / 2
    counts = labelled | ~any_labelled
    total = xp.where(counts, xp.exp(-exponent), xp.zeros_like(exponent)).sum(axis=-1)
    similarity: SameArray = total / counts.sum(axis=-1).astype(total.dtype)
    return similarity


def keypoints_extent(keypoints: SameArray) -> SameArray:
    """Returns the box `[..., 4]` xywh around all `[..., P, 3]` keypoints, labelled or not."""
    xp = keypoints.__array_namespace__()
    places = keypoints[..., :2]
    low, high = places.min(axis=-2), places.max(axis=-2)
    extent: SameArray = xp.concatenate([low, high - low], axis=-1)
    return extent


def num_labelled(keypoints: SameArray) -> SameArray:
    """Returns `[...]` int, the number of `[..., P, 3]` keypoints with a visibility above 0."""
    labelled: SameArray = (keypoints[..., 2] > 0).sum(axis=-1)
    return labelled


def _columns(fields: Mapping[str, Any], box_format: str) -> dict[str, Any]:
    keypoints = fields["keypoints"]
    boxes = to_xywh(fields["boxes"], box_format) if "boxes" in fields else keypoints_extent(keypoints)
    return {"keypoints": keypoints, "boxes": boxes}


def _check_tables(detections: DetectionTable, ground_truths: GroundTruthTable, constants: Constants) -> None:
    for side, table in (("detections", detections), ("ground_truths", ground_truths)):
        _check_skeleton(side, table, len(constants.keypoint_sigmas))
    _warn_of_no_area(ground_truths)


def _check_skeleton(side: str, table: DetectionTable | GroundTruthTable, num_keypoints: int) -> None:
    keypoints = given("keypoints", table.keypoints)
    if len(keypoints) and keypoints.shape[1] != num_keypoints:
        raise ValueError(
            f"`{side}.keypoints` must have one keypoint for each of the {num_keypoints} `keypoint_sigmas` of the "
            f"protocol, got {keypoints.shape[1]}; pass those of that skeleton: "
            "`COCO_KEYPOINTS.customize(keypoint_sigmas=...)` as the protocol, or `--keypoint-sigmas`."
        )


def _warn_of_no_area(table: GroundTruthTable) -> None:
    rows = np.flatnonzero((table.area <= 0) & ~table.ignore & ~table.crowd)
    if len(rows):
        shown = ", ".join(map(str, table.ids[rows[:5]].tolist())) + (
            f" and {len(rows) - 5} more" if rows[5:].size else ""
        )
        warnings.warn(
            f"`ground_truths.area`: {len(rows)} of {len(table.area)} objects have no area, by which the distances of "
            f"their keypoints are scaled, so that only exact ones match: ids {shown}; give the area of the object, or "
            "of its box.",
            UserWarning,
            stacklevel=5,
        )


def _check_batch(side: str, keypoints: Array, constants: Constants) -> None:
    """Checks that there is one keypoint per sigma."""
    num_sigmas, num_keypoints = len(constants.keypoint_sigmas), np.shape(keypoints)[2]
    if num_keypoints != num_sigmas:
        raise ValueError(
            f"`{side}.keypoints` must have one keypoint for each of the {num_sigmas} `keypoint_sigmas` of the "
            f"protocol, got {num_keypoints}; pass the sigmas of that skeleton."
        )


def _ignored(fields: Mapping[str, SameArray]) -> SameArray:
    """Ignores objects without a labelled keypoint."""
    unlabelled: SameArray = num_labelled(fields["keypoints"]) == 0
    return unlabelled


def _pairs(detections: DetectionTable, ground_truths: GroundTruthTable, constants: Constants) -> PairSimilarity:
    sigmas = np.array(constants.keypoint_sigmas)
    return PairSimilarity(partial(_keypoint_similarity, detections, ground_truths, sigmas), needs_overlap=False)


def _keypoint_similarity(
    one: DetectionTable, other: GroundTruthTable, sigmas: Floats, rows: Ints, others: Ints
) -> Floats:
    keypoints, other_keypoints = given("keypoints", one.keypoints), given("keypoints", other.keypoints)
    with np.errstate(over="ignore"):  # an area below 0, about which readers warn, gives infinity
        return keypoint_similarity(
            keypoints[rows], other_keypoints[others], other.boxes[others], other.area[others], sigmas
        )


KEYPOINTS = Geometry(
    shape=Shape("keypoints", "objects", ("keypoints", 3), "keypoints"),
    pairs=_pairs,
    image=in_jit("_keypoints_device", "image_similarity"),
    columns=_columns,
    beside={"boxes": "for objects without labelled keypoints"},
    check_tables=_check_tables,
    check_batch=_check_batch,
    ignored=_ignored,
    sides="boxes",
    boxes_fit=False,
    scaled_by_area=True,
)
