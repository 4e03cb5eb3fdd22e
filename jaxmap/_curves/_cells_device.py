"""True and false positives in their order, cell by cell: area range, IoU threshold, limit. Inside `jit`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from .._planes import WORD_BITS
from ..protocols import EvaluationProtocol
from ..types import DetectionRecords
from ._ranked_rows_device import RankedRows

__all__ = ["RankedCells"]

Tree = TypeVar("Tree")


class RankedCells:
    """Ranked detections, for quantities that are computed one cell after the other.

    Args:
      ranked: the order of the detections.
      detections: the detections, in any order.
      protocol: the protocol, static.
      num_ground_truths: `[K, A]` int32.

    Attributes:
      labels: `[N]` int32 in their order; K for padding.
      scores: `[N]`.
      valid: `[N]` bool, False for padding.
      starts: `[K + 1]` int32, the first row of each class.
      of_class: `[N]` int32, `labels` with a class for padding.
    """

    def __init__(
        self,
        ranked: RankedRows,
        detections: DetectionRecords[jax.Array],
        *,
        protocol: EvaluationProtocol,
        num_ground_truths: jax.Array,
    ) -> None:
        order = ranked.rows_at(jnp.arange(len(detections.scores), dtype=jnp.int32))
        rows: DetectionRecords[jax.Array] = jax.tree.map(lambda leaf: leaf[order], detections)
        self.rows, self.protocol, self.num_ground_truths = rows, protocol, num_ground_truths
        self.num_classes, self.starts, self.scores = num_ground_truths.shape[0], ranked.starts, rows.scores
        self.valid = jnp.arange(len(order), dtype=jnp.int32) < ranked.starts[-1]
        self.labels = jnp.where(self.valid, rows.labels, self.num_classes).astype(jnp.int32)
        self.of_class = jnp.minimum(self.labels, self.num_classes - 1)

    def count(self, flags: jax.Array) -> jax.Array:
        """Returns `[N]` int32, how many flags are set from the first row of a class up to and including each row."""
        before = running(flags)
        return before[1:] - before[self.starts[self.of_class]]

    def count_of_classes(self, flags: jax.Array) -> jax.Array:
        """Returns `[K]` int32, how many flags are set in each class."""
        return jnp.diff(running(flags)[self.starts])

    def map(self, of_cell: Callable[[jax.Array, jax.Array, jax.Array], Tree]) -> Tree:
        """Returns a tree of `[T, K, A, M]` of one of `[K]`, for each cell.

        Args:
          of_cell: of the true positives `[N]` bool, the true and false positives `[N]` bool, and the number of ground
            truths, at least 1, `[K]` int32.
        """
        num_thresholds, num_areas = len(self.protocol.iou_thresholds), len(self.protocol.area_ranges)
        limits = jnp.asarray(self.protocol.max_detections, jnp.int32)

        def of_number(number: jax.Array) -> Tree:
            plane, limit = number // len(limits), limits[number % len(limits)]
            word, bit = plane // WORD_BITS, (plane % WORD_BITS).astype(jnp.uint32)
            matched, ignored = (
                (jnp.take(words, word, axis=1) >> bit) & jnp.uint32(1) == 1
                for words in (self.rows.matched, self.rows.ignored)
            )
            counted = ~ignored & self.valid & (self.rows.rank < limit)
            positives = jnp.maximum(self.num_ground_truths[:, plane // num_thresholds], 1)
            return of_cell(matched & counted, counted, positives)

        numbers = jnp.arange(num_areas * num_thresholds * len(limits), dtype=jnp.int32)
        shape = num_areas, num_thresholds, len(limits), self.num_classes
        mapped: Tree = jax.lax.map(of_number, numbers)
        cells: Tree = jax.tree.map(lambda values: values.reshape(shape).transpose(1, 3, 0, 2), mapped)
        return cells


def running(flags: jax.Array) -> jax.Array:
    """Returns `[N + 1]` int32, how many flags are set before each row."""
    return jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(flags, dtype=jnp.int32)])
