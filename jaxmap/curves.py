"""Precision-recall curves from records, inside `jit`: int32 counts to the end, then one float32 division.

Recall thresholds are decided in integers. `tp / num_ground_truths >= point` in float64, as the reference computes it,
is the same as an integer comparison with the point's fraction, except where the two are equal: then it depends on
whether the double that stands for the point lies above the double nearest to the fraction (it does for ten of
`np.linspace(0, 1, 101)`). In float32 the comparison itself would move a curve's AP by up to a hundredth.

The envelope needs no pass over the rows: each row falls into the bucket of the recall points it has reached, and the
best precision at a point is the maximum over its bucket and all later ones.
"""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from math import lcm
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .planes import plane_bit
from .protocols import EvaluationProtocol
from .types import UNDEFINED, PrecisionRecall, Records

__all__ = ["interpolate", "mask_undefined", "precision_recall"]

MAX_DENOMINATOR = 1000  # keeps denominator * true positives within int32 up to two million ground truths of a class


class RecallGrid(NamedTuple):
    """Recall points as fractions of one denominator `q`.

    Attributes:
      denominator: q.
      reached: `[q + 1]` int32, how many points are at most `i / q`.
      above: `[q + 1]` bool, True where a point is `i / q` but its double exceeds the double nearest to that fraction.
    """

    denominator: int
    reached: np.ndarray
    above: np.ndarray


