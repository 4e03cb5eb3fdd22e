"""The laws that every metric obeys, over all rows of `metric_cases.CASES`; a row names the laws it breaks, and why.

Results are compared to the last bit, or within the tolerance of the row. Every jitted update of this file may be traced
once, and gives its state away.
"""

from __future__ import annotations

import functools
import itertools
import pathlib
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import chex
import jax
import numpy as np
import orbax.checkpoint
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxmap import distributed, metrics
from jaxmap._counts64 import to_host
from jaxmap.metrics._contract import Contract
from jaxmap.metrics._detection._host_average_precision import _match
from support.metric_cases import CASES, NUM_IMAGES, SIZE, Batch, Runner, batch_of, batches, runner_of, take
from support.scenes import odd_scenes

pytestmark = odd_scenes

NUM_DEVICES = 8
LAWS: dict[str, Callable[..., None]] = {}


def law(test: Callable[..., None]) -> Callable[..., None]:
    """Runs a test for every metric but those that name it among their exceptions."""
    name = test.__name__.removeprefix("test_")
    LAWS[name] = test
    rows = [
        pytest.param(row, marks=pytest.mark.slow if case.slow else ())
        for row, case in CASES.items()
        if name not in case.exceptions
    ]
    return pytest.mark.parametrize("runner", rows, indirect=True)(test)


@pytest.fixture
def runner(request: pytest.FixtureRequest) -> Runner:
    return runner_of(request.param)


@functools.cache
def shuffled(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).permutation(NUM_IMAGES)


def thirds(runner: Runner) -> list[Any]:
    """Returns the states of three parts of the data, one of them of a single image."""
    edges = [0, 11, 12, NUM_IMAGES]
    return [runner.state_of(runner.data, shuffled()[start:stop]) for start, stop in itertools.pairwise(edges)]


def mesh_of(num_devices: int, axis_type: AxisType = AxisType.Auto) -> Mesh:
    devices = jax.devices()[:num_devices]
    return jax.make_mesh((num_devices,), ("devices",), axis_types=(axis_type,), devices=devices)


def stack(*trees: Any) -> Any:
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *trees)


def first(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[0], tree)


# ---- the table ----


def test_every_metric_has_a_row_and_exceptions_are_laws() -> None:
    public = (getattr(metrics, name) for name in metrics.__all__)
    kinds = {kind for kind in public if isinstance(kind, type) and issubclass(kind, Contract)}
    assert kinds == {type(case.metric) for case in CASES.values()}
    for case in CASES.values():
        assert case.exceptions.keys() <= LAWS.keys()
        assert all(case.exceptions.values())


@law
def test_summary_holds_the_numbers_then_the_counters(runner: Runner) -> None:
    result = runner.compute(runner.whole)
    assert isinstance(result, runner.metric._RESULT)
    numbers = summary_of(runner, result)
    count = len(runner.case.numbers)
    assert (set(list(numbers)[:count]), list(numbers)[count:]) == (set(runner.case.numbers), list(result.counters))
    assert {type(value) for value in numbers.values()} == {float, int}
    assert 0 < numbers[runner.case.numbers[0]] < 1
    assert runner.case.padding in result.counters


def summary_of(runner: Runner, result: Any) -> dict[str, float]:
    with warnings.catch_warnings(action="ignore"):  # the data is odd on purpose
        return runner.metric.summarize(result)


# ---- merge ----


@law
def test_merge_with_the_empty_state_changes_nothing(runner: Runner) -> None:
    empty = runner.metric.init()
    runner.assert_same_state(runner.merge(empty, runner.whole), runner.whole)
    runner.assert_same_state(runner.merge(runner.whole, empty), runner.whole)
    runner.assert_same_state(runner.merge(empty, empty), empty)


@law
def test_merge_is_associative(runner: Runner) -> None:
    a, b, c = thirds(runner)
    runner.assert_same_state(runner.merge(runner.merge(a, b), c), runner.merge(a, runner.merge(b, c)))


@law
def test_merge_is_commutative_after_compute(runner: Runner) -> None:
    a, b, c = thirds(runner)
    for order in ((a, b, c), (c, b, a), (b, c, a)):
        merged = functools.reduce(runner.merge, order)
        runner.assert_same_result(merged, runner.whole, but=[runner.case.padding])


@law
def test_update_is_merge_with_the_update_of_nothing(runner: Runner) -> None:
    one, two, *_ = batches(runner.data, shuffled())
    state = runner.update(runner.metric.init(), one)
    for batch in (two, one):  # and of images that were seen
        expected = runner.merge(state, runner.update(runner.metric.init(), batch))
        runner.assert_same_state(runner.update(state, batch), expected)


@law
def test_counts_are_exact_beyond_32_bits_or_stop_and_are_refused(runner: Runner) -> None:
    state, counters = runner.whole, to_host(runner.compute(runner.whole).counters)
    for _ in range(34):
        state = runner.merge(state, state)
    later = to_host(runner.compute(state).counters)
    if max(later.values()) > 2**31:
        assert later == {name: int(count) << 34 for name, count in counters.items()}
    else:
        assert later == {name: 2**31 - 1 if count else 0 for name, count in counters.items()}
        with pytest.raises(ValueError, match=r"a count reached 2\^31 - 1"):
            summary_of(runner, runner.compute(state))


