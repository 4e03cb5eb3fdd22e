"""Counts of records inside `jit`."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from ..types import GroundTruthRecords

__all__ = ["count_ground_truths"]


def count_ground_truths(ground_truths: GroundTruthRecords[jax.Array], num_classes: int) -> jax.Array:
    """Returns `[K, A]` int32, how many ground truths of each class are counted in each area range."""
    compared, added = (partial(count, num_classes=num_classes) for count in (_compared, _added))
    columns = ground_truths.labels, ground_truths.counted
    counts: jax.Array = jax.lax.platform_dependent(*columns, tpu=compared, default=added)
    return counts


def _compared(labels: jax.Array, counted: jax.Array, *, num_classes: int) -> jax.Array:
    """`count_ground_truths` for a TPU, which compares faster than it scatters."""
    of_area = jnp.where(counted.T, labels[None], -1)
    return (of_area[None] == jnp.arange(num_classes, dtype=labels.dtype)[:, None, None]).sum(-1, dtype=jnp.int32)


def _added(labels: jax.Array, counted: jax.Array, *, num_classes: int) -> jax.Array:
    return jax.ops.segment_sum(counted.astype(jnp.int32), labels, num_classes)
