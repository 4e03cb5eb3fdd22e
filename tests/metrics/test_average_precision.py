"""The promise of the exact state on all of COCO val2017: however the images arrive, the numbers are `evaluate`'s.

Each pair streams through one jitted update as a loop would: shuffled, some images twice, the last batch padded. On the
host the result must be that of `jaxmap.evaluate` on the same float32 arrays to the last bit. Inside `jit` every cell is
one float32 division away from it, within 2^-23 since compilers multiply by the reciprocal, and their mean within 1e-6.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Iterator
from typing import Any

import chex
import jax
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxmap
from jaxmap import AveragePrecision, distributed
from reference.test_shared_data import INTEGER_BOXES, Pair
from support.padded import pad_coco

pytestmark = pytest.mark.slow

NUM_IMAGES, NUM_REPEATED = 5000, 251  # 5 % come twice; neither batch size divides the sum
METRIC = AveragePrecision(num_classes=80, max_images=NUM_IMAGES, box_format="xywh")
NUM_DEVICES = 8
SHARE = dataclasses.replace(METRIC, max_images=800)  # of one device: an eighth of the images, and some room
D, G = METRIC.max_detections_per_image, METRIC.max_ground_truths_per_image
SIZES = (7, 64)
RESULTS = ("ssd_resnet50_fpn", "ssd_inception_v2")
Batch = dict[str, Any]


@pytest.fixture(scope="module")
def updates() -> dict[int, Any]:
    """Returns one compiled update for each batch size."""

    def update_of(size: int) -> Any:
        def update(state: Any, batch: Batch) -> Any:
            return METRIC.update(state, **batch)

        update.__name__ = f"update_{size}"  # by which chex tells them apart
        return jax.jit(chex.assert_max_traces(update, n=1), donate_argnums=0)

    return {size: update_of(size) for size in SIZES}


def on_devices(one: Any, out_specs: Any) -> Any:
    """Returns a compiled program that runs `one` on each of the devices, with its part of all arguments."""
    mesh = jax.make_mesh((NUM_DEVICES,), ("devices",), axis_types=(AxisType.Auto,))
    return jax.jit(jax.shard_map(one, mesh=mesh, in_specs=P("devices"), out_specs=out_specs))


def first(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[0], tree)


@functools.cache
def load(folder: pathlib.Path, results: str) -> tuple[Batch, jaxmap.Evaluation]:
    """Returns all images of a pair, and what `evaluate` says of them."""
    files = Pair(INTEGER_BOXES, f"coco_val2017/{results}").load(folder)
    detections, ground_truths = pad_coco(*files, num_images=NUM_IMAGES, num_detections=D, num_ground_truths=64)
    evaluation = jaxmap.evaluate(detections, ground_truths, num_classes=80, box_format="xywh")
    return {"detections": detections, "ground_truths": ground_truths}, evaluation


def batches(data: Batch, size: int, seed: int) -> Iterator[Batch]:
    """Yields all images in a random order, with some of them twice and the last batch padded."""
    rng = np.random.default_rng(seed)
    images = rng.permutation(np.append(np.arange(NUM_IMAGES), rng.choice(NUM_IMAGES, NUM_REPEATED, replace=False)))
    padded = np.append(images, rng.choice(NUM_IMAGES, -len(images) % size)).astype(np.int32)
    for start in range(0, len(padded), size):
        rows = padded[start : start + size]
        batch = jax.tree.map(lambda column, rows=rows: column[rows], data)
        yield batch | {"image_id": rows, "valid": np.arange(start, start + size) < len(images)}


@pytest.mark.parametrize(("results", "size"), [(RESULTS[0], 7), *((results, 64) for results in RESULTS)])
def test_full_coco_in_batches_equals_evaluate_to_the_last_bit(
    updates: dict[int, Any], results: str, size: int, shared_data: pathlib.Path
) -> None:
    data, evaluation = load(shared_data, results)
    state = METRIC.init()
    for batch in batches(data, size, seed=size):
        state = updates[size](state, batch)
    assert_exact(METRIC.compute(state), evaluation, num_padded=-(NUM_IMAGES + NUM_REPEATED) % size)
    if size == 64:
        assert_close(jax.jit(METRIC.compute)(state), evaluation)
        assert_same_answers(METRIC.evaluation(state), evaluation)


def test_full_coco_on_eight_devices_equals_evaluate_to_the_last_bit(shared_data: pathlib.Path) -> None:
    def update(states: Any, batch: Batch) -> Any:
        return jax.tree.map(lambda leaf: leaf[None], SHARE.update(first(states), **batch))

    data, evaluation = load(shared_data, RESULTS[0])
    step, size = on_devices(update, out_specs=P("devices")), 64  # of the batch of a device
    states = jax.tree.map(lambda leaf: np.stack([leaf] * NUM_DEVICES), SHARE.init())
    for batch in batches(data, size * NUM_DEVICES, seed=size):
        states = step(states, batch)
    reduced = on_devices(lambda state: distributed.reduce(METRIC, first(state), "devices"), out_specs=P())(states)
    num_padded = -(NUM_IMAGES + NUM_REPEATED) % (size * NUM_DEVICES)
    assert_exact(METRIC.compute(reduced), evaluation, num_padded=num_padded)


def assert_exact(result: Any, evaluation: jaxmap.Evaluation, *, num_padded: int) -> None:
    for name in ("precision", "recall", "scores"):
        np.testing.assert_array_equal(getattr(result.curves, name), getattr(evaluation, name), err_msg=name)
    np.testing.assert_array_equal(result.curves.num_ground_truths, evaluation.curves.num_ground_truths)
    numbers = METRIC.summarize(result)
    assert {name: numbers[name] for name in evaluation.summary} == evaluation.summary
    assert {name: int(count) for name, count in result.counters.items() if count} == {
        "num_images": NUM_IMAGES,
        "num_repeated_images": NUM_REPEATED,
        "num_padded_images": num_padded,
    }


def assert_same_answers(from_state: jaxmap.Evaluation, evaluation: jaxmap.Evaluation) -> None:
    """Every table, curve and explanation of a state is that of the arrays, to the last bit."""
    for table in ("per_class", "per_image", "operating_points"):
        columns, expected = getattr(from_state, table)(), getattr(evaluation, table)()
        assert columns.keys() == expected.keys()
        for name, column in columns.items():
            np.testing.assert_array_equal(column, expected[name], err_msg=f"{table} {name}")
    for class_id in (None, 0, 17):
        for field, values in vars(from_state.curve(0.75, class_id, area="medium")).items():
            expected_values = getattr(evaluation.curve(0.75, class_id, area="medium"), field)
            np.testing.assert_array_equal(values, expected_values, err_msg=field)
    explanation, expected_explanation = from_state.explain(), evaluation.explain()
    assert explanation.to_dict(top=50) == expected_explanation.to_dict(top=50)
    np.testing.assert_array_equal(explanation.cost, expected_explanation.cost)
    assert str(explanation) == str(expected_explanation)
    assert str(from_state) == str(evaluation)


def assert_close(result: Any, evaluation: jaxmap.Evaluation) -> None:
    for name in ("precision", "recall", "scores"):
        cells, expected = np.asarray(getattr(result.curves, name)), getattr(evaluation, name)
        np.testing.assert_array_equal(cells == -1, np.isnan(expected))  # scores of detectors are positive
        np.testing.assert_allclose(cells, np.where(np.isnan(expected), -1, expected), rtol=0, atol=2.0**-23)
    numbers = METRIC.summarize(result)
    assert {name: numbers[name] for name in evaluation.summary} == pytest.approx(evaluation.summary, rel=0, abs=1e-6)


def test_state_of_coco_takes_less_than_16_megabytes() -> None:
    state = METRIC.init()
    assert state.images.scores.shape == (NUM_IMAGES, 100)
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(state)) < 16e6
