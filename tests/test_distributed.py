"""Many devices and many processes give the state, the numbers and the counters of one."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import jaxmap
from jaxmap import distributed
from support import batches

State = jaxmap.metrics.AveragePrecisionState
SPLIT, EVERYWHERE = PartitionSpec("data"), PartitionSpec()
SHARES = {1: (12,), 2: (9, 3), 8: (5, 0, 1, 3, 0, 2, 1, 0)}  # how many of the images each device has


def share(images: list[int], size: int) -> tuple[jaxmap.Detections, jaxmap.GroundTruths, np.ndarray, np.ndarray]:
    """Returns some images as the arguments of an update, filled up with padding images: image 0 once more."""
    rows = np.array([*images, *(size - len(images)) * [0]], np.int32)
    found, truth = jax.tree.map(lambda column: column[rows], batches.dataset())
    return found, truth, rows, np.arange(size) < len(images)


def split(num_devices: int) -> list[list[int]]:
    order = np.random.default_rng(7).permutation(batches.NUM_IMAGES).tolist()
    cuts = np.cumsum([0, *SHARES[num_devices]])
    return [order[start:stop] for start, stop in itertools.pairwise(cuts)]


def update(state: State, found: Any, truth: Any, ids: jax.Array, valid: jax.Array) -> State:
    return batches.metric().update(state, found, truth, image_id=ids, valid=valid)


update_jit = jax.jit(update)


def state_of(images: list[int], max_images: int = batches.NUM_IMAGES) -> State:
    """Returns the state of a device that saw some images, in steps of one shape; without images, the empty state."""
    state = batches.metric(max_images).init()
    for start in range(0, len(images), 4):
        state = update_jit(state, *share(images[start : start + 4], 4))
    return state


def stack(states: list[State]) -> State:
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *states)


def padding_of(states: list[State]) -> int:
    return sum(int(state.num_padded_images) for state in states)


def mesh_of(num_devices: int, axis_type: AxisType = AxisType.Auto) -> Mesh:
    return jax.make_mesh((num_devices,), ("data",), axis_types=(axis_type,), devices=jax.devices()[:num_devices])


def reduce_by_shard_map(metric: Any, states: State, *, check_vma: bool = True) -> State:
    num_devices = len(states.num_images)

    @functools.partial(
        jax.shard_map, mesh=mesh_of(num_devices), in_specs=SPLIT, out_specs=EVERYWHERE, check_vma=check_vma
    )
    def reduce(states: State) -> State:
        return distributed.reduce(metric, jax.tree.map(lambda leaf: leaf[0], states), "data")

    return jax.jit(reduce)(jax.device_put(states, NamedSharding(mesh_of(num_devices), SPLIT)))


def reduce_by_pmap(metric: Any, states: State) -> State:
    """Since JAX 0.10, `pmap` is always a `jit` of a `shard_map`, which its flag `jax_pmap_shmap_merge` chose before."""
    devices = jax.devices()[: len(states.num_images)]
    reduce = jax.pmap(lambda state: distributed.reduce(metric, state, "data"), "data", devices=devices)
    every = jax.device_get(reduce(states))
    for leaf in jax.tree.leaves(every):
        np.testing.assert_array_equal(leaf, np.broadcast_to(leaf[:1], leaf.shape))
    return jax.tree.map(lambda leaf: leaf[0], every)


def reduce_by_vmap(metric: Any, states: State) -> State:
    def reduce(state: State) -> State:
        return distributed.reduce(metric, state, "data")

    return jax.jit(jax.vmap(reduce, axis_name="data", out_axes=None))(states)


WAYS = {
    "shard_map": reduce_by_shard_map,
    "shard_map unchecked": functools.partial(reduce_by_shard_map, check_vma=False),
    "pmap": reduce_by_pmap,
    "vmap": reduce_by_vmap,
}


def assert_expected(state: State, **counters: int) -> None:
    """Asserts that the numbers are those of `evaluate`, to the last bit, and the counters those given."""
    numbers = batches.metric().summarize(batches.metric().compute(state))
    assert {name: numbers[name] for name in batches.expected()} == batches.expected()
    expected = {"num_images": batches.NUM_IMAGES} | counters
    assert {name: value for name, value in numbers.items() if name.startswith("num_") and value} == {
        name: value for name, value in expected.items() if value
    }


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("num_devices", SHARES)
def test_reduce_gives_the_state_of_all_devices(num_devices: int, way: str) -> None:
    states = [state_of(images) for images in split(num_devices)]
    state = WAYS[way](batches.metric(), stack(states))
    assert_expected(state, num_padded_images=padding_of(states))


@pytest.mark.slow
def test_reduce_takes_devices_with_less_room_than_the_result() -> None:
    states = [state_of(images, max_images=5) for images in split(8)]
    state = reduce_by_shard_map(batches.metric(), stack(states))
    assert state.images.image_id.shape == (batches.NUM_IMAGES,)
    assert_expected(state, num_padded_images=padding_of(states))


@pytest.mark.slow
def test_reduce_keeps_the_image_of_the_earlier_device_and_counts_the_others() -> None:
    first, second = split(2)
    seen = [first, [*second, first[0]], [first[1]]]
    states = [state_of(images) for images in seen]
    state = reduce_by_vmap(batches.metric(), stack(states))
    assert_expected(state, num_padded_images=padding_of(states), num_repeated_images=2)


@pytest.mark.slow
def test_reduce_counts_images_for_which_the_result_has_no_room() -> None:
    small = batches.metric(max_images=10)
    state = reduce_by_vmap(small, stack([state_of(images) for images in split(2)]))
    with pytest.raises(ValueError, match=r"num_images_over_capacity = 2 \(raise `max_images`\)"):
        small.summarize(small.compute(state))


@pytest.mark.slow
def test_reduce_over_two_axes() -> None:
    states = [state_of(images) for images in split(8)]
    mesh = jax.make_mesh((4, 2), ("host", "chip"), axis_types=2 * (AxisType.Auto,))

    @functools.partial(jax.shard_map, mesh=mesh, in_specs=PartitionSpec("host", "chip"), out_specs=EVERYWHERE)
    def reduce(states: State) -> State:
        state = jax.tree.map(lambda leaf: leaf[0, 0], states)
        return distributed.reduce(batches.metric(), state, ("host", "chip"))

    grid = jax.tree.map(lambda leaf: leaf.reshape(4, 2, *leaf.shape[1:]), stack(states))
    assert_expected(jax.jit(reduce)(grid), num_padded_images=padding_of(states))


@pytest.mark.slow
def test_update_and_reduce_inside_one_shard_map() -> None:
    local = batches.metric(max_images=5)
    shares = [share(images, 5) for images in split(8)]
    everything = jax.tree.map(lambda *leaves: np.concatenate(leaves), *shares)

    @functools.partial(jax.shard_map, mesh=mesh_of(8), in_specs=SPLIT, out_specs=EVERYWHERE)
    def evaluate(found: Any, truth: Any, ids: jax.Array, valid: jax.Array) -> State:
        state = local.update(local.init(), found, truth, image_id=ids, valid=valid)
        return distributed.reduce(batches.metric(), state, "data")

    assert_expected(jax.jit(evaluate)(*everything), num_padded_images=28)


@pytest.mark.slow
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_a_state_that_is_spread_over_devices_stays_so_and_gives_the_same_bits(axis_type: AxisType) -> None:
    metric, mesh, arguments = batches.metric(max_images=40), mesh_of(8, axis_type), share(split(1)[0], 16)
    expected = update_jit(metric.init(), *arguments)
    empty = jax.device_put(metric.init(), shardings_of(metric.init(), mesh))
    out_shardings = shardings_of(empty, mesh) if axis_type == AxisType.Auto else None  # explicit axes follow the state
    with jax.set_mesh(mesh):
        batch = jax.device_put(arguments, NamedSharding(mesh, SPLIT))
        step = jax.jit(update, out_shardings=out_shardings)
        state = step(empty, *batch)
        merged = jax.jit(metric.merge, out_shardings=out_shardings)(empty, state)
        result = jax.jit(metric.compute)(merged)
        program = step.lower(empty, *batch).compile().as_text()
    for one in (state, merged):
        assert one.images.matched.addressable_shards[0].data.shape == (5, *expected.images.matched.shape[1:])
    assert_equal(state, expected)
    assert_equal(result.curves, jax.jit(metric.compute)(expected).curves)
    assert_expected(jax.device_get(state), num_padded_images=4)
    # Every device learns which images are in the state, and the rows of the batch, but not those of the state.
    assert {shape for shape in gathered(program) if "[40" in shape} <= {"s32[40]", "pred[40]"}
    assert any("[16," in shape for shape in gathered(program))


def shardings_of(state: State, mesh: Mesh) -> State:
    """Returns the shardings of a state whose images are spread over the devices."""
    everywhere = jax.tree.map(lambda _: NamedSharding(mesh, EVERYWHERE), state)
    return dataclasses.replace(everywhere, images=jax.tree.map(lambda _: NamedSharding(mesh, SPLIT), state.images))


def gathered(program: str) -> set[str]:
    """Returns the types of all arrays that a compiled program gathers from several devices, such as `s32[40]`."""
    results = re.findall(r"= (.*) all-gather(?:-start)?\(", program)
    return {shape for result in results for shape in re.findall(r"\w+\[[\d,]*\]", result)}


def assert_equal(one: Any, other: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_gather_with_one_process_returns_the_state() -> None:
    state = state_of(split(1)[0])
    gathered = distributed.gather(batches.metric(), state)
    for one, other in zip(jax.tree.leaves(gathered), jax.tree.leaves(state), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_gather_with_one_process_brings_the_state_to_the_room_of_the_metric() -> None:
    gathered = distributed.gather(batches.metric(20), state_of(split(1)[0]))
    assert gathered.images.image_id.shape == (20,)
    assert_expected(gathered)


def run_processes(monkeypatch: pytest.MonkeyPatch, calls: list[Callable[[], Any]]) -> list[Any]:
    """Runs one thread for each process; `process_allgather` waits for all and joins what they brought."""
    barrier = threading.Barrier(len(calls), timeout=300)
    brought: list[Any] = [None] * len(calls)
    results: list[Any] = [None] * len(calls)
    process = threading.local()

    def process_allgather(tree: Any, tiled: bool = False) -> Any:
        assert tiled  # without it, JAX's result has another shape with one process
        brought[process.index] = tree
        barrier.wait()
        joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *brought)
        barrier.wait()
        return joined

    def run(index: int) -> None:
        process.index = index
        try:
            results[index] = calls[index]()
        except Exception as error:
            results[index] = error

    monkeypatch.setattr(multihost_utils, "process_allgather", process_allgather)
    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.slow
def test_gather_gives_every_process_the_state_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    states = [state_of(images) for images in split(8)]
    gather = functools.partial(distributed.gather, batches.metric())
    results = run_processes(monkeypatch, [functools.partial(gather, state) for state in states])
    for result in results:
        assert_expected(result, num_padded_images=padding_of(states))


def test_gather_refuses_states_of_different_shapes_on_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    states = [state_of([]), state_of([], max_images=5), state_of([])]
    gather = functools.partial(distributed.gather, batches.metric())
    for result in run_processes(monkeypatch, [functools.partial(gather, state) for state in states]):
        assert isinstance(result, ValueError)
        assert "processes [1] differ from process 0" in str(result)


def test_gather_refuses_metrics_of_different_configurations_on_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = batches.metric()
    other = dataclasses.replace(usual, protocol=usual.protocol.customize(max_detections=[1, 10, 50]))
    calls = [functools.partial(distributed.gather, metric, metric.init()) for metric in (usual, usual, other)]
    for result in run_processes(monkeypatch, calls):
        assert isinstance(result, ValueError)
        assert str(result).endswith(
            "processes [2] differ from process 0: protocol.max_detections[2] is 100 on process 0 and 50 on process 2."
        )


def test_gather_refuses_on_every_process_what_one_of_them_passes_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = batches.metric()
    other = dataclasses.replace(usual, box_format="xywh" if usual.box_format != "xywh" else "xyxy")
    calls = [functools.partial(distributed.gather, usual, metric.init()) for metric in (usual, other)]
    for result in run_processes(monkeypatch, calls):
        assert isinstance(result, ValueError)
        assert "processes [1] differ" in str(result)
        assert "has another configuration" in str(result)


WAITING = """
import os, sys, time
import jax
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
import jaxmap
metric = jaxmap.metrics.ConfusionMatrix(num_classes=2)
state = metric.init()
if sys.argv[2] == "1":
    time.sleep(600)
