"""One state out of many: over the devices of a mapped axis, and over processes.

Three ways to evaluate on more than one device, all with the same numbers to the last bit:

- `jit` on arrays that are sharded over the whole mesh: nothing to do, the state comes out as if there were one device.
  (On a mesh of explicit axes wrap `update` in `jax.sharding.auto_axes(..., out_sharding=PartitionSpec())`.)
- inside `shard_map`, `pmap` or `vmap`: each device updates a state of its own, and `reduce` makes one of them.
- one state for each process: `gather`, once an evaluation.

Both know only what a metric promises: `init` gives the state that has seen nothing, and `merge` gives one that has seen
what both have, in the shapes of its first argument. The metric that is passed decides how large the result is, so a
device or a process may use one with a `max_images` just large enough for its share. States of the metrics here know the
configuration that they were made under, and another one raises, as `jaxmap.metrics` says.

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
    """What a metric must be to be reduced: hashable, with a neutral state and a merge that is associative."""

    def init(self) -> State:
        """Returns the state that has seen nothing."""

    def merge(self, state: State, other: State, /) -> State:
        """Returns a state with the shapes of `state` that has seen what both have."""


def reduce(metric: Metric[State], state: State, axis_name: str | tuple[str, ...]) -> State:
    """Merges the states of all devices along a mapped axis, inside `shard_map`, `pmap` or `vmap`.

    Every device gets the same result, so `shard_map` takes it with `out_specs=PartitionSpec()`. Call it once after the
    last batch rather than for every batch: it moves the whole state of every device to every device.

    Args:
      metric: its `init` gives the result's shapes; it may have more room than the metric behind `state`.
      state: of this device, from `update` or `init`; a device that had no image takes part with `init`.
      axis_name: the axis, or all axes over which the images were split.

    Returns:
      The merged state; where two devices saw the same image, the earlier one's is kept and the other is counted.
    """
    names = {axis_name} if isinstance(axis_name, str) else set(axis_name)
    # Under shard_map a result must be known to be the same everywhere; under vmap there is nothing to know.
    is_manual = names <= set(jax.sharding.get_abstract_mesh().manual_axes)
    states: State = jax.lax.all_gather(state, axis_name, to="invarying" if is_manual else "varying")
    return _fold(metric, states)


def gather(metric: Metric[State], state: State, *, timeout: float = 1800.0) -> State:
    """Merges the states of all processes; every process must call it, and every process gets the same result.

    Call it once an evaluation. It goes through the runtime that `jax.distributed.initialize` set up; with a single
    process nothing needs to be set up, and the result is the state. A process that had no image calls it with
    `metric.init()`. A state that `jit` computed from arrays sharded over all processes is one state already, and comes
    back as it is.

    Inside a process with several devices, `reduce` first. A state that was reduced over the devices of *all* processes
    is complete, and gathering it would count everything once for each process.

    Args:
      metric: its `init` gives the result's shapes; it may have more room than the metric behind `state`.
      state: of this process; its shapes must be those of every other process.
      timeout: seconds that a process waits here for the others, which may have more images.

    Returns:
      The merged state, on this process's default device.

    Raises:
      ValueError: on every process, if the processes' states differ in shape, or their metrics in what decides a count.
      TimeoutError: on the processes that wait, if one has not come in time; its number is named.
      RuntimeError: likewise if one has died, which `jax.distributed` notices after the `heartbeat_timeout_seconds` of
        its `initialize`, 100 s, and then ends every process.
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
    """Returns the trees of all processes, `[processes, ...]`, also with one process, where older JAX adds no axis."""
    return multihost_utils.process_allgather(jax.tree.map(lambda leaf: np.asarray(leaf)[None], tree), tiled=True)


def _wait_for_all(timeout: float) -> None:
    """Waits until every process is here: a collective gives up after 30 seconds on CPUs, or never, and names nobody.

    JAX has no public call for it: `sync_global_devices` is a collective itself. Where the client of its coordination
    service is not to be found, or there is one process, nothing is waited for.
    """
    number = next(_number_of_gather)  # of this call, the same on every process
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
    """Names processes whose numbers were found in the service's message, or sends the reader to it."""
    numbers = sorted(set(map(int, found)))
    return f"processes {numbers}" if numbers else "a process, named in the error above,"


def _check_alike(metric: Any, state: Any) -> None:
    """Raises on every process if metrics or shapes differ anywhere; a gather itself would hang or mix the states up."""
    own: dict[str, Any] = {f"state.{name}": shape for name, shape in shapes_by_name(state).items()}
    foreign = None
    if isinstance(metric, Contract):
        own |= configuration(metric)
        try:
            metric._accept(state=state)
        except (TypeError, ValueError) as error:  # the others must hear of it, rather than wait
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
