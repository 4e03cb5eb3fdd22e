"""Similarity, matching and records of a batch of padded images, inside `jit`."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ..types import Detections, GroundTruthRecords, GroundTruths
from ._backends import match_images
from ._checked import BatchRules, check_batch
from ._prepared import prepare_image

__all__ = ["MatchedBatch", "match_batch"]


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
    flags, ignored = match_images(images, rules.protocol)
    counted = images.truth_counted if images.truth_groups is None else images.truth_counted | images.truth_groups
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
        ground_truth_counted=counted,
        num_not_finite=images.num_not_finite,
        num_bad_labels=images.num_bad_labels,
        checks=images.checks,
    )
