"""The interface of similarities of one image inside `jit`.

Masks are exact to the pixel, boxes to about 45 bits; oriented boxes are within 1e-5 and keypoints within 1e-6.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from . import _double_float as df
from ._double_float import DoubleFloat

__all__ = ["DenseSimilarity", "DeviceSimilarity", "dense_similarity", "single"]


class DeviceSimilarity(Protocol):
    """The similarities of all pairs of one image, a pytree: approximate for all pairs, exact for selected ones."""

    @property
    def area(self) -> DoubleFloat:
        """`[D]`."""

    @property
    def ground_truth_area(self) -> DoubleFloat:
        """`[G]`."""

    def approximate(self) -> jax.Array:
        """`[D, G]` float32, within the `MARGIN` of candidates of the exact values."""

    def exact(self, index: jax.Array) -> DoubleFloat:
        """The similarities of each detection with the ground truths of its row, for `[D, C]` int32."""

    def exact_of_all(self) -> DoubleFloat:
        """The similarities of all pairs, `[D, G]`."""

    def reorder(self, rows: jax.Array, ground_truth_rows: jax.Array | None) -> DeviceSimilarity:
        """Returns the similarity of some detections and some ground truths, given by their rows; None for all."""


class DenseSimilarity(NamedTuple):
    """A similarity that is computed for all pairs at once."""

    values: DoubleFloat  # [D, G]
    area: DoubleFloat  # [D]
    ground_truth_area: DoubleFloat  # [G]

    def approximate(self) -> jax.Array:
        """`[D, G]` float32."""
        return self.values.hi

    def exact(self, index: jax.Array) -> DoubleFloat:
        """The similarities of each detection with the ground truths of its row, for `[D, C]` int32."""
        return DoubleFloat(*(jnp.take_along_axis(part, index, axis=-1) for part in self.values))

    def exact_of_all(self) -> DoubleFloat:
        """The similarities of all pairs, `[D, G]`."""
        return self.values

    def reorder(self, rows: jax.Array, ground_truth_rows: jax.Array | None) -> DenseSimilarity:
        """Returns the similarity of some detections and some ground truths, given by their rows; None for all."""
        others = slice(None) if ground_truth_rows is None else ground_truth_rows
        values = self.values.select(rows).select((slice(None), others))
        return DenseSimilarity(values, self.area.select(rows), self.ground_truth_area.select(others))


def dense_similarity(
    values: DoubleFloat, area: DoubleFloat, ground_truth_area: DoubleFloat, given: jax.Array | None
) -> DenseSimilarity:
    """Returns similarities `[D, G]`, with the `given` areas of ground truths, if any, in place of computed ones."""
    return DenseSimilarity(values, area, ground_truth_area if given is None else single(given))


def single(values: jax.Array) -> DoubleFloat:
    """Returns float32 numbers unchanged."""
    return DoubleFloat(df.rounded(values), jnp.zeros_like(values))
