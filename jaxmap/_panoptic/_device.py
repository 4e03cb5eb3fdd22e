"""Matching of the segments of an image, from the numbers of pixels that they share, in integers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from functools import partial, reduce
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._counts64 import WideCount, total
from .._geometry._rle import boundary_distance, distance_of_square
from .._lowering import by_backend

if TYPE_CHECKING:
    from ..types import Bools

__all__ = [
    "MatchedSegments",
    "boundary_histogram",
    "count_numbers",
    "count_pairs",
    "fixed_point",
    "joint_histogram",
    "match_segments",
]

# What a TPU counts by products of matrices.
ROWS = 32  # a block has a multiple of them
MANY_PIXELS, MOST_PIXELS = 1 << 14, 1 << 20  # in a block; float32 holds every integer up to 2^24
FEW_CELLS = 1 << 12  # pairs of numbers, up to which a block may have 8 times as many pixels
MOST_CELLS = 1 << 18  # pairs of numbers, beyond which a scatter is not slower


class MatchedSegments(NamedTuple):
    """The outcomes of the segments of an image, `G` in the truth and `P` in the prediction."""

    is_match: jax.Array  # [G] bool
    is_false_negative: jax.Array  # [G] bool
    is_false_positive: jax.Array  # [P] bool
    iou: WideCount  # [G] in units of 2^-32, 0 without a match; at any IoU, the sum over all predicted segments


def match_segments(
    joint: jax.Array,
    of_boundaries: jax.Array | None,
    found: jax.Array,
    true: jax.Array,
    crowd: jax.Array,
    *,
    num_classes: int,
    at_any_iou: Bools,
) -> MatchedSegments:
    """Matches the segments of an image.

    Args:
      joint: `[P, G]` int32, the pixels that segments share.
      of_boundaries: `[P + 1, 2 * G]` int32, those that their boundaries share, from `boundary_histogram`, if the IoU is
        the lesser of both; else None.
      found: `[P]` int32, labels.
      true: `[G]` int32, labels.
      crowd: `[G]` bool.
      num_classes: K.
      at_any_iou: `[K]`, the classes of which every true segment counts as one match.
    """
    is_found, is_true = (((labels >= 0) & (labels < num_classes)) for labels in (found, true))
    area, true_area = joint.sum(1, dtype=jnp.int32), joint.sum(0, dtype=jnp.int32)
    on_void = jnp.where(is_true[None, :], 0, joint).sum(1, dtype=jnp.int32)
    overlaps = [(joint, (area - on_void)[:, None] + true_area[None, :] - joint)]
    if of_boundaries is not None:
        overlaps.append(_overlap_of_boundaries(of_boundaries, is_true))
    same = (is_found[:, None] & is_true[None, :]) & (found[:, None] == true[None, :])
    match = same & ~crowd[None, :]
    for shared, union in overlaps:
        match &= shared > union - shared  # intersection / union > 1 / 2
    is_match = match.any(0)
    excused = on_void + jnp.where(same & crowd[None, :], joint, 0).sum(1, dtype=jnp.int32)
    matched = MatchedSegments(
        is_match=is_match,
        is_false_negative=is_true & ~crowd & (true_area > 0) & ~is_match,
        is_false_positive=is_found & (area > 0) & ~match.any(1) & (excused <= area - excused),
        iou=_least(
            fixed_point(
                jnp.where(match, shared, 0).sum(0, dtype=jnp.uint32),
                jnp.where(is_match, jnp.where(match, union, 0).sum(0, dtype=jnp.uint32), jnp.uint32(1)),
            )
            for shared, union in overlaps
        ),
    )
    if not at_any_iou.any():
        return matched
    is_loose, true_is_loose = ((_among(labels, at_any_iou)) for labels in (found, true))
    counted = true_is_loose & ~crowd & (true_area > 0)
    of_pairs = _least(
        fixed_point(
            jnp.where(same & counted[None, :], shared, 0).astype(jnp.uint32), jnp.maximum(union, 1).astype(jnp.uint32)
        )
        for shared, union in overlaps
    )
    summed = total(of_pairs, (0,))
    return MatchedSegments(
        is_match=jnp.where(true_is_loose, counted, matched.is_match),
        is_false_negative=matched.is_false_negative & ~true_is_loose,
        is_false_positive=matched.is_false_positive & ~is_loose,
        iou=WideCount(*(jnp.where(true_is_loose, any_, one) for any_, one in zip(summed, matched.iou, strict=True))),
    )


def _overlap_of_boundaries(joint: jax.Array, is_true: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns `[P, G]` int32, the pixels that each pair of boundaries shares, and those of its union."""
    num_true = len(is_true)
    on_boundary, inside = joint[:-1, :num_true], joint[:-1, num_true:]
    area = jnp.where(is_true[None, :], on_boundary + inside, 0).sum(1, dtype=jnp.int32)  # without void
    true_area = joint[:, :num_true].sum(0, dtype=jnp.int32)
    return on_boundary, area[:, None] + true_area[None, :] - on_boundary


