"""One pass over the matched rows for all thresholds, area ranges and limits, inside `jit`.

Matched rows are processed in tiles, several at once. A tile holds rows of one class, and what is known of its class so
far is carried from tile to tile. Every class has a tile, if only an empty one. So the classes of tiles that are
processed at once follow each other, and their results are written as one slice.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._lowering import by_backend
from .._planes import WORD_BITS, word_columns
from ..protocols import EvaluationProtocol
from ..types import DetectionRecords
from ._interpolation_device import at_recall_points, divide, first_to_reach
from ._ranked_rows_device import RankedRows, count_at_most, running_counts

__all__ = ["Integrated", "integrate"]

# Rows of a tile, and how many tiles are processed at once. Many small tiles fill an accelerator with few kernels (128
# are the lanes of a TPU); one tile at a time stays in the cache of a CPU.
ON_ACCELERATOR, ON_CPU = (128, 64), (256, 1)
STEPS_AT_ONCE = 4  # of a combination of tiles: a step goes over all of them
HALF_BITS = 11  # bits of a precision as a multiple of 2^-22: sums of either half over a tile fit uint32


class Integrated(NamedTuple):
    """Curves of every limit, area range, threshold and class.

    Attributes:
      precision: `[M, A, T, K, R]` float32, the best precision of the rows that reach a recall point; -inf if none does.
      scores: `[M, A, T, K, R]` float32, the score of the first of them; -inf if none does.
      found: `[M, A, T, K]` int32, the number of true positives.
      areas: `[M, A, T, K]` float32, the area under the envelope; None unless the protocol averages it.
    """

    precision: jax.Array
    scores: jax.Array
    found: jax.Array
    areas: jax.Array | None


class _Read(NamedTuple):
    """The rows of B tiles, in all planes P: the limits, area ranges and thresholds.

    Attributes:
      steps: `[2, P, B, L]` bool, true positives, and true and false positives.
      running: `[2, P, B, L]` int32, their numbers in the tile up to each row.
      others: `[P, B, L]` int32, how many false positives without a match are before each row in its class.
      scores: `[B, L]` float32.
      is_real: `[B, L]` bool, False beyond the last row of the class.
    """

    steps: jax.Array
    running: jax.Array
    others: jax.Array
    scores: jax.Array
    is_real: jax.Array

    def precision(self, before: jax.Array) -> jax.Array:
        """Returns `[P, B, L]` float32, -inf beyond the last row, given the counts `[2, P, B]` before each tile."""
        hits, counted = self.running + before[..., None]
        return jnp.where(self.is_real[None], divide(hits, counted + self.others), -jnp.inf)


class _Tiles:
    """The matched rows as tiles of `length` rows, of which `group` are processed at once."""

    def __init__(
        self,
        rows: RankedRows,
        records: DetectionRecords[jax.Array],
        protocol: EvaluationProtocol,
        length: int,
        group: int,
    ) -> None:
        self.rows, self.records, self.length, self.group = rows, records, length, group
        self.shape = len(protocol.max_detections), len(protocol.area_ranges), len(protocol.iou_thresholds)
        self.num_planes = int(np.prod(self.shape))
        self.words = jnp.stack([*word_columns(records.matched), *word_columns(records.ignored)])  # [2 * W, N]
        of_class = jnp.maximum(-(-jnp.diff(rows.matched_starts) // length), 1)
        self.ends = jnp.cumsum(of_class, dtype=jnp.int32)  # [K], one after the last tile of each class
        self.starts, self.count = self.ends - of_class, self.ends[-1]
        self.most = rows.size // length + 1 + len(of_class) + group

    def labels(self, numbers: jax.Array) -> jax.Array:
        """Returns the classes of tiles: K beyond the last tile, -1 before the first."""
        return jnp.where(numbers < 0, -1, count_at_most(self.ends, numbers))

    def read(self, numbers: jax.Array, labels: jax.Array) -> _Read:
        """Returns the rows of some tiles, by their numbers and classes, each `[B]`."""
        num_limits, num_areas, num_thresholds = self.shape
        known = jnp.clip(labels, 0, len(self.ends) - 1)
        starts = self.rows.matched_starts
        first = starts[known] + (numbers - self.starts[known]) * self.length
        places = first[:, None] + jnp.arange(self.length, dtype=jnp.int32)[None]
        is_real = (places < starts[known + 1][:, None]) & (labels == known)[:, None]
        matched = self.rows.matched_rows(places.reshape(-1))
        bits = jnp.arange(WORD_BITS, dtype=jnp.uint32)[None, :, None]
        flags = self.words[:, matched.row][:, None] >> bits & np.uint32(1) == 1  # [2 * W, 32, B * L]
        flags = flags.reshape(2, -1, *places.shape)[:, : num_areas * num_thresholds]
        limits = jnp.arange(num_limits, dtype=jnp.int32)[:, None, None]
        is_within = (matched.level.reshape(1, *places.shape) <= limits) & is_real[None]
        steps = jnp.stack([flags[0] & ~flags[1], ~flags[1]])[:, None] & is_within[None, :, None]
        steps = steps.reshape(2, -1, *places.shape)
        running = running_counts(steps)
        others = matched.others.reshape(num_limits, num_areas, 1, *places.shape)
        others = others - self.rows.others_starts[:, :, None, known, None]
        others = jnp.broadcast_to(others, (*self.shape, *places.shape)).reshape(-1, *places.shape)
        scores = self.records.scores[matched.row].astype(jnp.float32).reshape(places.shape)
        return _Read(steps, running, others, jnp.where(is_real, scores, -jnp.inf), is_real)


def _counts_over_class(added: jax.Array, carried: jax.Array, labels: jax.Array) -> jax.Array:
    """Returns int32, the sums of `[..., B]` counts over each tile and all before it of its class.

    Counts are at most 256, the rows of a tile: products with zeros and ones are exact in any precision. `carried` is
    `[..., 1]`, the sum over the tiles before, and `labels` as in `_over_class`.
    """
    is_added = np.triu(np.ones((added.shape[-1],) * 2, bool)) & (labels[1:, None] == labels[None, 1:])
    sums = jnp.matmul(added.astype(jnp.float32), is_added.astype(jnp.float32)).astype(jnp.int32)
    return sums + jnp.where(labels[1:] == labels[0], carried, 0)


def _over_class(
    values: jax.Array, carried: jax.Array, labels: jax.Array, operation: Callable[[jax.Array, jax.Array], jax.Array]
) -> jax.Array:
    """Combines each of `[..., B, n]` with all before it of its class, of which `carried` `[..., 1, n]` is the first.

    `labels` is `[1 + B]`, with the class of `carried` in front; equal classes are next to each other.
    """
    values, size, step = jnp.concatenate([carried, values], axis=-2), len(labels), 1
    padded = jnp.pad(labels, (size, 0), constant_values=-2)  # a class that none has
    while step < size:  # each value is combined with `step - 1` before it
        before = jnp.pad(values, ((0, 0),) * (values.ndim - 2) + ((size, 0), (0, 0)))
        for distance in range(step, min(step * STEPS_AT_ONCE, size), step):
            earlier = slice(size - distance, 2 * size - distance)
            is_same = (padded[earlier] == labels)[:, None]
            values = jnp.where(is_same, operation(values, before[..., earlier, :]), values)
        step *= STEPS_AT_ONCE
    return values[..., 1:, :]


def _write(results: jax.Array, values: jax.Array, labels: jax.Array) -> jax.Array:
    """Writes the last of `[..., B, n]` of each class to `[..., K + 2 * B, n]`, in which class 0 is at B.

    The classes ascend. Beyond the last class anything is written, which later tiles replace.
    """
    size = len(labels)
    classes = labels[0] + jnp.arange(size, dtype=jnp.int32)
    last = (labels[None] <= classes[:, None]).sum(-1, dtype=jnp.int32) - 1
    window = jnp.take(values, last, axis=values.ndim - 2, mode="clip")
    return jax.lax.dynamic_update_slice_in_dim(results, window, labels[0] + size, results.ndim - 2)


def integrate(
    rows: RankedRows, records: DetectionRecords[jax.Array], positives: jax.Array, protocol: EvaluationProtocol
) -> Integrated:
    """Integrates the rows; `positives` is `[K, A]` int32, the number of ground truths."""
    on_cpu, on_accelerator = (partial(_integrate, protocol=protocol, sizes=sizes) for sizes in (ON_CPU, ON_ACCELERATOR))
    result: Integrated = by_backend(rows, records, positives, cpu=on_cpu, default=on_accelerator)
    return result


def _integrate(
    rows: RankedRows,
    records: DetectionRecords[jax.Array],
    positives: jax.Array,
    *,
    protocol: EvaluationProtocol,
    sizes: tuple[int, int],
) -> Integrated:
    tiles = _Tiles(rows, records, protocol, *sizes)
    group, num_planes = tiles.group, tiles.num_planes
    num_points, num_classes = len(protocol.recall_points), len(positives)
    needed = jnp.moveaxis(first_to_reach(protocol.recall_points, positives), 1, 0)[None, :, None]  # [1, A, 1, K, R]
    averages_area = protocol.average == "area"
    in_group = jnp.arange(group, dtype=jnp.int32)

    def step(carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        number, label, counts, best, all_best, all_counts, *all_before = carry
        labels = tiles.labels(number + in_group)
        tile = tiles.read(number + in_group, labels)
        around = jnp.concatenate([label[None], labels])
        added = tile.running[..., -1]
        after = _counts_over_class(added, counts, around)
        before = after - added
        precision = tile.precision(before)
        of_class = jnp.broadcast_to(needed[..., labels, :], (*tiles.shape, group, num_points))
        of_class = of_class.reshape(num_planes, group, num_points) - before[0, ..., None]
        reached = jnp.stack(at_recall_points(tile.running[0], of_class, precision, tile.scores[None]))
        best = _over_class(reached, best, around, jnp.maximum)
        all_best, all_counts = _write(all_best, best, labels), _write(all_counts, after[..., None], labels)
        all_before = [jax.lax.dynamic_update_slice_in_dim(values, before, number, 2) for values in all_before]
        return number + group, labels[-1], after[..., -1:], best[..., -1:, :], all_best, all_counts, *all_before

    zero = jnp.zeros_like(tiles.count)  # varies over the devices of a `shard_map` like the data

    def filled(value: np.int32 | np.float32, *shape: int) -> jax.Array:
        return jnp.broadcast_to(zero.astype(value.dtype) + value, shape)

    size = num_classes + 2 * group
    start: tuple[jax.Array, ...] = (
        zero,
        zero - 1,
        filled(np.int32(0), 2, num_planes, 1),
        filled(np.float32(-np.inf), 2, num_planes, 1, num_points),
        filled(np.float32(-np.inf), 2, num_planes, size, num_points),
        filled(np.int32(0), 2, num_planes, size, 1),
    )
    if averages_area:
        start += (filled(np.int32(0), 2, num_planes, tiles.most),)
    carry = jax.lax.while_loop(lambda carry: carry[0] < tiles.count, step, start)

    of_classes = slice(group, group + num_classes)
    precision, scores = carry[4][:, :, of_classes].reshape(2, *tiles.shape, num_classes, num_points)
    found = carry[5][0, :, of_classes, 0].reshape(*tiles.shape, num_classes)
    areas = _areas(tiles, carry[6], positives) if averages_area else None
    return Integrated(precision, scores, found, areas)


def _areas(tiles: _Tiles, all_before: jax.Array, positives: jax.Array) -> jax.Array:
    """Returns `[M, A, T, K]`, the area under the envelope: the mean of the best precision from each true positive on.

    Args:
      tiles: the tiles, which are processed from the last to the first.
      all_before: `[2, P, tiles]` int32, the counts before each tile in its class.
      positives: `[K, A]` int32, the number of ground truths.
    """
    num_classes, num_planes, group = len(positives), tiles.num_planes, tiles.group

    def step(carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        number, label, best, sums, all_sums = carry
        numbers = number - jnp.arange(group, dtype=jnp.int32)
        labels = tiles.labels(numbers)
        tile, from_last = tiles.read(numbers, labels), num_classes - 1 - labels  # ascending, as `_write` needs them
        around = jnp.concatenate([label[None], from_last])
        precision = tile.precision(jnp.take(all_before, numbers, axis=2, mode="clip"))
        whole = jnp.round(jnp.where(tile.steps[0], precision, 0.0) * 2.0 ** (2 * HALF_BITS)).astype(jnp.uint32)
        onwards = jax.lax.cummax(whole, axis=2, reverse=True)
        best_onwards = _over_class(onwards[..., :1], best, around, jnp.maximum)
        later = jnp.concatenate([best, best_onwards[..., :-1, :]], axis=-2)
        onwards = jnp.maximum(onwards, jnp.where((around[1:] == around[:-1])[None, :, None], later, np.uint32(0)))
        counted = jnp.where(whole > 0, onwards, np.uint32(0))
        halves = jnp.stack([counted >> HALF_BITS, counted & np.uint32(2**HALF_BITS - 1)])
        added = halves.sum(-1, keepdims=True, dtype=jnp.uint32)
        added = _over_class(added, jnp.zeros_like(added[..., :1, :]), around, jnp.add)
        sums = jnp.where(
            (from_last == label)[None, None, None, :, None], sums, np.uint32(0)
        )  # and how often they exceeded 32 bits
        total = sums[0] + added
        sums = jnp.stack([total, sums[1] + (total < added).astype(jnp.uint32)])
        return (
            number - group,
            from_last[-1],
            best_onwards[..., -1:, :],
            sums[..., -1:, :],
            _write(all_sums, sums, from_last),
        )

    zero = jnp.zeros_like(tiles.count)
    nothing = zero.astype(jnp.uint32)
    start: tuple[jax.Array, ...] = (
        tiles.count - 1,
        zero - 1,
        jnp.broadcast_to(nothing, (num_planes, 1, 1)),
        jnp.broadcast_to(nothing, (2, 2, num_planes, 1, 1)),
        jnp.broadcast_to(nothing, (2, 2, num_planes, num_classes + 2 * group, 1)),
    )
    sums = jax.lax.while_loop(lambda carry: carry[0] >= 0, step, start)[4]
    sums = sums[..., group : group + num_classes, 0][..., ::-1].astype(jnp.float32)
    whole = (sums[0] + sums[1] * 2.0**32).reshape(2, *tiles.shape, num_classes)
    high, low = whole / jnp.maximum(positives, 1).astype(jnp.float32).T[None, None, :, None]
    areas: jax.Array = high * 2.0**-HALF_BITS + low * 2.0 ** (-2 * HALF_BITS)
    return areas
