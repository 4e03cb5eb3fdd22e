"""Curves and named numbers under vectors of image weights, inside `jit`, in blocks of vectors that bound the memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ..protocols import EvaluationProtocol
from ..types import UNDEFINED, PrecisionRecall, Records
from ._weighted_device import CellNumbers, WeightedCells

__all__ = ["Draw", "in_blocks", "weighted_precision_recall", "whole_weights"]

FULL_CURVES_AT_ONCE = 4  # vectors, if curves at all recall points are kept
Tree = TypeVar("Tree")
Draw = Callable[[jax.Array], jax.Array]  # from the numbers of some vectors, `[B]` int32, to the vectors, `[I, B]` int32


def weighted_precision_recall(
    records: Records[jax.Array], weights: ArrayLike, *, protocol: EvaluationProtocol, num_classes: int
) -> PrecisionRecall[jax.Array]:
    """Returns `precision_recall` under each vector of weights, with an axis W in front of every array."""
    if protocol.functions_of_counts:
        raise ValueError(
            f"`weights` inside jit do not serve {list(protocol.functions_of_counts)}, which the protocol "
            f"{protocol.name!r} asks for; use `Evaluation.bootstrap` on the host."
        )
    vectors = whole_weights(weights)
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
            average_precision=stacked(lambda one: one.average_precision) if protocol.average == "area" else None,
        )

    return in_blocks(integrate, len(vectors), FULL_CURVES_AT_ONCE)


def whole_weights(weights: ArrayLike) -> jax.Array:
    """Returns weights as `[W, I]` int32.

    Raises:
      TypeError: if they are not integers or bools.
      ValueError: if they are not of that shape.
    """
    vectors = jnp.asarray(weights)
    if not (jnp.issubdtype(vectors.dtype, jnp.integer) or vectors.dtype == bool):
        raise TypeError(
            f"`weights` must be integers inside jit, where only they add up exactly, got {vectors.dtype}; multiply "
            "them by a common factor and round, or use `Evaluation.bootstrap`."
        )
    if vectors.ndim != 2:
        raise ValueError(f"`weights` must have shape [W, I], got {list(vectors.shape)}.")
    return vectors.astype(jnp.int32)


def in_blocks(compute: Callable[[jax.Array], Tree], number: int, at_once: int) -> Tree:
    """Returns what `compute` returns for 0, 1, ..., number - 1, at most so many at once; the first axis counts them."""
    blocks = -(-max(number, 1) // at_once)
    at_once = -(-max(number, 1) // blocks)  # as many in the last block as in the others
    numbers = jnp.minimum(jnp.arange(blocks * at_once, dtype=jnp.int32), max(number - 1, 0)).reshape(blocks, at_once)
    parts = jax.lax.map(compute, numbers)
    joined: Tree = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:number], parts)
    return joined