def _least(counts: Iterable[WideCount]) -> WideCount:
    def lesser(one: WideCount, other: WideCount) -> WideCount:
        first = (one.high < other.high) | ((one.high == other.high) & (one.low <= other.low))
        return WideCount(*(jnp.where(first, mine, theirs) for mine, theirs in zip(one, other, strict=True)))

    return reduce(lesser, counts)


def _among(labels: jax.Array, flags: Bools) -> jax.Array:
    """Returns which labels are one of the flagged classes."""
    return (labels[:, None] == np.flatnonzero(flags).astype(np.int32)[None, :]).any(1)


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
    return count_pairs(place, true_place, real, num_places, num_true_places).astype(jnp.int32)


def boundary_histogram(
    place: jax.Array, true_place: jax.Array, real: jax.Array, num_places: int, num_true_places: int, ratio: float
) -> jax.Array:
    """Returns the pixels of each image by predicted and true segment, as far as they are on its boundary.

    Args:
      place: as for `joint_histogram`.
      true_place: likewise.
      real: likewise; the rows and columns that have pixels that are counted are the height and width of an image.
      num_places: P.
      num_true_places: G.
      ratio: the width of boundaries, as a share of the image's diagonal.

    Returns:
      `[I, P + 1, 2 * G]` int32. The last row are the inner pixels of all predicted segments; those of true segments are
      the columns from G on, apart from each other, because some of them may be void.
    """
    real = jnp.broadcast_to(real, place.shape)
    height, width = place.shape[1:]
    farthest = boundary_distance(height, width, ratio)
    distance = _distances(real, ratio)[:, None, None]
    small, large = (partial(_inner_pixels, farthest=farthest, small=flag) for flag in (True, False))
    is_inner, true_is_inner = (
        by_backend(jnp.where(real, side, -1), distance, tpu=large, default=small) for side in (place, true_place)
    )
    return joint_histogram(
        jnp.where(is_inner, num_places, place),
        true_place + jnp.where(true_is_inner, num_true_places, 0),
        real,
        num_places + 1,
        2 * num_true_places,
    )


def _distances(real: jax.Array, ratio: float) -> jax.Array:
    """Returns `[I]` int32, `boundary_distance` of each image, given which of its pixels `[I, H, W]` are counted."""
    height, width = real.shape[1:]
    largest = height**2 + width**2
    if largest >= 2**32:
        raise ValueError(
            f"maps must have a diagonal below 2^16 pixels for boundaries, got {height} x {width}; crop them."
        )
    # The least squared diagonals of each distance, from float64 on the host.
    farthest = boundary_distance(height, width, ratio)
    squares = [
        bisect_left(range(largest + 1), distance, key=partial(distance_of_square, ratio=ratio))
        for distance in range(2, farthest + 1)
    ]
    rows, columns = (real.any(axis).sum(1, dtype=jnp.uint32) for axis in (2, 1))
    square = rows * rows + columns * columns
    reached: jax.Array = (square[:, None] >= np.array(squares, np.uint32)[None, :]).sum(1, dtype=jnp.int32)
    return 1 + reached


def _inner_pixels(place: jax.Array, distance: jax.Array, *, farthest: int, small: bool) -> jax.Array:
    """Returns `[I, H, W]` bool, as `_host._inner_pixels` for each image and its distance `[I, 1, 1]`, up to a limit."""
    if not place.size:
        return jnp.zeros(place.shape, bool)
    inside = _room(place[:, :, 1:] != place[:, :, :-1], 2, farthest, small) >= distance
    changes = (place[:, 1:] != place[:, :-1]) | ~inside[:, 1:] | ~inside[:, :-1]
    return _room(changes, 1, farthest, small) >= distance


def _room(changes: jax.Array, axis: int, most: int, small: bool) -> jax.Array:
    """Returns how many pixels before and after each one are like it, the fewer, given where neighbours differ.

    By steps that double, up to `most`, one after another. In small integers it is 40 times as fast on a CPU; for a TPU
    they take twice as long to compile as int32.
    """
    most = min(most, changes.shape[axis] + 1)  # every pixel is closer to an edge of the image
    dtype = np.min_scalar_type(2 * most) if small else np.dtype(np.int32)
    edges = jnp.pad(changes, [(1, 1) if one == axis else (0, 0) for one in range(3)], constant_values=True)
    before = after = jnp.where(edges, dtype.type(0), dtype.type(most))

    def nearer(room: jax.Array, step: int, places: int) -> jax.Array:
        """Returns the lesser of the room of a pixel, and that of the pixel some places before plus the step."""
        padding = [(places, -places, 0) if one == axis else (0, 0, 0) for one in range(3)]
        return jnp.minimum(room, jax.lax.pad(room, dtype.type(most), padding) + dtype.type(step))

    for step in (1 << power for power in range(most.bit_length())):
        nearest = nearer(before, step, step), nearer(after, step, -step)
        before, after = jax.lax.optimization_barrier(nearest)  # type: ignore[no-untyped-call]
    cut = partial(jax.lax.slice_in_dim, axis=axis)
    return jnp.minimum(cut(before, 0, -1), cut(after, 1, None)).astype(jnp.int32)


