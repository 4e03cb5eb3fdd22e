"""The metric inside `flax.nnx`: alone, in a `MultiMetric`, in place under `nnx.jit`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxmap
from jaxmap.interop.nnx import AveragePrecisionMetric
from support import batches

NUM_TRACES = {"step": 0}


@nnx.jit
def step(metrics: nnx.metrics.Metric, batch: dict[str, Any]) -> None:
    NUM_TRACES["step"] += 1
    metrics.update(**batch)


@pytest.fixture(autouse=True)
def standard_promotion() -> Iterator[None]:
    """`nnx.metrics.Average` divides float32 by int32, which the strict promotion of the other tests forbids."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def multi_metric() -> nnx.MultiMetric:
    return nnx.MultiMetric(coco=AveragePrecisionMetric(batches.metric()), loss=nnx.metrics.Average("loss"))


def shapes(metrics: nnx.metrics.Metric) -> Any:
    return [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in jax.tree.leaves(nnx.state(metrics))]


@pytest.mark.slow
def test_multi_metric_in_a_compiled_step_equals_evaluate_and_traces_once() -> None:
    metrics = multi_metric()
    before = shapes(metrics)
    NUM_TRACES["step"] = 0
    for _ in range(2):  # the second time after a reset
        for batch in batches.batches():
            step(metrics, batch)
            assert shapes(metrics) == before
        numbers = metrics.compute()
        batches.assert_expected(numbers["coco"])
        metrics.reset()
        assert metrics.compute()["coco"]["num_images"] == 0
    assert NUM_TRACES["step"] == 1


@pytest.mark.slow
def test_mask_of_a_multi_metric_may_name_its_metrics() -> None:
    metrics = multi_metric()
    for batch in batches.batches():
        metrics.update(**batch | {"mask": {"coco": batch["mask"]}})
    batches.assert_expected(metrics.compute()["coco"])


def test_alone_without_jit_equals_evaluate() -> None:
    metric = AveragePrecisionMetric(batches.metric())
    for batch in batches.batches():
        metric.update(**batch)
    batches.assert_expected(metric.compute())


def test_adapter_reads_the_models_own_keywords() -> None:
    def adapter(*, pred: dict[str, Any], label: dict[str, Any], **_: Any) -> tuple[Any, Any]:
        return jaxmap.Detections(**pred), jaxmap.GroundTruths(**label)

    metric = AveragePrecisionMetric(batches.metric(), adapter=adapter)
    for batch in batches.batches():
        pred, label = (vars(batch.pop(name)) for name in ("detections", "ground_truths"))
        metric.update(pred=pred, label=label, **batch)
    batches.assert_expected(metric.compute())


@pytest.mark.slow
def test_state_splits_from_the_metric_and_comes_back() -> None:
    first, *rest = batches.batches()
    metrics = multi_metric()
    step(metrics, first)
    graph, state = nnx.split(metrics, nnx.metrics.MetricState)
    resumed = nnx.merge(graph, jax.tree.map(jnp.asarray, jax.device_get(state)))
    for batch in rest:
        step(resumed, batch)
    batches.assert_expected(resumed.compute()["coco"])
    assert metrics.compute()["coco"]["num_images"] == 5


@pytest.mark.parametrize("shape", [(4,), (6,), (5, 1), ()])
def test_mask_of_another_shape_raises(shape: tuple[int, ...]) -> None:
    batch = next(batches.batches()) | {"mask": np.ones(shape)}
    with pytest.raises(ValueError, match=r"`mask` must have one value per image.*\[5\]"):
        AveragePrecisionMetric(batches.metric()).update(**batch)


@pytest.mark.parametrize("name", ["detections", "ground_truths", "image_id"])
def test_missing_keyword_raises(name: str) -> None:
    batch = next(batches.batches())
    del batch[name]
    with pytest.raises(TypeError, match=name):
        AveragePrecisionMetric(batches.metric()).update(**batch)


def test_compute_inside_jit_says_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"inside `jit` there are no Python numbers.*`compute` of a wrapper, outside"):
        nnx.jit(lambda metrics: metrics.compute())(multi_metric())
