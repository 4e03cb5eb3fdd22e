"""Detections in the order of their curves, inside `jit`: sorted once, then counted in blocks.

A row is sorted as a few uint32 words, which hold its class, its score, what breaks ties, its number and its status. So
sorting moves as little as possible, and the order is total. For 500,000 detections of 80 classes two words are enough.

Only matched rows, a few per cent, are processed for every threshold. The other rows only count, equally at all
thresholds: their status is one bit for every area range, and the smallest limit that includes them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._planes import plane_bit, word_columns
from ..protocols import EvaluationProtocol
from ..types import DetectionRecords

__all__ = ["MatchedRows", "RankedRows", "count_at_most", "rank_rows", "running_counts"]

BLOCK = 128  # rows per block: the lanes of a TPU
TILE = 8 * BLOCK  # rows that a TPU keeps together
WORD = 32  # bits of a sorted word


class MatchedRows(NamedTuple):
    """Some matched rows, in order.

    Attributes:
      row: `[n]` int32, their index in the records.
      level: `[n]` int32, the smallest limit that includes them, as an index on M.
      others: `[M, A, n]` int32, how many rows without a match are counted before them, over all classes.
    """

    row: jax.Array
    level: jax.Array
    others: jax.Array


class _Fields(NamedTuple):
    """What the words of a row hold, as the first bit and the number of bits of each field, and how to read it.

    The level of a row without a match is the smallest limit that includes it, and its flags say in which area ranges it
    is counted. The level is M for a matched row, whose flags are 1 + its smallest limit, and for a row that is not
    counted at all, whose flags are 0.

    Attributes:
      label: the class; K for padding.
      place: what breaks ties last, a number for every row of the records.
      flags: as many bits as area ranges, or as M needs.
      level: 0 to M.
      num_limits: M.
      num_areas: A.
      grid: how the records are laid out, `[positions, images]`; their place is that in `[images, positions]`.
    """

    label: tuple[int, int]
    place: tuple[int, int]
    flags: tuple[int, int]
    level: tuple[int, int]
    num_limits: int
    num_areas: int
    grid: tuple[int, int]

    def rows(self, words: Sequence[jax.Array]) -> jax.Array:
        """Returns `[...]` int32, the index in the records."""
        place, (positions, images) = _read(words, *self.place), self.grid
        return place % positions * images + place // positions

    def codes(self, words: Sequence[jax.Array]) -> jax.Array:
        """Returns `[...]` int32, 1 + the smallest limit that includes a matched row; 0 for other rows."""
        code = _read(words, self.flags[0], self.num_limits.bit_length())
        return jnp.where(_read(words, *self.level) == self.num_limits, code, 0)

    def counters(self, words: Sequence[jax.Array]) -> list[jax.Array]:
        """Returns words of four counters each, for every limit and area range: 1 where an unmatched row is counted."""
        level = _read(words, *self.level)
        flags = [_read(words, self.flags[0] + area, 1) for area in range(self.num_areas)]
        counters = [jnp.where(level <= limit, flag, 0) for limit in range(self.num_limits) for flag in flags]
        groups = [counters[start : start + 4] for start in range(0, len(counters), 4)]
        return [_packed([(counter, 8) for counter in group])[0] for group in groups]

    def unpacked(self, counters: Sequence[jax.Array]) -> jax.Array:
        """Returns `[M, A, ...]` int32 from words of four counters."""
        words = jnp.stack(counters)[:, None]  # [words, 1, ...]
        shifts = jnp.arange(WORD - 8, -1, -8, dtype=jnp.uint32).reshape(1, -1, *(1,) * (words.ndim - 2))
        counts = (words >> shifts & np.uint32(255)).astype(jnp.int32).reshape(-1, *words.shape[2:])
        counts = counts[: self.num_limits * self.num_areas]
        return counts.reshape(self.num_limits, self.num_areas, *counts.shape[1:])


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class RankedRows:
    """Rows by class, then by descending score, then by what breaks ties; padding last.

    Attributes:
      words: each `[blocks, BLOCK]` uint32, the sorted words.
      fields: what these words hold.
      counters: each `[blocks, BLOCK]` uint32, four 8-bit counters, for every limit and area range: 1 where a row
        without a match is counted.
      others_before: `[M, A, blocks]` int32, how many such rows are before each block.
      matched: `[blocks, BLOCK]` int32, how many rows are matched up to each, and including it.
      starts: `[K + 1]` int32, how many rows are before each class.
      matched_starts: `[K + 1]` int32, likewise for matched rows.
      others_starts: `[M, A, K + 1]` int32, likewise for counted rows without a match.
    """

    words: tuple[jax.Array, ...]
    fields: _Fields = dataclasses.field(metadata={"static": True})
    counters: tuple[jax.Array, ...]
    others_before: jax.Array
    matched: jax.Array
    starts: jax.Array
    matched_starts: jax.Array
    others_starts: jax.Array

    @property
    def size(self) -> int:
        """The number of rows, padding included."""
        return self.words[0].size

    def matched_rows(self, numbers: jax.Array) -> MatchedRows:
        """Returns matched rows by their numbers `[n]` int32, from 0 over all classes; any rows beyond the last."""
        places = jnp.minimum(count_at_most(self.matched.reshape(-1), numbers), self.size - 1)
        words = [word.reshape(-1)[places] for word in self.words]
        return MatchedRows(self.fields.rows(words), self.fields.codes(words) - 1, self.others(places))

    def others(self, places: jax.Array) -> jax.Array:
        """Returns `[M, A, n]` int32, how many rows without a match are counted before places `[n]` in the order."""
        block = places // BLOCK
        is_before = jnp.arange(BLOCK, dtype=jnp.int32)[None] < (places % BLOCK)[:, None]
        of_block = [jnp.where(is_before, word[block], np.uint32(0)).sum(-1, dtype=jnp.uint32) for word in self.counters]
        return self.others_before[..., block] + self.fields.unpacked(of_block)

    def rows_at(self, places: jax.Array) -> jax.Array:
        """Returns `[n]` int32, the index in the records of the rows at some places in the order."""
        return self.fields.rows([word.reshape(-1)[places] for word in self.words])


def rank_rows(
    records: DetectionRecords[jax.Array],
    ties: Sequence[jax.Array],
    *,
    protocol: EvaluationProtocol,
    num_classes: int,
    num_positions: int = 1,
) -> RankedRows:
    """Sorts detections, and counts them.

    Args:
      records: N detections in any order, N at least 1.
      ties: each `[N]` int32; equal scores of a class are ordered by them, then by the index of the row.
      protocol: the protocol, static.
      num_classes: K.
      num_positions: static, D. Rows are laid out as `[D, N / D]`, and ties end by the index in `[N / D, D]`.
    """
    size = len(records.valid)
    num_limits, num_areas = len(protocol.max_detections), len(protocol.area_ranges)
    grid = num_positions, size // num_positions

    def in_blocks(column: jax.Array) -> jax.Array:
        return jnp.pad(column, (0, -size % (TILE if size > 8 * TILE else BLOCK))).reshape(-1, BLOCK)

    valid, rank = in_blocks(records.valid), in_blocks(records.rank)
    matched, ignored = (list(map(in_blocks, word_columns(words))) for words in (records.matched, records.ignored))
    levels = [(rank >= limit).astype(jnp.int32) for limit in protocol.max_detections]
    level = jnp.where(valid, sum(levels), num_limits)
    is_included = level < num_limits
    is_matched = (reduce(or_, matched) != 0) & is_included
    level_width, place_width = num_limits.bit_length(), max((size - 1).bit_length(), 1)
    flags = []
    for bit in range(max(num_areas, level_width)):
        flag = is_matched & ((level + 1) << bit >> level_width - 1 & 1 == 1)  # the bits of a number, highest first
        if bit < num_areas:
            word, bit_of_plane = plane_bit(bit, 0, len(protocol.iou_thresholds))
            flag |= is_included & ~is_matched & (ignored[word] & np.uint32(1 << bit_of_plane) == 0)
        flags.append(flag)
    number = jnp.minimum(jnp.arange(valid.size, dtype=jnp.int32), size - 1).reshape(valid.shape)
    keys = [
        (jnp.where(valid, in_blocks(records.labels), num_classes), num_classes.bit_length()),
        *((word, WORD) for word in _descending(jnp.where(valid, in_blocks(records.scores), 0))),
        *((_ascending(in_blocks(tie)), WORD) for tie in ties),
        (number % grid[1] * grid[0] + number // grid[1], place_width),
    ]
    status = [*((flag, 1) for flag in flags), (jnp.where(is_matched, num_limits, level), level_width)]
    key_width = sum(width for _, width in keys)
    fields = _Fields(
        label=(0, keys[0][1]),
        place=(key_width - place_width, place_width),
        flags=(key_width, len(flags)),
        level=(key_width + len(flags), level_width),
        num_limits=num_limits,
        num_areas=num_areas,
        grid=grid,
    )
    unordered = [_signed(word).reshape(-1) for word in _packed(keys + status)]
    ordered = jax.lax.sort(unordered, num_keys=-(-key_width // WORD), is_stable=False)
    return _counted([_ascending(word).reshape(-1, BLOCK) for word in ordered], fields, num_classes)


def _counted(words: Sequence[jax.Array], fields: _Fields, num_classes: int) -> RankedRows:
    counters = fields.counters(words)
    of_blocks = fields.unpacked([word.sum(-1, dtype=jnp.uint32) for word in counters])
    is_matched = fields.codes(words) > 0
    in_block = running_counts(is_matched)
    starts = count_at_most(_read(words, *fields.label).reshape(-1), jnp.arange(num_classes + 1, dtype=jnp.int32) - 1)
    rows = RankedRows(
        words=tuple(words),
        fields=fields,
        counters=tuple(counters),
        others_before=_sums_before(of_blocks),
        matched=_sums_before(in_block[:, -1])[:, None] + in_block,
        starts=starts,
        matched_starts=jnp.zeros_like(starts),
        others_starts=jnp.zeros_like(starts),
    )
    last = jnp.maximum(starts - 1, 0)
    matched_starts = jnp.where(starts > 0, rows.matched.reshape(-1)[last], 0)
    return dataclasses.replace(rows, matched_starts=matched_starts, others_starts=rows.others(starts))


def count_at_most(ascending: jax.Array, values: jax.Array) -> jax.Array:
    """Returns `[n]` int32, how many of some ascending int32 are at most each value `[n]`.

    The last number of each row of a table is compared, and the same again in the row that is left: in place of a binary
    search, which is slow on a TPU and takes many kernels on a GPU.
    """
    size = len(ascending)
    if size <= 2 * BLOCK:
        return _count(ascending[None] <= values[:, None])
    table = jnp.pad(ascending, (0, -size % BLOCK), mode="edge").reshape(-1, BLOCK)
    row = jnp.minimum(count_at_most(table[:, -1], values), len(table) - 1)
    return jnp.minimum(row * BLOCK + _count(table[row] <= values[:, None]), size)


def running_counts(flags: jax.Array) -> jax.Array:
    """Returns int32, how many of at most 256 flags on the last axis are set up to each, and including it."""
    size = flags.shape[-1]
    # A product of zeros and ones, exact in any precision; a long cumulative sum takes seconds to compile for a TPU.
    counts = jnp.matmul(flags.astype(jnp.float32), np.triu(np.ones((size, size), np.float32)))
    return counts.astype(jnp.int32)


def _count(flags: jax.Array) -> jax.Array:
    return flags.sum(-1, dtype=jnp.int32)


def _sums_before(counts: jax.Array) -> jax.Array:
    """Returns the sums over all entries before each on the last axis."""
    return jnp.cumsum(counts, axis=-1, dtype=jnp.int32) - counts


def _ascending(values: jax.Array) -> jax.Array:
    """Returns uint32 in the order of int32."""
    return jax.lax.bitcast_convert_type(values.astype(jnp.int32), jnp.uint32) ^ np.uint32(1 << 31)


def _signed(words: jax.Array) -> jax.Array:
    """Returns int32 in the order of uint32, the inverse of `_ascending`: a TPU compares and compiles them faster."""
    return jax.lax.bitcast_convert_type(words ^ np.uint32(1 << 31), jnp.int32)


def _descending(scores: jax.Array) -> list[jax.Array]:
    """Returns words in descending order of scores; zeros are equal whatever their sign, and NaN is last."""
    width = max(scores.dtype.itemsize, 4) * 8
    real, whole = (jnp.float64, jnp.uint64) if width == 64 else (jnp.float32, jnp.uint32)
    key = -scores.astype(real)
    key = jnp.where(jnp.isnan(key), jnp.nan, jnp.where(key == 0, 0, key)).astype(real)
    bits = jax.lax.bitcast_convert_type(key, whole)
    sign = np.array(1, whole) << np.array(width - 1, whole)
    bits = jnp.where(bits >= sign, ~bits, bits | sign)
    return [(bits >> np.array(shift, whole)).astype(jnp.uint32) for shift in range(width - WORD, -1, -WORD)]


def _packed(columns: Sequence[tuple[jax.Array, int]]) -> list[jax.Array]:
    """Returns uint32 words that hold the given numbers of bits of each column, the first column in the highest bits."""
    total = sum(width for _, width in columns)
    words, start = [jnp.zeros(columns[0][0].shape, jnp.uint32)] * -(-total // WORD), 0
    for column, width in columns:
        column = column.astype(jnp.uint32)
        for index in range(start // WORD, (start + width - 1) // WORD + 1):
            shift = (index + 1) * WORD - start - width  # to the left, or out of the word to the right
            words[index] |= column << np.uint32(shift) if shift >= 0 else column >> np.uint32(-shift)
        start += width
    return words


def _read(words: Sequence[jax.Array], start: int, width: int) -> jax.Array:
    """Returns int32, a field of up to 31 bits."""
    value = jnp.zeros_like(words[0])
    for index in range(start // WORD, (start + width - 1) // WORD + 1):
        shift = (index + 1) * WORD - start - width
        value |= words[index] >> np.uint32(shift) if shift >= 0 else words[index] << np.uint32(-shift)
    return (value & np.uint32((1 << width) - 1)).astype(jnp.int32)
