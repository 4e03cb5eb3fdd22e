"""Average precision inside `jit`."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..curves import precision_recall
from ..protocols import COCO, EvaluationProtocol
from ..records import count_ground_truths
from ..summary import summarize_on_device
from ..types import Detections, GroundTruths, PrecisionRecall, Records
from ._batch import MatchedBatch, check_batch, match_batch

__all__ = ["average_precision", "batch_curves"]

NUM_CANDIDATES = 8  # ordinary images need two or three; longer lists are a second, rarely taken branch


def average_precision(
    detections: Detections,
    ground_truths: GroundTruths,
    *,
    num_classes: int,
    protocol: EvaluationProtocol = COCO,
    box_format: str = "xyxy",
) -> dict[str, jax.Array]:
    """Scores one padded set of images inside `jit`: the protocol's numbers as device scalars.

    Matches are decided in double-float arithmetic and counts are integers, so the numbers differ from the float64 ones
    only by the rounding of the last division and mean, below 1e-6. Images rank in the order of their axis.

    Args:
      detections: `[I, D, ...]`; boxes and scores are taken as float32.
      ground_truths: `[I, G, ...]`.
      num_classes: K; labels lie in [0, K).
      protocol: static; its recall points must be multiples of one fraction.
      box_format: of all boxes, in pixels: `xyxy`, `xywh`, `cxcywh` (centre) or `yxyx`.

    Returns:
      float32 scalars by name (for COCO `AP`, `AP50`, ...). -1 where no ground truth defines a number; NaN throughout when
      a valid row holds a value that is not finite or a label that is no class.

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
    batch = match_batch(
        *check_batch(detections, ground_truths, box_format),
        protocol=protocol,
        num_classes=num_classes,
        box_format=box_format,
        num_candidates=NUM_CANDIDATES,
    )
    image_index = jnp.arange(len(batch.scores), dtype=jnp.int32)
    curves = batch_curves(batch, image_index, protocol=protocol, num_classes=num_classes)
    sound = (batch.num_not_finite + batch.num_bad_labels).sum() == 0
    numbers = summarize_on_device(curves, protocol)
    return {name: jnp.where(sound, value, jnp.nan) for name, value in numbers.items()}


def batch_curves(
    batch: MatchedBatch, image_index: jax.Array, *, protocol: EvaluationProtocol, num_classes: int
) -> PrecisionRecall:
    """Integrates matched images into curves; `image_index` `[I]` int32 settles ties in score."""
    num_images, num_rows = batch.scores.shape
    place = jnp.arange(num_rows, dtype=jnp.int32)
    records = Records(
        scores=batch.scores.ravel(),
        labels=batch.labels.ravel(),
        image_index=jnp.repeat(image_index, num_rows),
        position=jnp.tile(place, num_images),  # rows stand by score, so their places settle ties within an image
        rank=batch.rank.ravel(),
        matched=batch.matched.reshape(num_images * num_rows, -1),
        ignored=batch.ignored.reshape(num_images * num_rows, -1),
        valid=batch.valid.ravel(),
    )
    counted = batch.ground_truth_counted
    counts = count_ground_truths(
        counted.reshape(-1, counted.shape[-1]), batch.ground_truth_labels.ravel(), num_classes
    )
    return precision_recall(records, counts, protocol=protocol, num_classes=num_classes)
