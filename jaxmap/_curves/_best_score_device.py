"""The best value of a quantity over all score thresholds, from counts, inside `jit`."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..protocols import EvaluationProtocol, OfCounts
from ..types import DetectionRecords
from ._cells_device import RankedCells
from ._ranked_rows_device import RankedRows

__all__ = ["best_over_scores"]


def best_over_scores(
    ranked: RankedRows,
    detections: DetectionRecords[jax.Array],
    *,
    protocol: EvaluationProtocol,
    num_ground_truths: jax.Array,
) -> dict[str, jax.Array]:
    """Returns `[T, K, A, M]` float32 by name, for each such quantity of the protocol's summary.

    Args:
      ranked: the order of the detections.
      detections: the detections, in any order.
      protocol: the protocol, static.
      num_ground_truths: `[K, A]` int32.
    """
    functions = protocol.functions_of_counts
    if not functions:
        return {}
    cells = RankedCells(ranked, detections, protocol=protocol, num_ground_truths=num_ground_truths)
    following = (cells.labels[1:] == cells.labels[:-1]) & (cells.scores[1:] == cells.scores[:-1])
    is_threshold = ~jnp.append(following, False) & cells.valid  # the last of equal scores, which are reported together

    def of_cell(hits: jax.Array, counted: jax.Array, positives: jax.Array) -> dict[str, jax.Array]:
        true_positives, reported = (cells.count(flags).astype(jnp.float32) for flags in (hits, counted))
        of_row = positives[cells.of_class].astype(jnp.float32)

        def best(of_counts: OfCounts) -> jax.Array:
            values = jnp.where(is_threshold, of_counts(true_positives, reported, of_row), 0.0)
            return jnp.maximum(jax.ops.segment_max(values, cells.labels, cells.num_classes + 1)[:-1], 0.0)

        return {name: best(of_counts) for name, of_counts in functions.items()}

    return cells.map(of_cell)
