"""Numbers for loggers: flat, plain floats, without undefined ones, and with names of classes that stay apart."""

from __future__ import annotations

import json
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import jaxmap
from jaxmap._panoptic._quality import panoptic_quality


def evaluation(names: list[str]) -> jaxmap.Evaluation:
    """Returns one image with an object of each class but the last; all are found, the first by a poor box."""
    labels = list(range(len(names) - 1))
    boxes = [[10 * label, 0, 10 * label + 8, 10] for label in labels]
    found = [[0, 0, 8, 8], *boxes[1:]]
    return jaxmap.evaluate(
        [{"boxes": found, "labels": labels, "scores": [0.9] * len(labels)}],
        [{"boxes": boxes, "labels": labels}],
        class_names=names,
    )


def test_summary_and_numbers_of_classes_are_plain_floats_without_undefined_ones() -> None:
    one = evaluation(["cat", "dog", "never seen"])
    numbers = one.to_scalars(prefix="val/", per_class=True)
    assert {type(value) for value in numbers.values()} == {float}
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
    defined = {name: value for name, value in one.summary.items() if not math.isnan(value)}
    assert 0 < len(defined) < len(one.summary)
    assert one.to_scalars("val/") == {f"val/{name}": value for name, value in defined.items()}
    assert list(numbers)[: len(defined)] == [f"val/{name}" for name in defined]
    columns = one.per_class()
    for name in defined:
        assert numbers[f"val/{name}/cat"] == columns[name][0]
        assert numbers[f"val/{name}/dog"] == columns[name][1]
    assert len(numbers) == 3 * len(defined)
    assert one.to_scalars() == defined


def test_panoptic_evaluation_gives_its_numbers_likewise() -> None:
    segments = [{"segments": np.ones((4, 4), int), "ids": [1], "labels": [1]}]
    one = panoptic_quality(segments, segments, class_names=["sky", "road"])
    expected = {"PQ": 1.0, "SQ": 1.0, "RQ": 1.0}
    assert one.to_scalars("test/") == {f"test/{name}": value for name, value in expected.items()}
    assert one.to_scalars(per_class=True) == expected | {f"{name}/road": value for name, value in expected.items()}


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["person", "car"], ["person", "car"]),
        (["traffic light", "traffic_light"], ["traffic_light_0", "traffic_light_1"]),
        (["cat", "cat", "cat_1"], ["cat_0", "cat_1_1", "cat_1_2"]),
        (["a", "a_1", "a"], ["a_0", "a_1", "a_2"]),
        (["a/b", "a\\b", "../c"], ["a_b_0", "a_b_1", ".._c"]),
        (["", "..", "1"], ["_0", ".._1", "1"]),
        (["größe", "猫", "x\n", "\ud800"], ["größe", "猫", "x_", "_"]),
    ],
)
def test_names_of_classes_are_safe_and_stay_apart(names: list[str], labels: list[str]) -> None:
    table: dict[str, list[Any]] = {"class_id": list(range(len(names))), "class_name": names, "AP": [0.5] * len(names)}
    numbers = jaxmap.to_scalars({"AP": 0.5}, per_class=table)
    assert list(numbers) == ["AP", *(f"AP/{label}" for label in labels)]


@pytest.mark.slow
def test_numbers_of_a_metric_are_floats_too() -> None:
    metric = jaxmap.AveragePrecision(num_classes=2, max_images=1)
    found = jaxmap.Detections(
        boxes=jnp.array([[[0.0, 0, 9, 8]]]), scores=jnp.ones((1, 1)), labels=jnp.zeros((1, 1), int)
    )
    truth = jaxmap.GroundTruths(boxes=jnp.array([[[0.0, 0, 9, 9]]]), labels=jnp.zeros((1, 1), int))
    state = metric.update(metric.init(), found, truth, image_id=jnp.array([7]))
    numbers = jaxmap.to_scalars(metric.summarize(metric.compute(state)), prefix="val/")
    assert {type(value) for value in numbers.values()} == {float}
    assert numbers["val/num_images"] == 1.0
    assert "val/APl" not in numbers
    mixed = {"loss": jnp.float32(0.5), "lr": np.float64(0.25), "bad": np.inf, "steps": np.int64(3)}
    assert jaxmap.to_scalars(mixed) == {"loss": 0.5, "lr": 0.25, "steps": 3.0}


@pytest.mark.parametrize("value", [{"AP": 0.5}, None, "high", np.zeros(2)])
def test_what_is_not_one_number_raises(value: Any) -> None:
    with pytest.raises(TypeError, match="`coco` must be one number, got"):
        jaxmap.to_scalars({"coco": value})
