"""The confusion matrix of a detector as a metric: counts of constant size inside `jit`, merged by addition."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ..._candidates._device import similarity_places
from ..._display import short_repr
from ..._geometry import GEOMETRIES, geometry_of
from ..._integer_bounds import check_int32
from ..._matching._backends import SHORT_LIST, with_candidate_lists
from ..._matching._checked import BatchRules, CheckedDetections, CheckedGroundTruths, check_batch
from ..._matching._data_checks import CHECKS, advise, checks_by_name
from ..._matching._prepared import PreparedImage, prepare_image
from ..._pairing._device import NO_PAIR, pair_greedily
from ..._pairing._host import check_confusion_options, normalize_confusion
from ..._pytrees import register_container
from ...protocols import COCO, UNLIMITED, AreaRange
from ...types import UNMATCHED, Array, Candidates, Detections, GroundTruths, HostArray, Scalar
from .._contract import Contract, as_integers, register_metric
from .._options import COCO_OR_OTHER, NamedProtocol, check_box_format, check_memory, check_sizes
from .._placement import keeps_sharding, reads_any_sharding

__all__ = ["ConfusionMatrix", "ConfusionMatrixResult", "ConfusionMatrixState"]

# The protocol for `prepare_image`: here no area range and no limit excludes detections.
_NO_LIMITS = dataclasses.replace(
    COCO, area_ranges=(AreaRange("any", -np.inf, np.inf, ""),), max_detections=(UNLIMITED,)
)
# The fields of a protocol that decide what is compared.
COMPARED = ("iou_type", *(kind.constant for kind in GEOMETRIES.values() if kind.constant is not None))


@register_container
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ConfusionMatrixState:
    """Counts over all batches. Every field is additive, but stops at 2^31 - 1, which `summarize` refuses.

    Attributes:
      counts: `[K + 1, K + 1]` int32; rows are classes of ground truths, columns of detections; the last is background.
      num_left_out: detections that matched only a crowd or an ignored ground truth; they are in no entry.
      num_images: the number of images.
      num_padded_images: images marked as not valid.
      num_not_finite: valid rows whose box, score or area is NaN or infinite; they are excluded.
      num_bad_labels: valid rows whose label is not a class; they are excluded.
      checks: `[C]` int32, the number of rows that each check of `CHECKS` found.
      configuration: `[2]` uint32, a fingerprint of the metric's configuration, and 1.
    """

    counts: Array  # [K + 1, K + 1]
    num_left_out: Array  # []
    num_images: Array  # []
    num_padded_images: Array  # []
    num_not_finite: Array  # []
    num_bad_labels: Array  # []
    checks: Array  # [C]
    configuration: Array  # [2]

    __repr__ = short_repr


COUNTERS = ("num_images", "num_padded_images", "num_not_finite", "num_bad_labels")


@register_container
class ConfusionMatrixResult(NamedTuple):
    """The result of `compute`.

    Attributes:
      counts: `[K + 1, K + 1]` int32; the last row and column are the background.
      num_left_out: detections that matched only a crowd or an ignored ground truth, int32 scalar.
      counters: the counters of the state, int32 scalars by name.
      checks: counts that `summarize` may warn about, int32 scalars by name.
      configuration: the configuration of the state.
    """

    counts: Array
    num_left_out: Array
    counters: Mapping[str, Scalar]
    checks: Mapping[str, Scalar]
    configuration: Array | None = None  # [2]

    def __repr__(self) -> str:
        return short_repr(self)

    def normalized(self, by: str | None) -> HostArray:
        """Returns float64 shares of each row (`true`), each column (`pred`) or the total (`all`), on the host."""
        return normalize_confusion(np.asarray(self.counts), by)


@register_metric
@dataclasses.dataclass(frozen=True, kw_only=True)
class ConfusionMatrix(Contract[ConfusionMatrixState, ConfusionMatrixResult]):
    """The confusion matrix of a detector; `jaxmap.confusion_matrix` explains the pairing rules.

    Overlaps are compared in double-float arithmetic, and everything after that is integers, so the counts equal those
    of `jaxmap.confusion_matrix` for the same float32 numbers; IoUs that differ by less than 2^-44 (6e-14) count as
    equal. Images are not remembered: a repeated image is counted again.

    `summarize` gives `precision` and `recall`, the shares of detections and of ground truths in pairs of one class;
    `num_correct`, pairs of one class; `num_confused`, of two; `num_missed`, ground truths; `num_background`, detections
    of none; and `num_left_out`.

    Attributes:
      num_classes: K; labels lie in [0, K).
      iou_threshold: the least IoU of a pair, in (0, 1].
      score_threshold: the least score of a detection that is included, rounded to float32 like scores; -inf for all.
      pairing: `score`, `iou`, `class_first` or `best_only`.
      box_format: the format of all boxes, in pixels: `xyxy`, `xywh`, `cxcywh` (centre) or `yxyx`.
      protocol: the protocol or its name; its `iou_type` says what is compared; its other rules are not used.

    Example:
      >>> metric = ConfusionMatrix(num_classes=2)
      >>> found = Detections(boxes=jnp.array([[[0., 0., 10., 9.]]]), scores=jnp.array([[.9]]), labels=jnp.array([[1]]))
      >>> truth = GroundTruths(boxes=jnp.array([[[0., 0., 10., 10.]]]), labels=jnp.array([[0]]))
      >>> state = jax.jit(metric.update)(metric.init(), found, truth, image_id=jnp.array([7]))
      >>> metric.compute(state).counts.tolist()
      [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    """

    num_classes: int
    iou_threshold: float = 0.5
    score_threshold: float = 0.25
    pairing: str = "score"
    box_format: str = "xyxy"
    protocol: NamedProtocol = COCO_OR_OTHER

    _STATE, _RESULT, _OF_PROTOCOL = ConfusionMatrixState, ConfusionMatrixResult, COMPARED

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_sizes(self, "num_classes")
        check_confusion_options(self.iou_threshold, self.score_threshold, self.pairing)
        check_box_format(self)
        check_memory(self, "num_classes")

    def init(self) -> ConfusionMatrixState:
        """Returns the empty state."""
        side = self.num_classes + 1
        check_int32("entries of the matrix", side * side, f"use fewer classes than `num_classes={self.num_classes}`")
        return ConfusionMatrixState(
            counts=jnp.zeros((side, side), jnp.int32),
            num_left_out=jnp.zeros((), jnp.int32),
            **{name: jnp.zeros((), jnp.int32) for name in COUNTERS},
            checks=jnp.zeros(len(CHECKS), jnp.int32),
            configuration=jnp.asarray(self._words()),
        )

    @keeps_sharding
    def update(
        self,
        state: ConfusionMatrixState,
        detections: Detections,
        ground_truths: GroundTruths,
        *,
        image_id: ArrayLike,
        valid: ArrayLike | None = None,
    ) -> ConfusionMatrixState:
        """Adds a batch, as `AveragePrecision.update` does; the image ids are checked but not kept.

        Raises:
          ValueError: while tracing, if a shape is not as described.
          TypeError: while tracing, if labels or image ids are not integers.
        """
        self._accept(state=state)
        compared = {name: getattr(self.protocol, name) for name in COMPARED}
        rules = BatchRules(dataclasses.replace(_NO_LIMITS, **compared), self.num_classes, self.box_format)
        batch = check_batch(detections, ground_truths, image_id, valid, rules)
        found, truth, real = batch.detections, batch.ground_truths, batch.image_valid
        area = truth.area if geometry_of(self.protocol.iou_type).scaled_by_area else None  # it is not used otherwise
        truth = dataclasses.replace(truth, area=area, verified=None, not_exhaustive=None)
        images = jax.vmap(partial(prepare_image, rules=rules))(_by_class(found), _by_class(truth), batch.odd_flags)
        num_ground_truths = images.truth_labels.shape[1]
        short = partial(_pair_image, metric=self, num_candidates=min(SHORT_LIST, num_ground_truths))
        cells, left_out = with_candidate_lists(
            short, lambda image: _pair_image(image, metric=self, num_candidates=num_ground_truths)[0], images
        )
        counts = jnp.zeros(state.counts.size, jnp.int32).at[cells.ravel()].add(1, mode="drop")
        return self.merge(
            state,
            ConfusionMatrixState(
                counts=counts.reshape(state.counts.shape),
                num_left_out=left_out.sum(dtype=jnp.int32),
                num_images=real.sum(dtype=jnp.int32),
                num_padded_images=(~real).sum(dtype=jnp.int32),
                num_not_finite=images.num_not_finite.sum(dtype=jnp.int32),
                num_bad_labels=images.num_bad_labels.sum(dtype=jnp.int32),
                checks=images.checks.sum(0, dtype=jnp.int32),
                configuration=jnp.asarray(self._words()),
            ),
        )

    @reads_any_sharding
    def compute(self, state: ConfusionMatrixState) -> ConfusionMatrixResult:
        """Returns the counts; jittable."""
        configuration = self._accept(state=state)
        counters = {name: getattr(state, name) for name in COUNTERS}
        checks = checks_by_name(state.checks)
        return ConfusionMatrixResult(state.counts, state.num_left_out, counters, checks, configuration)

    def _named(self, result: ConfusionMatrixResult) -> dict[str, float]:
        counts = result.counts.astype(np.int64)
        correct, paired = int(np.trace(counts[:-1, :-1])), int(counts[:-1, :-1].sum())
        missed, background = int(counts[:, -1].sum()), int(counts[-1].sum())
        return {
            "precision": correct / (paired + background) if paired + background else math.nan,
            "recall": correct / (paired + missed) if paired + missed else math.nan,
            "num_correct": correct,
            "num_confused": paired - correct,
            "num_missed": missed,
            "num_background": background,
            "num_left_out": int(result.num_left_out),
        }

    def _advise(self, result: ConfusionMatrixResult) -> Iterable[str]:
        checks, counters = as_integers(result.checks), as_integers(result.counters)
        return advise(checks, counters, num_classes=self.num_classes, box_format=self.box_format)


Rows = TypeVar("Rows", CheckedDetections, CheckedGroundTruths)


def _by_class(batch: Rows) -> Rows:
    """Sorts the rows of each image by class, so that ties are broken by class, then by position."""

    def sort(image: Rows) -> Rows:
        order = jnp.argsort(image.labels, stable=True)
        ordered: Rows = jax.tree.map(lambda column: column[order], image)
        return ordered

    ordered: Rows = jax.vmap(sort)(batch)
    return ordered


def _pair_image(
    image: PreparedImage, *, metric: ConfusionMatrix, num_candidates: int
) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
    """Pairs one image.

    Returns:
      The entry of every outcome, `[D + G]` int32 into the flat matrix, beyond its end for no outcome; the number of
      detections left out; and how many candidate lists were too short.
    """
    (num_ground_truths,), background = image.truth_labels.shape, metric.num_classes
    counted = image.truth_counted[:, 0]
    takes_part = image.valid & (image.scores >= np.float32(metric.score_threshold))
    candidates, overflow = image.candidates(
        jnp.broadcast_to(takes_part[:, None], (*takes_part.shape, num_ground_truths)),
        iou_thresholds=(metric.iou_threshold,),
        num_candidates=num_candidates,
    )
    reaches, counts = candidates.level > 0, counted[candidates.index]
    place = _places(image, candidates, reaches & counts, metric.pairing)
    partner = pair_greedily(candidates.index, place, num_ground_truths=num_ground_truths)
    partner = jnp.where(partner == UNMATCHED, num_ground_truths, partner)  # a negative index would wrap around
    left_out = takes_part & (partner == num_ground_truths) & (reaches & ~counts).any(-1)

    side = background + 1
    rows = jnp.append(image.truth_labels, jnp.int32(background))[partner]
    of_detections = jnp.where(takes_part & ~left_out, rows * side + image.labels, side * side)
    missed = counted.at[partner].set(False, mode="drop")
    of_ground_truths = jnp.where(missed, image.truth_labels * side + background, side * side)
    cells = jnp.concatenate([of_detections, of_ground_truths])
    return (cells, left_out.sum(dtype=jnp.int32)), overflow


def _places(image: PreparedImage, candidates: Candidates[jax.Array], allowed: jax.Array, pairing: str) -> jax.Array:
    """Returns `[D, C]` int32, the position of each pair in the order in which `pairing` takes them."""
    check_int32("pairs of an image, twice", 2 * allowed.size, "give fewer detections or ground truths per image")
    row = jnp.arange(allowed.size, dtype=jnp.int32).reshape(allowed.shape)  # by detection, the most similar first
    if pairing == "score":
        return jnp.where(allowed, row, NO_PAIR)
    if pairing == "best_only":
        allowed = allowed & (jnp.cumsum(allowed, axis=-1, dtype=jnp.int32) == 1)
    key = similarity_places(image.similarity.exact(candidates.index), allowed)
    if pairing == "class_first":
        differ = image.labels[:, None] != image.truth_labels[candidates.index]
        key = jnp.where(differ, key + allowed.size, key)
    order = jax.lax.sort((key.ravel(), row.ravel()), num_keys=2)[1]
    place = jnp.zeros_like(order).at[order].set(row.ravel()).reshape(allowed.shape)
    return jnp.where(allowed, place, NO_PAIR)
