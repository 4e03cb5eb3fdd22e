"""Intervals of a metric's state: inside `jit` as on the host, from the loop as from the arrays."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import numpy as np
import pytest

import jaxmap
from jaxmap.protocols import SummaryRow
from jaxmap.types import UNDEFINED
from support import batches

# float32 means of float32 curves; an end of an interval moves between replicates by as much as their values differ.
ATOL = 2e-4
state_of = {}


def filled(max_images: int = batches.NUM_IMAGES) -> tuple[jaxmap.AveragePrecision, Any]:
    """Returns the metric of the batches and its state after all of them, in an order of its own."""
    if max_images not in state_of:
        metric = batches.metric(max_images)
        state, step = metric.init(), jax.jit(metric.update)
        for batch in batches.batches():
            batch = {name: batch[name] for name in ("detections", "ground_truths", "image_id")} | {
                "valid": batch["mask"] > 0
            }
            state = step(state, **batch)
        state_of[max_images] = metric, state
    return state_of[max_images]


@pytest.mark.parametrize(
    "max_images",
    [batches.NUM_IMAGES, pytest.param(1100, marks=pytest.mark.slow)],  # many are padded to whole tiles
)
def test_inside_jit_equals_the_host(max_images: int) -> None:
    metric, state = filled(max_images)
    inside = jax.jit(lambda state: metric.bootstrap(state, num_replicates=60, seed=3))(state)
    outside = metric.bootstrap(state, num_replicates=60, seed=3)
    assert set(inside) == set(outside)  # jit sorts the names
    for name, interval in inside.items():
        for field, value in interval._asdict().items():
            expected = getattr(outside[name], field)
            expected = UNDEFINED if math.isnan(expected) else expected
            assert float(value) == pytest.approx(expected, abs=ATOL), (name, field)


def test_from_the_loop_equals_from_the_arrays() -> None:
    metric, state = filled()
    found, truth = batches.dataset()
    expected = jaxmap.evaluate(found, truth, box_format="xywh", num_classes=1).bootstrap(60, seed=3).summary
    for name, interval in metric.bootstrap(state, num_replicates=60, seed=3).items():
        assert tuple(interval) == pytest.approx(tuple(expected[name]), abs=1e-12, nan_ok=True)


@pytest.mark.slow
def test_every_analysis_of_weights_is_the_same_from_the_loop_and_from_the_arrays() -> None:
    metric, state = filled()
    found, truth = batches.dataset()
    shifted = dataclasses.replace(found, boxes=found.boxes + np.float32([1, 0, 0, 0]))
    arrays = [jaxmap.evaluate(one, truth, box_format="xywh", num_classes=1) for one in (found, shifted)]
    ids = np.arange(batches.NUM_IMAGES, dtype=np.int32)
    loop = [
        metric.evaluation(state),
        metric.evaluation(jax.jit(metric.update)(metric.init(), shifted, truth, image_id=ids)),
    ]
    pairs = [
        [one.influence() for one in (loop[0], arrays[0])],
        [one.learning_curve([3, 9], num_samples=5) for one in (loop[0], arrays[0])],
        [one.slices({"even": ids % 2 == 0}, num_replicates=9).numbers() for one in (loop[0], arrays[0])],
        [jaxmap.compare(*both, num_replicates=9).numbers() for both in (loop, arrays)],
        [one.of_images(ids < 5).per_class() for one in (loop[0], arrays[0])],
    ]
    for from_loop, from_arrays in pairs:
        assert list(from_loop) == list(from_arrays)
        for name, column in from_loop.items():
            np.testing.assert_array_equal(column, from_arrays[name], err_msg=name)


def test_an_empty_state_is_undefined() -> None:
    metric, _ = filled()
    inside = jax.jit(lambda state: metric.bootstrap(state, num_replicates=4))(metric.init())
    assert {float(value) for interval in inside.values() for value in interval[:-1]} == {UNDEFINED}
    with pytest.raises(ValueError, match="at least two images, got 0"):
        metric.bootstrap(metric.init())


def test_bad_arguments_and_what_only_the_host_does() -> None:
    metric, state = filled()
    with pytest.raises(ValueError, match="`num_replicates` must be a whole number of at least 2, got 0"):
        metric.bootstrap(state, num_replicates=0)
    protocol = dataclasses.replace(jaxmap.COCO, summary=(SummaryRow("F1", "f1"),))
    with_f1 = dataclasses.replace(metric, protocol=protocol)
    with pytest.raises(ValueError, match=r"`bootstrap` inside jit does not serve \['f1'\]"):
        jax.jit(with_f1.bootstrap)(with_f1.init())


def test_only_recall_can_be_asked_for() -> None:
    metric, _ = filled()
    recall = dataclasses.replace(jaxmap.COCO, summary=(SummaryRow("AR{limit}", "recall", each="limit"),))
    metric = dataclasses.replace(metric, protocol=recall)
    found, truth = batches.dataset()
    state = metric.update(metric.init(), found, truth, image_id=np.arange(batches.NUM_IMAGES, dtype=np.int32))
    inside = jax.jit(lambda state: metric.bootstrap(state, num_replicates=10))(state)
    outside = metric.bootstrap(state, num_replicates=10)
    for name, interval in inside.items():
        assert float(interval.value) == pytest.approx(outside[name].value, abs=ATOL)
        assert float(interval.standard_error) == pytest.approx(outside[name].standard_error, abs=ATOL)
