"""The laws of the metrics over label maps, score maps and ranked lists.

Counts are compared to the last bit. The sums of the ranking metric are of floats, which depend on the order: 1e-12.
Every jitted update of this file may be traced once, and gives its state away.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxmap import distributed
from jaxmap.metrics import MeanAveragePrecisionAtK, PanopticQuality, PixelAveragePrecision, SemanticSegmentation
from support.panoptic_scenes import random_scene

pytestmark = pytest.mark.slow

NUM_IMAGES, SIZE, NUM_DEVICES = 11, 4, 8
Batch = dict[str, np.ndarray]


def label_maps() -> Batch:
    rng = np.random.default_rng(0)
    truth = rng.choice([0, 1, 2, 7, 255], (NUM_IMAGES, 5, 6), p=[0.4, 0.3, 0.2, 0.05, 0.05])
    return {"predicted": rng.integers(-1, 4, truth.shape), "truth": truth}


def score_maps() -> Batch:
    truth = label_maps()["truth"]
    scores = np.random.default_rng(1).random((*truth.shape, 3)).astype(np.float32)
    return {"scores": np.where(scores < 0.05, np.nan, scores * 1.05), "truth": truth}


def segment_maps() -> Batch:
    scene = random_scene(NUM_IMAGES, (9, 11))
    bad = scene["predicted"].copy()
    bad[:, 0, 0] = 99
    return scene | {"predicted": bad}


def lists() -> Batch:
    rng = np.random.default_rng(2)
    relevant, predicted = rng.integers(0, 9, (2, NUM_IMAGES, 6))
    return {
        "relevant": relevant,
        "predicted": predicted,
        "relevant_valid": rng.random((NUM_IMAGES, 6)) < rng.choice([0, 0.5], (NUM_IMAGES, 1)),
        "predicted_valid": rng.random((NUM_IMAGES, 6)) < 0.8,
        "weights": rng.random(NUM_IMAGES).astype(np.float32),
    }


@dataclasses.dataclass(frozen=True)
class Case:
    """A metric, data for it, the tolerance of its laws, and the counter that padding alone may change."""

    metric: Any
    data: Batch
    tolerance: float
    padding: str

    @functools.cached_property
    def update(self) -> Any:
        def step(state: Any, batch: Batch) -> Any:
            return self.metric.update(state, **batch)

        step.__name__ = type(self.metric).__name__  # by which chex tells them apart
        jitted = jax.jit(chex.assert_max_traces(step, n=1), donate_argnums=0)
        return lambda state, batch: jitted(jax.tree.map(jnp.array, state), batch)

    @functools.cached_property
    def merge(self) -> Any:
        return jax.jit(self.metric.merge)

    def batches(self, images: Sequence[int]) -> list[Batch]:
        """Cuts images into batches; the last is filled up with images of others that are not valid."""
        cuts = []
        for start in range(0, len(images), SIZE):
            rows = np.resize(np.asarray(images[start : start + SIZE]), SIZE)
            batch = {name: column[rows] for name, column in self.data.items()}
            cuts.append(batch | {"valid": np.arange(SIZE) < len(images) - start})
        return cuts

    def state_of(self, images: Sequence[int]) -> Any:
        return functools.reduce(self.update, self.batches(images), self.metric.init())

    def assert_same(self, one: Any, other: Any, *, padding: bool = False) -> None:
        """Asserts that two states say the same; with `padding`, whatever they say of that."""
        one, other = self.metric.compute(one), self.metric.compute(other)
        for result in (one, other):
            if padding:
                result.counters[self.padding] = 0
        compare = functools.partial(np.testing.assert_allclose, rtol=0, atol=self.tolerance)
        jax.tree.map(compare if self.tolerance else np.testing.assert_array_equal, one, other)


CASES = {
    "segmentation": Case(SemanticSegmentation(num_classes=3), label_maps(), 0, "num_padded_pixels"),
    "pixels": Case(PixelAveragePrecision(num_classes=3, num_bins=16), score_maps(), 0, "num_padded_pixels"),
    "panoptic": Case(PanopticQuality(num_classes=3, things=(1,)), segment_maps(), 0, "num_padded_pixels"),
    "ranking": Case(MeanAveragePrecisionAtK(k=4), lists(), 1e-12, "num_padded_rows"),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def test_merge_is_neutral_associative_and_commutative(case: Case) -> None:
    a, b, c = (case.state_of(images) for images in ([0, 1, 2, 3, 4], [5], [6, 7, 8, 9, 10]))
    merge, empty = case.merge, case.metric.init()
    chex.assert_trees_all_equal(merge(empty, a), a)
    chex.assert_trees_all_equal(merge(a, empty), a)
    case.assert_same(merge(merge(a, b), c), merge(a, merge(b, c)))
    case.assert_same(merge(merge(c, b), a), merge(a, merge(b, c)))
    case.assert_same(merge(merge(a, b), c), case.state_of(range(NUM_IMAGES)), padding=True)


def test_update_is_merge_with_the_update_of_nothing(case: Case) -> None:
    first, second, _ = case.batches(range(NUM_IMAGES))
    state = case.update(case.metric.init(), first)
    updated = case.update(state, second)
    case.assert_same(updated, case.merge(state, case.update(case.metric.init(), second)))
    chex.assert_trees_all_equal_shapes_and_dtypes(updated, case.metric.init())
    assert not any(leaf.weak_type for leaf in jax.tree.leaves((updated, case.metric.init())))


def test_any_order_and_split_of_images_gives_the_same_numbers(case: Case) -> None:
    whole = case.state_of(range(NUM_IMAGES))
    rng = np.random.default_rng(0)
    for _ in range(3):
        order = rng.permutation(NUM_IMAGES).tolist()
        case.assert_same(case.state_of(order), whole)
        cut = int(rng.integers(1, NUM_IMAGES))
        parts = case.state_of(order[:cut]), case.state_of(order[cut:])
        case.assert_same(case.merge(*parts), whole, padding=True)


def test_padding_images_may_hold_anything(case: Case) -> None:
    (batch,) = case.batches([0, 1, 2])
    state = case.update(case.metric.init(), batch)
    for value in (-1, 0, 99, np.nan, np.inf):
        rubbish = {}
        for name, column in batch.items():
            rubbish[name] = column.copy()
            if name != "valid" and (column.dtype.kind == "f" or np.isfinite(value)):
                rubbish[name][3] = value
        chex.assert_trees_all_equal(case.update(case.metric.init(), rubbish), state)


def test_scan_and_vmap_equal_a_loop(case: Case) -> None:
    shards = [case.batches(images) for images in ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9, 10])]
    stacked = jax.tree.map(lambda *x: np.stack(x), *[jax.tree.map(lambda *x: np.stack(x), *shard) for shard in shards])

    @jax.jit
    @jax.vmap
    def scan(batches: Batch) -> Any:
        empty = case.metric.init()
        return jax.lax.scan(lambda state, batch: (case.metric.update(state, **batch), None), empty, batches)[0]

    states = scan(stacked)
    for i, shard in enumerate(shards):
        expected = functools.reduce(case.update, shard, case.metric.init())
        case.assert_same(jax.tree.map(lambda leaf, i=i: leaf[i], states), expected)


def test_devices_reduce_to_the_state_of_all_images(case: Case) -> None:
    images = np.resize(np.arange(NUM_IMAGES), 2 * NUM_DEVICES)
    batch = {name: column[images] for name, column in case.data.items()}
    batch["valid"] = np.arange(2 * NUM_DEVICES) < NUM_IMAGES
    mesh = jax.make_mesh((NUM_DEVICES,), ("devices",), axis_types=(AxisType.Auto,))

    @jax.jit
    @functools.partial(jax.shard_map, mesh=mesh, in_specs=P("devices"), out_specs=P())
    def evaluate(batch: Batch) -> Any:
        state = case.metric.update(case.metric.init(), **batch)
        return distributed.reduce(case.metric, state, "devices")

    case.assert_same(evaluate(batch), case.state_of(range(NUM_IMAGES)), padding=True)


@pytest.mark.parametrize("case", ["segmentation", "pixels"], indirect=True)
def test_arrays_that_are_spread_over_devices_need_nothing(case: Case) -> None:
    mesh = jax.make_mesh((NUM_DEVICES,), ("devices",), axis_types=(AxisType.Auto,))
    batch = {name: column[:NUM_DEVICES] for name, column in case.data.items()}
    spread = jax.device_put(batch, NamedSharding(mesh, P("devices")))
    state = jax.jit(lambda batch: case.metric.update(case.metric.init(), **batch))(spread)
    case.assert_same(state, case.state_of(range(NUM_DEVICES)), padding=True)


@pytest.mark.parametrize("case", ["segmentation"], indirect=True)
def test_eager_equals_jit(case: Case) -> None:
    (batch,) = case.batches([0, 1, 2])
    case.assert_same(case.metric.update(case.metric.init(), **batch), case.update(case.metric.init(), batch))
