"""Average precision as a `clu.metrics.Metric`, for `Collection`s and for metrax, whose metrics have the same base.

>>> import clu.metrics
>>> from jaxmap import AveragePrecision
>>> coco = as_clu_metric(AveragePrecision(num_classes=80, max_images=50))
>>> EvalMetrics = clu.metrics.Collection.create(coco=coco, loss=clu.metrics.Average.from_output("loss"))
>>> EvalMetrics.empty().coco.compute()["num_images"]
0
"""

from __future__ import annotations

import dataclasses
from typing import Any

import clu.metrics
import clu.values
import flax.struct
import jax

from ..metrics import AveragePrecision, AveragePrecisionState
from . import _training_loops as loops

__all__ = ["as_clu_metric"]


def as_clu_metric(metric: AveragePrecision, *, adapter: loops.Adapter | None = None) -> type[clu.metrics.Metric]:
    """Returns a `clu.metrics.Metric` class with this configuration, for the fields of a `clu.metrics.Collection`.

    It reads the keywords `detections`, `ground_truths`, `image_id` `[I]`, and `mask` `[I]`, which marks the real
    images, from the model's output; others are ignored. The state of a step has slots only for its batch; `merge` keeps
    the shapes of a state that started from `empty()`. `compute` returns a dictionary of floats on the host, and
    `compute_value` the first number of the protocol's table (for COCO `AP`) as a scalar.

    Args:
      metric: the metric to wrap.
      adapter: called with all keywords of the model's output, returns (detections, ground truths); None uses the
        keywords of these names.

    Returns:
      The class; its only field is `state`, a state of `metric`. Each call returns a new class.

    Raises:
      ValueError: from `from_model_output`, if `mask` is not one value per image; from `compute`, on overflow.
      TypeError: from `compute` inside `jit`, which has no Python numbers; return the collection instead.
    """

    @flax.struct.dataclass
    class AveragePrecisionMetric(clu.metrics.Metric):  # type: ignore[misc]
        """Exact average precision; see `as_clu_metric`."""

        state: AveragePrecisionState

        @classmethod
        def empty(cls) -> AveragePrecisionMetric:
            return cls(state=metric.init())

        @classmethod
        def from_model_output(cls, **model_output: Any) -> AveragePrecisionMetric:
            return cls(state=loops.evaluate_batch(metric, adapter, **model_output))

        def merge(self, other: AveragePrecisionMetric) -> AveragePrecisionMetric:
            return dataclasses.replace(self, state=loops.merge(metric, self.state, other.state))

        def reduce(self) -> AveragePrecisionMetric:
            """Merges over the leading axis of devices; the base class would keep the slots of the first device only."""
            wide = dataclasses.replace(metric, max_images=min(self.state.images.image_id.size, metric.max_images))
            first, rest = (jax.tree.map(lambda leaf, part=part: leaf[part], self.state) for part in (0, slice(1, None)))
            folded, _ = jax.lax.scan(
                lambda state, of_device: (wide.merge(state, of_device), None), wide.merge(wide.init(), first), rest
            )
            return dataclasses.replace(self, state=folded)

        def compute(self) -> dict[str, float]:
            return metric.summarize(metric.compute(self.state))

        def compute_value(self) -> clu.values.Value:
            return clu.values.Scalar(next(iter(self.compute().values())))

    return AveragePrecisionMetric
