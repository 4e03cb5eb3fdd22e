"""The VOC and all-point protocols: by hand, against the plain definition, and inside `jit` against the host."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax
import numpy as np
import pytest

import jaxmap
from jaxmap import ALL_POINT, COCO, VOC2007, VOC2012
from jaxmap._curves import _tiles_device as tiles
from jaxmap.metrics import HistogramAveragePrecision
from jaxmap.protocols import PROTOCOLS, UNLIMITED, EvaluationProtocol, get_protocol
from jaxmap.types import UNDEFINED
from support.curve_cases import assert_equal_curves, on_host, random_records
from support.one_image import BOX, FAR, OTHER, detections, truths
from support.scenes import odd_scenes, pad
from support.voc_scenes import NUM_IMAGES, D, G, K, expected, random_scene

pytestmark = odd_scenes

CLOSE = functools.partial(pytest.approx, abs=1e-12, nan_ok=True)  # float64; the guard of precision at n = 1 is 2e-16
VOC = (VOC2007, VOC2012)


def ap(found: dict[str, Any], real: dict[str, Any], protocol: EvaluationProtocol, **options: Any) -> float:
    return jaxmap.evaluate([found], [real], protocol=protocol, **options).summary["AP"]


# Matching, by hand.


@pytest.mark.parametrize("protocol", VOC, ids=lambda protocol: protocol.name)
def test_detection_does_not_fall_back_on_its_second_best_ground_truth(protocol: EvaluationProtocol) -> None:
    # Both are nearest to BOX; the second one also shares 43 of 57 columns with the other box, which COCO gives it.
    found = [detections((BOX, 0.9), ([5, 0, 55, 50], 0.8))]
    real = [truths(BOX, [12, 0, 62, 50])]
    assert jaxmap.evaluate(found, real).matches()["ground_truth"].tolist() == [0, 1]
    columns = jaxmap.evaluate(found, real, protocol=protocol).matches()
    assert columns["ground_truth"].tolist() == [0, -1]
    assert columns["ignored"].tolist() == [False, False]


def test_first_of_equally_similar_ground_truths_is_the_best() -> None:
    # COCO takes the later one, and the second detection the earlier.
    found, real = detections((BOX, 0.9), (BOX, 0.8)), truths(BOX, BOX)
    columns = jaxmap.evaluate([found], [real], protocol=VOC2012).matches()
    assert columns["ground_truth"].tolist() == [0, -1]
    assert ap(found, real, VOC2012) == CLOSE(0.5)
    assert ap(found, truths(BOX, BOX, ignore=[True, False]), VOC2012) == 0  # both dropped, the other one missed
    assert ap(found, truths(BOX, BOX, ignore=[False, True]), VOC2012) == CLOSE(1.0)


@pytest.mark.parametrize("flag", ["ignore", "crowd"])
def test_difficult_object_drops_every_detection_that_lands_on_it(flag: str) -> None:
    # Two detections of the difficult box, then the hit: precision 1. COCO drops one of an ignored box, and both of a
    # crowd; there one within the crowd is dropped as well, while for VOC its IoU, 100 / 2500, is too low: 1 / 2.
    real = truths(BOX, OTHER, **{flag: [True, False]})
    assert ap(detections((BOX, 0.9), (BOX, 0.8), (OTHER, 0.7)), real, VOC2012) == CLOSE(1.0)
    inside = detections(([0, 0, 10, 10], 0.9), (OTHER, 0.7))
    assert ap(inside, real, VOC2012) == CLOSE(0.5)
    assert ap(inside, real, COCO) == CLOSE(1.0 if flag == "crowd" else 0.5)


def test_most_similar_object_decides_even_if_it_is_difficult() -> None:
    # IoU 1 with the difficult box, 40 / 50 with the other, which COCO prefers because it counts.
    found, real = detections((BOX, 0.9)), truths(BOX, [0, 0, 50, 40], ignore=[True, False])
    assert ap(found, real, COCO, iou_thresholds=[0.5]) == CLOSE(1.0)
    assert ap(found, real, VOC2012) == 0


def test_overlap_equal_to_the_threshold_is_enough() -> None:
    assert ap(detections(([0, 0, 25, 50], 0.9)), truths(BOX), VOC2012) == CLOSE(1.0)
    assert ap(detections(([0, 0, 24, 50], 0.9)), truths(BOX), VOC2012) == 0


def test_best_is_the_same_under_every_threshold() -> None:
    # IoU 0.8 with the first, 0.6 with the second: at 0.5 and 0.7 the first, taken the second time; at 0.9 none.
    found, real = detections(([0, 0, 50, 40], 0.9), ([0, 0, 50, 40], 0.8)), truths(BOX, [0, 0, 50, 24])
    evaluation = jaxmap.evaluate([found], [real], protocol=VOC2012, iou_thresholds=[0.5, 0.7, 0.9])
    partners = [evaluation.matches(threshold)["ground_truth"].tolist() for threshold in (0.5, 0.7, 0.9)]
    assert partners == [[0, -1], [0, -1], [-1, -1]]
    assert evaluation.summary["AP"] == CLOSE((0.5 + 0.5 + 0) / 3)


def test_every_false_positive_counts_whatever_its_area() -> None:
    # Swapped corners give a negative area, which lies in no range of COCO's: there the false positive is left out.
    found = detections(([60, 0, 50, 50], 0.9), (BOX, 0.5))
    assert ap(found, truths(BOX), VOC2012) == CLOSE(0.5)
    assert ap(found, truths(BOX), COCO) == CLOSE(1.0)


def test_no_detection_is_over_a_limit() -> None:
    found = detections(*[(FAR, 0.9)] * 150, (BOX, 0.5))
    assert ap(found, truths(BOX), VOC2012) == CLOSE(1 / 151)
    assert ap(found, truths(BOX), VOC2012, max_detections=150) == 0


# Averages, by hand.


def test_area_is_under_the_envelope() -> None:
    # Hit, miss, hit of two: precision 1 and 2/3. Of the 11 points, 0 to 0.5 read 1 and 0.6 to 1 read 2/3.
    found, real = detections((BOX, 0.9), (FAR, 0.8), (OTHER, 0.7)), truths(BOX, OTHER)
    assert ap(found, real, VOC2012) == CLOSE((1 + 2 / 3) / 2)
    assert ap(found, real, ALL_POINT) == CLOSE((1 + 2 / 3) / 2)
    assert ap(found, real, VOC2007) == CLOSE((6 * 1 + 5 * 2 / 3) / 11)
    assert ap(found, real, COCO) == CLOSE((51 * 1 + 50 * 2 / 3) / 101)
    # Miss, hit, hit: precision 1/2 and 2/3, and the better one comes later: 2/3 everywhere.
    found = detections((FAR, 0.9), (BOX, 0.8), (OTHER, 0.7))
    for protocol in (*VOC, ALL_POINT, COCO):
        assert ap(found, real, protocol) == CLOSE(2 / 3)


def test_recall_beyond_the_last_hit_has_no_area() -> None:
    real = truths(BOX, OTHER, [200, 200, 250, 250], FAR)
    assert ap(detections((BOX, 0.9)), real, VOC2012) == CLOSE(1 / 4)
    assert ap(detections((BOX, 0.9)), real, VOC2007) == CLOSE(3 / 11)  # 0, 0.1, 0.2


def test_three_of_ten_do_not_reach_the_fourth_of_eleven_points() -> None:
    # 3 * 0.1 is 0.30000000000000004, above 3 / 10, here as in `np.arange(0, 1.1, 0.1)`.
    boxes = [[100 * i, 0, 100 * i + 50, 50] for i in range(10)]
    found = detections(*((box, 0.9) for box in boxes[:3]))
    assert ap(found, truths(*boxes), VOC2007) == CLOSE(3 / 11)
    assert ap(found, truths(*boxes), VOC2012) == CLOSE(3 / 10)


def test_class_of_difficult_objects_only_is_undefined() -> None:
    real = truths(BOX, OTHER, labels=[0, 1], ignore=[False, True])
    evaluation = jaxmap.evaluate([detections((BOX, 0.9))], [real], protocol=VOC2012)
    assert evaluation.per_class()["AP"] == CLOSE([1.0, math.nan])
    assert evaluation.summary["AP"] == CLOSE(1.0)


# Protocols as values.


def test_names_and_table_of_voc() -> None:
    evaluation = jaxmap.evaluate([detections((BOX, 0.9))], [truths(BOX)], protocol="VOC2012")
    assert list(evaluation.summary) == ["AP", "AR"]
    first, second = str(evaluation).splitlines()
    assert first == " Average Precision  (AP) @[ IoU=0.50      | area=   all | maxDets=all ] = 1.000"
    assert "Average Recall" in second
    assert list(jaxmap.evaluate([detections((BOX, 0.9))], [truths(BOX)], protocol="all-point").summary) == list(
        jaxmap.evaluate([detections((BOX, 0.9))], [truths(BOX)]).summary
    )


def test_every_protocol_is_found_by_name_and_described() -> None:
    assert {"coco", "all-point", "voc2007", "voc2012"} <= set(PROTOCOLS)
    for name, protocol in PROTOCOLS.items():
        assert get_protocol(name) is protocol
        assert protocol.description
        assert "\n" not in protocol.description


def test_grids_change_without_the_rules() -> None:
    protocol = VOC2012.customize(iou_thresholds=[0.3, 0.5], area_ranges={"small": (0, 1024)})
    assert (protocol.candidates, protocol.absorbing, protocol.average) == ("best", "ignored", "area")
    assert protocol.max_detections == (UNLIMITED,)
    assert protocol.area_ranges[0] == VOC2012.area_ranges[0]  # the overall range stays VOC's


@pytest.mark.parametrize("field", ["candidates", "absorbing", "average"])
def test_misspelt_rule_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=rf"`{field}` must be one of \[.*\], got 'aera'"):
        dataclasses.replace(COCO, **{field: "aera"})


# Against the plain definition.


@pytest.mark.parametrize("protocol", VOC, ids=lambda protocol: protocol.name)
def test_random_scenes_equal_the_plain_definition(protocol: EvaluationProtocol) -> None:
    eleven_points = protocol is VOC2007
    defined = []
    for seed in range(60):
        found, real = random_scene(seed)
        thresholds = [(0.5,), (0.3, 0.5, 0.75)][seed % 2]
        evaluation = jaxmap.evaluate(found, real, protocol=protocol, num_classes=K, iou_thresholds=thresholds)
        theirs = np.array(
            [[expected(found, real, k, threshold=t, eleven_points=eleven_points) for t in thresholds] for k in range(K)]
        ).mean(axis=1)
        assert evaluation.per_class()["AP"] == CLOSE(theirs.tolist()), seed
        assert evaluation.summary["AP"] == CLOSE(np.nanmean(theirs)), seed
        defined += theirs[np.isfinite(theirs)].tolist()
    assert len(defined) > 100
    assert len(np.unique(defined)) > 50


def test_each_image_alone_equals_the_plain_definition() -> None:
    for seed in range(10):
        found, real = random_scene(seed)
        columns = jaxmap.evaluate(found, real, protocol=VOC2012, num_classes=K).per_image()
        for image in range(NUM_IMAGES):
            alone = [expected(found[image : image + 1], real[image : image + 1], k) for k in range(K)]
            defined = [value for value in alone if not math.isnan(value)]
            assert columns["AP"][image] == CLOSE(np.mean(defined) if defined else math.nan), (seed, image)


# Inside `jit`.


@pytest.mark.slow
def test_state_equals_the_host_and_its_curves_inside_jit_are_close() -> None:
    slots = {"max_detections_per_image": D, "max_ground_truths_per_image": G}
    metric = jaxmap.AveragePrecision(num_classes=K, max_images=NUM_IMAGES, protocol=VOC2012, **slots)
    update, compute = jax.jit(metric.update), jax.jit(metric.compute)
    for seed in range(12):
        found, real = random_scene(seed)
        state = update(metric.init(), *padded(found, real), image_id=np.arange(NUM_IMAGES, dtype=np.int32))
        for protocol in VOC:  # they match alike, so one state serves both
            expected = jaxmap.evaluate(found, real, protocol=protocol, num_classes=K).summary
            one = dataclasses.replace(metric, protocol=protocol)
            assert one.summarize(one.compute(state)).items() >= expected.items(), (seed, protocol.name)
            if protocol is VOC2012:
                numbers = metric.summarize(compute(state))
                inside = {name: numbers[name] for name in expected}
                assert inside == pytest.approx(expected, rel=0, abs=1e-6), seed  # float32 quotients and their mean


def test_areas_inside_jit_are_those_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    # Many thresholds, area ranges and limits, and tiles so short that they end within classes, a few at once.
    monkeypatch.setattr(tiles, "ON_CPU", (8, 3))
    compute = jax.jit(functools.partial(jaxmap.precision_recall, protocol=ALL_POINT, num_classes=4))
    for seed in range(8):
        records = random_records(seed, ALL_POINT)
        device, exact = compute(records), on_host(records, ALL_POINT)
        assert_equal_curves(device, exact)
        ours = np.where(device.average_precision == UNDEFINED, np.nan, device.average_precision)
        assert ours.shape == exact.recall.shape
        # A float32 quotient rounded to 2^-22, and another division.
        np.testing.assert_allclose(ours, exact.average_precision, rtol=0, atol=2.0**-21)
        assert np.nanmax(ours) > 0.2


def padded(found: Any, real: Any) -> tuple[jaxmap.Detections, jaxmap.GroundTruths]:
    """Returns a scene in float32, which holds its whole numbers and eighths exactly."""
    dtypes = {"f": np.float32, "i": np.int32, "b": np.bool_}
    sides = [
        {name: column.astype(dtypes[column.dtype.kind]) for name, column in pad(side, length).items()}
        for side, length in ((found, D), (real, G))
    ]
    return jaxmap.Detections(**sides[0]), jaxmap.GroundTruths(**sides[1])


def test_histogram_integrates_its_bins_as_the_plain_definition_integrates_detections() -> None:
    # Every bin holds one detection, so the curve is that of ten detections in the order of the bins.
    metric = HistogramAveragePrecision(num_classes=1, num_bins=10, protocol=VOC2012)
    hit = np.array([0, 1, 0, 1, 1, 0, 0, 1, 0, 0])
    state = dataclasses.replace(
        metric.init(),
        true_positives=hit[None, None, None].astype(np.int32),
        counted=np.ones((1, 1, 1, 10), np.int32),
        found=np.full((1, 1, 1, 1), hit.sum(), np.int32),
        num_ground_truths=np.array([[5]], np.int32),
    )
    # Precision at the hits: 1/2, 2/4, 3/5, 4/8; the best from each on: 3/5, 3/5, 3/5, 1/2; the fifth is missed.
    numbers = metric.summarize(jax.jit(metric.compute)(state))
    assert numbers["AP"] == pytest.approx((3 * 3 / 5 + 1 / 2) / 5, abs=1e-6)  # float32
    assert numbers["AR"] == pytest.approx(4 / 5, abs=1e-6)
