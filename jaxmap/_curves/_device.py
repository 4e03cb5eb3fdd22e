"""Precision-recall curves from records, inside `jit`: int32 counts up to one final float32 division.

Recall points are compared in integers. `tp / num_ground_truths >= point` in float64, as in the reference, is equivalent
to an integer comparison with the fraction of the point, unless the two are equal: then it depends on whether the double
of the point is above the double nearest to the fraction (as for ten of `np.linspace(0, 1, 101)`). In float32, this
comparison could change the AP of a curve by up to 0.01.

The envelope needs no pass over the rows: each row is in the bucket of the recall points that it has reached, and the
best precision at a point is the maximum over its bucket and all later ones. Only true positives can raise it, so only
matched rows are processed for every threshold. For protocols that average the area under the envelope, a pass over
these rows is made, and the area is a sum of integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import lcm
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._integer_bounds import INT32_MAX, check_int32
from .._planes import WORD_BITS
from .._records._device import count_ground_truths
from ..protocols import EvaluationProtocol
from ..types import UNDEFINED, Bools, DetectionRecords, Ints, PrecisionRecall, Records
from ._best_score_device import best_over_scores

__all__ = ["interpolate", "mask_undefined", "precision_recall"]

CHUNK = 1 << 14  # matched rows that are processed at once
MAX_DENOMINATOR = 1000
HALF_BITS = 11  # bits of a precision as a multiple of 2^-22: sums of either half over a chunk fit uint32


class RecallGrid(NamedTuple):
    """Recall points as fractions of one denominator `q`.

    Attributes:
      denominator: q.
      reached: `[q + 1]` int32, the number of points that are at most `i / q`.
      above: `[q + 1]` bool, True if a point is `i / q` but its double exceeds the double nearest to that fraction.
    """

    denominator: int
    reached: Ints
    above: Bools


def recall_grid(recall_points: tuple[float, ...]) -> RecallGrid:
    """Expresses recall points in integers.

    Raises:
      ValueError: if the points have no common denominator of at most 1000.
    """
    fractions = [Fraction(point).limit_denominator(MAX_DENOMINATOR) for point in recall_points]
    denominator = lcm(*(fraction.denominator for fraction in fractions))
    if denominator > MAX_DENOMINATOR or any(
        abs(float(fraction) - point) > 1e-12 for fraction, point in zip(fractions, recall_points, strict=True)
    ):
        raise ValueError(
            f"`recall_points` must be multiples of one fraction 1 / q with q <= {MAX_DENOMINATOR} inside jit, got "
            f"{list(recall_points)}; use `jaxmap.evaluate`, which takes any."
        )
    numerators = np.array([int(fraction * denominator) for fraction in fractions])
    above = np.zeros(denominator + 1, bool)
    above[numerators] = [float(fraction) < point for fraction, point in zip(fractions, recall_points, strict=True)]
    reached = np.searchsorted(numerators, np.arange(denominator + 1), side="right")
    return RecallGrid(denominator, reached.astype(np.int32), above)


def precision_recall(
    records: Records[jax.Array], *, protocol: EvaluationProtocol, num_classes: int
) -> PrecisionRecall[jax.Array]:
    """Integrates records into interpolated precision and recall, for all thresholds, classes, ranges and limits.

    Rows rank by score, then image index, then position, within each class.

    Args:
      records: the records, with labels of valid rows in [0, K).
      protocol: the protocol, static.
      num_classes: K.

    Returns:
      Curves in float32, with `UNDEFINED` in entries without ground truth, and with `average_precision` if the protocol
      averages the area.

    Raises:
      ValueError: if the recall points have no common denominator of at most 1000, or there are more rows than int32 can
        number.

    References: pycocotools cocoeval.py, accumulate; VOCdevkit VOCap.m for the area.
    """
    num_thresholds = len(protocol.iou_thresholds)
    num_areas, num_limits = len(protocol.area_ranges), len(protocol.max_detections)
    detections, num_ground_truths = records.detections, count_ground_truths(records.ground_truths, num_classes)
    check_int32("detections inside jit", len(detections.scores), "use `HostAveragePrecision` or `evaluate`")
    if not len(detections.scores):  # one row of padding in place of no rows, which later stages could not index
        detections = jax.tree.map(lambda leaf: jnp.zeros((1, *leaf.shape[1:]), leaf.dtype), detections)
    rows, starts = _sort_by_class(detections, num_classes)
    matching = _matching_rows(rows, starts)
    cells = jnp.asarray([(area, limit) for area in range(num_areas) for limit in protocol.max_detections], jnp.int32)

    def cell(area_and_limit: jax.Array) -> tuple[jax.Array, ...]:
        area, limit = area_and_limit
        return _one_cell(rows, starts, matching, num_ground_truths[:, area], area, limit, protocol)

    def shaped(values: jax.Array) -> jax.Array:  # [A * M, T, ..., K] to [T, ..., K, A, M]
        values = values.reshape(num_areas, num_limits, num_thresholds, *values.shape[2:])
        return jnp.moveaxis(values, (0, 1), (-2, -1))

    best = best_over_scores(rows, starts, protocol=protocol, num_ground_truths=num_ground_truths)
    curves = map(shaped, jax.lax.map(cell, cells))
    return mask_undefined(*curves, num_ground_truths=num_ground_truths, at_best_score=best)


def mask_undefined(
    precision: jax.Array,
    recall: jax.Array,
    scores: jax.Array,
    average_precision: jax.Array | None = None,
    *,
    num_ground_truths: jax.Array,
    at_best_score: Mapping[str, jax.Array],
) -> PrecisionRecall[jax.Array]:
    """Sets the entries `[..., K, A, M]` of classes and ranges without ground truth to `UNDEFINED`."""

    def masked(values: jax.Array) -> jax.Array:
        defined = (num_ground_truths > 0).reshape((1,) * (values.ndim - 3) + (*num_ground_truths.shape, 1))
        return jnp.where(jnp.broadcast_to(defined, values.shape), values, UNDEFINED)

    return PrecisionRecall(
        precision=masked(precision),
        recall=masked(recall),
        scores=masked(scores),
        num_ground_truths=num_ground_truths,
        average_precision=None if average_precision is None else masked(average_precision),
        at_best_score={name: masked(values) for name, values in at_best_score.items()},
    )


def _sort_by_class(
    records: DetectionRecords[jax.Array], num_classes: int
) -> tuple[DetectionRecords[jax.Array], jax.Array]:
    """Sorts rows by class, score and tie keys, padding last, and returns the first row of each class, `[K + 1]`."""
    labels = jnp.where(records.valid, records.labels, num_classes).astype(jnp.int32)
    scores = jnp.where(records.valid, records.scores, 0.0)
    rows = jnp.arange(len(labels), dtype=jnp.int32)
    keys = (labels, -scores, records.image_index, records.position, rows)
    order = jax.lax.sort(keys, num_keys=4)[-1]
    labels = labels[order]
    ordered: DetectionRecords[jax.Array] = jax.tree.map(lambda leaf: leaf[order], records)
    starts = jnp.searchsorted(labels, jnp.arange(num_classes + 1, dtype=jnp.int32), side="left").astype(jnp.int32)
    return DetectionRecords(**{**vars(ordered), "labels": labels, "scores": scores[order]}), starts


class _Matching(NamedTuple):
    """The matched rows, moved to the front of `[N]`.

    Attributes:
      order: `[N]` int32, their index in the sorted rows; arbitrary after the last.
      starts: `[K + 1]` int32, the first of each class among them.
      is_matching: `[N]` bool, which sorted rows are matched.
    """

    order: jax.Array
    starts: jax.Array
    is_matching: jax.Array


def _matching_rows(rows: DetectionRecords[jax.Array], starts: jax.Array) -> _Matching:
    is_matching = (rows.matched != 0).any(-1) & rows.valid
    places = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(is_matching, dtype=jnp.int32)])
    place = jnp.where(is_matching, places[:-1], len(is_matching))
    numbers = jnp.arange(len(is_matching), dtype=jnp.int32)
    order = jnp.zeros_like(numbers).at[place].set(numbers, mode="drop")
    return _Matching(order, places[starts], is_matching)


def _one_cell(
    rows: DetectionRecords[jax.Array],
    starts: jax.Array,
    matching: _Matching,
    positives: jax.Array,
    area: jax.Array,
    limit: jax.Array,
    protocol: EvaluationProtocol,
) -> tuple[jax.Array, ...]:
    """Returns precision `[T, R, K]`, recall `[T, K]`, scores `[T, R, K]` and areas `[T, K]` of one range and limit.

    Unmatched rows only count, equally at all thresholds. The matched rows, a few per cent, are processed in chunks, as
    many as necessary, and the counts are carried from chunk to chunk.
    """
    num_thresholds, num_classes = len(protocol.iou_thresholds), len(positives)
    plane = area * num_thresholds + jnp.arange(num_thresholds, dtype=jnp.int32)
    words, bits = plane // WORD_BITS, (plane % WORD_BITS).astype(jnp.uint32)

    def flags(packed: jax.Array) -> jax.Array:  # [n, W] to [n, T]
        set_bits: jax.Array = (packed[:, words] >> bits[None]) & jnp.uint32(1) == 1
        return set_bits

    plain = rows.valid & ~matching.is_matching & (rows.rank < limit)
    plain &= (jnp.take(rows.ignored, words[0], axis=1) >> bits[0]) & jnp.uint32(1) == 0
    before = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(plain, dtype=jnp.int32)])
    size = min(CHUNK, len(plain))
    num_matching = matching.starts[-1]
    averages_area = protocol.average == "area"

    def chunk(carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        number, seen, at_start, best, *at_hits = carry
        # The last chunk is moved back to fit; its rows that were already counted are excluded.
        first = jnp.minimum(number * size, len(plain) - size)
        place = first + jnp.arange(size, dtype=jnp.int32)
        row = jax.lax.dynamic_slice(matching.order, (first,), (size,))
        taking_part = (place >= number * size) & (place < num_matching) & (rows.rank[row] < limit)
        label = jnp.minimum(rows.labels[row], num_classes - 1)
        counted = ~flags(rows.ignored[row]) & taking_part[:, None]
        steps = jnp.stack([flags(rows.matched[row]) & counted, counted]).astype(jnp.int32)  # [2, n, T]
        running = seen[:, None] + jnp.cumsum(steps, axis=1)
        local = matching.starts - first
        here = (local >= 0) & (local < size) & (matching.starts >= number * size)
        exclusive = (running - steps)[:, jnp.clip(local, 0, size - 1)]
        at_start = jnp.where(here[None, :, None], exclusive, at_start)
        hits, total = running - at_start[:, label]
        total += (before[row] - before[starts][label])[:, None]
        into = jnp.where(taking_part, label, num_classes)
        maxima = _bucket_maxima(
            hits, total, rows.scores[row], into, positives, protocol.recall_points, at_most=len(plain)
        )
        best = jnp.maximum(best, maxima)
        if averages_area:
            precision = jnp.where(steps[0] == 1, _divide(hits, total), 0.0)
            at_hits = [at_hits[0].at[jnp.where(taking_part, place, len(plain))].set(precision, mode="drop")]
        return number + 1, running[:, -1], at_start, best, *at_hits

    zero = jnp.zeros_like(num_matching)  # varies over the devices of a `shard_map` like the data
    none_seen = jnp.broadcast_to(zero, (2, num_thresholds))
    none_at_start = jnp.broadcast_to(zero, (2, num_classes + 1, num_thresholds))
    nothing = jnp.broadcast_to(
        zero.astype(jnp.float32) - jnp.inf, (2, num_thresholds, num_classes, len(protocol.recall_points))
    )
    start: tuple[jax.Array, ...] = (zero, none_seen, none_at_start, nothing)
    if averages_area:
        start += (jnp.broadcast_to(zero.astype(jnp.float32), (len(plain), num_thresholds)),)
    number, seen, at_start, best, *at_hits = jax.lax.while_loop(
        lambda carry: carry[0] * size < num_matching, chunk, start
    )
    behind = (matching.starts >= number * size)[:, None]  # classes that start after the last chunk: nothing follows
    found = jnp.diff(jnp.where(behind, seen[0][None], at_start[0]), axis=0).T  # [T, K]
    precision, scores = _interpolated(best)
    # A point that needs no true positive is reached by the first row of the class, matched or not.
    top = jnp.where(jnp.diff(starts) > 0, rows.scores[jnp.minimum(starts[:-1], len(plain) - 1)], 0.0)
    at_zero = np.array([point <= 0 for point in protocol.recall_points])[None, :, None]
    scores = jnp.where(at_zero, top.astype(jnp.float32)[None, None], scores)
    labels = rows.labels[matching.order]
    areas = [_areas(precision_at_hits, labels, num_matching, positives) for precision_at_hits in at_hits]
    return precision, _divide(found, positives[None]), scores, *areas


def _areas(precision: jax.Array, labels: jax.Array, num_rows: jax.Array, positives: jax.Array) -> jax.Array:
    """Returns `[T, K]`, the area under the envelope: the mean of the best precision from each true positive on.

    Args:
      precision: `[N, T]` float32, at true positives; 0 at other rows. Rows by class, then by rank.
      labels: `[N]` int32, ascending over the rows that are used.
      num_rows: the number of rows to use, int32.
      positives: `[K]` int32, the number of ground truths.
    """
    num_classes, size = len(positives), min(CHUNK, len(labels))
    padding = -len(labels) % size
    whole = jnp.round(precision * 2.0 ** (2 * HALF_BITS)).astype(jnp.uint32)
    whole, labels = jnp.pad(whole, ((0, padding), (0, 0))), jnp.pad(labels, (0, padding))

    def chunk(carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        number, best, label_of_best, sums, carries = carry
        values = jax.lax.dynamic_slice_in_dim(whole, number * size, size)
        label = jax.lax.dynamic_slice_in_dim(labels, number * size, size)
        onwards = _best_onwards(jnp.append(values, best[None], axis=0), jnp.append(label, label_of_best))
        counted = jnp.where(values > 0, onwards[:-1], jnp.uint32(0))
        halves = jnp.concatenate([counted >> HALF_BITS, counted & jnp.uint32(2**HALF_BITS - 1)], axis=1)
        added = jax.ops.segment_sum(halves, jnp.minimum(label, num_classes - 1), num_classes)
        sums += added
        return number - 1, onwards[0], label[0], sums, carries + (sums < added).astype(jnp.uint32)

    num_thresholds = whole.shape[1]
    zeros = jnp.broadcast_to(jnp.zeros_like(num_rows, jnp.uint32), (num_classes, 2 * num_thresholds))
    last_chunk = (num_rows - 1) // size
    start: tuple[jax.Array, ...] = (last_chunk, zeros[0, :num_thresholds], jnp.full_like(num_rows, -1), zeros, zeros)
    *_, sums, carries = jax.lax.while_loop(lambda carry: carry[0] >= 0, chunk, start)
    sums = sums.astype(jnp.float32) + carries.astype(jnp.float32) * 2.0**32
    high, low = jnp.split(sums.T / jnp.maximum(positives, 1).astype(jnp.float32)[None], 2)
    return high * 2.0**-HALF_BITS + low * 2.0 ** (-2 * HALF_BITS)


def _best_onwards(values: jax.Array, labels: jax.Array) -> jax.Array:
    """Returns `[n, T]`, the largest value from each row to the last of its class, for rows sorted by class."""
    rows = jnp.arange(len(labels), dtype=jnp.int32)

    def double(power: jax.Array, best: jax.Array) -> jax.Array:  # after each step, `best` covers twice as many rows
        step = jnp.left_shift(np.int32(1), power)
        same = (jnp.roll(labels, -step) == labels) & (rows + step < len(labels))
        return jnp.where(same[:, None], jnp.maximum(best, jnp.roll(best, -step, axis=0)), best)

    # A `lax.associative_scan` runs as fast but takes 5 s longer to compile.
    steps = np.int32((len(labels) - 1).bit_length())
    best: jax.Array = jax.lax.fori_loop(np.int32(0), steps, double, values)
    return best


def interpolate(
    true_positives: jax.Array,
    counted: jax.Array,
    scores: jax.Array,
    labels: jax.Array,
    positives: jax.Array,
    recall_points: tuple[float, ...],
) -> tuple[jax.Array, jax.Array]:
    """Interpolates precision and score at the recall points from running counts.

    Args:
      true_positives: `[N, T]` int32, the true positives of the row's class up to and including it.
      counted: `[N, T]` int32, true and false positives likewise.
      scores: `[N]` float32.
      labels: `[N]` int32; K for rows that are excluded.
      positives: `[K]` int32, the number of ground truths.
      recall_points: R points.

    Returns:
      Precision `[T, R, K]` and scores `[T, R, K]`; 0 where a point is not reached.
    """
    arguments = true_positives, counted, scores, labels, positives, recall_points
    return _interpolated(_bucket_maxima(*arguments, at_most=INT32_MAX))


def _bucket_maxima(
    true_positives: jax.Array,
    counted: jax.Array,
    scores: jax.Array,
    labels: jax.Array,
    positives: jax.Array,
    recall_points: tuple[float, ...],
    *,
    at_most: int,
) -> jax.Array:
    """Returns `[2, T, K, R]`, best precision and score of the rows that reach a point but not the next; -inf if none.

    Args:
      true_positives, counted, scores, labels, positives, recall_points: as in `interpolate`.
      at_most: the most true positives of a class.
    """
    grid = recall_grid(recall_points)
    num_thresholds = true_positives.shape[1]
    num_classes, num_buckets = len(positives), len(recall_points) + 1
    total = jnp.concatenate([positives, jnp.ones(1, jnp.int32)])[labels][:, None]
    step, exact = _recall_step(true_positives, total, grid.denominator, at_most)
    reached = jnp.asarray(grid.reached)[step] - (exact & jnp.asarray(grid.above)[step]).astype(jnp.int32)
    threshold = jnp.arange(num_thresholds, dtype=jnp.int32)[None]
    bucket = (threshold * (num_classes + 1) + labels[:, None]) * num_buckets + reached
    values = jnp.stack([_divide(true_positives, counted), jnp.broadcast_to(scores[:, None], bucket.shape)], axis=-1)
    size = num_thresholds * (num_classes + 1) * num_buckets
    check_int32("IoU thresholds x classes x recall points inside jit", size, "use `HostAveragePrecision` or `evaluate`")
    best = jax.ops.segment_max(values.astype(jnp.float32).reshape(-1, 2), bucket.ravel(), size)
    best = best.reshape(num_thresholds, num_classes + 1, num_buckets, 2)[:, :-1, 1:]
    return jnp.moveaxis(best, -1, 0)


def _recall_step(
    true_positives: jax.Array, total: jax.Array, denominator: int, at_most: int
) -> tuple[jax.Array, jax.Array]:
    """Returns `q * tp / total`, rounded down and at most q, and whether it is exact; `total` is 0 or more."""
    if denominator * at_most <= INT32_MAX:
        scaled = denominator * true_positives
        step = jnp.minimum(scaled // jnp.maximum(total, 1), denominator)
        return step, scaled == step * total
    # Long division, one binary digit of q at a time: the remainder stays below the total, and twice the remainder fits
    # uint32.
    whole = jnp.maximum(total, 1).astype(jnp.uint32)
    part = jnp.minimum(true_positives.astype(jnp.uint32), whole)
    step, rest = jnp.zeros_like(true_positives), jnp.zeros_like(part)
    for digit in f"{denominator:b}":
        step, rest = step * 2, rest * 2
        for added in (jnp.uint32(0), part)[: 1 + int(digit)]:
            rest += added
            step, rest = step + (rest >= whole).astype(jnp.int32), jnp.where(rest >= whole, rest - whole, rest)
    return step, rest == 0


def _interpolated(best: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Converts `[2, T, K, R]` maxima of buckets to precision and scores, `[T, R, K]`."""
    precision, scores = jnp.moveaxis(jax.lax.cummax(best, axis=3, reverse=True), 2, 3)
    return jnp.where(scores > -jnp.inf, precision, 0.0), jnp.where(scores > -jnp.inf, scores, 0.0)


def _divide(part: jax.Array, whole: jax.Array) -> jax.Array:
    """Returns the quotient of two counts in float32; 0 where the denominator is 0."""
    return part.astype(jnp.float32) / jnp.maximum(whole, 1).astype(jnp.float32)
