"""Exact average precision as a metric: a frozen configuration, and an explicit state that is updated inside `jit`."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ..._curves._device import curves_in_order
from ..._display import short_repr
from ..._evaluation import Evaluation, evaluation_of
from ..._matching._device import MatchedBatch, match_batch
from ..._planes import num_words
from ..._summary import summarize_on_device
from ...analysis import Interval
from ...analysis._intervals import check_confidence
from ...analysis._units import check_count, check_seed
from ...protocols import COCO, EvaluationProtocol
from ...types import Detections, GroundTruths, PrecisionRecall
from .._contract import register_metric
from .._options import COCO_OR_OTHER, NamedProtocol, check_box_format, check_memory, check_sizes, take_class_group
from .._placement import in_jit, keeps_sharding, reads_any_sharding
from ._bootstrap import bootstrap_on_device
from ._insertion import insert_images
from ._records import class_names_of, curves_on_host, dataset_of_images, records_on_device
from ._result import AveragePrecisionResult, CurveMetric, check_overflow, summarize_result, warn_of_oddities
from ._state import (
    OF_STATE,
    AveragePrecisionState,
    ImageRows,
    empty_rows,
    in_slots,
    order_of_ids,
    rows_of_batch,
    total_checks,
    total_counters,
)

__all__ = ["AveragePrecision", "average_precision"]


@register_metric
@dataclasses.dataclass(frozen=True, kw_only=True)
class AveragePrecision(CurveMetric[AveragePrecisionState]):
    """Exact COCO average precision, accumulated batch by batch on the device.

    The order of batches, devices and hosts changes no bit of the result: ties in score are broken by image id, then by
    position in the image. A repeated image is excluded and reported.

    Attributes:
      num_classes: K; labels lie in [0, K).
      max_images: the most images that the state can hold.
      max_detections_per_image: the most detections that the state can hold per image, over all classes. Those beyond
        the protocol's limit per image and class need no slot.
      max_ground_truths_per_image: likewise for ground truths; crowds and padding need no slot.
      protocol: the protocol, or its name.
      box_format: the format of all boxes, in pixels: `xyxy`, `xywh`, `cxcywh` (centre) or `yxyx`.
      class_group: the group of each class, K names, for protocols with groups of classes (LVIS, or
        `protocol.with_class_groups(names)`), empty for a class of no group; without it, the numbers of groups are
        undefined.

    Example:
      >>> metric = AveragePrecision(num_classes=1, max_images=2)
      >>> found = Detections(boxes=jnp.array([[[0., 0., 10., 8.]]]), scores=jnp.array([[.9]]), labels=jnp.array([[0]]))
      >>> truth = GroundTruths(boxes=jnp.array([[[0., 0., 10., 10.]]]), labels=jnp.array([[0]]))
      >>> state = jax.jit(metric.update)(metric.init(), found, truth, image_id=jnp.array([7]))
      >>> numbers = metric.summarize(metric.compute(state))
      >>> round(numbers["AP"], 6), numbers["num_images"]
      (0.7, 1)
    """

    num_classes: int
    max_images: int
    max_detections_per_image: int = 100
    max_ground_truths_per_image: int = 100
    protocol: NamedProtocol = COCO_OR_OTHER
    box_format: str = "xyxy"
    class_group: tuple[str, ...] | None = None

    _STATE, _RESULT = AveragePrecisionState, AveragePrecisionResult

    __repr__ = short_repr

    def __post_init__(self) -> None:
        sizes = "num_classes", "max_images", "max_detections_per_image", "max_ground_truths_per_image"
        check_sizes(self, *sizes)
        check_box_format(self)
        take_class_group(self)
        check_memory(self, *sizes, curves=True)

    def init(self) -> AveragePrecisionState:
        """Returns the empty state."""
        grid = len(self.protocol.iou_thresholds), len(self.protocol.area_ranges)
        slots = self.max_images, self.max_detections_per_image, self.max_ground_truths_per_image
        return AveragePrecisionState(
            images=empty_rows(*slots, num_words(*grid), self.num_classes, grid[1]),
            **{name: jnp.zeros((), jnp.int32) for name in OF_STATE},
            configuration=jnp.asarray(self._words()),
        )

    @keeps_sharding
    def update(
        self,
        state: AveragePrecisionState,
        detections: Detections,
        ground_truths: GroundTruths,
        *,
        image_id: ArrayLike,
        valid: ArrayLike | None = None,
    ) -> AveragePrecisionState:
        """Adds a batch. The shapes of the state do not change, so the state may be donated, and `jit` traces once.

        Args:
          state: from `init`, `update` or `merge`.
          detections: `[I, D, ...]`; boxes and scores are converted to float32.
          ground_truths: `[I, G, ...]`.
          image_id: `[I]` int, unique over the whole evaluation. Without x64, `jit` cuts ids to 32 bits: pass longer ids
            as the words of `jaxmap.metrics.image_id_words`, `[I, 2]`.
          valid: `[I]` bool, False for images that only pad the batch; None means that all are real.

        Raises:
          ValueError: while tracing, if a shape is not as described; outside `jit`, if the state has another
            configuration (inside `jit`, `summarize` raises).
          TypeError: while tracing, if labels or image ids are not integers, or arguments are swapped.
        """
        configuration = self._accept(state=state)
        batch = match_batch(detections, ground_truths, image_id, valid, self._rules)
        self._warn_of_too_little_room(state, batch)
        state = insert_images(state, rows_of_batch(batch, state.images), batch.image_valid)
        return dataclasses.replace(state, configuration=configuration)

    @keeps_sharding
    def merge(self, state: AveragePrecisionState, other: AveragePrecisionState) -> AveragePrecisionState:
        """Returns the combination of two states; images that are in both are counted once.

        The result has the capacities of `state`; rows of `other` that do not fit are reported.

        Raises:
          ValueError: if one has another configuration, as in `update`.
        """
        configuration = self._accept(state=state, other=other)
        capacity = len(other.images.image_id)
        filled = jnp.arange(capacity, dtype=jnp.int32) < other.num_images
        merged = insert_images(state, in_slots(jax.tree.map(jnp.asarray, other.images), state.images), filled)
        return dataclasses.replace(
            merged,
            num_repeated_images=merged.num_repeated_images + other.num_repeated_images,
            num_conflicting_images=merged.num_conflicting_images + other.num_conflicting_images,
            num_padded_images=state.num_padded_images + other.num_padded_images,  # without the empty slots of `other`
            num_images_over_capacity=merged.num_images_over_capacity + other.num_images_over_capacity,
            configuration=configuration,
        )

    @reads_any_sharding
    def compute(self, state: AveragePrecisionState) -> AveragePrecisionResult:
        """Integrates the state into curves: in float64 on the host, or, inside `jit`, in float32 on the device."""
        configuration = self._accept(state=state)
        counters, checks = total_counters(state), total_checks(state)
        if in_jit(state):
            return AveragePrecisionResult(self._compute_on_device(state), counters, checks, configuration)
        state, counters, checks = jax.device_get((state, counters, checks))
        curves = curves_on_host([_used(state)], self.protocol, self.num_classes)
        return AveragePrecisionResult(curves, counters, checks, configuration)

    def summarize(self, result: AveragePrecisionResult, *, allow_overflow: bool = False) -> dict[str, float]:
        """Returns the protocol's numbers by name, NaN where undefined, and the counters.

        Gives one `UserWarning` about likely mistakes, such as labels that are not classes.

        Args:
          result: from `compute`.
          allow_overflow: whether to return numbers although a capacity was exceeded.

        Raises:
          ValueError: if a capacity was exceeded (the message names it), or if the state was combined with one of
            another configuration.
          TypeError: if it is not a result of such a metric, or inside `jit`.
        """
        self._accept_result(result)
        return summarize_result(result, self._rules, class_group=self.class_group, allow_overflow=allow_overflow)

    def _warn_of_too_little_room(self, state: AveragePrecisionState, batch: MatchedBatch) -> None:
        """Warns while tracing about a capacity that would be exceeded if all rows of the batch were real."""
        limit, of_image = self.protocol.max_detections[-1], self.protocol.limit_scope == "image"
        num_classes = 1 if of_image or self.protocol.class_agnostic else self.num_classes
        rows_and_slots = {
            "detections": (min(batch.scores.shape[1], limit * num_classes), state.images.scores.shape[1]),
            "ground_truths": (batch.ground_truth_labels.shape[1], state.images.ground_truth_labels.shape[1]),
        }
        for side, (rows, slots) in rows_and_slots.items():
            if rows > slots:
                warnings.warn(
                    f"the batch has {rows} {side} per image and the state has room for {slots}; if more than {slots} "
                    f"are valid, `summarize` raises: set `max_{side}_per_image={rows}`, or pass fewer.",
                    stacklevel=4,  # the caller of `update`, which is decorated
                )

    def _with_room_of(self, state: AveragePrecisionState) -> AveragePrecision:
        images, detections = jnp.shape(state.images.labels)[-2:]
        ground_truths = jnp.shape(state.images.ground_truth_labels)[-1]
        return dataclasses.replace(
            self,
            max_images=images,
            max_detections_per_image=detections,
            max_ground_truths_per_image=ground_truths,
        )

    @reads_any_sharding
    def evaluation(
        self,
        state: AveragePrecisionState,
        *,
        class_names: Sequence[str] | Mapping[int, str] | None = None,
        image_names: Mapping[int, Any] | None = None,
        allow_overflow: bool = False,
    ) -> Evaluation:
        """Returns an `Evaluation`, like `jaxmap.evaluate`, from the state: per class, per image, curves, explanation.

        It runs on the host, in float64.

        Args:
          state: from `update` or `merge`.
          class_names: K names, or a mapping from label to name; the labels if None.
          image_names: a mapping from image id to the name of the image in tables; the ids if None.
          allow_overflow: whether to return numbers although a capacity was exceeded.

        Raises:
          ValueError: if a capacity was exceeded (the message names it), or names are missing.
        """
        self._accept(state=state)
        state, counters, checks = jax.device_get((state, total_counters(state), total_checks(state)))
        check_overflow(counters, allow_overflow=allow_overflow)
        warn_of_oddities(counters, checks, self._rules, stacklevel=4)
        dataset = dataset_of_images(
            [_used(state)], self.protocol, class_names_of(self.num_classes, class_names), image_names, self.class_group
        )
        return evaluation_of(dataset, self.protocol)

    @reads_any_sharding
    def bootstrap(
        self, state: AveragePrecisionState, *, num_replicates: int = 1000, seed: int = 0, confidence: float = 0.95
    ) -> dict[str, Interval]:
        """Returns each number of the summary with its standard error and interval, from resampled images.

        Outside `jit` it runs on the host, in float64, as `evaluation(state).bootstrap()`, which also has the classes.
        Inside `jit` it draws the same images and integrates in float32, with `UNDEFINED` (-1) where a number is
        undefined; arguments but the state are static there.

        Args:
          state: from `update` or `merge`.
          num_replicates: how many replicates to draw.
          seed: from 0 to 2^32 - 1; the same seed draws the same images everywhere.
          confidence: the share of datasets whose interval should contain the true number.

        Raises:
          ValueError: if an argument is not as described; outside `jit`, also if there are fewer than two images, or a
            capacity was exceeded.
        """
        check_confidence(confidence)
        num_replicates, seed = check_count("num_replicates", num_replicates, 2), check_seed(seed)
        if not in_jit(state):
            evaluation = self.evaluation(state)
            return evaluation.bootstrap(num_replicates, seed=seed, confidence=confidence).summary
        self._accept(state=state)
        return bootstrap_on_device(
            records_on_device(state.images, state.num_images, len(self.protocol.area_ranges)),
            order_of_ids(state.images) < state.num_images,
            num_positions=state.images.scores.shape[1],
            protocol=self.protocol,
            num_classes=self.num_classes,
            class_group=self.class_group,
            num_replicates=num_replicates,
            seed=seed,
            confidence=confidence,
        )

    def _compute_on_device(self, state: AveragePrecisionState) -> PrecisionRecall[jax.Array]:
        records = records_on_device(state.images, state.num_images, len(self.protocol.area_ranges))
        return curves_in_order(
            records,
            protocol=self.protocol,
            num_classes=self.num_classes,
            num_images=state.num_images,
            num_positions=state.images.scores.shape[1],
        )


def _used(state: AveragePrecisionState) -> ImageRows:
    """Returns the rows of the images in a state on the host."""
    used = slice(int(state.num_images))
    images: ImageRows = jax.tree.map(lambda leaf: leaf[used], state.images)
    return images


def average_precision(
    detections: Detections,
    ground_truths: GroundTruths,
    *,
    num_classes: int,
    protocol: str | EvaluationProtocol = COCO,
    box_format: str = "xyxy",
    class_group: tuple[str, ...] | None = None,
) -> dict[str, jax.Array]:
    """Scores one padded set of images inside `jit`: the protocol's numbers as device scalars.

    Matches are decided in double-float arithmetic and counts are integers, so the numbers differ from the float64 ones
    only by the rounding of the last division and mean, by less than 1e-6. Ties are broken by the order of images on
    their axis.

    Args:
      detections: `[I, D, ...]`; boxes and scores are converted to float32.
      ground_truths: `[I, G, ...]`.
      num_classes: K; labels lie in [0, K).
      protocol: static; the protocol or its name. Its recall points must be multiples of one fraction.
      box_format: the format of all boxes, in pixels: `xyxy`, `xywh`, `cxcywh` (centre) or `yxyx`.
      class_group: static; the group of each class, as in `AveragePrecision`.

    Returns:
      float32 scalars by name (for COCO `AP`, `AP50`, ...). -1 for numbers without ground truth; all NaN if a valid row
      has a value that is not finite or a label that is not a class.

    Raises:
      ValueError: if a shape, the box format or the recall points are not as described.
      TypeError: if labels are not integers.

    Example:
      >>> found = Detections(boxes=jnp.array([[[0., 0., 10., 8.]]]), scores=jnp.array([[.9]]), labels=jnp.array([[0]]))
      >>> truth = GroundTruths(boxes=jnp.array([[[0., 0., 10., 10.]]]), labels=jnp.array([[0]]))
      >>> numbers = jax.jit(average_precision, static_argnames="num_classes")(found, truth, num_classes=1)
      >>> round(float(numbers["AP"]), 6)
      0.7
    """
    num_images, num_detections, num_ground_truths = (
        *jnp.shape(detections.labels),
        jnp.shape(ground_truths.labels)[1],
    )
    metric = AveragePrecision(
        num_classes=num_classes,
        max_images=max(num_images, 1),
        max_detections_per_image=max(num_detections, 1),
        max_ground_truths_per_image=max(num_ground_truths, 1),
        protocol=protocol,
        box_format=box_format,
        class_group=class_group,
    )
    image_id = jnp.arange(num_images, dtype=jnp.int32)
    state = metric.update(metric.init(), detections, ground_truths, image_id=image_id)
    numbers = summarize_on_device(metric._compute_on_device(state), metric.protocol, metric.class_group)
    counters = total_counters(state)
    sound = counters["num_not_finite"] + counters["num_bad_labels"] == 0
    return {name: jnp.where(sound, value, jnp.nan) for name, value in numbers.items()}
