"""The metrics of detections on one small dataset: equal to `evaluate`, and what is bad or finds no room is counted.

Results are compared to the last bit, except float32 from inside `jit` with float64 on the host: 2^-23, a division by
way of the reciprocal.
"""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

import jaxmap
from jaxmap.metrics import AveragePrecision
from support.metric_cases import CASES, CONFIG, NUM_IMAGES, SIZE, D, K, Runner, batches, dataset, runner_of
from support.scenes import odd_scenes

pytestmark = [odd_scenes, pytest.mark.slow]

ON_BOXES = [name for name, case in CASES.items() if case.data is dataset]


@pytest.fixture
def runner(request: pytest.FixtureRequest) -> Runner:
    return runner_of(request.param)


def for_metrics(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("runner", names, indirect=True)


@for_metrics("exact", "host", "histogram")
def test_numbers_are_those_of_evaluate(runner: Runner) -> None:
    data = dataset()
    expected = jaxmap.evaluate(data["detections"], data["ground_truths"], **CONFIG)
    result = runner.compute(runner.whole)
    numbers = runner.metric.summarize(result)
    assert 0.1 < expected.summary["AP"] < 0.9
    if runner.name != "histogram":
        for name in ("precision", "recall", "scores"):
            np.testing.assert_array_equal(getattr(result.curves, name), getattr(expected.curves, name))
        assert {name: numbers[name] for name in expected.summary} == expected.summary
    else:
        for name, value in expected.summary.items():
            if name.startswith("AR"):
                assert numbers[name] == pytest.approx(value, abs=1e-6), name  # a float32 division and mean
    assert numbers["num_images"] == NUM_IMAGES


@for_metrics(*ON_BOXES)
def test_update_with_bad_rows_in_images_seen_twice_is_merge(runner: Runner) -> None:
    batch = batches(dataset())[0]
    batch = batch | {"detections": dataclasses.replace(batch["detections"], valid=np.ones((SIZE, D), bool))}
    state = runner.update(runner.metric.init(), batch)  # its padding, now valid, is not finite
    assert runner.compute(state).counters["num_not_finite"] > 0
    runner.assert_same_state(
        runner.update(state, batch), runner.merge(state, runner.update(runner.metric.init(), batch))
    )


@for_metrics(*ON_BOXES)
def test_counters_say_what_was_seen(runner: Runner) -> None:
    data = dataset()
    found, truth = (jax.tree.map(np.copy, data[side]) for side in ("detections", "ground_truths"))
    row, other_row = (tuple(np.argwhere(valid)[3]) for valid in (found.valid, truth.valid))
    found.scores[row], truth.boxes[other_row] = np.inf, np.nan
    row, other_row = (tuple(np.argwhere(valid)[7]) for valid in (found.valid, truth.valid))
    found.labels[row], truth.labels[other_row] = K, -1
    state = runner.state_of(data | {"detections": found, "ground_truths": truth})
    counters = {name: int(value) for name, value in runner.compute(state).counters.items()}
    expected = {"num_images": NUM_IMAGES, "num_padded_images": -NUM_IMAGES % SIZE}
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


@for_metrics("exact", "histogram")
def test_curves_inside_jit_agree_with_the_host(runner: Runner) -> None:
    on_device, on_host = runner.compute_in_jit(runner.whole), runner.metric.compute(runner.whole)
    assert on_device.curves.average_precision is on_host.curves.average_precision is None  # a mean over recall points
    for name, cells in vars(on_device.curves).items():
        if cells is None or name == "at_best_score":  # none in COCO's summary
            continue
        expected = np.asarray(getattr(on_host.curves, name), np.float64)
        expected = np.where(np.isnan(expected), -1.0, expected)  # undefined
        np.testing.assert_allclose(np.nan_to_num(cells, nan=-1.0), expected, rtol=0, atol=2.0**-23, err_msg=name)


def test_what_finds_no_room_is_counted_and_refused_by_name() -> None:
    data = dataset()
    slots = {"max_images": 20, "max_detections_per_image": 4, "max_ground_truths_per_image": 3}
    metric = AveragePrecision(**CONFIG, **slots)
    with pytest.warns(UserWarning, match=r"the batch has (24 detections|8 ground_truths) per image"):
        jax.eval_shape(lambda batch: metric.update(metric.init(), **batch), batches(data)[0])
    state = jax.jit(metric.merge)(metric.init(), runner_of("exact").whole)
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
    with pytest.raises(ValueError, match="the state overflowed") as error:
        metric.summarize(result)
    for (name, count), capacity in zip(expected.items(), slots, strict=True):
        assert f"{name} = {count} (raise `{capacity}`)" in str(error.value)
    numbers = metric.summarize(result, allow_overflow=True)
    assert {name: numbers[name] for name in expected} == expected
    assert result.counters["num_images"] == 20


def test_two_states_that_do_not_fit_together_overflow_when_merged() -> None:
    runner = runner_of("exact")
    metric = dataclasses.replace(runner.metric, max_images=16)
    merge = jax.jit(metric.merge)
    parts = (runner.state_of(dataset(), rows) for rows in (range(14), range(12, NUM_IMAGES)))
    halves = [merge(metric.init(), part) for part in parts]
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
