"""Precision-recall curves from records, inside `jit`: int32 counts up to one final float32 division."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .._integer_bounds import check_int32
from .._records._device import count_ground_truths
from ..protocols import EvaluationProtocol
from ..types import UNDEFINED, PrecisionRecall, Records
from ._best_score_device import best_over_scores
from ._envelope import trapezoids
from ._interpolation_device import divide
from ._miss_rate_device import miss_rates
from ._ranked_rows_device import rank_rows
from ._replicates_device import weighted_precision_recall
from ._tiles_device import integrate

__all__ = ["curves_in_order", "mask_undefined", "precision_recall"]


def precision_recall(
    records: Records[jax.Array],
    *,
    protocol: EvaluationProtocol,
    num_classes: int,
    weights: ArrayLike | None = None,
    num_images: ArrayLike | None = None,
) -> PrecisionRecall[jax.Array]:
    """Integrates records into interpolated precision and recall, for all thresholds, classes, ranges and limits.

    Rows rank by score, then image index, then position, within each class.

    Args:
      records: the records, with labels of valid rows in [0, K).
      protocol: the protocol, static.
      num_classes: K.
      weights: `[W, I]` int, W vectors of weights: how often each image counts. Rows are sorted once for all of them.
        Ones give the curves as they are, zeros leave images out, and other numbers give the dataset in which an image
        occurs so many times; copies of a row stay together, also where scores tie.
      num_images: `[]` int, the number of all images, also those without objects; only miss rates need it.

    Returns:
      Curves in float32, with `UNDEFINED` in entries without ground truth, and with `average_precision` unless the
      protocol averages recall points. With weights, every array has an axis W in front.

    Raises:
      ValueError: if the recall points have no common denominator of at most 1000, there are more rows than int32 can
        number, or weights are not `[W, I]`; outside `jit`, if a weight is negative or too large, or an image has none;
        if the protocol asks for miss rates, and `num_images` is missing or there are weights.
      TypeError: if weights are not integers.

    References: pycocotools cocoeval.py, accumulate; VOCdevkit VOCap.m for the area.
    """
    if weights is not None:
        return weighted_precision_recall(records, weights, protocol=protocol, num_classes=num_classes)
    ties = records.detections.image_index, records.detections.position
    return _curves(records, ties, protocol=protocol, num_classes=num_classes, num_images=num_images)


def curves_in_order(
    records: Records[jax.Array],
    *,
    protocol: EvaluationProtocol,
    num_classes: int,
    num_images: ArrayLike,
    num_positions: int,
) -> PrecisionRecall[jax.Array]:
    """As `precision_recall`, for detections laid out as `[num_positions, images]`: less is sorted."""
    return _curves(
        records,
        (),
        protocol=protocol,
        num_classes=num_classes,
        num_images=num_images,
        num_positions=num_positions,
    )


def _curves(
    records: Records[jax.Array],
    ties: Sequence[jax.Array],
    *,
    protocol: EvaluationProtocol,
    num_classes: int,
    num_images: ArrayLike | None,
    num_positions: int = 1,
) -> PrecisionRecall[jax.Array]:
    detections, num_ground_truths = records.detections, count_ground_truths(records.ground_truths, num_classes)
    advice = "use `HostAveragePrecision` or `evaluate`"
    check_int32("detections inside jit", len(detections.scores), advice)
    size = len(protocol.iou_thresholds) * (num_classes + 1) * (len(protocol.recall_points) + 1)
    check_int32("IoU thresholds x classes x recall points inside jit", size, advice)
    if not len(detections.scores):  # one row of padding in place of no rows, which later stages could not index
        detections = jax.tree.map(lambda leaf: jnp.zeros((1, *leaf.shape[1:]), leaf.dtype), detections)
        ties, num_positions = [jnp.zeros(1, jnp.int32) for _ in ties], 1
    rows = rank_rows(detections, ties, protocol=protocol, num_classes=num_classes, num_positions=num_positions)
    curves = integrate(rows, detections, num_ground_truths, protocol)
    is_reached = curves.scores > -jnp.inf
    precision, scores = (jnp.where(is_reached, values, 0.0) for values in (curves.precision, curves.scores))
    # A point that needs no true positive is reached by the first row of the class, matched or not.
    first = rows.rows_at(jnp.minimum(rows.starts[:-1], rows.size - 1))
    top = jnp.where(jnp.diff(rows.starts) > 0, detections.scores[first].astype(jnp.float32), 0.0)
    at_zero = np.array([point <= 0 for point in protocol.recall_points]).reshape(1, 1, 1, 1, -1)
    scores = jnp.where(at_zero, top[None, None, None, :, None], scores)
    recall = divide(curves.found, num_ground_truths.T[None, :, None])
    axes = 2, 4, 3, 1, 0  # of [M, A, T, K, R]
    shaped = [precision.transpose(axes), recall.transpose(2, 3, 1, 0), scores.transpose(axes)]
    if curves.areas is not None:
        shaped.append(curves.areas.transpose(2, 3, 1, 0))
    elif protocol.average == "trapezoid":
        shaped.append(trapezoids(shaped[0]))
    best = best_over_scores(rows, detections, protocol=protocol, num_ground_truths=num_ground_truths)
    missed = miss_rates(rows, detections, protocol=protocol, num_ground_truths=num_ground_truths, num_images=num_images)
    return mask_undefined(*shaped, num_ground_truths=num_ground_truths, at_best_score=best, miss_rate=missed)


def mask_undefined(
    precision: jax.Array,
    recall: jax.Array,
    scores: jax.Array,
    average_precision: jax.Array | None = None,
    *,
    num_ground_truths: jax.Array,
    at_best_score: Mapping[str, jax.Array],
    miss_rate: jax.Array | None,
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
        miss_rate=None if miss_rate is None else masked(miss_rate),
    )
