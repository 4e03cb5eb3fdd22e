"""Matching of the segments of an image, from the numbers of pixels that they share, in integers."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from .._counts64 import WideCount

__all__ = ["MatchedSegments", "fixed_point", "joint_histogram", "match_segments"]


class MatchedSegments(NamedTuple):
    """The outcomes of the segments of an image, `G` in the truth and `P` in the prediction."""

    is_match: jax.Array  # [G] bool
    is_false_negative: jax.Array  # [G] bool
    is_false_positive: jax.Array  # [P] bool
    iou: WideCount  # [G] in units of 2^-32, 0 without a match


def match_segments(
    joint: jax.Array, found: jax.Array, true: jax.Array, crowd: jax.Array, *, num_classes: int
) -> MatchedSegments:
    """Matches the segments of an image: `joint` `[P, G]` pixels in int32, `found` `[P]` and `true` `[G]` labels."""
    is_found, is_true = (((labels >= 0) & (labels < num_classes)) for labels in (found, true))
    area, true_area = joint.sum(1, dtype=jnp.int32), joint.sum(0, dtype=jnp.int32)
    on_void = jnp.where(is_true[None, :], 0, joint).sum(1, dtype=jnp.int32)
    union = (area - on_void)[:, None] + true_area[None, :] - joint
    same = (is_found[:, None] & is_true[None, :]) & (found[:, None] == true[None, :])
    match = same & ~crowd[None, :] & (joint > union - joint)  # intersection / union > 1 / 2
    is_match = match.any(0)
    excused = on_void + jnp.where(same & crowd[None, :], joint, 0).sum(1, dtype=jnp.int32)
    return MatchedSegments(
        is_match=is_match,
        is_false_negative=is_true & ~crowd & (true_area > 0) & ~is_match,
        is_false_positive=is_found & (area > 0) & ~match.any(1) & (excused <= area - excused),
        iou=fixed_point(
            jnp.where(match, joint, 0).sum(0, dtype=jnp.uint32),
            jnp.where(is_match, jnp.where(match, union, 0).sum(0, dtype=jnp.uint32), jnp.uint32(1)),
        ),
    )


def fixed_point(part: jax.Array, whole: jax.Array) -> WideCount:
    """Returns `part / whole`, at most 1, as the nearest multiple of 2^-32, in uint32; `whole` is below 2^31."""
    one = (part >= whole).astype(jnp.uint32)

    def digit(_: int, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        quotient, rest = carry[0] * 2, carry[1] * 2  # long division, one binary digit at a time
        reached = rest >= whole
        return quotient + reached.astype(jnp.uint32), jnp.where(reached, rest - whole, rest)

    quotient, rest = jax.lax.fori_loop(0, 32, digit, (one, part - one * whole))  # 2^32 has overflowed the word
    return WideCount(quotient + (rest * 2 >= whole).astype(jnp.uint32), one)


def joint_histogram(
    place: jax.Array, true_place: jax.Array, real: jax.Array, num_places: int, num_true_places: int
) -> jax.Array:
    """Returns `[I, P, G]` int32, the pixels of each image by predicted and true segment."""
    num_images, height, width = place.shape
    cells = num_places * num_true_places
    if num_images * cells >= 2**31 or height * width >= 2**31:
        raise ValueError(
            "an image must have fewer than 2^31 pixels, and a batch fewer than 2^31 pairs of a predicted and a true "
            f"segment, got {[num_images, height, width]} with {num_images} times {cells} pairs; split the batch."
        )
    image = jnp.arange(num_images, dtype=jnp.int32)[:, None, None]
    cell = image * cells + place * num_true_places + true_place
    counted = jnp.broadcast_to(real, cell.shape).astype(jnp.int32)
    counts = jax.ops.segment_sum(counted.ravel(), cell.ravel(), num_images * cells)
    return counts.reshape(num_images, num_places, num_true_places)
