"""Merging of states over the devices of a mapped axis and over processes.

There are three ways to evaluate on more than one device, and all give the same numbers to the last bit:

- `jit` on arrays that are sharded over the whole mesh: nothing to do, the state is the same as on one device. Its rows
  may be sharded by image too: each device then keeps the rows of its images.
- inside `shard_map`, `pmap` or `vmap`: each device updates its own state, and `reduce` merges them.
- one state per process: call `gather` once per evaluation.

Both functions rely only on the metric's contract: `init` returns an empty state, and `merge` combines two states into
one with the shapes of the first. The metric that is passed decides the size of the result, so a device or a process may
use a metric whose `max_images` is just large enough for its share. A state of jaxmap's metrics carries the
configuration of its metric, and a metric with another configuration raises (see `jaxmap.metrics`).

>>> from jaxmap import AveragePrecision
>>> metric = AveragePrecision(num_classes=2, max_images=4)
>>> states = jax.vmap(lambda _: metric.init())(jnp.arange(3))  # of three devices
>>> state = jax.vmap(lambda state: reduce(metric, state, "devices"), axis_name="devices", out_axes=None)(states)
>>> int(state.num_images)
0
"""

from __future__ import annotations

import functools
import itertools
import json
import re
import zlib
from typing import Any, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from .metrics._contract import Contract, configuration, difference, shapes_by_name

__all__ = ["Metric", "gather", "reduce"]

State = TypeVar("State")
_number_of_gather = itertools.count()


class Metric(Protocol[State]):
    """What a metric needs to be reduced: a hash, a neutral state and an associative merge."""

    def init(self) -> State:
        """Returns the empty state."""

    def merge(self, state: State, other: State, /) -> State:
        """Returns the combination of both states, with the shapes of `state`."""


def reduce(metric: Metric[State], state: State, axis_name: str | tuple[str, ...]) -> State:
    """Merges the states of all devices along a mapped axis, inside `shard_map`, `pmap` or `vmap`.

    Every device gets the same result, so use `out_specs=PartitionSpec()` in `shard_map`. Call it once after the last
    batch, not for every batch: it moves the whole state of every device to every device.

    Args:
      metric: decides the shapes of the result; its capacities may be larger than those of the metric behind `state`.
      state: the state of this device, from `update`, or from `init` if it had no images.
      axis_name: the axis, or all axes, over which the images were split.

    Returns:
      The merged state; if two devices saw the same image, that of the earlier device is kept and the repeat is
      reported.
    """
    names = {axis_name} if isinstance(axis_name, str) else set(axis_name)
    # shard_map must know that the result is the same on every device; vmap need not.
    is_manual = names <= set(jax.sharding.get_abstract_mesh().manual_axes)
    states: State = jax.lax.all_gather(state, axis_name, to="invarying" if is_manual else "varying")
    return _fold(metric, states)


def gather(metric: Metric[State], state: State, *, timeout: float = 1800.0) -> State:
    """Merges the states of all processes; every process must call it, and every process gets the same result.

    Call it once per evaluation. It uses the runtime that `jax.distributed.initialize` sets up; a single process needs
    no set-up, and the result is the state. A process that had no image calls it with `metric.init()`. A state that
    `jit` computed from arrays sharded over all processes is already complete and is returned unchanged.

    If a process has several devices, call `reduce` first. A state that was reduced over the devices of *all* processes
    is complete, and gathering it would count everything once for each process.

    Args:
      metric: decides the shapes of the result; its capacities may be larger than those of the metric behind `state`.
      state: the state of this process; its shapes must be the same on every process.
      timeout: seconds that a process waits for the others, which may have more images.

    Returns:
      The merged state, on this process's default device.

    Raises:
      ValueError: on every process, if the states differ in shape, or the metrics in configuration.
      TimeoutError: on the waiting processes, if another has not called `gather` in time; the message names it.
      RuntimeError: likewise if another has died. `jax.distributed` notices that after the `heartbeat_timeout_seconds`
        of its `initialize`, 100 s, and then ends every process.
    """
    _wait_for_all(timeout)
    if not all(leaf.is_fully_addressable for leaf in jax.tree.leaves(state) if isinstance(leaf, jax.Array)):
        complete: State = jax.tree.map(jnp.asarray, multihost_utils.process_allgather(state, tiled=True))
        return complete
    _check_alike(metric, state)
    merged: State = _fold_on_device(metric, _stack(state))
    return merged