# ---- any order, any padding ----


@law
@pytest.mark.parametrize("seed", range(2))
def test_any_split_and_order_of_images_gives_the_same_numbers(runner: Runner, seed: int) -> None:
    rng, state = np.random.default_rng(seed), runner.metric.init()
    images = shuffled(seed)
    while len(images):
        size = int(rng.integers(1, SIZE + 1))
        state = runner.update(state, batch_of(runner.data, images[:size], rng))
        images = images[size:]
    runner.assert_same_result(state, runner.whole, but=[runner.case.padding])


@law
def test_rows_of_an_image_may_stand_in_another_order_and_padding_hold_anything(runner: Runner) -> None:
    data, other = runner.case.reorder(runner.data, np.random.default_rng(0))
    runner.assert_same_result(runner.state_of(other), runner.state_of(data))


@law
def test_padding_images_change_only_their_counter(runner: Runner) -> None:
    batch = batches(runner.data)[0]
    before = runner.compute(runner.whole).counters[runner.case.padding]
    for value in (-7, 0, 99, np.nan, np.inf):

        def spoil(column: np.ndarray, value: float = value) -> np.ndarray:
            if column.dtype.kind == "b":
                return np.ones_like(column)
            return np.full_like(column, value if column.dtype.kind == "f" or np.isfinite(value) else 1)

        padding = jax.tree.map(spoil, batch) | {"valid": np.zeros_like(batch["valid"])}
        more = runner.update(runner.whole, padding)
        runner.assert_same_result(more, runner.whole, but=[runner.case.padding])
        assert runner.compute(more).counters[runner.case.padding] > before


@law
def test_an_image_seen_again_counts_once_and_is_reported(runner: Runner) -> None:
    data, order = runner.data, shuffled(3)
    # In one batch, in a later one, and with the rows of another image: the first one stays.
    images = np.array([*order[:5], order[0], *order[2:], order[1], order[0]])
    again = np.isin(np.arange(len(images)), np.unique(images, return_index=True)[1], invert=True)
    twice = take(data, images)
    for side in ("detections", "ground_truths"):
        twice[side] = take(data[side], np.where(again, np.roll(images, 1), images))
    state = runner.state_of(twice)
    counters = runner.compute(state).counters
    assert counters["num_repeated_images"] == counters["num_conflicting_images"] == again.sum() == 6
    but = ["num_padded_images", "num_repeated_images", "num_conflicting_images"]
    runner.assert_same_result(state, runner.whole, but=but)
    # In two states: the first argument's stays.
    parts = [runner.state_of(data, rows) for rows in (range(10), range(6, NUM_IMAGES))]
    for one, other in (parts, parts[::-1]):
        merged = runner.merge(one, other)
        counters = runner.compute(merged).counters
        assert (counters["num_repeated_images"], counters["num_conflicting_images"]) == (4, 0)
        runner.assert_same_result(merged, runner.whole, but=but)


# ---- jit, vmap, eager ----


@law
def test_a_state_is_given_away_and_shapes_stay(runner: Runner) -> None:
    one, two, *_ = batches(runner.data)
    state = runner.metric.init()
    # All updates of this file together are traced once, or an assertion fails.
    middle = runner.donating(state, one)
    end = runner.donating(middle, two)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((state, middle)))
    chex.assert_trees_all_equal_shapes_and_dtypes(end, runner.metric.init())
    assert not any(leaf.weak_type for leaf in jax.tree.leaves((end, runner.metric.init())))


@pytest.mark.slow
def test_updates_on_the_host_are_traced_once() -> None:
    runner = runner_of("host")
    runner.state_of(runner.data)
    traces = _match._cache_size()
    runner.state_of(runner.data, shuffled())
    assert _match._cache_size() == traces


@law
def test_eager_equals_jit(runner: Runner) -> None:
    batch = batches(runner.data, shuffled())[0]
    jitted = runner.update(runner.metric.init(), batch)
    runner.assert_same_state(runner.step(runner.metric.init(), batch), jitted)


@law
def test_a_vmap_over_shards_equals_a_loop(runner: Runner) -> None:
    shards = batches(runner.data, shuffled())[:2]
    states = jax.jit(jax.vmap(lambda batch: runner.step(runner.metric.init(), batch)))(stack(*shards))
    for index, batch in enumerate(shards):
        state = jax.tree.map(lambda leaf, index=index: leaf[index], states)
        runner.assert_same_state(state, runner.update(runner.metric.init(), batch))


@law
def test_compute_inside_jit_agrees_with_the_host(runner: Runner) -> None:
    inside = runner.compute_in_jit(runner.whole)
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(inside)}
    assert dtypes <= {np.dtype(np.float32), np.dtype(np.int32), np.dtype(np.uint32)}
    numbers, expected = summary_of(runner, inside), summary_of(runner, runner.metric.compute(runner.whole))
    assert numbers == pytest.approx(expected, rel=0, abs=runner.case.float32, nan_ok=True)


