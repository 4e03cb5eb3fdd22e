"""The laws that every metric and every kind of state obeys; a new one is one line in `metric_cases.METRICS`.

Results are compared to the last bit, except float32 from inside `jit` with float64 on the host: 2^-23, a division by
way of the reciprocal. Every jitted update of this file may be traced once, and gives its state away.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any

import chex
import jax
import numpy as np
import pytest

import jaxmap
from jaxmap.metrics import AveragePrecision
from jaxmap.metrics._detection._host_average_precision import _match
from support.metric_cases import (
    CONFIG,
    LARGE,
    METRICS,
    NUM_IMAGES,
    SMALL,
    Batch,
    D,
    K,
    Runner,
    batches,
    dataset,
    runner_of,
    shuffled,
    take,
)
from support.scenes import odd_scenes

pytestmark = [odd_scenes, pytest.mark.slow]


@pytest.fixture
def runner(request: pytest.FixtureRequest) -> Runner:
    return runner_of(request.param)


def for_metrics(*promises: str) -> pytest.MarkDecorator:
    """Runs a test for every metric, or for those that make all of the promises."""
    names = [name for name, case in METRICS.items() if all(getattr(case, promise) for promise in promises)]
    return pytest.mark.parametrize("runner", names, indirect=True)


def thirds(runner: Runner) -> list[Any]:
    """Returns the states of three parts of the data, one of them of a single image."""
    edges = [0, 11, 12, NUM_IMAGES]
    return [runner.state_of(take(shuffled(), range(start, stop))) for start, stop in itertools.pairwise(edges)]


@for_metrics()
def test_numbers_are_those_of_evaluate(runner: Runner) -> None:
    data = dataset()
    expected = jaxmap.evaluate(data["detections"], data["ground_truths"], **CONFIG)
    result = runner.compute(runner.state_of(shuffled()))
    numbers = runner.metric.summarize(result)
    assert 0.1 < expected.summary["AP"] < 0.9
    if runner.case.exact:
        for name in ("precision", "recall", "scores"):
            np.testing.assert_array_equal(getattr(result.curves, name), getattr(expected.curves, name))
        assert {name: numbers[name] for name in expected.summary} == expected.summary
    else:
        for name, value in expected.summary.items():
            if name.startswith("AR"):
                assert numbers[name] == pytest.approx(value, abs=1e-6), name  # a float32 division and mean
    assert numbers["num_images"] == NUM_IMAGES


@for_metrics()
def test_merge_with_the_empty_state_changes_nothing(runner: Runner) -> None:
    state, empty = runner.state_of(dataset()), runner.metric.init()
    runner.assert_same_state(runner.merge(empty, state), state)
    runner.assert_same_state(runner.merge(state, empty), state)
    runner.assert_same_state(runner.merge(empty, empty), empty)


@for_metrics()
def test_merge_is_associative(runner: Runner) -> None:
    a, b, c = thirds(runner)
    runner.assert_same_state(runner.merge(runner.merge(a, b), c), runner.merge(a, runner.merge(b, c)))


@for_metrics()
def test_merge_is_commutative_after_compute(runner: Runner) -> None:
    a, b, c = thirds(runner)
    whole = runner.state_of(dataset())
    for order in ((a, b, c), (c, b, a), (b, c, a)):
        runner.assert_same_result(functools.reduce(runner.merge, order), whole, but=["num_padded_images"])


@for_metrics()
def test_update_is_merge_with_the_update_of_nothing(runner: Runner) -> None:
    first, second, *_ = batches(shuffled(), SMALL)
    state = runner.update(runner.metric.init(), first)
    runner.assert_same_state(
        runner.update(state, second), runner.merge(state, runner.update(runner.metric.init(), second))
    )


@for_metrics()
def test_update_with_bad_rows_in_images_seen_twice_is_merge_as_well(runner: Runner) -> None:
    batch = next(batches(shuffled(), SMALL))
    batch = batch | {"detections": dataclasses.replace(batch["detections"], valid=np.ones((SMALL, D), bool))}
    state = runner.update(runner.metric.init(), batch)  # its padding, now valid, is not finite
    assert runner.compute(state).counters["num_not_finite"] > 0
    runner.assert_same_state(
        runner.update(state, batch), runner.merge(state, runner.update(runner.metric.init(), batch))
    )


@for_metrics()
@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_any_split_and_order_of_images_gives_the_same_bits(runner: Runner, size: int) -> None:
    whole = runner.state_of(dataset())
    for seed in range(3):
        runner.assert_same_result(runner.state_of(shuffled(seed), size), whole, but=["num_padded_images"])


def interleave(flags: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns an order of rows in which the valid ones keep theirs, and padding stands anywhere."""
    rows = np.empty(len(flags), int)
    moved = rng.permutation(flags)
    rows[moved], rows[~moved] = np.flatnonzero(flags), np.flatnonzero(~flags)
    return rows


