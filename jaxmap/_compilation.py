"""Compiling ahead: what a first call would wait for, done before there is data.

With JAX's persistent compilation cache switched on, later processes profit as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from ._evaluation import evaluate
from .protocols import COCO, EvaluationProtocol
from .types import HostArray

__all__ = ["JittedMetric", "warmup", "warmup_metric"]

LARGEST_GROUP = 128  # boxes of one class in an image that meet others; the rare larger groups compile when they come


def warmup(protocol: str | EvaluationProtocol = COCO) -> None:
    """Compiles what `evaluate` needs, by scoring a scene that packs into every shape of cell.

    A later `evaluate(..., protocol=protocol)` of this process compiles nothing, whatever the number of images and
    classes, unless more than 128 boxes of one class overlap others in one image.

    Args:
      protocol: as `evaluate` will apply it: a name, or a protocol whose grids are replaced already
        (`COCO.customize(iou_thresholds=[0.5])`).

    Raises:
      ValueError: if there is no protocol of that name.
    """
    evaluate(*_scene(LARGEST_GROUP), protocol=protocol)


class JittedMetric(NamedTuple):
    """The steps of a metric under `jit`.

    Attributes:
      update: takes a state, which it consumes, and a batch by name; returns the new state.
      compute: takes a state; returns the result.
    """

    update: jax.stages.Wrapped
    compute: jax.stages.Wrapped


def warmup_metric(metric: Any, batch: Mapping[str, Any]) -> JittedMetric:
    """Returns `update` and `compute` of a metric under `jit`, compiled for batches like the one that is given.

    Others compile when they come. A step of your own that calls `metric.update` is a program of its own, and its own
    `lower(...).compile()` compiles it ahead.

    Args:
      metric: one whose state stays on the device.
      batch: what `metric.update` takes after the state, by name: arrays, or `jax.ShapeDtypeStruct`s in their place.

    Raises:
      TypeError: if the metric keeps its state on the host, so that there is no step to compile.
      ValueError: if the batch is not what `update` takes.

    Example:
      >>> steps = warmup_metric(metric, first_batch)  # doctest: +SKIP
      >>> state = steps.update(metric.init(), **first_batch)  # doctest: +SKIP
    """
    state = jax.eval_shape(metric.init)
    steps = JittedMetric(jax.jit(metric.update, donate_argnums=0), jax.jit(metric.compute))
    steps.update.lower(state, **batch).compile()
    steps.compute.lower(state).compile()
    return steps


def _scene(largest: int) -> tuple[list[dict[str, HostArray]], list[dict[str, HostArray]]]:
    """Makes images of 1, 2, 4, ... detections, each of which meets 1, 2, 4, ... of as many ground truths."""
    truth = []
    powers = 2 ** np.arange(largest.bit_length())
    for size in powers:
        for together in powers[powers <= size]:
            low = np.arange(size) // together * 1.0
            boxes = np.stack([low, low, low + 1.0, low + 1.0], axis=1)
            truth.append({"boxes": boxes, "labels": np.zeros(size, np.int64)})
    return [image | {"scores": np.full(len(image["labels"]), 0.5)} for image in truth], truth
