"""Compilation ahead of time, so that the first call does not wait for the compiler.

With JAX's persistent compilation cache switched on, later processes benefit as well.
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

LARGEST_GROUP = 128  # overlapping boxes of one class in one image; larger groups are rare and compile when they occur


def warmup(protocol: str | EvaluationProtocol = COCO) -> None:
    """Compiles what `evaluate` needs, by scoring a scene that fills every array shape that the host packs into.

    A later `evaluate(..., protocol=protocol)` in this process compiles nothing, however many images and classes there
    are, unless more than 128 boxes of one class overlap others in one image.

    Args:
      protocol: the protocol that `evaluate` will use: a name, or a protocol with its grids already replaced
        (`COCO.customize(iou_thresholds=[0.5])`).

    Raises:
      ValueError: if there is no protocol of that name.
    """
    evaluate(*_scene(LARGEST_GROUP), protocol=protocol)


class JittedMetric(NamedTuple):
    """The jitted steps of a metric.

    Attributes:
      update: takes a state, whose buffers it donates, and a batch by keyword; returns the new state.
      compute: takes a state; returns the result.
    """

    update: jax.stages.Wrapped
    compute: jax.stages.Wrapped


def warmup_metric(metric: Any, batch: Mapping[str, Any]) -> JittedMetric:
    """Returns the jitted `update` and `compute` of a metric, compiled for batches with the shapes of the given one.

    Batches of other shapes compile when they occur. If you call `metric.update` inside your own jitted step, compile
    that step ahead with its `lower(...).compile()`.

    Args:
      metric: a metric whose state stays on the device.
      batch: the arguments of `metric.update` after the state, by keyword: arrays, or `jax.ShapeDtypeStruct`s in their
        place.

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
    """Makes images with 1, 2, 4, ... detections and ground truths; each detection overlaps 1, 2, ... ground truths."""
    truth = []
    powers = 2 ** np.arange(largest.bit_length())
    for size in powers:
        for together in powers[powers <= size]:
            low = np.arange(size) // together * 1.0
            boxes = np.stack([low, low, low + 1.0, low + 1.0], axis=1)
            truth.append({"boxes": boxes, "labels": np.zeros(size, np.int64)})
    return [image | {"scores": np.full(len(image["labels"]), 0.5)} for image in truth], truth
