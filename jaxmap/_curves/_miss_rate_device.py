"""Miss rates at given numbers of false positives per image, inside `jit`; see `_miss_rate_host`."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ..protocols import MISS_RATE_POINTS, EvaluationProtocol, log_average
from ..types import DetectionRecords
from ._cells_device import RankedCells
from ._ranked_rows_device import RankedRows

__all__ = ["false_at_points", "mean_miss_rate", "miss_rates"]

_UNIT = 10_000  # of the points


def miss_rates(
    ranked: RankedRows,
    detections: DetectionRecords[jax.Array],
    *,
    protocol: EvaluationProtocol,
    num_ground_truths: jax.Array,
    num_images: ArrayLike | None,
) -> jax.Array | None:
    """Returns `[T, K, A, M]` float32; None if the protocol's summary does not ask for it.

    Args:
      ranked: the order of the detections.
      detections: the detections, in any order.
      protocol: the protocol, static.
      num_ground_truths: `[K, A]` int32.
      num_images: `[]` int32, I, including images without objects.

    Raises:
      ValueError: if it asks for it, and the number of images is missing.
    """
    if not protocol.has_miss_rate:
        return None
    if num_images is None:
        raise ValueError(
            f"the protocol {protocol.name!r} asks for false positives per image: pass `num_images`, the number of all "
            "images, to `precision_recall`."
        )
    cells = RankedCells(ranked, detections, protocol=protocol, num_ground_truths=num_ground_truths)
    too_many = false_at_points(num_images)

    def of_cell(hits: jax.Array, counted: jax.Array, positives: jax.Array) -> jax.Array:
        false = cells.count(counted & ~hits)
        found = [cells.count_of_classes(hits & (false < limit)) for limit in too_many]
        return mean_miss_rate(found, positives)

    return cells.map(of_cell)


def false_at_points(num_images: ArrayLike) -> list[jax.Array]:
    """Returns the smallest number of false positives, `[]` int32, that reaches each point."""
    whole, rest = jnp.divmod(jnp.asarray(num_images, jnp.int32), _UNIT)  # so that no product exceeds int32
    return [whole * point - (-rest * point) // _UNIT for point in MISS_RATE_POINTS]


def mean_miss_rate(found: Sequence[jax.Array], positives: jax.Array) -> jax.Array:
    """Returns the geometric mean of miss rates, float32.

    Args:
      found: int32, the true positives before each point.
      positives: int32, the number of ground truths, at least 1, of as many axes.
    """
    rates = [(positives - one).astype(jnp.float32) / positives.astype(jnp.float32) for one in found]
    mean: jax.Array = log_average(jnp.stack(rates))
    return mean