def _fold(metric: Metric[State], states: State) -> State:
    """Merges states that are stacked along a leading axis, in their order."""
    merged, _ = jax.lax.scan(lambda merged, state: (metric.merge(merged, state), None), metric.init(), states)
    return merged


_fold_on_device = functools.partial(jax.jit, static_argnums=0)(_fold)


def _stack(tree: Any) -> Any:
    """Returns the trees of all processes as `[processes, ...]`, also for one process, where older JAX adds no axis."""
    return multihost_utils.process_allgather(jax.tree.map(lambda leaf: np.asarray(leaf)[None], tree), tiled=True)


def _wait_for_all(timeout: float) -> None:
    """Waits for every process; a collective gives up after 30 seconds on CPUs, or never, and names no process.

    JAX has no public call for this: `sync_global_devices` is itself a collective. Returns at once if there is one
    process, or if JAX's coordination client is not found.
    """
    number = next(_number_of_gather)  # the name of this call, the same on every process
    client = getattr(getattr(getattr(jax, "_src", None), "distributed", None), "global_state", None)
    wait = getattr(getattr(client, "client", None), "wait_at_barrier", None)
    if wait is None or jax.process_count() == 1:
        return
    try:
        wait(f"jaxmap.distributed.gather:{number}", timeout_in_ms=int(timeout * 1000))
    except jax.errors.JaxRuntimeError as error:
        here, text = jax.process_index(), str(error)
        if "DEADLINE_EXCEEDED" in text:
            late = re.findall(r"(\d+)(?=[\s,]|$)", text.partition("task names:")[2].partition("RPC:")[0])
            raise TimeoutError(
                f"{_processes(late)} did not call `gather` within {timeout:g} s of process {here}; see whether they "
                "have died, or raise `timeout` if they are still busy."
            ) from error
        dead = re.findall(r"Task:? (\d+)", text)
        raise RuntimeError(
            f"{_processes(dead)} died while process {here} waited in `gather`; see its output."
        ) from error


def _processes(found: list[str]) -> str:
    """Returns the numbers of the processes from the service's message as text, or refers to the message."""
    numbers = sorted(set(map(int, found)))
    return f"processes {numbers}" if numbers else "a process, named in the error above,"


def _check_alike(metric: Any, state: Any) -> None:
    """Raises on every process if metrics or shapes differ on any; a gather would hang or mix up the states."""
    own: dict[str, Any] = {f"state.{name}": shape for name, shape in shapes_by_name(state).items()}
    foreign = None
    if isinstance(metric, Contract):
        own |= configuration(metric)
        try:
            metric._accept(state=state)
        except (TypeError, ValueError) as error:  # report it to the others so that they do not wait
            foreign = error
            own["state"] = str(error)
    text = json.dumps(own).encode()
    prints = _stack(np.array([zlib.crc32(text), len(text)], np.uint32))
    differ = np.flatnonzero((prints != prints[0]).any(1))
    if len(differ):
        texts = _stack(np.frombuffer(text.ljust(int(prints[:, 1].max())), np.uint8))
        first, other = (json.loads(texts[process, : prints[process, 1]].tobytes()) for process in (0, differ[0]))
        raise ValueError(
            f"`metric` and the shapes of `state` must be the same on every process; processes {differ.tolist()} "
            f"differ from process 0: {difference(first, other, 'on process 0', f'on process {differ[0]}')}."
        )
    if foreign is not None:
        raise foreign


def __dir__() -> list[str]:
    return list(__all__)
