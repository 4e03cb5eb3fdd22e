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

from ..._candidates._device import most_similar, reaches_threshold, similarity_places
from ..._display import short_repr
from ..._geometry import GEOMETRIES, geometry_of
from ..._geometry._double_float import DoubleFloat
from ..._integer_bounds import check_int32
from ..._lowering import by_backend
from ..._matching._backends import with_candidate_lists
from ..._matching._checked import BatchRules, CheckedDetections, CheckedGroundTruths, check_batch
from ..._matching._data_checks import CHECKS, advise, checks_by_name
from ..._matching._prepared import PreparedImage, prepare_image
from ..._matching._row_order import sort_rows
from ..._pairing._device import NO_PAIR, pair_all, pair_greedily
from ..._pairing._host import check_confusion_options, normalize_confusion
from ..._panoptic._device import count_pairs
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
        by_lists, all_pairs = (partial(pair, metric=self) for pair in (_pair_by_lists, _pair_all))
        is_empty = not images.labels.size * images.truth_labels.size
        pairs: _Pairs = by_backend(images, cpu=by_lists, default=by_lists if is_empty else all_pairs)
        included = _included(images, self)
        counts, left_out = _count(images, included, pairs, self.num_classes)
        return self.merge(
            state,
            ConfusionMatrixState(
                counts=counts,
                num_left_out=left_out,
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
        rows = jnp.arange(len(image.labels), dtype=jnp.int32)
        leaves, structure = jax.tree.flatten(image)
        small = [leaf.ndim < 3 for leaf in leaves]
        moved = [leaf.T for leaf, is_small in zip(leaves, small, strict=True) if is_small]
        order, moved = sort_rows((image.labels, rows), moved)
        columns = iter(moved)
        ordered = [next(columns).T if is_small else leaf[order] for leaf, is_small in zip(leaves, small, strict=True)]
        result: Rows = jax.tree.unflatten(structure, ordered)
        return result

    ordered: Rows = jax.vmap(sort)(batch)
    return ordered


def _included(images: PreparedImage, metric: ConfusionMatrix) -> jax.Array:
    """Returns which detections take part, in the shape of their scores."""
    return images.valid & (images.scores >= np.float32(metric.score_threshold))


class _Pairs(NamedTuple):
    """What the detections and ground truths of a batch take.

    Attributes:
      labels: `[I, D]` int32, the class of the ground truth that each detection takes; -1 for none.
      missed: `[I, G]` bool, counted ground truths that no detection takes.
      reaches_ignored: `[I, D]` bool, whether a detection reaches the threshold with a ground truth that is not counted.
    """

    labels: jax.Array
    missed: jax.Array
    reaches_ignored: jax.Array


def _count(images: PreparedImage, included: jax.Array, pairs: _Pairs, background: int) -> tuple[jax.Array, jax.Array]:
    """Returns the entries `[K + 1, K + 1]` int32 of a batch, and how many detections are left out."""
    found = pairs.labels >= 0
    left_out = included & ~found & pairs.reaches_ignored
    rows = [jnp.where(found, pairs.labels, background), images.truth_labels]
    columns = [images.labels, jnp.full_like(images.truth_labels, background)]
    real = [included & ~left_out, pairs.missed]
    row, column, is_real = (jnp.concatenate(parts, axis=1)[None] for parts in (rows, columns, real))
    counts = count_pairs(row, column, is_real, background + 1, background + 1)[0]
    return counts.astype(jnp.int32), left_out.sum(dtype=jnp.int32)


def _pair_all(images: PreparedImage, *, metric: ConfusionMatrix) -> _Pairs:
    """Pairs a batch on an accelerator."""
    included = _included(images, metric)
    similarity, reaches = jax.vmap(partial(_reaching, iou_threshold=metric.iou_threshold))(images, included)
    similarity, reaches = jax.lax.optimization_barrier((similarity, reaches))  # type: ignore[no-untyped-call]
    counts = images.truth_counted[..., 0]
    allowed = reaches & counts[:, None]
    if metric.pairing == "best_only":
        allowed = most_similar(similarity, allowed, last=True)
    same_class = images.labels[..., None] == images.truth_labels[:, None]
    preferred = same_class if metric.pairing == "class_first" else None
    taken = pair_all(similarity, allowed, by_detection=metric.pairing == "score", preferred=preferred)
    return _Pairs(
        labels=jnp.where(taken, images.truth_labels[:, None], -1).max(-1),
        missed=counts & ~taken.any(-2),
        reaches_ignored=(reaches & ~counts[:, None]).any(-1),
    )


def _reaching(image: PreparedImage, included: jax.Array, *, iou_threshold: float) -> tuple[DoubleFloat, jax.Array]:
    """Returns the similarity `[D, G]` of all pairs of an image, and which of them reach the threshold."""
    similarity = image.similarity.exact_of_all()
    return similarity, image.allowed(included[:, None]) & reaches_threshold(similarity, iou_threshold)


def _pair_by_lists(images: PreparedImage, *, metric: ConfusionMatrix) -> _Pairs:
    """Pairs a batch on a CPU."""
    pair, num_ground_truths = partial(_pair_image, metric=metric), images.truth_labels.shape[1]
    return with_candidate_lists(pair, lambda image: pair(image, num_ground_truths)[0], images)


def _pair_image(image: PreparedImage, num_candidates: int, *, metric: ConfusionMatrix) -> tuple[_Pairs, jax.Array]:
    """Pairs one image, and returns how many candidate lists were too short."""
    (num_ground_truths,) = image.truth_labels.shape
    counted = image.truth_counted[:, 0]
    included = _included(image, metric)
    candidates, overflow = image.candidates(
        jnp.broadcast_to(included[:, None], (*included.shape, num_ground_truths)),
        iou_thresholds=(metric.iou_threshold,),
        num_candidates=num_candidates,
    )
    reaches, counts = candidates.level > 0, counted[candidates.index]
    place = _places(image, candidates, reaches & counts, metric.pairing)
    partner = pair_greedily(candidates.index, place, num_ground_truths=num_ground_truths)
    partner = jnp.where(partner == UNMATCHED, num_ground_truths, partner)  # a negative index would wrap around
    labels = jnp.append(image.truth_labels, jnp.int32(-1))[partner]
    missed = counted.at[partner].set(False, mode="drop")
    return _Pairs(labels, missed, (reaches & ~counts).any(-1)), overflow


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