# ---- devices and files ----


@law
@pytest.mark.parametrize("num_devices", [1, 2])
def test_devices_reduce_to_the_state_of_all_images(runner: Runner, num_devices: int) -> None:
    cuts = np.linspace(0, NUM_IMAGES, num_devices + 1).astype(int)
    states = [runner.state_of(runner.data, np.arange(*cut)) for cut in itertools.pairwise(cuts)]

    @jax.jit
    @functools.partial(jax.shard_map, mesh=mesh_of(num_devices), in_specs=P("devices"), out_specs=P())
    def reduce(states: Any) -> Any:
        return distributed.reduce(runner.metric, first(states), "devices")

    runner.assert_same_result(reduce(stack(*states)), runner.whole, but=[runner.case.padding])


@law
def test_update_runs_inside_shard_map_on_eight_devices(runner: Runner) -> None:
    @jax.jit
    @functools.partial(jax.shard_map, mesh=mesh_of(NUM_DEVICES), in_specs=P("devices"), out_specs=P())
    def evaluate(batch: Batch) -> Any:
        return distributed.reduce(runner.metric, runner.step(runner.metric.init(), batch), "devices")

    runner.assert_same_result(evaluate(runner.data), runner.whole, but=[runner.case.padding])


@law
def test_a_vmap_inside_a_checked_shard_map_equals_a_loop(runner: Runner) -> None:
    def of_image(image: Batch) -> Any:
        return runner.step(runner.metric.init(), jax.tree.map(lambda column: column[None], image))

    images = take(runner.data, range(2 * NUM_DEVICES))
    states = jax.jit(
        jax.shard_map(jax.vmap(of_image), mesh=mesh_of(NUM_DEVICES), in_specs=P("devices"), out_specs=P("devices"))
    )(images)
    state, _ = jax.lax.scan(lambda one, more: (runner.metric.merge(one, more), None), runner.metric.init(), states)
    expected = runner.state_of(runner.data, range(2 * NUM_DEVICES))
    runner.assert_same_result(state, expected, but=[runner.case.padding])


@law
def test_a_mesh_of_explicit_axes_needs_nothing(runner: Runner) -> None:
    mesh, metric = mesh_of(NUM_DEVICES, AxisType.Explicit), runner.metric
    everywhere, spread = NamedSharding(mesh, P()), NamedSharding(mesh, P("devices"))
    with jax.set_mesh(mesh):
        empty = jax.device_put(metric.init(), everywhere)
        state = jax.jit(runner.step)(empty, jax.device_put(runner.data, spread))
        merged = jax.jit(metric.merge)(empty, state)
        inside, outside = jax.jit(metric.compute)(merged), metric.compute(merged)
    assert all(leaf.sharding.is_equivalent_to(everywhere, leaf.ndim) for leaf in jax.tree.leaves((merged, inside)))
    state = jax.device_get(merged)
    runner.assert_same_result(state, runner.whole, but=[runner.case.padding])
    jax.tree.map(np.testing.assert_array_equal, outside, metric.compute(state))
    jax.tree.map(np.testing.assert_array_equal, inside, runner.compute_in_jit(state))


@pytest.mark.parametrize("runner", [row for row, case in CASES.items() if not case.slow], indirect=True)
def test_arrays_that_are_spread_over_devices_need_nothing(runner: Runner) -> None:
    spread = jax.device_put(runner.data, NamedSharding(mesh_of(NUM_DEVICES), P("devices")))
    state = jax.jit(lambda batch: runner.step(runner.metric.init(), batch))(spread)
    runner.assert_same_result(state, runner.whole, but=[runner.case.padding])


@law
def test_an_evaluation_resumes_from_a_pickled_state(runner: Runner) -> None:
    assert_resumes(runner, lambda state: pickle.loads(pickle.dumps(state)))


@law
def test_an_evaluation_resumes_from_a_state_that_orbax_wrote(runner: Runner, tmp_path: pathlib.Path) -> None:
    def through_orbax(state: Any) -> Any:
        with orbax.checkpoint.StandardCheckpointer() as checkpointer:
            checkpointer.save(tmp_path / "state", state)
            checkpointer.wait_until_finished()
            restored = checkpointer.restore(tmp_path / "state", jax.eval_shape(runner.metric.init))
        return jax.device_get(restored)  # `update` would be compiled once more for arrays that are bound to a device

    assert_resumes(runner, through_orbax)


def assert_resumes(runner: Runner, through: Callable[[Any], Any]) -> None:
    one, *rest = batches(runner.data)
    saved = runner.update(runner.metric.init(), one)
    state = through(saved)
    for old, new in zip(jax.tree.leaves(saved), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(old, new, strict=True)
    runner.assert_same_result(functools.reduce(runner.update, rest, state), runner.whole)
