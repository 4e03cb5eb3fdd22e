"""A batch that `check_batch` has let through: of JAX alone, every optional field filled in that matching reads."""

from __future__ import annotations

import dataclasses

import jax

__all__ = ["CheckedDetections", "CheckedGroundTruths"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CheckedDetections:
    """The detections of a batch, `[I, D, ...]`, or of one image, `[D, ...]`.

    Attributes:
      shapes: the fields of `Detections` that are compared, by name; float32, masks of any dtype.
      scores: float32.
      labels: int32.
      valid: bool, False for padding and in padded images.
    """

    shapes: dict[str, jax.Array]
    scores: jax.Array
    labels: jax.Array
    valid: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CheckedGroundTruths:
    """The ground truths of a batch, `[I, G, ...]`, or of one image, `[G, ...]`.

    Attributes:
      shapes: the fields of `GroundTruths` that are compared, and what is needed beside, by name.
      labels: int32.
      valid: bool, False for padding and in padded images.
      crowd: bool.
      ignore: bool.
      area: float32; None for that of the shapes.
      verified: `[..., K]` bool; None for all.
      not_exhaustive: `[..., K]` bool; None for none.
    """

    shapes: dict[str, jax.Array]
    labels: jax.Array
    valid: jax.Array
    crowd: jax.Array
    ignore: jax.Array
    area: jax.Array | None
    verified: jax.Array | None
    not_exhaustive: jax.Array | None
