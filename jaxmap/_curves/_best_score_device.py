"""The best value of a quantity over all score thresholds, from counts, inside `jit`."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .._planes import WORD_BITS
from ..protocols import EvaluationProtocol, OfCounts
from ..types import DetectionRecords
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
    order = ranked.rows_at(jnp.arange(len(detections.scores), dtype=jnp.int32))
    rows: DetectionRecords[jax.Array] = jax.tree.map(lambda leaf: leaf[order], detections)
    starts = ranked.starts
    valid = jnp.arange(len(order), dtype=jnp.int32) < starts[-1]
    num_thresholds, limits = len(protocol.iou_thresholds), jnp.asarray(protocol.max_detections, jnp.int32)
    num_areas, num_classes = num_ground_truths.shape[1], num_ground_truths.shape[0]
    labels = jnp.where(valid, rows.labels, num_classes).astype(jnp.int32)
    following = (labels[1:] == labels[:-1]) & (rows.scores[1:] == rows.scores[:-1])
    is_threshold = ~jnp.append(following, False) & valid  # the last of equal scores, which are reported together

    def of_plane(number: jax.Array) -> dict[str, jax.Array]:
        plane, limit = number // len(limits), limits[number % len(limits)]
        word, bit = plane // WORD_BITS, (plane % WORD_BITS).astype(jnp.uint32)
        matched, ignored = (
            (jnp.take(words, word, axis=1) >> bit) & jnp.uint32(1) == 1 for words in (rows.matched, rows.ignored)
        )
        counted = ~ignored & valid & (rows.rank < limit)
        of_class = jnp.minimum(labels, num_classes - 1)
        hits, reported = (_count_in_class(flags, starts[of_class]) for flags in (matched & counted, counted))
        positives = jnp.maximum(num_ground_truths[:, plane // num_thresholds], 1)[of_class].astype(jnp.float32)

        def best(of_counts: OfCounts) -> jax.Array:
            values = jnp.where(is_threshold, of_counts(hits, reported, positives), 0.0)
            return jnp.maximum(jax.ops.segment_max(values, labels, num_classes + 1)[:-1], 0.0)

        return {name: best(of_counts) for name, of_counts in functions.items()}

    numbers = jnp.arange(num_areas * num_thresholds * len(limits), dtype=jnp.int32)
    shape = num_areas, num_thresholds, len(limits), num_classes
    return {
        name: values.reshape(shape).transpose(1, 3, 0, 2) for name, values in jax.lax.map(of_plane, numbers).items()
    }


def _count_in_class(flags: jax.Array, first: jax.Array) -> jax.Array:
    """Returns `[N]` float32, the number of set flags from the first row of a class up to and including each row."""
    before = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(flags, dtype=jnp.int32)])
    return (before[1:] - before[first]).astype(jnp.float32)
