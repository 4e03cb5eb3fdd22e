"""Counts of records inside `jit`."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from .._lowering import by_backend
from ..types import GroundTruthRecords

__all__ = ["count_ground_truths"]


def count_ground_truths(ground_truths: GroundTruthRecords[jax.Array], num_classes: int) -> jax.Array:
    """Returns `[K, A]` int32, how many ground truths of each class are counted in each area range."""
    multiplied, added = (partial(count, num_classes=num_classes) for count in (_multiplied, _added))
    counts: jax.Array = by_backend(ground_truths.labels, ground_truths.counted, tpu=multiplied, default=added)
    return counts


def _multiplied(labels: jax.Array, counted: jax.Array, *, num_classes: int) -> jax.Array:
    """`count_ground_truths` for a TPU, which multiplies faster than it scatters; exact in integers."""
    is_of_class = labels[None] == jnp.arange(num_classes, dtype=labels.dtype)[:, None]
    return jnp.matmul(is_of_class.astype(jnp.int8), counted.astype(jnp.int8), preferred_element_type=jnp.int32)


def _added(labels: jax.Array, counted: jax.Array, *, num_classes: int) -> jax.Array:
    return jax.ops.segment_sum(counted.astype(jnp.int32), labels, num_classes)
