"""Similarity, matching and records of a batch of padded images, inside `jit`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import chex
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._candidates._device import find_candidates, inside_ranges
from .._geometry import geometry_of
from .._geometry._device import DeviceSimilarity
from .._geometry._double_float import LARGEST
from .._planes import area_words, level_words
from ..protocols import EvaluationProtocol
from ..types import Candidates, Detections, GroundTruthRecords, GroundTruths
from ._checked import BatchRules, CheckedDetections, CheckedGroundTruths, check_batch
from ._data_checks import count_oddities
from ._kernel import match
from ._outcomes import counted_words, outcome

__all__ = [
    "MatchedBatch",
    "PreparedImage",
    "match_batch",
    "prepare_image",
    "with_candidate_lists",
]

Result = TypeVar("Result")
SHORT_LIST = 8  # candidates per detection; typical images need two or three


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MatchedBatch:
    """A batch after matching, the detections of each image by descending score.

    Attributes:
      image_id: `[I, 2]` int32, the high and the low word.
      image_valid: `[I]` bool, False for images that only pad the batch.
      scores: `[I, D]` float32.
      labels: `[I, D]` int32.
      position: `[I, D]` int32, row in the input.
      rank: `[I, D]` int32, rank among the detections of the image and class.
      matched: `[I, D, W]` uint32, the planes in which a detection matched a ground truth.
      ignored: `[I, D, W]` uint32, the planes in which it is neither a true nor a false positive.
      valid: `[I, D]` bool, real and within the largest max-detections limit.
      ground_truth_labels: `[I, G]` int32.
      ground_truth_counted: `[I, G, A]` bool, whether it is counted in each area range; False for padding.
      num_not_finite: `[I]` int32, valid rows whose box, score or area is NaN, infinite or beyond `LARGEST`; they are
        excluded.
      num_bad_labels: `[I]` int32, valid rows whose label is not a class; they are excluded.
      checks: `[I, C]` int32, the number of rows that each check of `CHECKS` found.
    """

    image_id: jax.Array  # [I, 2]
    image_valid: jax.Array  # [I]
    scores: jax.Array  # [I, D]
    labels: jax.Array  # [I, D]
    position: jax.Array  # [I, D]
    rank: jax.Array  # [I, D]
    matched: jax.Array  # [I, D, W]
    ignored: jax.Array  # [I, D, W]
    valid: jax.Array  # [I, D]
    ground_truth_labels: jax.Array  # [I, G]
    ground_truth_counted: jax.Array  # [I, G, A]
    num_not_finite: jax.Array  # [I]
    num_bad_labels: jax.Array  # [I]
    checks: jax.Array  # [I, C]

    def ground_truth_records(self) -> GroundTruthRecords[jax.Array]:
        """Returns the rows of all ground truths, `[I * G]`, with images numbered by their position in the batch."""
        counted = self.ground_truth_counted
        return GroundTruthRecords(
            labels=self.ground_truth_labels.ravel(),
            image_index=jnp.repeat(jnp.arange(len(counted), dtype=jnp.int32), counted.shape[1]),
            counted=counted.reshape(-1, counted.shape[-1]),
        )


def match_batch(
    detections: Detections, ground_truths: GroundTruths, image_id: ArrayLike, valid: ArrayLike | None, rules: BatchRules
) -> MatchedBatch:
    """Checks a batch and matches every image for all thresholds and area ranges; raises like `check_batch`."""
    batch = check_batch(detections, ground_truths, image_id, valid, rules)
    images = jax.vmap(partial(prepare_image, rules=rules))(batch.detections, batch.ground_truths, batch.odd_flags)
    flags, ignored = with_candidate_lists(partial(_match_image, protocol=rules.protocol), images)
    return MatchedBatch(
        image_id=batch.image_id,
        image_valid=batch.image_valid,
        scores=jnp.where(images.valid, images.scores, 0.0),
        labels=images.labels,
        position=images.position,
        rank=images.rank,
        matched=flags,
        ignored=ignored,
        valid=images.valid,
        ground_truth_labels=images.truth_labels,
        ground_truth_counted=images.truth_counted,
        num_not_finite=images.num_not_finite,
        num_bad_labels=images.num_bad_labels,
        checks=images.checks,
    )


def with_candidate_lists(of_image: Callable[..., tuple[Result, jax.Array]], images: PreparedImage) -> Result:
    """Returns the results of `of_image(image, num_candidates=...)` for every image, without the overflow counts.

    Short lists of candidates fit all pairs of typical images. A batch in which a list is too short is run again with
    lists as long as the ground truths, so the result never depends on their length.
    """
    num_ground_truths = images.truth_labels.shape[1]

    def run(images: PreparedImage, num_candidates: int) -> tuple[Result, jax.Array]:
        results: tuple[Result, jax.Array] = jax.vmap(partial(of_image, num_candidates=num_candidates))(images)
        return results

    @jax.custom_batching.custom_vmap
    def of_batch(images: PreparedImage) -> Result:
        result, overflow = run(images, min(SHORT_LIST, num_ground_truths))
        if num_ground_truths <= SHORT_LIST:
            return result
        fitting: Result = jax.lax.cond((overflow > 0).any(), lambda: run(images, num_ground_truths)[0], lambda: result)
        return fitting

    @of_batch.def_vmap
    def of_batches(size: int, batched: list[PreparedImage], images: PreparedImage) -> tuple[Result, Result]:
        # As one batch: `vmap` of the condition would run both of its branches, and fails in a checked `shard_map`.
        def joined(column: jax.Array, is_batched: bool) -> jax.Array:
            every = column if is_batched else jnp.broadcast_to(column, (size, *column.shape))
            return every.reshape(-1, *every.shape[2:])

        results = of_batch(jax.tree.map(joined, images, *batched))
        split = jax.tree.map(lambda column: column.reshape(size, -1, *column.shape[1:]), results)
        return split, jax.tree.map(lambda _: True, results)

    results: Result = of_batch(images)
    return results


class PreparedImage(NamedTuple):
    """One image ready for matching: detections by descending score, padding replaced by harmless values."""

    similarity: DeviceSimilarity  # [D], [G]
    scores: jax.Array  # [D]
    labels: jax.Array  # [D]
    position: jax.Array  # [D]
    rank: jax.Array  # [D]
    valid: jax.Array  # [D]
    inside: jax.Array  # [D, A]
    truth_labels: jax.Array  # [G]
    truth_counted: jax.Array  # [G, A]
    truth_valid: jax.Array  # [G]
    crowd: jax.Array  # [G]
    num_not_finite: jax.Array  # []
    num_bad_labels: jax.Array  # []
    checks: jax.Array  # [C]

    def candidates(
        self, allowed: jax.Array, *, iou_thresholds: tuple[float, ...], num_candidates: int, best_only: bool = False
    ) -> tuple[Candidates[jax.Array], jax.Array]:
        """Returns the result of `find_candidates`; `allowed` is `[D, G]` bool, with any value for padding."""
        return find_candidates(
            self.similarity.approximate(),
            self.similarity.exact,
            allowed & self.valid[:, None] & self.truth_valid[None, :],
            self.crowd,
            iou_thresholds=iou_thresholds,
            num_candidates=num_candidates,
            best_only=best_only,
        )


def prepare_image(
    found: CheckedDetections, truth: CheckedGroundTruths, odd_flags: jax.Array, rules: BatchRules
) -> PreparedImage:
    """Sorts, ranks and cleans one image, `[D, ...]` and `[G, ...]`, as `check_batch` returns them."""
    protocol, num_classes, box_format = rules
    geometry = geometry_of(protocol.iou_type)
    chex.assert_rank([found.labels, truth.labels], 1)
    (shapes, not_binary), (truth_shapes, truth_not_binary) = _shapes(found), _shapes(truth)
    finite = _all_finite(shapes) & jnp.isfinite(found.scores)
    truth_finite = _all_finite(truth_shapes)
    if truth.area is not None:
        truth_finite &= jnp.isfinite(truth.area)
    named = (found.labels >= 0) & (found.labels < num_classes)
    truth_named = (truth.labels >= 0) & (truth.labels < num_classes)
    valid, truth_valid = found.valid & finite & named, truth.valid & truth_finite & truth_named

    # Padding may hold NaN: it is replaced, because a product with 0 would keep NaN.
    scores = jnp.where(valid, found.scores, -jnp.inf)
    labels, truth_labels = jnp.where(valid, found.labels, 0), jnp.where(truth_valid, truth.labels, 0)
    area = None if truth.area is None else jnp.where(truth_valid, truth.area, 0.0)
    crowd, ignore = truth.crowd & truth_valid, truth.ignore & truth_valid
    if protocol.absorbing == "ignored":  # then crowds do not differ from other ignored ground truths
        crowd, ignore = jnp.zeros_like(crowd), crowd | ignore
    if geometry.ignored is not None:
        ignore |= geometry.ignored(truth_shapes)

    shapes = {name: _cleaned(column, valid) for name, column in shapes.items()}
    truth_shapes = {name: _cleaned(column, truth_valid) for name, column in truth_shapes.items()}
    similarity = geometry.image(shapes, truth_shapes, crowd, area, constants=protocol, box_format=box_format)
    masks_not_binary = (valid & not_binary).sum(dtype=jnp.int32) + (truth_valid & truth_not_binary).sum(dtype=jnp.int32)
    counted = truth_valid & ~truth.crowd & ~ignore
    checks = count_oddities(
        (shapes, truth_shapes), (valid, truth_valid), counted, similarity, (masks_not_binary, odd_flags), protocol
    )
    rows, truth_order = jnp.arange(len(scores), dtype=jnp.int32), None
    # As one class, equal scores and equal overlaps are ordered by class first, because pycocotools with useCats=0
    # concatenates class by class.
    order = jax.lax.sort((-scores, labels if protocol.class_agnostic else rows, rows), num_keys=3)[-1]
    scores, labels, valid = scores[order], labels[order], valid[order]
    if protocol.class_agnostic:
        truth_order = jnp.argsort(truth_labels, stable=True)
        truth_valid, crowd, ignore = (x[truth_order] for x in (truth_valid, crowd, ignore))
        labels, truth_labels = jnp.zeros_like(labels), jnp.zeros_like(truth_labels)

    together = (labels[:, None] == labels[None, :]) | (protocol.limit_scope == "image")
    rank = (together & valid[None, :] & (rows[:, None] > rows[None, :])).sum(-1, dtype=jnp.int32)
    kept = valid & (rank < protocol.max_detections[-1])
    similarity = similarity.reorder(order, truth_order)  # the similarity, not the masks, which are much larger
    inside = inside_ranges(similarity.area, _ranges(protocol))
    if not protocol.class_agnostic:  # as one class, there are no verified classes
        kept = kept if truth.verified is None else kept & truth.verified[labels]
        inside = inside if truth.not_exhaustive is None else inside & ~truth.not_exhaustive[labels][:, None]
    truth_inside = inside_ranges(similarity.ground_truth_area, _ranges(protocol))
    return PreparedImage(
        similarity=similarity,
        scores=scores,
        labels=labels,
        position=order,
        rank=rank,
        valid=kept,
        inside=inside,
        truth_labels=truth_labels,
        truth_counted=truth_inside & (truth_valid & ~crowd & ~ignore)[:, None],
        truth_valid=truth_valid,
        crowd=crowd,
        num_not_finite=(found.valid & ~finite).sum(dtype=jnp.int32)
        + (truth.valid & ~truth_finite).sum(dtype=jnp.int32),
        num_bad_labels=(found.valid & ~named).sum(dtype=jnp.int32) + (truth.valid & ~truth_named).sum(dtype=jnp.int32),
        checks=checks,
    )


def _shapes(side: CheckedDetections | CheckedGroundTruths) -> tuple[dict[str, jax.Array], jax.Array]:
    """Returns the geometry that is compared.

    Masks are returned as bool, together with `[N]` bool, or False: which of them have values other than 0 and 1.
    """
    shapes = dict(side.shapes)
    not_binary = jnp.zeros((), bool)
    masks = shapes.get("masks")
    if masks is not None and masks.dtype != bool:
        not_binary = ((masks != 0) & (masks != 1)).any((1, 2))
        shapes["masks"] = masks != 0
    return shapes, not_binary


def _all_finite(shapes: dict[str, jax.Array]) -> jax.Array:
    """Returns `[N]` bool, or True: the rows whose numbers are all finite and within the limits of the arithmetic."""
    numbers = [x for x in shapes.values() if x.dtype != bool]
    finite = jnp.ones((), bool)
    for values in numbers:
        finite = finite & (jnp.abs(values) <= LARGEST).all(tuple(range(1, values.ndim)))
    return finite


def _cleaned(column: jax.Array, valid: jax.Array) -> jax.Array:
    if column.dtype == bool:  # holds no NaN
        return column
    return jnp.where(valid.reshape(-1, *(1,) * (column.ndim - 1)), column, jnp.zeros_like(column))


def _match_image(
    image: PreparedImage, *, protocol: EvaluationProtocol, num_candidates: int
) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
    """Returns matched `[D, W]` and ignored `[D, W]`, and how many candidate lists were too short."""
    grid = len(protocol.iou_thresholds), len(protocol.area_ranges)
    counted = counted_words(image.truth_counted, area_words(*grid))
    candidates, overflow = image.candidates(
        image.labels[:, None] == image.truth_labels[None, :],
        iou_thresholds=protocol.iou_thresholds,
        num_candidates=num_candidates,
        best_only=protocol.candidates == "best",
    )
    chosen = match(
        candidates,
        counted=counted,
        crowd=image.crowd,
        levels=jnp.asarray(level_words(*grid)),
        ignored_absorb=protocol.absorbing != "crowds",
    )
    inside = counted_words(image.inside, area_words(*grid))
    return outcome(chosen, candidates.index, counted=counted, inside=inside), overflow


def _ranges(protocol: EvaluationProtocol) -> tuple[tuple[float, float], ...]:
    return tuple((one.low, one.high) for one in protocol.area_ranges)
