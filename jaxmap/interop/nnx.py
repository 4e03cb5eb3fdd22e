"""Average precision as a `flax.nnx.metrics.Metric`, by itself or in a `MultiMetric`.

>>> from flax import nnx
>>> from jaxmap import AveragePrecision
>>> coco = AveragePrecisionMetric(AveragePrecision(num_classes=80, max_images=50))
>>> metrics = nnx.MultiMetric(coco=coco, loss=nnx.metrics.Average("loss"))
>>> metrics.coco.compute()["num_images"]
0
"""

from __future__ import annotations

from typing import Any

from flax import nnx

from ..metrics import AveragePrecision
from . import _training_loops as loops

__all__ = ["AveragePrecisionMetric"]


class AveragePrecisionMetric(nnx.metrics.Metric):
    """Exact average precision, updated in place; its shapes never change, so `nnx.jit` traces a step once.

    Attributes:
      metric: the metric to wrap.
      adapter: called with all keywords of `update`, returns (detections, ground truths); None uses the keywords of
        these names.
      state: an `nnx.metrics.MetricState` with the state of `metric`.
    """

    def __init__(self, metric: AveragePrecision, *, adapter: loops.Adapter | None = None) -> None:
        self.metric = metric
        self.adapter = adapter
        self.state = nnx.metrics.MetricState(metric.init())

    def reset(self) -> None:
        """Resets to the empty state."""
        self.state.set_value(self.metric.init())

    def update(self, **model_output: Any) -> None:
        """Adds a batch.

        Args:
          **model_output: `detections`, `ground_truths`, `image_id` `[I]`, and `mask` `[I]`, which marks the real
            images; other keywords are ignored.

        Raises:
          ValueError: if `mask` is not one value per image.
          TypeError: if a keyword is missing.
        """
        self.state.set_value(loops.update(self.metric, self.state.get_value(), self.adapter, **model_output))

    def compute(self) -> dict[str, float]:
        """Returns the numbers by name, on the host; call it outside `nnx.jit`.

        Raises:
          ValueError: if a capacity was exceeded.
          TypeError: inside `nnx.jit`.
        """
        return self.metric.summarize(self.metric.compute(self.state.get_value()))
