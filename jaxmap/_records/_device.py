"""Counts of records inside `jit`."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..types import GroundTruthRecords

__all__ = ["count_ground_truths"]


def count_ground_truths(ground_truths: GroundTruthRecords[jax.Array], num_classes: int) -> jax.Array:
    """Returns `[K, A]` int32, how many ground truths of each class are counted in each area range."""

    def compared(labels: jax.Array, counted: jax.Array) -> jax.Array:  # a TPU compares faster than it scatters
        of_class = labels == jnp.arange(num_classes, dtype=labels.dtype)[:, None]
        return (of_class[:, None] & counted.T).sum(-1, dtype=jnp.int32)

    def added(labels: jax.Array, counted: jax.Array) -> jax.Array:
        return jax.ops.segment_sum(counted.astype(jnp.int32), labels, num_classes)

    count: jax.Array = jax.lax.platform_dependent(
        ground_truths.labels, ground_truths.counted, tpu=compared, default=added
    )
    return count
