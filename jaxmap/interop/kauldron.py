"""Average precision as a `kauldron.metrics.Metric`, with keys into the context of the step and a mergeable state.

>>> from jaxmap import AveragePrecision
>>> coco = AveragePrecision(num_classes=80, max_images=5_000)
>>> metric = AveragePrecisionMetric(metric=coco, boxes="preds.boxes", ground_truth_boxes="batch.objects.boxes")
>>> metric.__metric_names__()[:3]
['AP', 'AP50', 'AP75']
"""

from __future__ import annotations

import dataclasses

import flax.struct
import jax.numpy as jnp
from kauldron import kontext, metrics

from ..metrics import AveragePrecision, AveragePrecisionState
from ..types import Array, Detections, GroundTruths
from . import _training_loops as loops

__all__ = ["AveragePrecisionMetric"]


@dataclasses.dataclass(kw_only=True, frozen=True, eq=True)
class AveragePrecisionMetric(metrics.Metric):  # type: ignore[misc]
    """Exact average precision for `train_metrics` and evaluators.

    `get_state` runs in the compiled step and returns a state with slots for the images of its batch. States are merged
    into one with the metric's `max_images`, and `compute` returns a dictionary of floats. The evaluation may be saved
    and resumed (`kauldron.contrib.evals.CheckpointedEvaluator`).

    Attributes:
      metric: the metric to wrap.
      boxes: key of the boxes of detections, `[I, D, 4]`.
      scores: key of their scores, `[I, D]`.
      labels: key of their labels, `[I, D]`.
      valid: key of `[I, D]`, True for real detections; None means that all are.
      ground_truth_boxes: key of the boxes of ground truths, `[I, G, 4]`.
      ground_truth_labels: key of their labels, `[I, G]`.
      ground_truth_valid: key of `[I, G]`, True for real ground truths; None means that all are.
      ground_truth_crowd: key of their crowd flags; None means that there are none.
      ground_truth_area: key of their areas; None means width times height.
      ground_truth_ignore: key of their ignore flags; None means that there are none.
      image_id: key of `[I]` or `[I, 1]` int, unique over the whole evaluation.
      mask: key of `[I]` or `[I, 1]`, zero or False for images that only pad the batch; None means that all are real.
    """

    metric: AveragePrecision

    boxes: kontext.Key = "preds.boxes"
    scores: kontext.Key = "preds.scores"
    labels: kontext.Key = "preds.labels"
    valid: kontext.Key | None = None
    ground_truth_boxes: kontext.Key = "batch.boxes"
    ground_truth_labels: kontext.Key = "batch.labels"
    ground_truth_valid: kontext.Key | None = None
    ground_truth_crowd: kontext.Key | None = None
    ground_truth_area: kontext.Key | None = None
    ground_truth_ignore: kontext.Key | None = None
    image_id: kontext.Key = "batch.image_id"
    mask: kontext.Key | None = None

    @flax.struct.dataclass
    class State(metrics.State):  # type: ignore[misc]
        """The state of all images; None for an empty state without sizes."""

        state: AveragePrecisionState | None = None

        @classmethod
        def empty(cls) -> AveragePrecisionMetric.State:
            """Returns the state of no images."""
            return cls()

        def merge(self, other: AveragePrecisionMetric.State) -> AveragePrecisionMetric.State:
            """Returns the state of the images of both."""
            if self.state is None or other.state is None:
                return other if self.state is None else self
            return dataclasses.replace(self, state=loops.merge(self.parent.metric, self.state, other.state))

        def finalize(self) -> AveragePrecisionMetric.State:
            """Returns the state with the shapes of all merged states, so that any saved one can be restored into it.

            `CheckpointedEvaluator` restores what it saved into the finalized state of the first batch.
            """
            metric = self.parent.metric
            state = metric.init() if self.state is None else loops.widen(metric, self.state)
            return dataclasses.replace(self, state=state)

        def compute(self) -> dict[str, float]:
            """Returns the numbers of the summary by name."""
            metric = self.parent.metric
            numbers: dict[str, float] = metric.summarize(metric.compute(self.finalize().state))
            return numbers

    def get_state(
        self,
        *,
        boxes: Array,
        scores: Array,
        labels: Array,
        ground_truth_boxes: Array,
        ground_truth_labels: Array,
        image_id: Array,
        valid: Array | None = None,
        ground_truth_valid: Array | None = None,
        ground_truth_crowd: Array | None = None,
        ground_truth_area: Array | None = None,
        ground_truth_ignore: Array | None = None,
        mask: Array | None = None,
    ) -> AveragePrecisionMetric.State:
        """Returns the state of one batch.

        Raises:
          ValueError: if a shape is not as described, or `mask` is not one value per image.
        """
        state = loops.evaluate_batch(
            self.metric,
            None,
            detections=Detections(boxes=boxes, scores=scores, labels=labels, valid=valid),
            ground_truths=GroundTruths(
                boxes=ground_truth_boxes,
                labels=ground_truth_labels,
                valid=ground_truth_valid,
                crowd=ground_truth_crowd,
                area=ground_truth_area,
                ignore=ground_truth_ignore,
            ),
            image_id=_one_an_image(image_id),
            mask=None if mask is None else _one_an_image(mask),
        )
        return self.State(state=state)

    def __metric_names__(self) -> list[str]:
        return list(self.empty().compute())


def _one_an_image(values: Array) -> Array:
    """Drops the trailing axis of 1 that kauldron adds to every scalar."""
    return jnp.squeeze(values, -1) if jnp.ndim(values) == 2 and jnp.shape(values)[1] == 1 else values