try:
    jaxmap.distributed.gather(metric, state, timeout=2)
except TimeoutError as error:
    print(error, flush=True)
os._exit(0)
"""


@pytest.mark.slow
def test_gather_names_the_process_that_does_not_come_in_time() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    waiting, late = (
        subprocess.Popen(
            [sys.executable, "-c", WAITING, address, str(process)], env=environment, stdout=subprocess.PIPE, text=True
        )
        for process in range(2)
    )
    try:
        said = waiting.communicate(timeout=300)[0]
    finally:
        for process in (waiting, late):
            process.kill()
            process.communicate()
    assert "processes [1] did not call `gather` within 2 s of process 0; " in said


@pytest.mark.slow
def test_update_never_waits_for_the_host() -> None:
    arguments = jax.device_put((batches.metric().init(), *share(split(1)[0], 16)))
    state = update_jit(*arguments)
    with jax.transfer_guard("disallow"):
        state = update_jit(state, *arguments[1:])
    assert int(state.num_repeated_images) == batches.NUM_IMAGES
    # A CPU's memory is the host's, where the guard lets reads pass; inside `jit` only a callback could do one.
    assert "callback" not in str(jax.make_jaxpr(update)(*arguments))


@dataclasses.dataclass(frozen=True)
class Sums:
    """The smallest metric: `reduce` and `gather` know only `init` and `merge`."""

    def init(self) -> dict[str, jax.Array]:
        return {"sum": jnp.zeros((), jnp.int32)}

    def merge(self, state: dict[str, jax.Array], other: dict[str, jax.Array]) -> dict[str, jax.Array]:
        return {"sum": state["sum"] + other["sum"]}


def test_any_metric_with_init_and_merge_can_be_reduced_and_gathered() -> None:
    states = {"sum": jnp.arange(8, dtype=jnp.int32)}
    assert int(distributed.gather(Sums(), {"sum": jnp.int32(3)})["sum"]) == 3

    @functools.partial(jax.shard_map, mesh=mesh_of(8), in_specs=SPLIT, out_specs=EVERYWHERE)
    def reduce(states: dict[str, jax.Array]) -> dict[str, jax.Array]:
        return distributed.reduce(Sums(), {"sum": states["sum"][0]}, "data")

    assert int(jax.jit(reduce)(states)["sum"]) == 28
