"""Compilation ahead of time, so that the first call does not wait for the compiler.

With JAX's persistent compilation cache switched on, later processes benefit as well.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from ._geometry import geometry_of
from .protocols import COCO, EvaluationProtocol, protocol_for

__all__ = ["JittedMetric", "warmup", "warmup_metric"]


def warmup(protocol: str | EvaluationProtocol = COCO) -> None:
    """Loads what `evaluate` needs; it compiles nothing, so that no other call has anything to wait for.

    Args:
      protocol: the protocol that `evaluate` will use, or its name.

    Raises:
      ValueError: if there is no protocol of that name.
    """
    importlib.import_module("._evaluation", __package__)
    geometry_of(protocol_for(None, protocol).iou_type)


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