def recall_grid(recall_points: tuple[float, ...]) -> RecallGrid:
    """Expresses recall points in integers.

    Raises:
      ValueError: if a point is no fraction with a denominator of at most 1000, or their common one is larger.
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
    records: Records, num_ground_truths: jax.Array, *, protocol: EvaluationProtocol, num_classes: int
) -> PrecisionRecall:
    """Integrates records into interpolated precision and recall, for all thresholds, classes, ranges and limits.

    Rows rank by score, then image index, then position, within each class.

    Args:
      records: of `[N]`; labels of valid rows in [0, K).
      num_ground_truths: `[K, A]` int32.
      protocol: its grids are static.
      num_classes: K.

    Returns:
      Curves in float32; cells without ground truth hold `UNDEFINED`.

    Raises:
      ValueError: if the recall points cannot be decided in integers.

    References: pycocotools cocoeval.py, accumulate.
    """
    num_thresholds, num_areas = len(protocol.iou_thresholds), len(protocol.area_ranges)
    num_limits = len(protocol.max_detections)
    records, starts = _sort_by_class(records, num_classes)
    bits = jnp.asarray(
        [
            (area, limit, *plane_bit(area, threshold, num_thresholds))
            for threshold in range(num_thresholds)
            for area in range(num_areas)
            for limit in protocol.max_detections
        ],
        jnp.int32,
    )
    one = partial(_one_plane, records, starts, num_ground_truths, protocol)
    precision, recall, scores = jax.lax.map(lambda plane: one(*plane), tuple(bits.T))

    def shaped(values: jax.Array) -> jax.Array:  # [T * A * M, ..., K] to [T, ..., K, A, M]
        values = values.reshape(num_thresholds, num_areas, num_limits, *values.shape[1:])
        return jnp.moveaxis(values, (1, 2), (-2, -1))

    return mask_undefined(shaped(precision), shaped(recall), shaped(scores), num_ground_truths)


def mask_undefined(
    precision: jax.Array, recall: jax.Array, scores: jax.Array, num_ground_truths: jax.Array
) -> PrecisionRecall:
    """Puts `UNDEFINED` into the cells, `[..., K, A, M]`, of classes and ranges without ground truth."""

    def masked(values: jax.Array) -> jax.Array:
        defined = (num_ground_truths > 0).reshape((1,) * (values.ndim - 3) + (*num_ground_truths.shape, 1))
        return jnp.where(jnp.broadcast_to(defined, values.shape), values, UNDEFINED)

    return PrecisionRecall(
        precision=masked(precision),
        recall=masked(recall),
        scores=masked(scores),
        num_ground_truths=num_ground_truths,
    )


def _sort_by_class(records: Records, num_classes: int) -> tuple[Records, jax.Array]:
    """Sorts rows by class, score and tie keys, padding last, and returns where each class starts, `[K + 1]`."""
    labels = jnp.where(records.valid, records.labels, num_classes).astype(jnp.int32)
    scores = jnp.where(records.valid, records.scores, 0.0)
    rows = jnp.arange(len(labels), dtype=jnp.int32)
    keys = (labels, -scores, records.image_index, records.position, rows)
    order = jax.lax.sort(keys, num_keys=4)[-1]
    labels = labels[order]
    ordered: Records = jax.tree.map(lambda leaf: leaf[order], records)
    starts = jnp.searchsorted(labels, jnp.arange(num_classes + 1, dtype=jnp.int32), side="left").astype(jnp.int32)
    return Records(**{**vars(ordered), "labels": labels, "scores": scores[order]}), starts


def _one_plane(
    records: Records,
    starts: jax.Array,
    num_ground_truths: jax.Array,
    protocol: EvaluationProtocol,
    area: jax.Array,
    limit: jax.Array,
    word: jax.Array,
    bit: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns precision `[R, K]`, recall `[K]` and scores `[R, K]` of one plane and limit."""
    num_classes = len(num_ground_truths)
    positives = num_ground_truths[:, area]
    taking_part = records.valid & (records.rank < limit)
    matched, ignored = (
        (jnp.take(words, word, axis=1) >> bit.astype(jnp.uint32)) & jnp.uint32(1) == 1
        for words in (records.matched, records.ignored)
    )
    labels = jnp.minimum(records.labels, num_classes - 1)  # padding is masked by `taking_part`

    def running(flags: jax.Array) -> tuple[jax.Array, jax.Array]:  # within each class; and each class's total
        totals = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(flags.astype(jnp.int32))])
        return totals[1:] - totals[starts][labels], jnp.diff(totals[starts])

    true_positives, found = running(taking_part & matched & ~ignored)
    counted, _ = running(taking_part & ~ignored)
    precision, scores = interpolate(
        true_positives,
        counted,
        records.scores,
        jnp.where(taking_part, labels, num_classes),
        positives,
        protocol.recall_points,
    )
    return precision, _divide(found, positives), scores


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
      true_positives: `[N]` int32, those of the row's class up to and with it.
      counted: `[N]` int32, true and false positives likewise.
      scores: `[N]` float32.
      labels: `[N]` int32; K for rows that take no part.
      positives: `[K]` int32, ground truths.
      recall_points: R points.

    Returns:
      Precision `[R, K]` and scores `[R, K]`, 0 where a point is not reached.
    """
    grid = recall_grid(recall_points)
    num_classes, num_buckets = len(positives), len(recall_points) + 1
    total = jnp.concatenate([positives, jnp.ones(1, jnp.int32)])[labels]
    scaled = grid.denominator * true_positives
    step = jnp.minimum(scaled // jnp.maximum(total, 1), grid.denominator)
    exact = scaled == step * total
    reached = jnp.asarray(grid.reached)[step] - (exact & jnp.asarray(grid.above)[step]).astype(jnp.int32)
    bucket = labels * num_buckets + reached

    def best(values: jax.Array) -> jax.Array:  # [R, K]: the maximum over the rows that reach each point
        top = jax.ops.segment_max(values, bucket, (num_classes + 1) * num_buckets)
        top = top.reshape(num_classes + 1, num_buckets)[:-1, 1:]
        return jax.lax.cummax(top, axis=1, reverse=True).T

    precision, score = best(_divide(true_positives, counted)), best(scores.astype(jnp.float32))
    is_reached = score > -jnp.inf
    return jnp.where(is_reached, precision, 0.0), jnp.where(is_reached, score, 0.0)


def _divide(part: jax.Array, whole: jax.Array) -> jax.Array:
    """Returns the quotient of two counts in float32, 0 where the whole is 0."""
    return part.astype(jnp.float32) / jnp.maximum(whole, 1).astype(jnp.float32)
