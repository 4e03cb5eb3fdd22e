"""Counts of records inside `jit`."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..types import GroundTruthRecords

__all__ = ["count_ground_truths"]


def count_ground_truths(ground_truths: GroundTruthRecords[jax.Array], num_classes: int) -> jax.Array:
    """Returns `[K, A]` int32, how many ground truths of each class are counted in each area range."""
    return jax.ops.segment_sum(ground_truths.counted.astype(jnp.int32), ground_truths.labels, num_classes)
