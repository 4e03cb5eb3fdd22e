"""Matching from the similarities of all pairs of an image, without candidate lists: the kernel for TPUs.

`take_candidates` is the rule: what one detection takes of the ground truths that are left. It reads like `match`, for
which the candidates were listed in order before; here they are picked one after another, the most similar first. Two
programs run it over the detections: a `lax.scan` for any device, and one Pallas kernel for a TPU, with 128 images in
the lanes and the state on the chip. Both give the same bits.

A TPU compares all pairs in less time than it needs to list candidates, because a gather runs there row by row.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._candidates._device import ABSENT, TOLERANCE

__all__ = ["DensePairs", "fits_tpu", "match_on_tpu", "match_pairs", "take_candidates"]

LANES = 128  # images at once on a TPU
# The share of the on-chip memory of a TPU (16 MiB by default) for one block of the arrays of pairs, of which two are
# held at once, and for the state of 128 images.
BLOCK_BYTES, STATE_BYTES = 3 << 20, 6 << 20


class DensePairs(NamedTuple):
    """All pairs of one image; int32 words of threshold-and-area bits, so that every chip has their operations.

    Attributes:
      high: `[D, G]` float32, the similarity; `ABSENT` where no threshold is reached.
      low: `[D, G]` float32, its low part.
      reached: `[W, D, G]` int32, the planes whose threshold is reached.
      counted: `[W, G]` int32, the planes in which each ground truth is counted.
      kept: `[W, G]` int32, the planes in which it may be taken once only.
      num_candidates: `[D]` int32, how many ground truths reach a threshold.
    """

    high: jax.Array
    low: jax.Array
    reached: jax.Array
    counted: jax.Array
    kept: jax.Array
    num_candidates: jax.Array


Words = list[jax.Array]  # W arrays


def take_candidates(
    high: jax.Array,
    low: jax.Array,
    reached: Words,
    taken: Words,
    counted: Words,
    kept: Words,
    num_candidates: jax.Array,
) -> tuple[Words, Words, Words]:
    """Matches one detection, or one detection of each of several images in the last axis.

    In each plane it takes the most similar counted ground truth that is free, and without one the most similar ignored
    ground truth that is free; of equal ones the later.

    Args:
      high, low: `[G, ...]`, the similarities.
      reached, taken, counted, kept: W arrays `[G, ...]` int32, as in `DensePairs`; `taken` are the planes in which each
        ground truth is taken.
      num_candidates: scalar int32, at least the number of ground truths that reach a threshold, of all images.

    Returns:
      The new `taken`; W arrays `[...]`, the planes in which the detection takes a ground truth; and those in which it
      takes an ignored one.
    """
    row = jax.lax.broadcasted_iota(jnp.int32, high.shape, 0)
    free = [planes & ~gone for planes, gone in zip(reached, taken, strict=True)]
    # Like the data, so that they vary over the devices of a `shard_map` as they do.
    nothing = [jnp.zeros_like(planes[:1]) for planes in free]

    def take(_: Any, carry: tuple[jax.Array, Words, Words, Words]) -> tuple[jax.Array, Words, Words, Words]:
        left, *words = carry
        marks, on_counted, on_ignored = map(list, words)
        top = left.max(0, keepdims=True)
        low_of_top = jnp.where(left == top, low, jnp.float32(-1)).max(0, keepdims=True)
        near = (left - top) + (low - low_of_top) >= np.float32(-TOLERANCE)
        best = row == jnp.where(near, row, np.int32(-1)).max(0, keepdims=True)
        for word, planes in enumerate(free):
            mine = jnp.where(best, planes, np.int32(0)).sum(0, keepdims=True, dtype=jnp.int32)
            counts = jnp.where(best, counted[word], np.int32(0)).sum(0, keepdims=True, dtype=jnp.int32)
            first = mine & counts & ~on_counted[word], mine & ~counts & ~on_ignored[word]
            on_counted[word], on_ignored[word] = on_counted[word] | first[0], on_ignored[word] | first[1]
            marks[word] = marks[word] | jnp.where(best, first[0] | first[1], np.int32(0))
        return jnp.where(best, jnp.float32(ABSENT), left), marks, on_counted, on_ignored

    start = high, [jnp.zeros_like(planes) for planes in free], nothing, nothing
    _, marks, on_counted, on_ignored = jax.lax.fori_loop(np.int32(0), num_candidates, take, start)
    # An ignored ground truth was marked before all counted ones were seen: the mark holds where none was free.
    taken = [
        gone | (mark & once & (counts | ~found))
        for gone, mark, once, counts, found in zip(taken, marks, kept, counted, on_counted, strict=True)
    ]
    matched = [(found | other)[0] for found, other in zip(on_counted, on_ignored, strict=True)]
    return taken, matched, [(other & ~found)[0] for found, other in zip(on_counted, on_ignored, strict=True)]


def match_pairs(pairs: DensePairs) -> tuple[jax.Array, jax.Array]:
    """Matches the detections of one image, on any device; batch with `jax.vmap`.

    Returns:
      `[D, W]` int32, the planes in which each detection takes a ground truth, and those in which it takes an ignored
      one.
    """

    def step(taken: Words, row: tuple[jax.Array, ...]) -> tuple[Words, tuple[jax.Array, jax.Array]]:
        high, low, reached, num_candidates = row
        taken, *outcome = take_candidates(
            high, low, list(reached), taken, list(pairs.counted), list(pairs.kept), num_candidates
        )
        matched, on_ignored = map(jnp.stack, outcome)
        return taken, (matched, on_ignored)

    rows = pairs.high, pairs.low, jnp.moveaxis(pairs.reached, 1, 0), pairs.num_candidates
    nothing = list(jnp.zeros_like(pairs.counted))
    matched, on_ignored = jax.lax.scan(step, nothing, rows)[1]
    return matched, on_ignored


def match_on_tpu(pairs: DensePairs, *, interpret: bool = False) -> tuple[jax.Array, jax.Array]:
    """Like `match_pairs`, for a batch: arrays `[I, ...]`, and words `[I, D, W]`; one kernel, images in the lanes."""
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import tpu as pltpu

    num_words, num_images = pairs.counted.shape[1], len(pairs.high)
    num_detections, num_ground_truths = pairs.high.shape[1:]
    lanes = min(num_images, LANES)
    padding = -num_images % lanes
    in_lanes = jax.tree.map(
        lambda column: jnp.moveaxis(jnp.pad(column, ((0, padding),) + ((0, 0),) * (column.ndim - 1)), 0, -1), pairs
    )
    num_blocks = (num_images + padding) // lanes
    of_block = in_lanes.num_candidates.reshape(num_detections, num_blocks, lanes).max(-1).T[:, None]  # [blocks, 1, D]
    rows = _rows_per_block(num_detections, 4 * (2 + num_words) * num_ground_truths * lanes)

    def kernel(number: Any, high: Any, low: Any, reached: Any, counted: Any, kept: Any, out: Any, taken: Any) -> None:
        first = pl.program_id(1) * rows

        @pl.when(first == 0)
        def _() -> None:
            taken[...] = jnp.zeros(taken.shape, jnp.int32)

        words = range(num_words)

        @pl.loop(0, rows)
        def _(row: jax.Array) -> None:
            after, *outcome = take_candidates(
                high[row],
                low[row],
                [reached[word, row] for word in words],
                [taken[word] for word in words],
                [counted[word] for word in words],
                [kept[word] for word in words],
                number[0, 0, first + row],
            )
            for word in words:
                taken[word] = after[word]
                for place, planes in enumerate(outcome):
                    out[row, 2 * word + place] = planes[word]

    def spec(*shape: int, row_axis: int | None = None) -> Any:
        def place(block: jax.Array, part: jax.Array) -> tuple[Any, ...]:
            return *(part if axis == row_axis else 0 for axis in range(len(shape))), block

        return pl.BlockSpec((*shape, lanes), place)

    of_pairs = rows, num_ground_truths
    out = pl.pallas_call(
        kernel,
        grid=(num_blocks, num_detections // rows),
        in_specs=[
            pl.BlockSpec((1, 1, num_detections), lambda block, part: (block, 0, 0), memory_space=pltpu.SMEM),
            spec(*of_pairs, row_axis=0),
            spec(*of_pairs, row_axis=0),
            spec(num_words, *of_pairs, row_axis=1),
            spec(num_words, num_ground_truths),
            spec(num_words, num_ground_truths),
        ],
        out_specs=spec(rows, 2 * num_words, row_axis=0),
        out_shape=jax.ShapeDtypeStruct(  # type: ignore[no-untyped-call]
            (num_detections, 2 * num_words, num_blocks * lanes),
            jnp.int32,
            manual_axis_type=jax.typeof(pairs.high).manual_axis_type,  # as `shard_map` demands
        ),
        scratch_shapes=[pltpu.VMEM((num_words, num_ground_truths, lanes), jnp.int32)],
        interpret=interpret,
        name="jaxmap_match",
    )(of_block, *in_lanes[:-1])
    by_image = jnp.moveaxis(out[..., :num_images], -1, 0)  # [I, D, 2 W]
    return by_image[..., 0::2], by_image[..., 1::2]


def fits_tpu(num_ground_truths: int, num_words: int) -> bool:
    """Returns whether `match_on_tpu` has enough memory on the chip."""
    of_word = 4 * num_ground_truths * LANES
    # The state is taken, counted and kept, of which the latter two are held twice.
    return (2 + num_words) * of_word <= BLOCK_BYTES and 5 * num_words * of_word <= STATE_BYTES


def _rows_per_block(num_rows: int, bytes_of_row: int) -> int:
    """Returns the most rows, at most 16, that divide all of them and fit a block."""
    return max(
        rows for rows in range(1, 17) if num_rows % rows == 0 and (rows == 1 or rows * bytes_of_row <= BLOCK_BYTES)
    )
