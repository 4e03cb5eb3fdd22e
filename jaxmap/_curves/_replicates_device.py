"""Curves and named numbers under vectors of image weights, inside `jit`, in blocks of vectors that bound the memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .._integers import is_seen
from ..protocols import EvaluationProtocol
from ..types import UNDEFINED, HostArray, PrecisionRecall, Records
from ._weighted_device import CellNumbers, WeightedCells

__all__ = ["in_blocks", "weighted_precision_recall"]

LARGEST_COUNT = 2**30  # of which `points_reached` is exact
FULL_CURVES_AT_ONCE = 4  # vectors, if curves at all recall points are kept
Tree = TypeVar("Tree")


def weighted_precision_recall(
    records: Records[jax.Array], weights: ArrayLike, *, protocol: EvaluationProtocol, num_classes: int
) -> PrecisionRecall[jax.Array]:
    """Returns `precision_recall` under each vector of weights, with an axis W in front of every array."""
    if protocol.not_replicated_on_device:
        raise ValueError(
            f"`weights` inside jit do not serve {protocol.not_replicated_on_device}, which the protocol "
            f"{protocol.name!r} asks for; use `Evaluation.bootstrap` on the host."
        )
    vectors = _whole_weights(weights, records)
    cells = list(np.ndindex(len(protocol.area_ranges), len(protocol.max_detections)))
    ready = WeightedCells(records, protocol=protocol, num_classes=num_classes, ranked=cells)
    found, truth = records.detections, records.ground_truths
    label = jnp.where(found.valid, found.labels, num_classes)
    at_zero = np.array([point <= 0 for point in protocol.recall_points])[None, None, :, None, None, None]
    grid = len(protocol.area_ranges), len(protocol.max_detections)

    def integrate(numbers: jax.Array) -> PrecisionRecall[jax.Array]:
        some = vectors[numbers].T  # [I, B]
        of_cells = ready(some, at_points=True)

        def stacked(pick: Callable[[CellNumbers], jax.Array]) -> jax.Array:
            values = jnp.stack([pick(one) for one in of_cells], axis=-1)  # [..., K, B, A * M]
            return jnp.moveaxis(values.reshape(*values.shape[:-1], *grid), -3, 0)

        used = (some[found.image_index] > 0) & found.valid[:, None]
        top = jax.ops.segment_max(jnp.where(used, found.scores[:, None], -jnp.inf), label, num_classes + 1)[:-1]
        top = jnp.where(top > -jnp.inf, top, 0.0).astype(jnp.float32).T[:, None, None, :, None, None]
        scores = stacked(lambda one: one.scores)
        weight = jnp.where(truth.counted[..., None], some[truth.image_index][:, None], 0)
        return PrecisionRecall(
            precision=stacked(lambda one: one.precision),
            recall=stacked(lambda one: one.recall),
            # A point that needs no true positive is reached by the first row of the class, matched or not.
            scores=jnp.where(at_zero & (scores != UNDEFINED), top, scores),
            num_ground_truths=jnp.moveaxis(jax.ops.segment_sum(weight, truth.labels, num_classes), -1, 0),
            average_precision=stacked(lambda one: one.average_precision) if protocol.average != "points" else None,
        )

    return in_blocks(integrate, len(vectors), FULL_CURVES_AT_ONCE)


def _whole_weights(weights: ArrayLike, records: Records[jax.Array]) -> jax.Array:
    """Returns weights as `[W, I]` int32; their values are checked where Python sees them.

    Raises:
      TypeError: if they are not integers or bools.
      ValueError: if they are not of that shape, one is negative or too large, or an image has none.
    """
    vectors = weights if isinstance(weights, jax.Array) else np.asarray(weights)
    if not (jnp.issubdtype(vectors.dtype, jnp.integer) or vectors.dtype == bool):
        raise TypeError(
            f"`weights` must be integers inside jit, where only they add up exactly, got {vectors.dtype}; multiply "
            "them by a common factor and round, or use `Evaluation.bootstrap`."
        )
    if vectors.ndim != 2:
        raise ValueError(f"`weights` must have shape [W, I], got {list(vectors.shape)}.")
    found, truth = records.detections, records.ground_truths
    if is_seen(vectors):
        _check_values(np.asarray(vectors), max(len(found.labels), len(truth.labels)))
    for image, is_real in ((found.image_index, found.valid), (truth.image_index, truth.counted.any(-1))):
        if is_seen(image) and is_seen(is_real):
            last = int(np.asarray(image)[np.asarray(is_real)].max(initial=-1))
            if last >= vectors.shape[1]:
                raise ValueError(
                    f"`weights` must have one weight for every image, got {vectors.shape[1]} for images up to {last}."
                )
    return jnp.asarray(vectors.astype(np.int32))


def _check_values(vectors: HostArray, num_rows: int) -> None:
    if (vectors < 0).any():
        place = np.argwhere(vectors < 0)[0]
        raise ValueError(f"`weights` must be at least 0, got {vectors[tuple(place)]} at {place.tolist()}.")
    largest = int(vectors.max(initial=0))
    if largest * num_rows > LARGEST_COUNT:
        raise ValueError(
            f"`weights` times the number of rows must be at most 2^30 inside jit, got up to {largest} x {num_rows}; "
            "divide them by a common factor."
        )


def in_blocks(compute: Callable[[jax.Array], Tree], number: int, at_once: int) -> Tree:
    """Returns what `compute` returns for 0, 1, ..., number - 1, at most so many at once; the first axis counts them."""
    blocks = -(-max(number, 1) // at_once)
    at_once = -(-max(number, 1) // blocks)  # as many in the last block as in the others
    numbers = jnp.minimum(jnp.arange(blocks * at_once, dtype=jnp.int32), max(number - 1, 0)).reshape(blocks, at_once)
    parts = jax.lax.map(compute, numbers)
    joined: Tree = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:number], parts)
    return joined