@for_metrics()
def test_padding_rows_may_stand_anywhere_and_hold_anything(runner: Runner) -> None:
    data, rng = dataset(), np.random.default_rng(0)
    changed = dict(data)
    for side in ("detections", "ground_truths"):
        valid = data[side].valid
        rows = np.stack([interleave(flags, rng) for flags in valid])
        columns = {}
        for name, column in vars(data[side]).items():
            if column is not None:
                rubbish = np.where(rng.random() < 0.5, np.roll(column[valid], 1)[0], column[valid][0])
                filled = np.where(valid.reshape(valid.shape + (1,) * (column.ndim - 2)), column, rubbish)
                columns[name] = filled[np.arange(NUM_IMAGES)[:, None], rows].astype(column.dtype)
        changed[side] = type(data[side])(**columns | {"valid": valid[np.arange(NUM_IMAGES)[:, None], rows]})
    assert (changed["detections"].valid != data["detections"].valid).any()
    assert np.isfinite(changed["detections"].boxes).all()
    runner.assert_same_result(runner.state_of(changed), runner.state_of(data))


@for_metrics()
def test_padding_images_change_only_their_counter(runner: Runner) -> None:
    state = runner.state_of(dataset())
    batch = next(batches(dataset(), SMALL))
    padding = jax.tree.map(lambda x: np.full_like(x, np.nan if x.dtype.kind == "f" else -7), batch)
    padding |= {
        "detections": dataclasses.replace(padding["detections"], valid=np.ones((SMALL, D), bool)),
        "valid": np.zeros(SMALL, bool),
        "image_id": np.array([-1, 0, 1, 2**31 - 1, -(2**31), 5, 5], np.int32),  # some of them known, some not
    }
    more = runner.update(state, padding)
    runner.assert_same_result(more, state, but=["num_padded_images"])
    added = runner.compute(more).counters["num_padded_images"] - runner.compute(state).counters["num_padded_images"]
    assert added == SMALL


@for_metrics("knows_images")
def test_an_image_seen_again_counts_once_and_is_reported(runner: Runner) -> None:
    data = dataset()
    whole = runner.state_of(data)
    order = np.random.default_rng(3).permutation(NUM_IMAGES)
    # In one batch, in a later one, and with other rows: the first one stays.
    twice = take(data, [*order[:5], order[0], *order[2:], order[1], order[0]])
    rolled = jax.tree.map(
        lambda x: np.roll(x, 1, axis=0), {name: twice[name] for name in ("detections", "ground_truths")}
    )
    again = np.isin(np.arange(len(twice["image_id"])), np.unique(twice["image_id"], return_index=True)[1], invert=True)
    for side, moved in rolled.items():
        twice[side] = jax.tree.map(
            lambda x, y: np.where(again.reshape(-1, *(1,) * (x.ndim - 1)), y, x), twice[side], moved
        )
    for size in (SMALL, LARGE):
        state = runner.state_of(twice, size)
        counters = runner.compute(state).counters
        assert counters["num_repeated_images"] == counters["num_conflicting_images"] == again.sum() == 6
        runner.assert_same_result(
            state, whole, but=["num_padded_images", "num_repeated_images", "num_conflicting_images"]
        )
    # In two states: the first argument's stays.
    parts = [runner.state_of(take(data, rows)) for rows in (range(10), range(6, NUM_IMAGES))]
    for one, other in (parts, parts[::-1]):
        merged = runner.merge(one, other)
        assert runner.compute(merged).counters["num_repeated_images"] == 4
        assert runner.compute(merged).counters["num_conflicting_images"] == 0
        runner.assert_same_result(merged, whole, but=["num_padded_images", "num_repeated_images"])


