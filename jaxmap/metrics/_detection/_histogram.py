"""Approximate average precision from score histograms: constant memory, merged by addition."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ..._curves._device import mask_undefined
from ..._curves._envelope import trapezoids
from ..._curves._interpolation_device import at_recall_points, divide, first_to_reach
from ..._curves._miss_rate_device import false_at_points, mean_miss_rate
from ..._display import short_repr
from ..._integer_bounds import INT32_MAX, check_int32
from ..._matching._data_checks import CHECKS, checks_by_name
from ..._matching._device import match_batch
from ..._panoptic._device import count_pairs
from ..._planes import WORD_BITS
from ..._pytrees import register_container
from ..._records._device import count_ground_truths
from ...protocols import OfCounts
from ...types import UNDEFINED, Array, Detections, GroundTruths, PrecisionRecall
from .._contract import register_metric
from .._options import (
    COCO_OR_OTHER,
    NamedProtocol,
    check_bins,
    check_box_format,
    check_memory,
    check_sizes,
    take_class_group,
)
from .._placement import keeps_sharding, reads_any_sharding
from ._result import AveragePrecisionResult, CurveMetric

__all__ = ["HistogramAveragePrecision", "HistogramState"]


@register_container
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class HistogramState:
    """Counts over all batches. Every field is additive, but stops at 2^31 - 1, which `summarize` refuses.

    Attributes:
      true_positives: `[T, A, K, S]` int32, at the largest max-detections limit, in S bins of descending score.
      counted: `[T, A, K, S]` int32, true and false positives likewise.
      found: `[T, A, M, K]` int32, true positives at each limit.
      num_ground_truths: `[K, A]` int32.
      num_images: the number of images.
      num_padded_images: images marked as not valid.
      num_scores_out_of_range: detections whose score is outside the range; they are counted in the first or last bin.
      num_not_finite: valid rows whose box, score or area is NaN or infinite; they are excluded.
      num_bad_labels: valid rows whose label is not a class; they are excluded.
      checks: `[C]` int32, the number of rows that each check of `CHECKS` found.
      configuration: `[2]` uint32, a fingerprint of the metric's configuration, and 1.
    """

    true_positives: Array  # [T, A, K, S]
    counted: Array  # [T, A, K, S]
    found: Array  # [T, A, M, K]
    num_ground_truths: Array  # [K, A]
    num_images: Array  # []
    num_padded_images: Array  # []
    num_scores_out_of_range: Array  # []
    num_not_finite: Array  # []
    num_bad_labels: Array  # []
    checks: Array  # [C]
    configuration: Array  # [2]

    __repr__ = short_repr


COUNTERS = tuple(field.name for field in dataclasses.fields(HistogramState) if field.name.startswith("num_"))[1:]


@register_metric
@dataclasses.dataclass(frozen=True, kw_only=True)
class HistogramAveragePrecision(CurveMetric[HistogramState]):
    """Approximate average precision from binned scores, for evaluations whose exact state does not fit.

    The detections of a bin are one step of the curve. Matches, counts and recall are exact; precision is computed at
    the ends of bins, so a number may be lower or higher than the exact one if true and false positives share a bin.
    Images are not remembered: a repeated image is counted again.

    Attributes:
      num_classes: K; labels lie in [0, K).
      num_bins: S, equal bins of the score range.
      score_range: the lowest and the highest score.
      protocol: the protocol, or its name; its recall points must be multiples of one fraction.
      box_format: the format of all boxes, in pixels: `xyxy`, `xywh`, `cxcywh` (centre) or `yxyx`.
      class_group: the group of each class, K names, for protocols with groups of classes (LVIS, or
        `protocol.with_class_groups(names)`), empty for a class of no group; without it, the numbers of groups are
        undefined.
    """

    num_classes: int
    num_bins: int = 1000
    score_range: tuple[float, float] = (0.0, 1.0)
    protocol: NamedProtocol = COCO_OR_OTHER
    box_format: str = "xyxy"
    class_group: tuple[str, ...] | None = None

    _STATE, _RESULT = HistogramState, AveragePrecisionResult

    __repr__ = short_repr

    def __post_init__(self) -> None:
        sizes = "num_classes", "num_bins"
        check_sizes(self, "num_classes")
        check_box_format(self)
        check_bins(self)
        take_class_group(self)
        check_memory(self, *sizes, curves=True)

    def init(self) -> HistogramState:
        """Returns the empty state.

        Raises:
          ValueError: if there are no bins, or too many, or the score range is empty or reversed.
        """
        low, high = self.score_range
        if not -math.inf < low < high < math.inf:
            raise ValueError(f"`score_range` must be the lowest and the highest score, got {self.score_range}.")
        if self.num_bins < 1:
            raise ValueError(f"`num_bins` must be at least 1, got {self.num_bins}.")
        check_int32("`num_classes` x `num_bins`", self.num_classes * self.num_bins + 1, "use fewer bins")
        grid = len(self.protocol.iou_thresholds), len(self.protocol.area_ranges)
        bins = (*grid, self.num_classes, self.num_bins)
        return HistogramState(
            true_positives=jnp.zeros(bins, jnp.int32),
            counted=jnp.zeros(bins, jnp.int32),
            found=jnp.zeros((*grid, len(self.protocol.max_detections), self.num_classes), jnp.int32),
            num_ground_truths=jnp.zeros((self.num_classes, grid[1]), jnp.int32),
            checks=jnp.zeros(len(CHECKS), jnp.int32),
            **{name: jnp.zeros((), jnp.int32) for name in COUNTERS},
            configuration=jnp.asarray(self._words()),
        )

    @keeps_sharding
    def update(
        self,
        state: HistogramState,
        detections: Detections,
        ground_truths: GroundTruths,
        *,
        image_id: ArrayLike,
        valid: ArrayLike | None = None,
    ) -> HistogramState:
        """Adds a batch, as `AveragePrecision.update` does; the image ids are checked but not kept."""
        self._accept(state=state)
        batch = match_batch(detections, ground_truths, image_id, valid, self._rules)
        low, high = self.score_range
        place = (high - batch.scores) * (self.num_bins / (high - low))  # the highest score is in bin 0
        bins = jnp.clip(jnp.floor(place).astype(jnp.int32), 0, self.num_bins - 1)
        limits = np.asarray(self.protocol.max_detections, np.int32)
        # The index of the smallest limit that includes each detection, or M.
        limit = (batch.rank[..., None] >= limits[None, None]).sum(-1, dtype=jnp.int32)
        grid = len(self.protocol.iou_thresholds), len(self.protocol.area_ranges)

        def plane(number: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            word, bit = number // WORD_BITS, (number % WORD_BITS).astype(jnp.uint32)
            matched, ignored = (
                (jnp.take(words, word, axis=-1) >> bit) & jnp.uint32(1) == 1 for words in (batch.matched, batch.ignored)
            )
            hits, counts = matched & ~ignored & batch.valid, ~ignored & batch.valid

            def count(flags: jax.Array, numbers: jax.Array, size: int) -> jax.Array:
                pairs = count_pairs(batch.labels[None], numbers[None], flags[None], self.num_classes, size)
                return pairs[0].astype(jnp.int32)  # [K, size]

            at_limits = jnp.cumsum(count(hits, limit, len(limits) + 1), axis=1, dtype=jnp.int32)[:, :-1]
            return count(hits, bins, self.num_bins), count(counts, bins, self.num_bins), at_limits.T

        numbers = jnp.arange(grid[1] * grid[0], dtype=jnp.int32).reshape(grid[1], grid[0]).T.ravel()  # planes by [T, A]
        hits, counts, at_limits = jax.lax.map(plane, numbers)
        shape = state.true_positives.shape
        return self.merge(
            state,
            HistogramState(
                true_positives=hits.reshape(shape),
                counted=counts.reshape(shape),
                found=at_limits.reshape(state.found.shape),
                num_ground_truths=count_ground_truths(batch.ground_truth_records(), self.num_classes),
                num_images=batch.image_valid.sum(dtype=jnp.int32),
                num_padded_images=(~batch.image_valid).sum(dtype=jnp.int32),
                num_scores_out_of_range=(batch.valid & ((batch.scores < low) | (batch.scores > high))).sum(
                    dtype=jnp.int32
                ),
                num_not_finite=batch.num_not_finite.sum(dtype=jnp.int32),
                num_bad_labels=batch.num_bad_labels.sum(dtype=jnp.int32),
                checks=batch.checks.sum(0, dtype=jnp.int32),
                configuration=jnp.asarray(self._words()),
            ),
        )

    @reads_any_sharding
    def compute(self, state: HistogramState) -> AveragePrecisionResult:
        """Integrates the state into float32 curves; jittable. Only the largest limit has precision and scores.

        If a class has 2^31 - 1 detections or more in a range, its `num_ground_truths` is 2^31 - 1.
        """
        configuration = self._accept(state=state)
        counters = {name: getattr(state, name) for name in COUNTERS}
        return AveragePrecisionResult(self._curves(state), counters, checks_by_name(state.checks), configuration)

    def _curves(self, state: HistogramState) -> PrecisionRecall[Array]:
        low, high = self.score_range
        edges = high - (high - low) / self.num_bins * jnp.arange(1, self.num_bins + 1, dtype=jnp.float32)
        running = [jnp.cumsum(counts, axis=-1, dtype=jnp.int32) for counts in (state.true_positives, state.counted)]
        # A sum that wraps is negative at that step, because no step is large enough to skip the negative numbers.
        is_over = ((running[1] < 0) | (running[1] == INT32_MAX)).any((0, 3))
        num_ground_truths = jnp.where(is_over.T, INT32_MAX, state.num_ground_truths)

        # The score at recall 0 is that of the first bin with a detection.
        hits = jnp.where((running[1] > 0).any(0)[None], running[0], -1)
        needed = first_to_reach(self.protocol.recall_points, jnp.asarray(state.num_ground_truths).T)  # [A, K, R]
        needed = jnp.broadcast_to(needed, (len(hits), *needed.shape))
        at_edges = divide(*running), edges.reshape(1, 1, 1, -1)
        reached = at_recall_points(hits, needed, *at_edges)  # precision and scores, each [T, A, K, R]
        precision, scores = (jnp.where(reached[1] > -jnp.inf, values, 0.0).transpose(0, 3, 2, 1) for values in reached)
        positives = jnp.maximum(state.num_ground_truths, 1).astype(jnp.float32)
        recall = state.found.astype(jnp.float32) / positives.T[None, :, None, :]
        limits = len(self.protocol.max_detections)
        average_precision = [self._areas(state, *running)] if self.protocol.average == "area" else []
        if self.protocol.average == "trapezoid":
            average_precision = [trapezoids(precision)]
        functions = self.protocol.functions_of_counts
        best = {name: self._best(state, of_counts, *running) for name, of_counts in functions.items()}
        missed = self._miss_rate(state, *running) if self.protocol.has_miss_rate else None
        precision, scores, average_precision, best, missed = jax.tree.map(
            lambda values: jnp.where(jnp.arange(limits) == limits - 1, values[..., None], UNDEFINED),
            (precision, scores, average_precision, best, missed),
        )
        recall = jnp.moveaxis(recall, -1, 1)
        curves = precision, recall, scores, *average_precision
        return mask_undefined(*curves, num_ground_truths=num_ground_truths, at_best_score=best, miss_rate=missed)

    def _best(self, state: HistogramState, of_counts: OfCounts, hits: jax.Array, counted: jax.Array) -> jax.Array:
        """Returns `[T, K, A]`, the best value of a quantity at the ends of bins, from cumulative counts."""
        positives = jnp.maximum(state.num_ground_truths, 1).T[None, :, :, None]
        values = of_counts(*(counts.astype(jnp.float32) for counts in (hits, counted, positives)))
        return jnp.moveaxis(values.max(-1), 1, 2)

    def _miss_rate(self, state: HistogramState, hits: jax.Array, counted: jax.Array) -> jax.Array:
        """Returns `[T, K, A]`, the mean miss rate at the ends of bins, from cumulative counts."""
        found = [jnp.where(counted - hits < limit, hits, 0).max(-1) for limit in false_at_points(state.num_images)]
        positives = jnp.maximum(state.num_ground_truths, 1).T[None]
        return jnp.moveaxis(mean_miss_rate(found, positives), 1, 2)

    def _areas(self, state: HistogramState, hits: jax.Array, counted: jax.Array) -> jax.Array:
        """Returns `[T, K, A]`, the area under each curve, whose steps are bins, from cumulative counts."""
        precision = hits.astype(jnp.float32) / jnp.maximum(counted, 1).astype(jnp.float32)
        best = jax.lax.cummax(precision, axis=3, reverse=True)
        positives = jnp.maximum(state.num_ground_truths, 1).astype(jnp.float32).T[None, :, :, None]
        return jnp.moveaxis((best * (state.true_positives.astype(jnp.float32) / positives)).sum(-1), 1, 2)