def count_pairs(
    place: jax.Array, true_place: jax.Array, real: jax.Array, num_places: int, num_true_places: int
) -> jax.Array:
    """Returns how many pixels of each image have each pair of a predicted and a true number.

    A TPU adds up the elements of a scatter one after another, so that it multiplies matrices instead unless they are
    large. A GPU adds integers in parallel, and on a CPU a scatter is 9 times (19 numbers) to 90 times (150) faster.

    Args:
      place: `[I, H, W]` int32, from 0 to P - 1.
      true_place: likewise, from 0 to G - 1.
      real: bool that broadcasts to `[I, H, W]`, False for pixels that are not counted.
      num_places: P.
      num_true_places: G; I * P * G is below 2^31.

    Returns:
      `[I, P, G]` uint32.
    """
    sizes = num_places, num_true_places
    scattered, products = (partial(count, sizes=sizes) for count in (_scattered, _products))
    few = place.size > 0 and num_places * num_true_places <= MOST_CELLS
    arguments = place, true_place, jnp.broadcast_to(real, place.shape)
    counts: jax.Array = by_backend(*arguments, tpu=products if few else scattered, default=scattered)
    return counts


def count_numbers(numbers: jax.Array, size: int) -> jax.Array:
    """Returns `[size]` uint32, how often each number from 0 to `size - 1` occurs in `[H, W]` int32.

    The two halves of the bits of a number are a pair, so that a TPU has small matrices to multiply.
    """
    low_bits = (size - 1).bit_length() // 2
    high, low = numbers >> low_bits, numbers & ((1 << low_bits) - 1)
    num_high = ((size - 1) >> low_bits) + 1
    return count_pairs(high[None], low[None], jnp.bool_(True), num_high, 1 << low_bits).reshape(-1)[:size]


def _scattered(place: jax.Array, true_place: jax.Array, real: jax.Array, *, sizes: tuple[int, int]) -> jax.Array:
    num_images, cells = len(place), sizes[0] * sizes[1]
    image = jnp.arange(num_images, dtype=jnp.int32)[:, None, None]
    cell = image * cells + place * sizes[1] + true_place
    counts = jax.ops.segment_sum(real.astype(jnp.uint32).ravel(), cell.ravel(), num_images * cells)
    return counts.reshape(num_images, *sizes)


def _products(place: jax.Array, true_place: jax.Array, real: jax.Array, *, sizes: tuple[int, int]) -> jax.Array:
    return jax.vmap(partial(_product, sizes=sizes))(place, true_place, real)


def _product(place: jax.Array, true_place: jax.Array, real: jax.Array, *, sizes: tuple[int, int]) -> jax.Array:
    """Returns the histogram `[P, G]` of one image `[H, W]`, as products of matrices of 0 and 1 for blocks of pixels."""
    height, width = place.shape
    # Whole rows stay where they are in memory. A block has few enough pixels for an exact sum in float32.
    many = MANY_PIXELS if sizes[0] * sizes[1] > FEW_CELLS else 8 * MANY_PIXELS
    rows = ROWS * max(many // (ROWS * max(width, 1)), 1)
    shape = (rows, width) if rows * width <= MOST_PIXELS else (1, MOST_PIXELS)
    num_blocks = -(-height * width // (shape[0] * shape[1]))
    place = jnp.where(real, place, -1)
    missing = num_blocks * shape[0] * shape[1] - height * width
    if missing:
        sides = [jnp.pad(side.ravel(), (0, missing), constant_values=-1) for side in (place, true_place)]
    else:
        sides = [place, true_place]
    blocks = [side.reshape(num_blocks, *shape) for side in sides]

    def of_block(block: jax.Array | int) -> jax.Array:
        one, other = (
            (side[block][None] == jnp.arange(size, dtype=jnp.int32)[:, None, None]).astype(jnp.float32)
            for side, size in zip(blocks, sizes, strict=True)
        )
        both_axes = (((1, 2), (1, 2)), ((), ()))  # 0 and 1 are exact in the least precision of a product
        return jax.lax.dot_general(one, other, both_axes, jax.lax.Precision.DEFAULT).astype(jnp.uint32)

    def add(block: jax.Array, counts: jax.Array) -> jax.Array:
        return counts + of_block(block)

    counts: jax.Array = jax.lax.fori_loop(1, num_blocks, add, of_block(0))
    return counts
