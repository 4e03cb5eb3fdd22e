"""A batch of padded images through similarity, matching and records, inside `jit`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from ..matching import match
from ..planes import area_words, level_words
from ..protocols import EvaluationProtocol
from ..records import counted_words, outcome
from ..similarity import (
    BoxGeometry,
    DoubleFloat,
    approximate_iou,
    area_geometry,
    box_geometry,
    exact_iou,
    find_candidates,
    inside_ranges,
)
from ..types import BOX_FORMATS, Array, Candidates, Detections, GroundTruths

__all__ = ["MatchedBatch", "PreparedImage", "check_batch", "match_batch", "prepare_image", "with_candidate_lists"]

SHORT_LIST = 8  # candidates of a detection; ordinary images need two or three


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MatchedBatch:
    """A batch after matching, the detections of each image by descending score.

    Attributes:
      scores: `[I, D]` float32.
      labels: `[I, D]` int32.
      rank: `[I, D]` int32, place among the detections of the image and class.
      matched: `[I, D, W]` uint32, the planes in which a detection met a ground truth.
      ignored: `[I, D, W]` uint32, the planes in which it is neither a true nor a false positive.
      valid: `[I, D]` bool, real and within the largest max-detections limit.
      ground_truth_labels: `[I, G]` int32.
      ground_truth_counted: `[I, G, A]` bool, counts in each area range; False for padding.
      num_not_finite: `[I]` int32, valid rows whose box, score or area is NaN or infinite; they take no part.
      num_bad_labels: `[I]` int32, valid rows whose label is no class; they take no part.
    """

    scores: Array  # [I, D]
    labels: Array  # [I, D]
    rank: Array  # [I, D]
    matched: Array  # [I, D, W]
    ignored: Array  # [I, D, W]
    valid: Array  # [I, D]
    ground_truth_labels: Array  # [I, G]
    ground_truth_counted: Array  # [I, G, A]
    num_not_finite: Array  # [I]
    num_bad_labels: Array  # [I]


def check_batch(
    detections: Detections, ground_truths: GroundTruths, image_id: Array, valid: Array | None, *, box_format: str
) -> tuple[Detections, GroundTruths, jax.Array, jax.Array]:
    """Checks shapes and kinds while tracing, fills in the optional fields, and marks the rows of padded images.

    Returns:
      Detections, ground truths, `[I]` int32 image ids and `[I]` bool valid images.

    Raises:
      ValueError: if a shape is not `[I, D, ...]` or `[I, G, ...]`, the two sides differ in I, or the format is unknown.
      TypeError: if labels or image ids are not integers.
    """
    if box_format not in BOX_FORMATS:
        raise ValueError(f"`box_format` must be one of {list(BOX_FORMATS)}, got {box_format!r}.")
    sides = (("detections", detections), ("ground_truths", ground_truths))
    for side, batch in sides:
        shape = jnp.shape(batch.boxes)
        if len(shape) != 3 or shape[-1] != 4:
            raise ValueError(f"`{side}.boxes` must have shape [images, boxes, 4], got {list(shape)}.")
        for name, value in vars(batch).items():
            if name != "boxes" and value is not None and jnp.shape(value) != shape[:2]:
                raise ValueError(
                    f"`{side}.{name}` must have shape {list(shape[:2])}, the first two axes of `boxes`, got "
                    f"{list(jnp.shape(value))}."
                )
        if not jnp.issubdtype(jnp.result_type(batch.labels), jnp.integer):
            raise TypeError(f"`{side}.labels` must be integers, got dtype {jnp.result_type(batch.labels)}.")
    if len(detections.boxes) != len(ground_truths.boxes):
        raise ValueError(
            "`detections` and `ground_truths` must hold the same images, got "
            f"{len(detections.boxes)} and {len(ground_truths.boxes)}."
        )

    shape = (len(detections.boxes),)
    for name, value in (("image_id", image_id), ("valid", valid)):
        if value is not None and jnp.shape(value) != shape:
            raise ValueError(f"`{name}` must have shape {list(shape)}, one an image, got {list(jnp.shape(value))}.")
    if not jnp.issubdtype(jnp.result_type(image_id), jnp.integer):
        raise TypeError(f"`image_id` must be integers, got dtype {jnp.result_type(image_id)}.")

    def flags(value: Array | None, like: Array, default: bool) -> jax.Array:
        # `full_like` keeps the sharding of a batch that is spread over devices.
        return jnp.full_like(like, default, dtype=bool) if value is None else jnp.asarray(value).astype(bool)

    found, truth = detections, ground_truths
    if isinstance(image_id, np.ndarray) and image_id.size and np.abs(image_id.astype(np.int64)).max() >= 2**31:
        raise ValueError(f"`image_id` must be below 2^31, got {image_id.max()}; number the images instead.")
    image_id = jnp.asarray(image_id, jnp.int32)
    real = flags(valid, image_id, True)
    checked = Detections(
        boxes=jnp.asarray(found.boxes, jnp.float32),
        scores=jnp.asarray(found.scores, jnp.float32),
        labels=jnp.asarray(found.labels, jnp.int32),
        valid=flags(found.valid, found.labels, True) & real[:, None],
    )
    checked_truth = GroundTruths(
        boxes=jnp.asarray(truth.boxes, jnp.float32),
        labels=jnp.asarray(truth.labels, jnp.int32),
        valid=flags(truth.valid, truth.labels, True) & real[:, None],
        crowd=flags(truth.crowd, truth.labels, False),
        ignore=flags(truth.ignore, truth.labels, False),
        area=None if truth.area is None else jnp.asarray(truth.area, jnp.float32),
    )
    return checked, checked_truth, image_id, real


def match_batch(
    detections: Detections,
    ground_truths: GroundTruths,
    *,
    protocol: EvaluationProtocol,
    num_classes: int,
    box_format: str,
) -> MatchedBatch:
    """Matches every image of a checked batch under all thresholds and area ranges."""
    prepare = partial(prepare_image, protocol=protocol, num_classes=num_classes, box_format=box_format)
    images = jax.vmap(prepare)(detections, ground_truths)
    flags, ignored = with_candidate_lists(partial(_match_image, protocol=protocol), images)
    return MatchedBatch(
        scores=jnp.where(images.valid, images.scores, 0.0),
        labels=images.labels,
        rank=images.rank,
        matched=flags,
        ignored=ignored,
        valid=images.valid,
        ground_truth_labels=images.truth_labels,
        ground_truth_counted=images.truth_counted,
        num_not_finite=images.num_not_finite,
        num_bad_labels=images.num_bad_labels,
    )


def with_candidate_lists(of_image: Callable[..., tuple[Any, jax.Array]], images: PreparedImage) -> Any:
    """Returns what `of_image(image, num_candidates=...)` gives for every image, without how many lists were too short.

    Short lists of candidates hold all pairs of ordinary images; a batch in which one does not fit runs again with lists
    as long as the ground truths, so the result never depends on their length.
    """
    num_ground_truths = images.truth_labels.shape[1]

    def run(num_candidates: int) -> tuple[Any, jax.Array]:
        return jax.vmap(partial(of_image, num_candidates=num_candidates))(images)

    result, overflow = run(min(SHORT_LIST, num_ground_truths))
    if num_ground_truths <= SHORT_LIST:
        return result
    return jax.lax.cond((overflow > 0).any(), lambda: run(num_ground_truths)[0], lambda: result)


class PreparedImage(NamedTuple):
    """One image ready for matching: detections by descending score, padding replaced by harmless values."""

    geometry: BoxGeometry  # [D]
    scores: jax.Array  # [D]
    labels: jax.Array  # [D]
    rank: jax.Array  # [D]
    valid: jax.Array  # [D]
    truth_geometry: BoxGeometry  # [G]
    truth_labels: jax.Array  # [G]
    truth_counted: jax.Array  # [G, A]
    truth_valid: jax.Array  # [G]
    crowd: jax.Array  # [G]
    num_not_finite: jax.Array  # []
    num_bad_labels: jax.Array  # []

    def similarity(self, index: jax.Array) -> DoubleFloat:
        """Returns the exact similarities of each detection with the ground truths of its row, for `[D, C]` int32."""
        geometry = self.geometry.select(np.s_[:, None])
        return exact_iou(geometry, self.truth_geometry.select(index), self.crowd[index])

    def candidates(
        self, allowed: jax.Array, *, iou_thresholds: tuple[float, ...], num_candidates: int, best_only: bool = False
    ) -> tuple[Candidates, jax.Array]:
        """Returns what `find_candidates` does; `allowed` is `[D, G]` bool, whatever it says of padding."""
        return find_candidates(
            approximate_iou(self.geometry, self.truth_geometry, self.crowd),
            self.similarity,
            allowed & self.valid[:, None] & self.truth_valid[None, :],
            iou_thresholds=iou_thresholds,
            num_candidates=num_candidates,
            best_only=best_only,
        )


def prepare_image(
    found: Detections, truth: GroundTruths, *, protocol: EvaluationProtocol, num_classes: int, box_format: str
) -> PreparedImage:
    """Sorts, ranks and cleans one image, `[D, ...]` and `[G, ...]`."""
    chex.assert_rank([found.boxes, truth.boxes], 2)
    assert found.valid is not None and truth.valid is not None  # filled in by `check_batch`
    assert truth.crowd is not None and truth.ignore is not None
    finite = jnp.isfinite(found.boxes).all(-1) & jnp.isfinite(found.scores)
    truth_finite = jnp.isfinite(truth.boxes).all(-1)
    if truth.area is not None:
        truth_finite &= jnp.isfinite(truth.area)
    named = (found.labels >= 0) & (found.labels < num_classes)
    truth_named = (truth.labels >= 0) & (truth.labels < num_classes)
    valid, truth_valid = found.valid & finite & named, truth.valid & truth_finite & truth_named

    # Padding may hold NaN: it is replaced, never multiplied away.
    scores = jnp.where(valid, found.scores, -jnp.inf)
    labels, truth_labels = jnp.where(valid, found.labels, 0), jnp.where(truth_valid, truth.labels, 0)
    boxes = jnp.where(valid[:, None], found.boxes, 0.0)
    truth_boxes = jnp.where(truth_valid[:, None], truth.boxes, 0.0)
    area = None if truth.area is None else jnp.where(truth_valid, truth.area, 0.0)
    crowd, ignore = truth.crowd & truth_valid, truth.ignore & truth_valid
    if protocol.absorbing == "ignored":  # then nothing sets a crowd apart from other ignored ground truths
        crowd, ignore = jnp.zeros_like(crowd), crowd | ignore

    rows = jnp.arange(len(scores), dtype=jnp.int32)
    # As one class, equal scores and equal overlaps go by class first (pycocotools with useCats=0 joins class by class).
    order = jax.lax.sort((-scores, labels if protocol.class_agnostic else rows, rows), num_keys=3)[-1]
    scores, labels, boxes, valid = scores[order], labels[order], boxes[order], valid[order]
    if protocol.class_agnostic:
        by_class = jnp.argsort(truth_labels, stable=True)
        truth_boxes, truth_valid, crowd, ignore = (x[by_class] for x in (truth_boxes, truth_valid, crowd, ignore))
        area = None if area is None else area[by_class]
        labels, truth_labels = jnp.zeros_like(labels), jnp.zeros_like(truth_labels)

    same = (labels[:, None] == labels[None, :]) & valid[None, :]
    rank = (same & (rows[:, None] > rows[None, :])).sum(-1, dtype=jnp.int32)
    truth_geometry = box_geometry(truth_boxes, box_format)
    truth_area = truth_geometry.area if area is None else area_geometry(area)
    return PreparedImage(
        geometry=box_geometry(boxes, box_format),
        scores=scores,
        labels=labels,
        rank=rank,
        valid=valid & (rank < protocol.max_detections[-1]),
        truth_geometry=truth_geometry,
        truth_labels=truth_labels,
        truth_counted=inside_ranges(truth_area, _ranges(protocol)) & (truth_valid & ~crowd & ~ignore)[:, None],
        truth_valid=truth_valid,
        crowd=crowd,
        num_not_finite=(found.valid & ~finite).sum(dtype=jnp.int32)
        + (truth.valid & ~truth_finite).sum(dtype=jnp.int32),
        num_bad_labels=(found.valid & ~named).sum(dtype=jnp.int32) + (truth.valid & ~truth_named).sum(dtype=jnp.int32),
    )


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
        ignored_absorb=protocol.absorbing == "ignored",
    )
    inside = counted_words(inside_ranges(image.geometry.area, _ranges(protocol)), area_words(*grid))
    return outcome(chosen, candidates.index, counted=counted, inside=inside), overflow


def _ranges(protocol: EvaluationProtocol) -> tuple[tuple[float, float], ...]:
    return tuple((one.low, one.high) for one in protocol.area_ranges)