@for_metrics()
def test_counters_say_what_was_seen(runner: Runner) -> None:
    data = dataset()
    found, truth = (jax.tree.map(np.copy, data[side]) for side in ("detections", "ground_truths"))
    row, other_row = (tuple(np.argwhere(valid)[3]) for valid in (found.valid, truth.valid))
    found.scores[row], truth.boxes[other_row] = np.inf, np.nan
    row, other_row = (tuple(np.argwhere(valid)[7]) for valid in (found.valid, truth.valid))
    found.labels[row], truth.labels[other_row] = K, -1
    state = runner.state_of(data | {"detections": found, "ground_truths": truth})
    counters = {name: int(value) for name, value in runner.compute(state).counters.items()}
    expected = {"num_images": NUM_IMAGES, "num_padded_images": -NUM_IMAGES % SMALL}
    expected |= {"num_not_finite": 2, "num_bad_labels": 2}
    assert counters == dict.fromkeys(counters, 0) | expected
    with pytest.warns(UserWarning, match="2 rows have a label outside 0 to 2 and are excluded .*; 2 rows have NaN"):
        summary = runner.metric.summarize(runner.compute(state))
    assert {name: summary[name] for name in counters} == counters
    # The rows of a spoiled dataset take no part.
    found.valid[tuple(np.argwhere(found.valid)[[3, 7]].T)] = False
    truth.valid[tuple(np.argwhere(truth.valid)[[3, 7]].T)] = False
    clean = runner.state_of(data | {"detections": found, "ground_truths": truth})
    runner.assert_same_result(state, clean, but=["num_not_finite", "num_bad_labels"])


@for_metrics("in_jit")
def test_state_is_given_away_and_shapes_stay(runner: Runner) -> None:
    first, second, *_ = batches(dataset(), SMALL)
    state = runner.metric.init()
    # All updates of this file together are traced once for each batch size, or an assertion fails.
    one = runner.in_jit[SMALL](state, first)
    two = runner.in_jit[SMALL](one, second)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((state, one)))
    chex.assert_trees_all_equal_shapes_and_dtypes(two, runner.metric.init())
    assert not any(leaf.weak_type for leaf in jax.tree.leaves((two, runner.metric.init())))


def test_updates_on_the_host_are_traced_once() -> None:
    runner = runner_of("host")
    runner.state_of(dataset())
    traces = _match._cache_size()
    runner.state_of(shuffled())
    assert _match._cache_size() == traces


@for_metrics("in_jit")
def test_scan_over_batches_and_vmap_over_shards_equal_a_loop(runner: Runner) -> None:
    data = shuffled()
    shards = [list(batches(take(data, rows), SMALL)) for rows in (range(10), range(10, NUM_IMAGES))]
    stacked = jax.tree.map(
        lambda *leaves: np.stack(leaves), *[jax.tree.map(lambda *x: np.stack(x), *s) for s in shards]
    )

    @jax.jit
    def run(shards: Batch) -> Any:
        def scan(batches: Batch) -> Any:
            return jax.lax.scan(lambda state, batch: (runner.step(state, batch), None), runner.metric.init(), batches)[
                0
            ]

        return jax.vmap(scan)(shards)

    states = run(stacked)
    for i, shard in enumerate(shards):
        expected = functools.reduce(runner.update, shard, runner.metric.init())
        runner.assert_same_state(jax.tree.map(lambda leaf, i=i: leaf[i], states), expected)


