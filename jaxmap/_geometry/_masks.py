"""Masks and boundaries: run-length encoded on the host, dense inside `jit`, with integer pixel counts.

Dense masks are packed to bits first (`_packed_masks.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._expected import given
from ..types import Array, DetectionTable, Floats, GroundTruthTable, Ints, Masks
from . import _double_float as df
from . import _rle as rle
from ._boundaries import boundary_of
from ._boxes import overlap_pairs
from ._device import DenseSimilarity, dense_similarity
from ._host import PairSimilarity
from ._packed_masks import PackedMasks, intersections, packed
from ._record import Constants, Geometry, Oddities, Shape

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


def _image(
    shapes: dict[str, jax.Array],
    ground_truth_shapes: dict[str, jax.Array],
    crowd: jax.Array,
    area: jax.Array | None,
    *,
    constants: Constants,
    box_format: str,
) -> DenseSimilarity:
    masks, others = shapes["masks"], ground_truth_shapes["masks"]
    return _similarity(packed(masks), packed(others), masks.shape[1], crowd, area)


def _boundary_image(
    shapes: dict[str, jax.Array],
    ground_truth_shapes: dict[str, jax.Array],
    crowd: jax.Array,
    area: jax.Array | None,
    *,
    constants: Constants,
    box_format: str,
) -> DenseSimilarity:
    height, ratio = shapes["masks"].shape[1], constants.boundary_ratio
    masks, others = packed(shapes["masks"]), packed(ground_truth_shapes["masks"])
    edges, other_edges = boundary_of(masks, height, ratio), boundary_of(others, height, ratio)
    of_masks = _similarity(masks, others, height, crowd, area)
    of_edges = _similarity(edges, other_edges, height, crowd, None).values
    lesser = crowd[None, :] | (df.difference(of_masks.values, of_edges) <= 0)
    return of_masks._replace(values=df.where(lesser, of_masks.values, of_edges))


def _similarity(
    masks: PackedMasks, others: PackedMasks, height: int, crowd: jax.Array, given_area: jax.Array | None
) -> DenseSimilarity:
    """Returns the IoU of every pair of packed masks, 0 where a union is empty; for crowds the share that is inside."""
    intersection, area, other_area = intersections(masks.words, others.words, height), masks.area, others.area
    union = jnp.where(crowd[None, :], area[:, None], area[:, None] + other_area[None, :] - intersection)
    quotient = df.divide(df.from_integers(intersection), df.from_integers(jnp.maximum(union, 1)))
    iou = df.where(union > 0, quotient, df.constant(0.0))
    return dense_similarity(iou, df.from_integers(area), df.from_integers(other_area), given_area)


def _oddities(_: dict[str, jax.Array], __: dict[str, jax.Array], similarity: DenseSimilarity) -> Oddities:
    return Oddities(empty=similarity.ground_truth_area.hi == 0)


SEGM = Geometry(
    shape=Shape("masks", "masks", ("height", "width"), "masks"),
    pairs=_pairs,
    image=_image,
    columns=_columns,
    check_tables=_check_sizes,
    check_batch=_check_batch,
    oddities=_oddities,
)
BOUNDARY = dataclasses.replace(SEGM, pairs=_boundary_pairs, image=_boundary_image, boxes_fit=False)
