"""The IoU of the dense masks of one image, and of their boundaries, inside `jit`."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from . import _double_float as df
from ._boundaries import boundary_of
from ._device import DenseSimilarity, dense_similarity
from ._packed_masks import PackedMasks, intersections, packed
from ._record import Constants, Oddities

__all__ = ["boundary_similarity", "image_similarity", "mask_oddities"]


def image_similarity(
    shapes: dict[str, jax.Array],
    ground_truth_shapes: dict[str, jax.Array],
    crowd: jax.Array,
    area: jax.Array | None,
    *,
    constants: Constants,
    box_format: str,
) -> DenseSimilarity:
    """Returns the IoU of the dense masks of one image."""
    masks, others = shapes["masks"], ground_truth_shapes["masks"]
    return _similarity(packed(masks), packed(others), masks.shape[1], crowd, area)


def boundary_similarity(
    shapes: dict[str, jax.Array],
    ground_truth_shapes: dict[str, jax.Array],
    crowd: jax.Array,
    area: jax.Array | None,
    *,
    constants: Constants,
    box_format: str,
) -> DenseSimilarity:
    """Returns the smaller of the IoUs of the dense masks of one image and of their boundaries."""
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


def mask_oddities(_: dict[str, jax.Array], __: dict[str, jax.Array], similarity: DenseSimilarity) -> Oddities:
    """Finds ground truths without pixels."""
    return Oddities(empty=similarity.ground_truth_area.hi == 0)
