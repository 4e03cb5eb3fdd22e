"""The metric inside clu's own collections: compiled steps, `pmap`, host loops, metrax beside it."""

# Without `from __future__ import annotations`: a `clu.metrics.Collection` reads its fields' annotations as types.

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import chex
import clu.metrics
import clu.values
import flax.jax_utils
import flax.serialization
import flax.struct
import jax
import jax.numpy as jnp
import metrax
import numpy as np
import pytest

import jaxmap
from jaxmap.interop.clu import as_clu_metric
from support import batches

METRIC = batches.metric()
MEAN_LOSS = 5.5  # of the image ids 0 .. 11


@flax.struct.dataclass
class EvalMetrics(clu.metrics.Collection):
    coco: as_clu_metric(METRIC)
    loss: clu.metrics.Average.from_output("loss")


@pytest.fixture(autouse=True)
def standard_promotion() -> Iterator[None]:
    """clu and metrax divide float32 by int32, which the strict promotion of the other tests forbids."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def shapes(tree: Any) -> Any:
    return [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in jax.tree.leaves(tree)]


def sharded_batches() -> Iterator[dict[str, Any]]:
    """Batches of eight, four images on each of two devices."""
    for batch in batches.batches(8):
        yield jax.tree.map(lambda column: column.reshape(2, 4, *column.shape[1:]), batch)


def assert_expected(collection: EvalMetrics, **options: int) -> None:
    numbers = collection.compute()
    batches.assert_expected(numbers["coco"], **options)
    assert numbers["loss"] == MEAN_LOSS


@pytest.mark.slow
def test_collection_in_a_compiled_step_equals_evaluate_and_traces_once() -> None:
    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(collection: EvalMetrics, batch: dict[str, Any]) -> EvalMetrics:
        return collection.merge(EvalMetrics.single_from_model_output(**batch))

    collection = EvalMetrics.empty()
    for batch in batches.batches():
        collection = step(collection, batch)
        assert shapes(collection) == shapes(EvalMetrics.empty())
    assert_expected(collection)


@pytest.mark.slow
def test_state_of_a_step_has_slots_for_its_batch_alone() -> None:
    update = EvalMetrics.single_from_model_output(**next(batches.batches()))
    assert len(update.coco.state.images.image_id) == 5


@pytest.mark.slow
def test_host_loop_may_start_from_its_first_step() -> None:
    collection = None
    for batch in batches.batches():
        update = EvalMetrics.single_from_model_output(**batch)
        collection = update if collection is None else collection.merge(update)
    assert_expected(collection)


@pytest.mark.slow
def test_merge_with_empty_changes_nothing() -> None:
    collection = EvalMetrics.empty()
    for batch in batches.batches():
        collection = collection.merge(EvalMetrics.single_from_model_output(**batch))
    empty = EvalMetrics.empty()
    assert_expected(collection.merge(empty))
    assert_expected(empty.merge(collection))


@pytest.mark.slow
def test_gather_under_pmap_equals_evaluate() -> None:
    def step(collection: EvalMetrics, batch: dict[str, Any]) -> tuple[EvalMetrics, EvalMetrics]:
        update = EvalMetrics.gather_from_model_output(**batch)
        return collection.merge(update), update

    devices = jax.devices()[:2]
    step = jax.pmap(step, axis_name="batch", devices=devices)
    inside = flax.jax_utils.replicate(EvalMetrics.empty(), devices)
    outside = None
    for batch in sharded_batches():
        inside, update = step(inside, batch)
        outside = update if outside is None else outside.merge(update)  # still with the axis of its devices
    for collection in (inside, outside):
        with pytest.raises(ValueError, match="still replicated"):
            collection.compute()
        assert_expected(collection.unreplicate(), num_padded_images=4)


@pytest.mark.slow
def test_reduce_folds_the_states_of_devices_and_counts_a_shared_image_once() -> None:
    per_device = [EvalMetrics.empty(), EvalMetrics.empty()]
    for i, batch in enumerate(batches.batches()):
        for device in {i % 2, 0}:  # the second of three batches reaches both devices
            per_device[device] = per_device[device].merge(EvalMetrics.single_from_model_output(**batch))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *per_device)
    reduced = stacked.reduce()
    assert shapes(reduced.coco) == shapes(per_device[0].coco)
    numbers = reduced.coco.compute()
    assert numbers["num_repeated_images"] == 5
    batches.assert_expected(numbers | {"num_repeated_images": 0})


@pytest.mark.slow
def test_adapter_reads_the_models_own_keywords() -> None:
    def adapter(*, pred: dict[str, Any], label: dict[str, Any], **_: Any) -> tuple[Any, Any]:
        return jaxmap.Detections(**pred), jaxmap.GroundTruths(**label)

    collection = clu.metrics.Collection.create(coco=as_clu_metric(METRIC, adapter=adapter)).empty()

    for batch in batches.batches():
        pred, label = (vars(batch.pop(name)) for name in ("detections", "ground_truths"))
        collection = collection.merge(collection.single_from_model_output(pred=pred, label=label, **batch))
    batches.assert_expected(collection.compute()["coco"])


@flax.struct.dataclass
class LossError(metrax.MSE):
    """metrax takes no keywords but its own, so in any collection it needs to be told which."""

    @classmethod
    def from_model_output(cls, *, loss: Any, mask: Any, **_: Any) -> Any:
        return super().from_model_output(predictions=loss + 2.0, labels=loss, sample_weights=mask)


@pytest.mark.slow
def test_sits_beside_a_metrax_metric() -> None:
    collection = clu.metrics.Collection.create(coco=as_clu_metric(METRIC), error=LossError).empty()
    for batch in batches.batches():
        collection = collection.merge(collection.single_from_model_output(**batch))
    numbers = collection.compute()
    batches.assert_expected(numbers["coco"])
    assert numbers["error"] == 4


@pytest.mark.slow
def test_compute_values_are_scalars_of_the_first_number() -> None:
    collection = EvalMetrics.empty()
    for batch in batches.batches():
        collection = collection.merge(EvalMetrics.single_from_model_output(**batch))
    values = collection.compute_values()
    assert values == {"coco": clu.values.Scalar(batches.expected()["AP"]), "loss": clu.values.Scalar(MEAN_LOSS)}


@pytest.mark.slow
def test_collection_resumes_from_bytes() -> None:
    first, *rest = batches.batches()
    collection = EvalMetrics.empty().merge(EvalMetrics.single_from_model_output(**first))
    saved = flax.serialization.to_bytes(collection)
    collection = flax.serialization.from_bytes(EvalMetrics.empty(), saved)
    for batch in rest:
        collection = collection.merge(EvalMetrics.single_from_model_output(**batch))
    assert_expected(collection)


@pytest.mark.parametrize("shape", [(4,), (6,), (5, 1), ()])
def test_mask_of_another_shape_raises(shape: tuple[int, ...]) -> None:
    batch = next(batches.batches()) | {"mask": np.ones(shape)}
    with pytest.raises(ValueError, match=r"`mask` must have one value per image.*\[5\]"):
        as_clu_metric(METRIC).from_model_output(**batch)


@pytest.mark.parametrize("name", ["detections", "ground_truths", "image_id"])
def test_missing_keyword_raises(name: str) -> None:
    batch = next(batches.batches())
    del batch[name]
    with pytest.raises(TypeError, match=name):
        as_clu_metric(METRIC).from_model_output(**batch)


@pytest.mark.slow
def test_image_ids_of_64_bits_stay_apart() -> None:
    collection = EvalMetrics.empty()
    for batch in batches.batches():
        ids = batch["image_id"].astype(np.int64) * 2**32 + 1
        collection = collection.merge(EvalMetrics.single_from_model_output(**batch | {"image_id": ids}))
    assert_expected(collection)


@pytest.mark.slow
def test_overflow_raises_in_compute() -> None:
    metric = as_clu_metric(batches.metric(max_images=11))
    state = metric.empty()
    for batch in batches.batches():
        state = state.merge(metric(state=EvalMetrics.single_from_model_output(**batch).coco.state))
    with pytest.raises(ValueError, match="raise `max_images`"):
        state.compute()


def test_compute_inside_jit_says_what_to_do() -> None:
    collection = clu.metrics.Collection.create(coco=as_clu_metric(METRIC))
    for compute in (collection.compute, collection.compute_values):
        with pytest.raises(TypeError, match=r"inside `jit` there are no Python numbers.*`compute` of a wrapper"):
            jax.eval_shape(compute, collection.empty())


@pytest.mark.slow
def test_jaxmap_alone_imports_no_partner_library() -> None:
    partners = ["flax", "clu", "metrax", "kauldron"]
    code = f"import jaxmap, jaxmap.interop, sys; print([name for name in {partners} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
