"""The metric inside kauldron's loops: states from compiled steps, merged between them, keys into the context."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from kauldron import metrics

from jaxmap.interop.kauldron import AveragePrecisionMetric
from support import batches

METRIC = AveragePrecisionMetric(
    metric=batches.metric(),
    valid="preds.valid",
    ground_truth_valid="batch.objects.valid",
    ground_truth_boxes="batch.objects.boxes",
    ground_truth_labels="batch.objects.labels",
    ground_truth_crowd="batch.objects.crowd",
    ground_truth_area="batch.objects.area",
    mask="batch.mask",
)


@functools.partial(jax.jit, static_argnames="metric")
def step(context: dict[str, Any], metric: metrics.Metric = METRIC) -> metrics.State:
    """One step of an evaluator: the state of a batch, read from the context by the metric's keys."""
    return metric.get_state_from_context(context)


def shapes(state: metrics.State) -> Any:
    return [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in jax.tree.leaves(state)]


def contexts() -> list[dict[str, Any]]:
    """The batches as kauldron's context, its scalars with a trailing axis of 1."""
    return [
        {
            "preds": vars(batch["detections"]),
            "batch": {
                "objects": vars(batch["ground_truths"]),
                "image_id": batch["image_id"][:, None],
                "mask": batch["mask"][:, None],
            },
        }
        for batch in batches.batches()
    ]


@pytest.mark.slow
def test_loop_of_an_evaluator_equals_evaluate() -> None:
    state = None
    for context in contexts():
        update = step(context)
        assert len(update.state.images.image_id) == 5  # slots for its batch alone
        state = update if state is None else state.merge(update)
    numbers = state.finalize().compute()
    batches.assert_expected(numbers)
    assert list(numbers) == METRIC.__metric_names__()


@pytest.mark.slow
def test_states_merge_from_either_empty_state() -> None:
    for empty in (METRIC.empty(), METRIC.State.empty()):
        total = functools.reduce(lambda state, context: state.merge(step(context)), contexts(), empty)
        batches.assert_expected(total.compute())
        batches.assert_expected(total.merge(empty).compute())
    assert METRIC.empty().compute()["num_images"] == 0


@pytest.mark.slow
def test_finalized_states_have_the_shapes_of_merged_ones() -> None:
    first, *rest = map(step, contexts())
    merged = functools.reduce(lambda state, update: state.merge(update), rest, first)
    assert shapes(first) != shapes(merged)
    for state in (first, merged, METRIC.empty()):
        assert shapes(state.finalize()) == shapes(merged)
    batches.assert_expected(merged.finalize().compute())
    assert first.finalize().compute() == first.compute()


@pytest.mark.slow
def test_wrapper_of_kauldron_computes_the_same() -> None:
    wrapped = metrics.SkipIfMissing(METRIC)
    total = functools.reduce(lambda state, context: state.merge(step(context, wrapped)), contexts(), wrapped.empty())
    batches.assert_expected(total.compute())
    assert wrapped.get_state_from_context({"preds": {}, "batch": {}}).compute() == {}


def test_states_of_two_configs_do_not_merge() -> None:
    other = dataclasses.replace(METRIC, metric=batches.metric(max_images=99))
    with pytest.raises(ValueError, match="different metrics"):
        METRIC.empty().merge(other.empty())


@pytest.mark.parametrize("shape", [(4,), (6, 1), (5, 2), ()])
def test_mask_of_another_shape_raises(shape: tuple[int, ...]) -> None:
    context = contexts()[0]
    context["batch"]["mask"] = jnp.ones(shape)
    with pytest.raises(ValueError, match=r"`mask` must have one value per image.*\[5\]"):
        METRIC.get_state_from_context(context)
