"""Masks and boundaries: run-length encoded on the host, dense inside `jit`, with integer pixel counts.

Dense masks are packed to bits first (`_packed_masks.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from .._expected import given
from ..types import Array, DetectionTable, Floats, GroundTruthTable, Ints, Masks
from . import _rle as rle
from ._boxes_host import overlap_pairs
from ._host import PairSimilarity
from ._record import Constants, Geometry, Shape, in_jit

__all__ = ["BOUNDARY", "SEGM"]


def _columns(fields: Mapping[str, Any], _: str) -> dict[str, Any]:
    masks = fields["masks"]
    return {"masks": masks, "boxes": rle.mask_boxes(masks), "area": masks.area}


def _check_sizes(detections: DetectionTable, ground_truths: GroundTruthTable, _: Constants) -> None:
    """Checks that all masks of an image have the same size."""
    sizes = np.zeros((len(ground_truths.image_ids), 2), np.int64)
    for table in (detections, ground_truths):  # ground truths decide; of several masks the first one
        sizes[table.image_index[::-1]] = given("masks", table.masks).sizes[::-1]
    for side, table in (("ground_truths", ground_truths), ("detections", detections)):
        masks = given("masks", table.masks)
        expected = sizes[table.image_index]
        bad = np.flatnonzero((masks.sizes != expected).any(axis=1))
        if len(bad):
            row = bad[0]
            image_id = ground_truths.image_ids[table.image_index[row]]
            raise ValueError(
                f"`{side}.masks` of one image must have the same size, got {masks.sizes[row].tolist()} and "
                f"{expected[row].tolist()} in image {image_id}, row {table.ids[row]} ({len(bad)} such masks in all); "
                "bring them to one resolution first."
            )


def _check_batch(side: str, masks: Array, _: Constants) -> None:
    """Refuses soft masks."""
    import jax.numpy as jnp  # for arrays of JAX

    dtype = jnp.result_type(masks)
    if jnp.issubdtype(dtype, jnp.inexact):
        raise TypeError(
            f"`{side}.masks` must be bool, or 0 and 1, got dtype {dtype}; pass `masks > threshold` of soft masks."
        )


def _pairs(detections: DetectionTable, ground_truths: GroundTruthTable, _: Constants) -> PairSimilarity:
    bound = partial(_mask_iou_bound, detections, ground_truths)
    return PairSimilarity(partial(_mask_iou, detections, ground_truths), bound=bound)


def _boundary_pairs(
    detections: DetectionTable, ground_truths: GroundTruthTable, constants: Constants
) -> PairSimilarity:
    of_masks = _pairs(detections, ground_truths, constants)
    of_boundaries = partial(_boundary_iou, detections, ground_truths, constants.boundary_ratio)

    def of_both(rows: Ints, others: Ints) -> Floats:
        values = of_masks.of_pairs(rows, others)
        return np.where(ground_truths.crowd[others], values, np.minimum(values, of_boundaries(rows, others)))

    return of_masks._replace(of_pairs=of_both)


def _mask_iou(one: DetectionTable, other: GroundTruthTable, rows: Ints, others: Ints) -> Floats:
    masks, other_masks = given("masks", one.masks), given("masks", other.masks)
    return rle.mask_iou(masks.take(rows), other_masks.take(others), other.crowd[others])


def _mask_iou_bound(one: DetectionTable, other: GroundTruthTable, rows: Ints, others: Ints) -> Floats:
    masks, other_masks = given("masks", one.masks), given("masks", other.masks)
    width, height = overlap_pairs(one.boxes.take(rows, axis=0), other.boxes.take(others, axis=0))
    return rle.mask_iou_bound(
        masks.area.take(rows),
        other_masks.area.take(others),
        other.crowd.take(others),
        np.maximum(width, 0) * np.maximum(height, 0),
        masks.split.take(rows) & other_masks.split.take(others),
    )


def _boundary_iou(one: DetectionTable, other: GroundTruthTable, ratio: float, rows: Ints, others: Ints) -> Floats:
    masks, other_masks = given("masks", one.masks), given("masks", other.masks)
    boundaries = _boundaries(masks, ratio, rows), _boundaries(other_masks, ratio, others)
    return rle.mask_iou(*boundaries, other.crowd[others])


def _boundaries(masks: Masks, ratio: float, rows: Ints) -> Masks:
    """Returns the boundaries of the masks of some rows; each is computed only once."""
    distinct, place = np.unique(rows, return_inverse=True)
    return rle.boundary_masks(masks.take(distinct), ratio).take(place)


SEGM = Geometry(
    shape=Shape("masks", "masks", ("height", "width"), "masks"),
    pairs=_pairs,
    image=in_jit("_masks_device", "image_similarity"),
    columns=_columns,
    check_tables=_check_sizes,
    check_batch=_check_batch,
    oddities=in_jit("_masks_device", "mask_oddities"),
)
BOUNDARY = dataclasses.replace(
    SEGM, pairs=_boundary_pairs, image=in_jit("_masks_device", "boundary_similarity"), boxes_fit=False
)
