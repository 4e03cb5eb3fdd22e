"""Ultralytics' definition of AP: by hand, against its plain definition, and inside `jit` against the host."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

import jaxmap
from jaxmap.metrics import HistogramAveragePrecision, average_precision
from jaxmap.protocols import ULTRALYTICS
from support.curve_cases import ATOL, K, assert_equal_curves, on_host, random_records
from support.one_image import BOX, FAR, OTHER, detections, truths
from support.plain_ultralytics import average_precision as plain_average_precision
from support.plain_ultralytics import ultralytics
from support.scenes import pad

CLOSE = partial(pytest.approx, abs=1e-12)  # float64 means of a hundred ratios
NUM_CLASSES = 3
ONLY_BEST = dataclasses.replace(ULTRALYTICS, candidates="best")


def ap(found: dict[str, Any], real: dict[str, Any], **options: Any) -> float:
    return jaxmap.evaluate([found], [real], protocol=ULTRALYTICS, iou_thresholds=[0.5], **options).summary["AP"]


def random_scene(seed: int) -> tuple[list[dict[str, np.ndarray]], list[dict[str, np.ndarray]]]:
    """A scene of contended boxes, xywh, in which no scores and no overlaps are equal; one image has 400 detections."""
    rng = np.random.default_rng(seed)
    found, real = [], []
    for number in range(int(rng.integers(2, 7))):
        num_objects, num_found = int(rng.integers(0, 9)), 400 if number == 1 else int(rng.integers(0, 25))
        boxes = np.column_stack([rng.random((num_objects, 2)) * 50, 8 + rng.random((num_objects, 2)) * 40])
        near = boxes[rng.integers(0, num_objects, num_found)] if num_objects else 10 + rng.random((num_found, 4))
        near = np.abs(near + rng.normal(0, 3, near.shape))
        real.append({"boxes": boxes, "labels": rng.integers(0, NUM_CLASSES, num_objects)})
        real[-1]["crowd"] = rng.random(num_objects) < 0.2
        found.append(
            {"boxes": near, "labels": rng.integers(0, NUM_CLASSES, num_found), "scores": rng.random(num_found)}
        )
    return found, real


@pytest.mark.parametrize("protocol", [ULTRALYTICS, ONLY_BEST], ids=["today", "before 8.4.176"])
def test_random_scenes_equal_the_plain_definition(protocol: jaxmap.EvaluationProtocol) -> None:
    found_something = 0
    for seed in range(15):
        found, real = random_scene(seed)
        expected = ultralytics(found, real, NUM_CLASSES, only_best=protocol is ONLY_BEST)
        evaluation = jaxmap.evaluate(found, real, protocol=protocol, box_format="xywh", num_classes=NUM_CLASSES)
        ours = np.asarray(evaluation.curves.average_precision)[..., 0, 0].T
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)
        summary = {"AP": expected, "AP50": expected[:, 0], "AP75": expected[:, 5]}
        assert evaluation.summary == {name: CLOSE(np.nanmean(values), nan_ok=True) for name, values in summary.items()}
        found_something += np.nanmax(expected, initial=0) > 0.1
    assert found_something >= 12


def test_curves_equal_straight_lines_between_corners() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        num_objects, count = int(rng.integers(1, 250)), int(rng.integers(1, 120))
        hits = rng.random(count) < rng.random()
        hits &= np.cumsum(hits) <= num_objects
        boxes = [[100.0 * number, 0, 50, 50] for number in range(num_objects)]
        places = np.where(hits, np.cumsum(hits) - 1, -1)
        found = {
            "boxes": np.array([[100.0 * place, 0, 50, 50] for place in places]),  # a false one lies where no object is
            "scores": np.linspace(1, 0.1, count),
            "labels": np.zeros(count, int),
        }
        real = {"boxes": np.array(boxes), "labels": np.zeros(num_objects, int)}
        expected = plain_average_precision(hits.tolist(), num_objects)
        assert ap(found, real, box_format="xywh") == CLOSE(expected), (hits, num_objects)


def test_by_hand() -> None:
    # Steps of 1/100 from recall 0 to 0.99 have precision 1; the last falls from 1 to 0, as the area of a triangle.
    assert ap(detections((BOX, 0.9)), truths(BOX)) == CLOSE(0.995)
    # Precision 1 up to recall 0.49, since recall 1/2 does not exceed the point 1/2, and 2/3 from 0.5 to 0.99.
    found = detections((BOX, 0.9), (FAR, 0.8), (OTHER, 0.7))
    assert ap(found, truths(BOX, OTHER)) == CLOSE((0.5 * 1 + 49 * 1 + 50 * 2 / 3) / 100)
    # Nothing is added beyond the last detection.
    assert ap(detections((BOX, 0.9)), truths(BOX, OTHER)) == CLOSE(0.495)
    assert ap(detections((FAR, 0.9)), truths(BOX)) == 0


def test_crowds_and_ignored_objects_are_as_if_absent() -> None:
    found = detections((OTHER, 0.9), (BOX, 0.8))
    for flag in ("crowd", "ignore"):
        real = truths(BOX, OTHER, **{flag: [False, True]})
        assert ap(found, real) == CLOSE(0.995 / 2) == ap(found, truths(BOX))  # the first detection is a false positive
        without = jaxmap.evaluate([found], [real], protocol=ULTRALYTICS)
        assert without.matches()["ground_truth"].tolist() == [-1, 0]
        assert without.matches()["ignored"].tolist() == [False, False]
        assert jaxmap.evaluate([found], [real]).summary["AP50"] == CLOSE(1.0)  # COCO ignores it


def test_objects_outside_an_area_range_absorb_one_detection() -> None:
    # As in COCO. The object of 31 x 31 is not medium, the detections of 33 x 33 are: one is a false positive, and
    # at the two thresholds above 31^2 / 33^2 both are.
    protocol = dataclasses.replace(jaxmap.COCO, absorbing="none")
    small, wide = [0, 0, 31, 31], [0, 0, 33, 33]
    found, real = detections((wide, 0.9), (wide, 0.8), (BOX, 0.7)), truths(small, BOX)
    ours, expected = (jaxmap.evaluate([found], [real], protocol=one).summary for one in (protocol, jaxmap.COCO))
    assert ours == pytest.approx(expected, nan_ok=True)
    assert ours["APm"] == CLOSE((8 * 1 / 2 + 2 * 1 / 3) / 10)


def test_recall_points_of_the_trapezoid_rule_are_checked() -> None:
    for points in ([0.0, 0.5, 1.0], [0.0, 0.3], [0.1, 0.6]):
        with pytest.raises(ValueError, match=r"must be 0, 1/R, ..., \(R - 1\)/R for `average='trapezoid'`"):
            ULTRALYTICS.customize(recall_points=points)
    assert ap(detections((BOX, 0.9)), truths(BOX), recall_points=[0.0, 0.25, 0.5, 0.75]) == CLOSE(0.875)


def padded(seed: int) -> tuple[jaxmap.Detections, jaxmap.GroundTruths]:
    """Returns a random scene as padded float32 arrays, without its image of many detections."""
    dtypes = {"f": np.float32, "i": np.int32, "b": np.bool_}
    found, real = random_scene(seed)
    keep = [number for number in range(len(found)) if number != 1]
    sides = [
        {name: column.astype(dtypes[column.dtype.kind]) for name, column in pad([side[n] for n in keep], 25).items()}
        for side in (found, real)
    ]
    return jaxmap.Detections(**sides[0]), jaxmap.GroundTruths(**sides[1])


@pytest.mark.slow
def test_inside_jit_equals_the_host() -> None:
    options: dict[str, Any] = {"protocol": ULTRALYTICS, "num_classes": NUM_CLASSES, "box_format": "xywh"}
    compute = jax.jit(partial(average_precision, **options))
    differs = 0
    for seed in range(8):
        sides = padded(seed)
        expected = jaxmap.evaluate(*sides, **options).summary
        assert compute(*sides) == pytest.approx({n: np.nan_to_num(v, nan=-1) for n, v in expected.items()}, abs=1e-6)
        with_crowds = dataclasses.replace(ULTRALYTICS, absorbing="crowds")
        differs += jaxmap.evaluate(*sides, **options | {"protocol": with_crowds}).summary != expected
    assert differs >= 3


def test_curves_inside_jit_equal_those_of_the_host() -> None:
    compute = jax.jit(partial(jaxmap.precision_recall, protocol=ULTRALYTICS, num_classes=K))
    for seed in range(8):
        records = random_records(seed, ULTRALYTICS)
        device, exact = compute(records), on_host(records, ULTRALYTICS)
        assert_equal_curves(device, exact)
        ours = np.where(device.average_precision == -1, np.nan, device.average_precision)
        np.testing.assert_allclose(ours, exact.average_precision, rtol=0, atol=4 * ATOL)  # a mean of 100
        assert np.nanmax(ours) > 0.1


def test_histogram_integrates_its_bins() -> None:
    # Every bin holds one detection, so the curve is that of ten detections in the order of the bins.
    metric = HistogramAveragePrecision(num_classes=1, num_bins=10, protocol=ULTRALYTICS.customize(iou_thresholds=[0.5]))
    hit = np.array([0, 1, 0, 1, 1, 0, 0, 1, 0, 0])
    state = dataclasses.replace(
        metric.init(),
        true_positives=hit[None, None, None].astype(np.int32),
        counted=np.ones((1, 1, 1, 10), np.int32),
        found=np.full((1, 1, 1, 1), hit.sum(), np.int32),
        num_ground_truths=np.array([[5]], np.int32),
    )
    numbers = metric.summarize(jax.jit(metric.compute)(state))
    assert numbers["AP"] == pytest.approx(plain_average_precision(hit.astype(bool).tolist(), 5), abs=1e-6)  # float32
