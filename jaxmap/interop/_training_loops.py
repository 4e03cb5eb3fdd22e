"""What the wrappers for training loops share: conversion of a step's keywords to a state, and merging of states."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.serialization
import jax
import jax.numpy as jnp

from .. import metrics
from .._integers import as_words
from ..metrics import AveragePrecision, AveragePrecisionState
from ..metrics._contract import Contract, check_alike
from ..types import Array, Detections, GroundTruths

__all__ = ["Adapter", "evaluate_batch", "merge", "update", "widen"]

Adapter = Callable[..., tuple[Detections, GroundTruths]]
_update = jax.jit(AveragePrecision.update)  # these libraries also call their metrics outside `jit`


def update(
    metric: AveragePrecision,
    state: AveragePrecisionState,
    adapter: Adapter | None,
    *,
    image_id: Array,
    mask: Array | None = None,
    **model_output: Any,
) -> AveragePrecisionState:
    """Adds one step, from the keywords that a loop passes to all of its metrics.

    Args:
      metric: the metric.
      state: the state to add to.
      adapter: converts all keywords to detections and ground truths; None uses the keywords of these names.
      image_id: `[I]` int of any width, or `[I, 2]` words of `jaxmap.metrics.image_id_words`.
      mask: `[I]`, of any dtype, zero or False for images that only pad the batch.
      **model_output: the other keywords.

    Raises:
      ValueError: if the mask is not one value per image; it is never dropped.
      TypeError: if a keyword is missing.
    """
    num_images = jnp.shape(image_id)[0]
    if mask is not None and jnp.shape(mask) != (num_images,):
        raise ValueError(f"`mask` must have one value per image, shape {[num_images]}, got {list(jnp.shape(mask))}.")
    detections, ground_truths = (adapter or _named_so)(image_id=image_id, mask=mask, **model_output)
    words = as_words(image_id, num_images)  # before `jit`, which cuts ids to 32 bits
    updated: AveragePrecisionState = _update(metric, state, detections, ground_truths, image_id=words, valid=mask)
    return updated


def evaluate_batch(
    metric: AveragePrecision, adapter: Adapter | None, *, image_id: Array, **model_output: Any
) -> AveragePrecisionState:
    """Returns the state of one step, with slots only for the images of its batch."""
    slots = max(min(jnp.shape(image_id)[0], metric.max_images), 1)
    batch = dataclasses.replace(metric, max_images=slots)
    return update(batch, batch.init(), adapter, image_id=image_id, **model_output)


@jax.jit
def merge(
    metric: AveragePrecision, state: AveragePrecisionState, other: AveragePrecisionState
) -> AveragePrecisionState:
    """Returns the combination of two states, with at least the metric's number of slots.

    A state as large as the metric keeps its shapes. A smaller one is the state of a batch, which is all that a loop has
    if it starts from its first step, and is first copied into a full one. Leaves with a leading axis, as returned by
    `pmap`, are merged device by device.
    """
    if state.num_images.ndim or other.num_images.ndim:
        axes = tuple(0 if one.num_images.ndim else None for one in (state, other))
        merged: AveragePrecisionState = jax.vmap(functools.partial(merge, metric), in_axes=axes)(state, other)
        return merged
    return metric.merge(widen(metric, state), other)


@jax.jit
def widen(metric: AveragePrecision, state: AveragePrecisionState) -> AveragePrecisionState:
    """Returns a state with at least the metric's number of slots: a smaller one, of a batch, becomes a full one."""
    return state if len(state.images.image_id) >= metric.max_images else metric.merge(metric.init(), state)


def _named_so(*, detections: Detections, ground_truths: GroundTruths, **_: Any) -> tuple[Detections, GroundTruths]:
    return detections, ground_truths


def _to_state_dict(state: Any) -> dict[str, Array]:
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _from_state_dict(state: Any, saved: dict[str, Array]) -> Any:
    names = list(_to_state_dict(state))
    if set(names) != set(saved):
        raise ValueError(f"the saved state must have {sorted(names)}, got {sorted(saved)}; it is from another version.")
    restored = jax.tree.unflatten(jax.tree.structure(state), [saved[name] for name in names])
    check_alike("the saved state", restored.configuration, state.configuration)
    return restored


# Without this, `flax.serialization` treats a state as one leaf and cannot write it. It needs the names of all leaves
# before it reads, so it cannot read a `HostState`, whose batches grow in number.
for _metric in vars(metrics).values():
    if isinstance(_metric, type) and issubclass(_metric, Contract) and _metric is not metrics.HostAveragePrecision:
        flax.serialization.register_serialization_state(  # type: ignore[no-untyped-call]
            _metric._STATE, _to_state_dict, _from_state_dict, override=True
        )
