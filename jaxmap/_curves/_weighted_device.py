"""Curves under many vectors of image weights at once, inside `jit`: sorted once, then added up row by row.

As on the host, matched rows are visited from the last to the first of their class, with counts that fall from their
totals, so that the best precision from a row on is a running maximum. A step changes the counts of one class, in all
planes and for all vectors. Rows without a match only count: their weights are added up in blocks.

Weights are integers, so all counts are exact, whatever the device and the order in which it adds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from .._planes import WORD_BITS, plane_bit
from ..protocols import EvaluationProtocol
from ..types import UNDEFINED, Ints, Records
from ._envelope import FIRST_SHARE
from ._interpolation_device import divide, recall_grid
from ._ranked_rows_device import count_at_most, rank_rows

__all__ = ["CellNumbers", "WeightedCells", "points_reached"]

BLOCK = 16  # rows that are added up at once
CHUNK = 1 << 12  # rows whose weights are gathered at once
TILE = 64  # matched rows that are read at once
Cell = tuple[int, int]  # area range and limit, by index


class CellNumbers(NamedTuple):
    """What the curves of one area range and limit amount to under each vector; `UNDEFINED` without ground truth.

    Attributes:
      recall: `[T, K, W]` float32.
      average_precision: `[T, K, W]` float32; 0 if only recall was asked for.
      precision: `[T, R, K, W]` float32, the highest precision at or above each recall point; R is 0 unless asked for.
      scores: `[T, R, K, W]` float32, the score at which each recall point is reached, 0 where none does.
    """

    recall: jax.Array
    average_precision: jax.Array
    precision: jax.Array
    scores: jax.Array


class _BlockSums(NamedTuple):
    """The weights of flagged rows, added up in blocks: how much is before any row.

    Attributes:
      image: `[N]` int32.
      flags: `[C, N]` bool.
      vectors: `[I, W]` int32, the weights.
      before: `[blocks, C, W]` int32, the sum of the weights before each block.
    """

    image: jax.Array
    flags: jax.Array
    vectors: jax.Array
    before: jax.Array

    @classmethod
    def of(cls, image: jax.Array, flags: jax.Array, vectors: jax.Array) -> _BlockSums:
        size, num_flags = len(image), len(flags)
        chunk = min(CHUNK, -(-size // BLOCK) * BLOCK)
        image = jnp.pad(image, (0, -size % chunk + BLOCK))[: size + -size % chunk + BLOCK]
        flags = jnp.pad(flags, ((0, 0), (0, -size % chunk + BLOCK)))

        def step(total: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
            rows = jax.lax.dynamic_slice_in_dim(image, start, chunk)
            some = jax.lax.dynamic_slice_in_dim(flags, start, chunk, 1).reshape(num_flags, -1, BLOCK)
            weights = vectors[rows].reshape(1, -1, BLOCK, vectors.shape[1])
            sums = jnp.where(some[..., None], weights, 0).sum(2, dtype=jnp.int32)  # [C, blocks, W]
            after = total[:, None] + jnp.cumsum(sums, axis=1, dtype=jnp.int32)
            return after[:, -1], (after - sums).transpose(1, 0, 2)

        starts = jnp.arange(0, len(image) - BLOCK, chunk, dtype=jnp.int32)
        zero = jnp.zeros((num_flags, 1), jnp.int32) * vectors[:1]
        last, before = jax.lax.scan(step, zero, starts)
        before = jnp.concatenate([before.reshape(-1, *before.shape[2:]), last[None]])
        return cls(image, flags, vectors, before)

    def at(self, places: jax.Array) -> jax.Array:
        """Returns `[n, C, W]` int32, the sums over the rows before places `[n]`, from 0 to N."""
        block, offset = places // BLOCK, jnp.arange(BLOCK, dtype=jnp.int32)
        rows = block[:, None] * BLOCK + offset[None]
        chosen = self.flags[:, rows].transpose(1, 0, 2) & (offset[None] < (places % BLOCK)[:, None])[:, None]
        weights = self.vectors[self.image[rows]]  # [n, BLOCK, W]
        return self.before[block] + jnp.where(chosen[..., None], weights[:, None], 0).sum(2, dtype=jnp.int32)


class _Totals(NamedTuple):
    """Counts of rows with a match, `[K, P, W]` int32: true positives, and true and false positives."""

    found: jax.Array
    counted: jax.Array


class _Curves(NamedTuple):
    """The curves from some row on: the counts `[P, W]` before it, and what they amount to.

    Attributes:
      label: the class of the row.
      found: `[P, W]` int32, the true positives of the class before the row.
      counted: `[P, W]` int32, its true and false positives with a match before the row.
      best: `[P, W]` float32, the best precision from the row on.
      area: `[P, W]` float32, the sum over its rows of the recall points reached times the growth of the best precision.
      areas: `[K, P, W]` float32, the same for every class so far.
      precision: `[K, R, P, W]` float32, at recall points; R is 0 unless they are asked for.
      scores: `[K, R, P, W]` float32.
    """

    label: jax.Array
    found: jax.Array
    counted: jax.Array
    best: jax.Array
    area: jax.Array
    areas: jax.Array
    precision: jax.Array
    scores: jax.Array


class _Row(NamedTuple):
    """A row with a match, or several `[n]`: its class, image and score, `[P]` flags, and the plain rows before it."""

    label: jax.Array
    image: jax.Array
    score: jax.Array
    hits: jax.Array
    counted: jax.Array
    plain: jax.Array  # [C, W]
    is_real: jax.Array


Carry = TypeVar("Carry", _Totals, _Curves)


class WeightedCells:
    """Records in the order of their curves, for some cells (area range and limit), ready for weights.

    Args:
      records: as `precision_recall` takes them.
      protocol: the protocol, static.
      num_classes: K.
      ranked: the cells whose AP is asked for.
      others: the cells of which only recall is asked for.
      num_positions: static, D, if detections are laid out as `[D, images]`; None if they are in any order.
    """

    def __init__(
        self,
        records: Records[jax.Array],
        *,
        protocol: EvaluationProtocol,
        num_classes: int,
        ranked: Sequence[Cell],
        others: Sequence[Cell] = (),
        num_positions: int | None = None,
    ) -> None:
        self.protocol, self.num_classes = protocol, num_classes
        self.ranked, self.cells = list(ranked), [*ranked, *others]
        self.num_thresholds, self.num_areas = len(protocol.iou_thresholds), len(protocol.area_ranges)
        self.num_planes = len(self.ranked) * self.num_thresholds  # those with AP come first
        found, truth = records.detections, records.ground_truths
        ties = (found.image_index, found.position) if num_positions is None else ()
        self.rows = rank_rows(found, ties, protocol=protocol, num_classes=num_classes, num_positions=num_positions or 1)
        places = jnp.arange(self.rows.size, dtype=jnp.int32)
        order = self.rows.rows_at(places)
        is_real = places < self.rows.starts[-1]
        self.image, self.scores = found.image_index[order].astype(jnp.int32), found.scores[order].astype(jnp.float32)
        self.words = jnp.concatenate([found.matched.T, found.ignored.T])[:, order]  # [2 * words, N]
        limits = np.asarray(protocol.max_detections, np.int32)[:, None]
        self.level = jnp.where(is_real, (found.rank[order][None] >= limits).sum(0, dtype=jnp.int32), len(limits))
        matched = (found.matched[order] != 0).any(-1) & (self.level < len(limits))
        first = [_bit(self.words[len(self.words) // 2 :], area, 0, protocol) for area, _ in self.ranked]
        self.plain = jnp.stack(
            [~matched & ~flag & (self.level <= limit) for flag, (_, limit) in zip(first, self.ranked, strict=True)]
            or [jnp.zeros_like(matched)]
        )
        by_class = jnp.argsort(truth.labels, stable=True)
        self.truth_image = truth.image_index[by_class].astype(jnp.int32)
        areas = np.array([area for area, _ in self.cells])
        self.truth_flags = truth.counted[by_class].T[areas]  # [cells, G]
        classes = jnp.arange(num_classes + 1, dtype=jnp.int32)
        self.truth_starts = count_at_most(truth.labels[by_class].astype(jnp.int32), classes - 1)

    @property
    def numbers_per_vector(self) -> int:
        """How many numbers the largest array holds for each vector."""
        return max(self.rows.size // BLOCK * len(self.ranked), self.num_classes * self.num_planes)

    def __call__(self, vectors: jax.Array, *, at_points: bool = False) -> list[CellNumbers]:
        """Returns what the curves of each cell amount to, those of `ranked` first.

        Args:
          vectors: `[I, W]` int32, the weights.
          at_points: whether to return precision and scores at every recall point, too.
        """
        edges = _BlockSums.of(self.truth_image, self.truth_flags, vectors).at(self.truth_starts)
        positives = jnp.diff(edges, axis=0)  # [K, cells, W]
        totals = self._totals(vectors)
        found = totals.found.reshape(self.num_classes, len(self.cells), -1, vectors.shape[1])
        recall = divide(found, positives[:, :, None]).reshape(totals.found.shape)
        num_points = len(self.protocol.recall_points) if at_points else 0
        curves = self._integrated(vectors, totals, positives, num_points)
        return [self._numbers(index, positives[:, index], recall, curves) for index in range(len(self.cells))]

    def _totals(self, vectors: jax.Array) -> _Totals:
        """Returns the true positives, and the true and false positives with a match, of every class."""

        def step(totals: _Totals, row: _Row) -> tuple[_Totals, None]:
            changed = (
                _update(
                    values, row.label, _at(values, row.label) + jnp.where(flags[:, None], vectors[row.image][None], 0)
                )
                for values, flags in zip(totals, (row.hits, row.counted), strict=True)
            )
            return _Totals(*changed), None

        num_planes = len(self.cells) * self.num_thresholds
        zero = jnp.zeros((self.num_classes, num_planes, 1), jnp.int32) * vectors[None, :1]
        return self._visit(step, _Totals(zero, zero), None)

    def _integrated(self, vectors: jax.Array, totals: _Totals, positives: jax.Array, num_points: int) -> _Curves:
        """Visits matched rows from the last to the first, with the counts up to each."""
        plain = _BlockSums.of(self.image, self.plain, vectors)
        before = plain.at(self.rows.starts[:-1])  # [K, ranked, W]
        positives = jnp.repeat(positives[:, : len(self.ranked)], self.num_thresholds, axis=1)
        points = jnp.arange(num_points, dtype=jnp.int32)[:, None, None]
        average = self.protocol.average
        ranked = slice(self.num_planes)

        def step(curves: _Curves, row: _Row) -> tuple[_Curves, None]:
            label, weight = row.label, vectors[row.image][None]
            is_new = label != curves.label
            found, counted = (
                jnp.where(is_new, _at(total, label)[ranked], value)
                for total, value in zip(totals, (curves.found, curves.counted), strict=True)
            )
            best, area = (jnp.where(is_new, 0.0, value) for value in (curves.best, curves.area))
            others = jnp.repeat(row.plain - _at(before, label), self.num_thresholds, axis=0)
            better = jnp.where(row.is_real, jnp.maximum(best, divide(found, counted + others)), best)
            of_class = _at(positives, label)
            reached = points_reached(found, of_class, self.protocol)
            share = divide(found, of_class) if average == "area" else reached.astype(jnp.float32)
            if average == "trapezoid":
                share = jnp.maximum(share - (1 - FIRST_SHARE), 0.0)
            area += share * (better - best)
            is_first = (points < reached[None]) & (row.is_real & (weight > 0))[None]  # of those visited so far
            at_points = (
                _update(values, label, jnp.where(is_first, value, _at(values, label)))
                for values, value in ((curves.precision, better[None]), (curves.scores, row.score))
            )
            found -= jnp.where(row.hits[ranked, None], weight, 0)
            counted -= jnp.where(row.counted[ranked, None], weight, 0)
            return _Curves(label, found, counted, better, area, _update(curves.areas, label, area), *at_points), None

        zeros = jnp.zeros_like(totals.found[:, ranked])
        none = zeros.astype(jnp.float32)
        at_points = jnp.zeros((1, num_points, 1, 1), jnp.float32) + none[:, None]
        no_class = jnp.min(self.rows.starts) - 1  # -1, which varies over devices like the data
        start = _Curves(no_class, zeros[0], zeros[0], none[0], none[0], none, at_points, at_points)
        return self._visit(step, start, plain, backwards=True)

    def _visit(
        self,
        step: Callable[[Carry, _Row], tuple[Carry, None]],
        carry: Carry,
        plain: _BlockSums | None,
        *,
        backwards: bool = False,
    ) -> Carry:
        """Applies a step to every matched row, in order or from the last to the first."""
        num_matched = self.rows.matched[-1, -1]
        num_tiles = -(-num_matched // TILE)

        def visit(state: tuple[jax.Array, Carry]) -> tuple[jax.Array, Carry]:
            number, carry = state
            tile = num_tiles - 1 - number if backwards else number
            rows = self._read(tile * TILE + jnp.arange(TILE, dtype=jnp.int32), num_matched, plain)
            carry, _ = jax.lax.scan(step, carry, rows, reverse=backwards)
            return number + 1, carry

        _, carry = jax.lax.while_loop(lambda state: state[0] < num_tiles, visit, (jnp.zeros_like(num_tiles), carry))
        return carry

    def _read(self, numbers: jax.Array, num_matched: jax.Array, plain: _BlockSums | None) -> _Row:
        """Returns matched rows by their numbers `[n]`, with nothing counted beyond the last."""
        places = jnp.minimum(count_at_most(self.rows.matched.reshape(-1), numbers), self.rows.size - 1)
        is_real = numbers < num_matched
        bits = jnp.arange(WORD_BITS, dtype=jnp.uint32)[None, :, None]
        flags = self.words[:, places][:, None] >> bits & np.uint32(1) == 1  # [2 * words, 32, n]
        flags = flags.reshape(2, -1, len(places))[:, : self.num_areas * self.num_thresholds]
        areas, limits = np.array(self.cells).T
        of_cells = flags.reshape(2, self.num_areas, self.num_thresholds, -1)[:, areas]  # [2, cells, T, n]
        is_within = is_real[None] & (self.level[places][None] <= limits.astype(np.int32)[:, None])
        counted = ~of_cells[1] & is_within[:, None]
        hits, counted = (values.reshape(-1, len(places)).T for values in (of_cells[0] & counted, counted))
        return _Row(
            label=jnp.minimum(count_at_most(self.rows.starts[1:], places), self.num_classes - 1),
            image=self.image[places],
            score=self.scores[places],
            hits=hits,
            counted=counted,
            plain=jnp.zeros((len(numbers), 0, 0), jnp.int32) if plain is None else plain.at(places),
            is_real=is_real,
        )

    def _numbers(self, index: int, positives: jax.Array, recall: jax.Array, curves: _Curves) -> CellNumbers:
        """Returns the numbers of a cell, given its ground truths `[K, W]` and the curves of all cells."""
        planes = slice(index * self.num_thresholds, (index + 1) * self.num_thresholds)
        defined = positives > 0

        def of_cell(values: jax.Array) -> jax.Array:
            shaped = jnp.moveaxis(values[..., planes, :], -2, 0)  # thresholds in front
            shaped = jnp.moveaxis(shaped, 1, -2)  # classes beside the vectors
            return jnp.where(defined.reshape(*(1,) * (shaped.ndim - 2), *defined.shape), shaped, UNDEFINED)

        if index >= len(self.ranked):
            nothing = jnp.zeros_like(of_cell(recall))
            return CellNumbers(of_cell(recall), nothing, nothing[:, None], nothing[:, None])
        areas = curves.areas if self.protocol.average == "area" else curves.areas / len(self.protocol.recall_points)
        return CellNumbers(of_cell(recall), *map(of_cell, (areas, curves.precision, curves.scores)))


def points_reached(true_positives: jax.Array, positives: jax.Array, protocol: EvaluationProtocol) -> jax.Array:
    """Returns int32, how many recall points some true positives reach; exact for fewer than 2^30 ground truths.

    Both are int32 of one shape. `true_positives * q // positives`, for points that are multiples of 1 / q, is estimated
    in float32 and corrected by its remainder, which fits int32 although the product may not.
    """
    grid = recall_grid(protocol.recall_points)
    whole = np.int32(grid.denominator)
    positives = jnp.maximum(positives, 1)
    quotient = (divide(true_positives, positives) * whole.astype(np.float32)).astype(jnp.int32)
    rest = true_positives * whole - quotient * positives
    change = (rest >= positives).astype(jnp.int32) - (rest < 0).astype(jnp.int32)
    quotient, rest = quotient + change, rest - change * positives
    # A point whose double lies above its fraction is not reached by a recall that equals the fraction.
    exactly = rest == 0
    if np.array_equal(grid.numerators, np.arange(len(grid.numerators))):
        above = _is_set(quotient, np.flatnonzero(grid.above), grid.denominator)
        return jnp.minimum(quotient + 1 - (exactly & above).astype(jnp.int32), len(grid.numerators))
    reached = jnp.zeros_like(quotient)
    for numerator, above in zip(grid.numerators.tolist(), grid.above.tolist(), strict=True):
        reached += ((quotient > numerator) | ((quotient == numerator) & ~(exactly & above))).astype(jnp.int32)
    return reached


def _is_set(values: jax.Array, members: Ints, largest: int) -> jax.Array:
    """Returns whether each value, from 0 to the largest, is one of the members: a bit of a few words."""
    words = np.zeros(largest // WORD_BITS + 1, np.uint32)
    for member in members.tolist():
        words[member // WORD_BITS] |= np.uint32(1 << member % WORD_BITS)
    word = jnp.zeros_like(values, jnp.uint32)
    for index in np.flatnonzero(words).tolist():
        word = jnp.where(values // WORD_BITS == index, words[index], word)
    is_set: jax.Array = word >> (values % WORD_BITS).astype(jnp.uint32) & np.uint32(1) == 1
    return is_set


def _at(values: jax.Array, label: jax.Array) -> jax.Array:
    row: jax.Array = jax.lax.dynamic_index_in_dim(values, label, keepdims=False)
    return row


def _update(values: jax.Array, label: jax.Array, row: jax.Array) -> jax.Array:
    updated: jax.Array = jax.lax.dynamic_update_index_in_dim(values, row, label, 0)
    return updated


def _bit(words: jax.Array, area: int, threshold: int, protocol: EvaluationProtocol) -> jax.Array:
    """Returns `[n]` bool, a plane of `[words, n]`."""
    word, bit = plane_bit(area, threshold, len(protocol.iou_thresholds))
    flags: jax.Array = words[word] & np.uint32(1 << bit) != 0
    return flags
