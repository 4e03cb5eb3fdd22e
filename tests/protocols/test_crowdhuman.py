"""CrowdHuman's protocol and the miss rate: against a plain definition, from states, inside `jit`, under weights."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmap
from jaxmap import AveragePrecision, Detections, GroundTruths, average_precision, evaluate
from jaxmap._curves._miss_rate_device import false_at_points
from jaxmap._curves._miss_rate_host import POINTS
from jaxmap.analysis._influence import influence_of_images
from jaxmap.analysis._replicates import WeightedSummary
from jaxmap.metrics import HistogramAveragePrecision, HostAveragePrecision
from jaxmap.protocols import COCO, CROWDHUMAN, SummaryRow
from support.plain_crowdhuman import crowdhuman

Images = list[dict[str, Any]]
NUMBERS = {"rel": 0, "abs": 1e-12}


def crowd(seed: int, num_images: int = 30) -> tuple[Images, Images]:
    """Crowds of people in integer boxes, with ignore regions and detections around them; many pairs overlap by half."""
    rng = np.random.default_rng(seed)
    found, real = [], []
    scores = rng.permutation(40 * num_images) / (40 * num_images)  # distinct
    for index in range(num_images):
        count = int(rng.integers(0, 9)) if index else 3
        start = rng.integers(0, 60, (count, 2))
        boxes = np.concatenate([start, rng.integers(4, 24, (count, 2))], axis=1).astype(float)
        half = boxes[: count // 2] * (1, 1, 1, 0.5)  # IoU exactly 0.5
        near = np.repeat(boxes, 2, axis=0) + rng.integers(-2, 3, (2 * count, 4))
        stray = np.concatenate([rng.integers(0, 70, (3, 2)), rng.integers(3, 20, (3, 2))], axis=1)
        all_found = np.concatenate([half, np.maximum(near, 1), stray])
        all_found = all_found[rng.random(len(all_found)) < 0.8]
        first = 40 * index
        found.append(
            {
                "boxes": all_found,
                "scores": scores[first : first + len(all_found)],
                "labels": np.zeros(len(all_found), np.int64),
            }
        )
        ignore = rng.random(count) < 0.25
        real.append({"boxes": boxes, "labels": np.zeros(count, np.int64), "crowd": ignore, "ignore": ignore})
    return found, real


def padded(images: Images, size: int) -> dict[str, np.ndarray]:
    """Arrays `[I, size, ...]` with `valid`."""
    narrow = {"f": np.float32, "i": np.int32, "b": np.bool_}
    columns = {
        name: np.stack(
            [np.pad(one[name], [(0, size - len(one[name]))] + [(0, 0)] * (one[name].ndim - 1)) for one in images]
        )
        for name in images[0]
    }
    columns["valid"] = np.stack([np.arange(size) < len(one["labels"]) for one in images])
    return {name: column.astype(narrow[column.dtype.kind]) for name, column in columns.items()}


def sides(seed: int) -> tuple[Detections, GroundTruths]:
    found, real = crowd(seed)
    return Detections(**padded(found, 30)), GroundTruths(**padded(real, 9))


def test_crowds_equal_the_plain_definition() -> None:
    strict, apart = 0, []
    for seed in range(40):
        found, real = crowd(seed)
        plain = crowdhuman(found, real)
        summary = evaluate(found, real, protocol="crowdhuman", box_format="xywh").summary
        assert [summary["AP"], summary["MR"]] == pytest.approx([plain.envelope, plain.mr], **NUMBERS)
        assert 0.05 < summary["MR"] < 1
        apart.append(summary["AP"] - plain.ap)
        half = dataclasses.replace(CROWDHUMAN, iou_thresholds=(0.5,))
        strict += evaluate(found, real, protocol=half, box_format="xywh").summary["MR"] != summary["MR"]
    assert strict == 40  # an IoU of exactly 0.5 is not enough
    assert 0 < np.mean(apart) < 0.05  # straight lines, without an envelope and without what is left of the first point


def test_miss_rate_by_hand() -> None:
    box, far = [0, 0, 10, 10], [50, 50, 60, 60]
    truth = [{"boxes": [box, far], "labels": [0, 0]}, *[{"boxes": np.zeros((0, 4)), "labels": []}] * 9]
    found = [{"boxes": [box, [90, 90, 95, 95], far], "labels": [0] * 3, "scores": [0.9, 0.8, 0.7]}]
    found += [{"boxes": np.zeros((0, 4)), "labels": [], "scores": []}] * 9
    # One of two objects is found before the first false positive, which is 0.1 per image; five points are up to 0.1.
    # The second is found before there are two, so that the other four points have no miss.
    assert evaluate(found, truth, protocol=CROWDHUMAN).summary["MR"] == 0.0
    missing_one = [{"boxes": [box, far, [30, 0, 40, 10]], "labels": [0] * 3}, *truth[1:]]
    expected = math.exp((5 * math.log(2 / 3) + 4 * math.log(1 / 3)) / 9)
    assert evaluate(found, missing_one, protocol=CROWDHUMAN).summary["MR"] == pytest.approx(expected, **NUMBERS)
    assert evaluate([found[1]] * 10, truth, protocol=CROWDHUMAN).summary["MR"] == 1.0  # nothing is found
    assert np.isnan(evaluate(found, [truth[1]] * 10, protocol=CROWDHUMAN).summary["MR"])  # nothing is there


RATES = dataclasses.replace(
    COCO,
    name="rates",
    summary=(
        SummaryRow("MR", "miss_rate"),
        SummaryRow("MR50", "miss_rate", iou_threshold=0.5),
        SummaryRow("MR{area}", "miss_rate", each="area"),
        SummaryRow("MR@{limit}", "miss_rate", each="limit"),
    ),
    max_detections=(1, 5, 100),
)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", [CROWDHUMAN, RATES], ids=lambda one: one.name)
def test_states_and_jit_equal_the_host(protocol: jaxmap.EvaluationProtocol) -> None:
    found, truth = sides(0)
    options: dict[str, Any] = {"num_classes": 2, "protocol": protocol, "box_format": "xywh"}
    expected = evaluate(found, truth, **options).summary
    assert any(0 < value < 1 for value in expected.values())
    image_id = jnp.arange(len(found.labels))
    metric = AveragePrecision(max_images=40, **options)
    state = jax.jit(metric.update)(metric.init(), found, truth, image_id=image_id)
    on_host, on_device = metric.summarize(metric.compute(state)), metric.summarize(jax.jit(metric.compute)(state))
    in_jit = jax.jit(average_precision, static_argnames=("num_classes", "protocol", "box_format"))(
        found, truth, **options
    )
    rows = HostAveragePrecision(**options)
    in_rows = rows.summarize(rows.compute(rows.update(rows.init(), found, truth, image_id=image_id)))
    for name, value in expected.items():
        assert [on_host[name], in_rows[name]] == pytest.approx([value] * 2, rel=0, abs=1e-15, nan_ok=True)
        assert on_device[name] == pytest.approx(value, abs=1e-6, nan_ok=True), name
        assert float(in_jit[name]) == pytest.approx(-1.0 if np.isnan(value) else value, abs=1e-6), name
    assert metric.evaluation(state).summary == pytest.approx(expected, rel=0, abs=1e-15, nan_ok=True)
    bins = HistogramAveragePrecision(num_bins=1200, score_range=(-0.5 / 1200, 1 - 0.5 / 1200), **options)
    in_bins = bins.summarize(bins.compute(jax.jit(bins.update)(bins.init(), found, truth, image_id=image_id)))
    assert in_bins["MR"] == pytest.approx(expected["MR"], abs=1e-6)  # every score has a bin of its own


def test_numbers_of_false_positives_inside_jit_are_those_of_float64() -> None:
    for num_images in (1, 2, 7, 99, 100, 101, 4370, 10_000, 19_999, 123_457, 2**31 - 1):
        for needed, point in zip(map(int, false_at_points(num_images)), POINTS, strict=True):
            assert needed / num_images >= point > (needed - 1) / num_images


def test_per_image_and_parts_are_evaluations_of_their_own() -> None:
    found, real = crowd(3)
    evaluation = evaluate(found, real, protocol=CROWDHUMAN, box_format="xywh")
    columns = evaluation.per_image()
    for index in range(len(found)):
        alone = evaluate([found[index]], [real[index]], protocol=CROWDHUMAN, box_format="xywh").summary
        assert columns["MR"][index] == pytest.approx(alone["MR"], nan_ok=True, **NUMBERS)
    half = np.arange(len(found)) < 15
    some = evaluate(found[:15], real[:15], protocol=CROWDHUMAN, box_format="xywh").summary
    assert evaluation.of_images(half).summary == pytest.approx(some, **NUMBERS)


def test_weights_are_images_that_occur_so_many_times() -> None:
    found, real = crowd(5)
    evaluation = evaluate(found, real, protocol=RATES, box_format="xywh")
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 4, (6, len(found)))
    weights[0] = 1
    summary = WeightedSummary(evaluation.dataset, RATES)
    replicates = summary(lambda first, last: weights[first:last], len(weights)).summary
    for weight, values in zip(weights, replicates.T, strict=True):
        places = np.repeat(np.arange(len(found)), weight).tolist()
        again = evaluate([found[i] for i in places], [real[i] for i in places], protocol=RATES, box_format="xywh")
        np.testing.assert_allclose(values, list(again.summary.values()), rtol=0, atol=1e-12)
    names, influence = influence_of_images(evaluation.dataset, RATES)
    without = evaluation.of_images(np.arange(len(found)) != 4).summary
    expected = [evaluation.summary[name] - without[name] for name in names]
    np.testing.assert_allclose(influence[:, 4], expected, rtol=0, atol=1e-12)
    interval = evaluation.bootstrap(50).summary["MR"]
    assert interval.low < evaluation.summary["MR"] < interval.high


def test_what_is_not_served_is_refused() -> None:
    found, truth = sides(0)
    metric = AveragePrecision(max_images=40, num_classes=1, protocol=CROWDHUMAN, box_format="xywh")
    state = jax.jit(metric.update)(metric.init(), found, truth, image_id=jnp.arange(30))
    with pytest.raises(ValueError, match="does not serve \\['miss_rate'\\], which the protocol 'crowdhuman' asks for"):
        jax.jit(lambda state: metric.bootstrap(state, num_replicates=10))(state)
    records = metric.evaluation(state).dataset.records
    with pytest.raises(ValueError, match="pass `num_images`, the number of all images"):
        jaxmap.precision_recall(records, protocol=CROWDHUMAN, num_classes=1)
    with pytest.raises(ValueError, match="do not serve \\['miss_rate'\\]"):
        jaxmap.precision_recall(records, protocol=CROWDHUMAN, num_classes=1, weights=np.ones((1, 30), np.int32))


def test_its_table() -> None:
    found, real = crowd(0)
    text = str(evaluate(found, real, protocol=CROWDHUMAN, box_format="xywh"))
    assert "Average Miss Rate  (MR) @[ IoU=0.50" in text