@for_metrics("in_jit")
def test_eager_equals_jit(runner: Runner) -> None:
    batch = next(batches(shuffled(), SMALL))
    jitted = runner.update(runner.metric.init(), batch)
    runner.assert_same_state(runner.step(runner.metric.init(), batch), jitted)
    runner.assert_same_state(runner.metric.merge(jitted, jitted), runner.merge(jitted, jitted))


@for_metrics("in_jit")
def test_compute_inside_jit_agrees_with_the_host(runner: Runner) -> None:
    state = runner.state_of(dataset())
    on_device, on_host = runner.compute_in_jit(state), runner.metric.compute(state)
    assert {leaf.dtype for leaf in jax.tree.leaves(on_device[:2])} == {np.dtype(np.float32), np.dtype(np.int32)}
    assert on_device.curves.average_precision is on_host.curves.average_precision is None  # a mean over recall points
    for name, cells in vars(on_device.curves).items():
        if cells is None or name == "at_best_score":  # none in COCO's summary
            continue
        expected = np.asarray(getattr(on_host.curves, name), np.float64)
        expected = np.where(np.isnan(expected), -1.0, expected)  # undefined
        np.testing.assert_allclose(np.nan_to_num(cells, nan=-1.0), expected, rtol=0, atol=2.0**-23, err_msg=name)
    one, other = runner.metric.summarize(on_device), runner.metric.summarize(on_host)
    assert one == pytest.approx(other, rel=0, abs=1e-6, nan_ok=True)


def test_what_finds_no_room_is_counted_and_refused_by_name() -> None:
    data = dataset()
    slots = {"max_images": 20, "max_detections_per_image": 4, "max_ground_truths_per_image": 3}
    metric = AveragePrecision(**CONFIG, **slots)
    update = jax.jit(metric.update)
    with pytest.warns(UserWarning, match="the batch has"):
        state = functools.reduce(lambda state, batch: update(state, **batch), batches(data, SMALL), metric.init())
    counts = (data["ground_truths"].valid & ~data["ground_truths"].crowd & (data["ground_truths"].area <= 1e10)).sum(1)
    expected = {
        "num_images_over_capacity": NUM_IMAGES - 20,
        # Of the images held, which are the first.
        "num_detections_over_capacity": np.maximum(data["detections"].valid.sum(1) - 4, 0)[:20].sum(),
        "num_ground_truths_over_capacity": np.maximum(counts - 3, 0)[:20].sum(),
    }
    result = metric.compute(state)
    assert {name: result.counters[name] for name in expected} == expected
    assert min(expected.values()) > 0
    for computed in (result, jax.jit(metric.compute)(state)):
        with pytest.raises(ValueError, match="the state overflowed") as error:
            metric.summarize(computed)
        for (name, count), capacity in zip(expected.items(), slots, strict=True):
            assert f"{name} = {count} (raise `{capacity}`)" in str(error.value)
        numbers = metric.summarize(computed, allow_overflow=True)
        assert {name: numbers[name] for name in expected} == expected
    assert result.counters["num_images"] == 20


def test_two_states_that_do_not_fit_together_overflow_when_merged() -> None:
    metric = dataclasses.replace(METRICS["exact"].metric, max_images=16)
    update, merge = jax.jit(metric.update), jax.jit(metric.merge)
    data = dataset()
    halves = [
        functools.reduce(lambda state, batch: update(state, **batch), batches(take(data, rows), SMALL), metric.init())
        for rows in (range(14), range(12, NUM_IMAGES))
    ]
    for state in halves:
        assert metric.summarize(metric.compute(state))["num_images_over_capacity"] == 0
    merged = metric.compute(merge(*halves))
    counters = {name: int(value) for name, value in merged.counters.items() if value}
    assert counters == {
        "num_images": 16,
        "num_repeated_images": 2,
        "num_padded_images": 2,
        "num_images_over_capacity": NUM_IMAGES - 16,
    }
    with pytest.raises(ValueError, match=r"num_images_over_capacity = 8 \(raise `max_images`\)"):
        metric.summarize(merged)
