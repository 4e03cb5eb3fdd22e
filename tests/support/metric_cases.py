"""Every metric with what it promises, its functions compiled once, and a small dataset for all of them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

import jaxmap
from jaxmap.metrics import AveragePrecision, HistogramAveragePrecision, HostAveragePrecision
from support.scenes import pad, random_scene

NUM_IMAGES, D, G, K = 24, 24, 16, 3
SMALL, LARGE = 7, 64  # batch sizes; neither divides the images
IDS = np.array([0, *range(5, 5 * NUM_IMAGES - 8, 5), 2**31 - 1], np.int32)
CONFIG = {"num_classes": K, "box_format": "xywh"}
SLOTS = {"max_detections_per_image": D, "max_ground_truths_per_image": G}
Batch = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Case:
    """A metric and what it promises beyond the laws.

    Attributes:
      metric: has room for all of the data.
      in_jit: False where `update` and `merge` are called from Python alone.
      exact: False where only recall is that of `evaluate`, and all of `compute` is in float32.
      knows_images: False where an image that comes twice counts twice.
    """

    metric: Any
    in_jit: bool = True
    exact: bool = True
    knows_images: bool = True


METRICS = {
    "exact": Case(AveragePrecision(**CONFIG, **SLOTS, max_images=NUM_IMAGES)),
    "host": Case(HostAveragePrecision(**CONFIG), in_jit=False),
    "histogram": Case(HistogramAveragePrecision(**CONFIG, num_bins=64), exact=False, knows_images=False),
}


@functools.cache
def dataset() -> Batch:
    """Images from random scenes of several classes, with crowds and ties, in float32; padding holds NaN."""
    images: tuple[list[Any], list[Any]] = ([], [])
    for seed in range(4000, 4100):
        scene = random_scene(np.random.default_rng(seed), default_options=True)
        sides = scene.lists()
        longest = [max(len(image["labels"]) for image in side) for side in sides]
        if len(scene.class_ids) == K and longest[0] <= D and 2 <= longest[1] <= G:
            for side, into in zip(sides, images, strict=True):
                into.extend(side)
    found, truth = (pad(side[:NUM_IMAGES], length) for side, length in zip(images, (D, G), strict=True))
    assert len(found["boxes"]) == NUM_IMAGES
    assert truth["crowd"][truth["valid"]].any()
    found["scores"] = np.round(np.clip(found["scores"], 0, 1), 1)  # nearly all of them tied with some other image's
    dtypes = {"f": np.float32, "i": np.int32, "b": np.bool_}
    found, truth = (
        {name: column.astype(dtypes[column.dtype.kind]) for name, column in side.items()} for side in (found, truth)
    )
    return {
        "detections": jaxmap.Detections(**found),
        "ground_truths": jaxmap.GroundTruths(**truth),
        "image_id": IDS,
        "valid": np.ones(NUM_IMAGES, bool),
    }


def take(data: Batch, images: Sequence[int] | np.ndarray) -> Batch:
    rows = np.asarray(images, int)
    return jax.tree.map(lambda column: column[rows], data)


def batches(data: Batch, size: int) -> Iterator[Batch]:
    """Cuts images into batches; the last is filled up with images whose every number, and id, is someone else's."""
    count = len(data["image_id"])
    for start in range(0, count, size):
        rows = np.arange(start, start + size)
        batch = take(data, rows % count)
        yield batch | {"valid": batch["valid"] & (rows < count)}


class Runner:
    """A metric with its functions, compiled once for all tests."""

    def __init__(self, case: Case) -> None:
        self.case, self.metric = case, case.metric
        self.in_jit, self.merge, self.compute = {}, self.metric.merge, self.metric.compute
        if case.in_jit:
            self.in_jit = {size: self.traced_once(size) for size in (SMALL, LARGE)}
            self.merge, self.compute_in_jit = jax.jit(self.metric.merge), jax.jit(self.metric.compute)
            if not case.exact:
                self.compute = self.compute_in_jit

    def traced_once(self, size: int) -> Any:
        def step(state: Any, batch: Batch) -> Any:
            return self.step(state, batch)

        step.__name__ = f"{type(self.metric).__name__}_{size}"  # by which chex tells them apart
        return jax.jit(chex.assert_max_traces(step, n=1), donate_argnums=0)

    def step(self, state: Any, batch: Batch) -> Any:
        return self.metric.update(state, **batch)

    def update(self, state: Any, batch: Batch) -> Any:
        step = self.in_jit.get(len(batch["image_id"]), self.step)
        return step(jax.tree.map(jnp.array, state) if self.case.in_jit else state, batch)

    def state_of(self, data: Batch, size: int = SMALL) -> Any:
        return functools.reduce(self.update, batches(data, size), self.metric.init())

    def assert_same_state(self, one: Any, other: Any) -> None:
        """Asserts that two states are equal in every bit; those of the host are only equal in what they say."""
        if self.case.in_jit:
            chex.assert_trees_all_equal(one, other)
            chex.assert_trees_all_equal_shapes_and_dtypes(one, self.metric.init())
        else:
            self.assert_same_result(one, other)

    def assert_same_result(self, one: Any, other: Any, *, but: Sequence[str] = ()) -> None:
        """Asserts that two states compute to the same bits; `but` names the counters that may differ."""
        one, other = self.compute(one), self.compute(other)
        for result in (one, other):
            for name in but:
                result.counters[name] = 0
        jax.tree.map(np.testing.assert_array_equal, one, other)


@functools.cache
def runner_of(name: str) -> Runner:
    return Runner(METRICS[name])


def shuffled(seed: int = 0) -> Batch:
    return take(dataset(), np.random.default_rng(seed).permutation(NUM_IMAGES))
