"""The protocols of benchmarks: against pycocotools with their options, or a plain definition, and inside `jit`."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np
import pytest
from pycocotools import coco
from pycocotools.cocoeval import COCOeval

import jaxmap
from jaxmap.metrics import average_precision
from jaxmap.protocols import AI_TOD, COCO_WHOLEBODY, KITTI_40_POINT, PROPOSALS, VISDRONE, EvaluationProtocol
from reference.test_shared_data import Pair
from support.oracle import assert_same_cells, run_pycocotools
from support.plain_visdrone import visdrone
from support.scenes import Scene, odd_scenes, pad, random_scene

pytestmark = odd_scenes

AI_TOD_AREAS = {"all": (0, 1e10), "verytiny": (0, 64), "tiny": (64, 256), "small": (256, 1024), "medium": (1024, 1e10)}
ORACLES: dict[str, tuple[EvaluationProtocol, dict[str, Any]]] = {
    # The numbers of aitodpycocotools' Params, as in the package faster-coco-eval-aitod 1.0.2.
    "ai-tod": (AI_TOD, {"area_ranges": AI_TOD_AREAS, "max_detections": [1, 100, 1500]}),
    "proposals": (PROPOSALS, {"max_detections": [10, 100, 1000], "class_agnostic": True}),
    "kitti-40-point": (
        KITTI_40_POINT,
        {
            "iou_thresholds": [0.5, 0.7],
            "recall_points": np.arange(1, 41) / 40,  # the nearest doubles: 3 of 40 objects reach 3 / 40
            "area_ranges": {"all": (-np.inf, np.inf)},
            "max_detections": 10**6,
        },
    ),
}


def scene_of(seed: int) -> Scene:
    """A random scene in which one image has 600 detections more, most of them false."""
    scene = random_scene(np.random.default_rng(seed), default_options=True)
    rng = np.random.default_rng(seed)
    image_id, class_ids = scene.image_ids[0], scene.class_ids
    many = [
        {
            "image_id": image_id,
            "category_id": class_ids[int(rng.integers(len(class_ids)))],
            "bbox": [*rng.integers(0, 50, 2).tolist(), *rng.integers(4, 40, 2).tolist()],
            "score": float(rng.random()),
        }
        for _ in range(600)
    ]
    return Scene(scene.ground_truths, scene.results + many, {})


@pytest.mark.parametrize("name", ORACLES)
def test_random_scenes_equal_pycocotools(name: str) -> None:
    protocol, options = ORACLES[name]
    assert jaxmap.protocols.PROTOCOLS[name] is protocol
    differs = 0
    for seed in range(10):
        scene = scene_of(seed)
        as_coco = dataclasses.replace(protocol, summary=jaxmap.COCO.summary)  # the table that the oracle has
        evaluation = jaxmap.evaluate(*scene.lists(), protocol=as_coco, box_format="xywh")
        oracle = run_pycocotools(scene.ground_truths, scene.results, **options)
        assert_same_cells(evaluation, oracle)
        usual = jaxmap.evaluate(*scene.lists(), box_format="xywh")
        differs += not np.array_equal(np.nanmean(usual.recall), np.nanmean(evaluation.recall))
    assert differs >= 8  # of 10: the rules had work to do


@pytest.mark.slow
@pytest.mark.parametrize("name", ORACLES)
def test_real_detections_equal_pycocotools(name: str, shared_data: pathlib.Path) -> None:
    protocol, options = ORACLES[name]
    truth, results = Pair("cocoapi_val2014_100/ground_truth", "cocoapi_val2014_100/fake_boxes").load(shared_data)
    table = jaxmap.io.coco_ground_truths(truth)
    as_coco = dataclasses.replace(protocol, summary=jaxmap.COCO.summary)
    evaluation = jaxmap.evaluate(jaxmap.io.coco_detections(results, table), table, protocol=as_coco)
    assert_same_cells(evaluation, run_pycocotools(truth, results, **options))


def test_table_of_proposals_is_the_recall_of_pycocotools() -> None:
    scene = scene_of(3)
    recall = run_pycocotools(scene.ground_truths, scene.results, **ORACLES["proposals"][1]).recall  # [T, 1, A, M]
    summary = jaxmap.evaluate(*scene.lists(), protocol="proposals", box_format="xywh").summary
    areas = [np.nan if (area == -1).all() else area.mean() for area in recall[:, 0, 1:, -1].T]
    np.testing.assert_allclose([*recall[:, 0, 0].mean(0), *areas], list(summary.values()), rtol=0, atol=1e-12)


def test_names_of_numbers() -> None:
    names = {
        VISDRONE: "AP AP50 AP75 APs APm APl AR1 AR10 AR100 AR500 ARs ARm ARl",
        AI_TOD: "AP AP50 AP75 APvt APt APs APm AR1 AR100 AR1500 ARvt ARt ARs ARm",
        PROPOSALS: "AR10 AR100 AR1000 ARs ARm ARl",
        KITTI_40_POINT: "AP50 AP70",
    }
    for protocol, expected in names.items():
        assert " ".join(number.name for number in protocol.numbers()) == expected


def test_visdrone_equals_its_plain_definition() -> None:
    limited = 0
    for seed in range(12):
        scene = scene_of(seed)
        for row in scene.ground_truths["annotations"]:
            row["iscrowd"] = 0
        found, real = scene.lists()
        plain = visdrone(found, real, len(scene.class_ids))
        summary = jaxmap.evaluate(found, real, protocol=VISDRONE, box_format="xywh").summary
        ours = [summary[name] for name in ("AP", "AP50", "AP75", "AR1", "AR10", "AR100", "AR500")]
        np.testing.assert_allclose(ours, [plain.ap, plain.ap50, plain.ap75, *plain.ar.values()], rtol=0, atol=1e-12)
        per_class = jaxmap.evaluate(found, real, protocol="all-point", max_detections=500, box_format="xywh").summary[
            "AP"
        ]
        limited += per_class != summary["AP"]
    assert limited >= 3  # the limit is per image: with several classes it leaves out others


def whole_bodies(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """COCO files of people with 133 keypoints; some people have labelled ones only in some parts."""
    rng = np.random.default_rng(seed)
    people, found = [], []
    for number in range(20):
        image_id, box = 1 + number % 5, [*rng.integers(0, 300, 2).tolist(), *rng.integers(40, 200, 2).tolist()]
        places = np.array(box[:2]) + rng.random((133, 2)) * box[2:]
        visible = rng.integers(0, 3, 133) * (number % 7 != 3)
        people.append(
            {
                "id": number + 1,
                "image_id": image_id,
                "category_id": 1,
                "bbox": box,
                "area": box[2] * box[3] * 0.5,
                "iscrowd": int(number == 6),
                "num_keypoints": int((visible > 0).sum()),
                "keypoints": np.column_stack([places, visible]).ravel().tolist(),
            }
        )
        for spread in (1.0, 2.0, 4.0):
            moved = places + rng.normal(0, spread, places.shape)
            row = {"image_id": image_id, "category_id": 1, "score": float(rng.random())}
            found.append(row | {"keypoints": np.column_stack([moved, np.ones(133)]).ravel().tolist()})
    images = [{"id": image_id, "width": 640, "height": 480} for image_id in range(1, 6)]
    return {"images": images, "categories": [{"id": 1, "name": "person"}], "annotations": people}, found


def test_whole_bodies_equal_pycocotools_with_their_sigmas(capsys: pytest.CaptureFixture[str]) -> None:
    truth, found = whole_bodies(0)
    table = jaxmap.io.coco_ground_truths(truth, iou_type="keypoints")
    ours = jaxmap.evaluate(
        jaxmap.io.coco_detections(found, table, iou_type="keypoints"), table, protocol="coco-wholebody"
    )
    file = coco.COCO()
    file.dataset = truth
    file.createIndex()
    run = COCOeval(file, file.loadRes(found), "keypoints")
    run.params.kpt_oks_sigmas = np.array(COCO_WHOLEBODY.keypoint_sigmas)
    run.evaluate()
    run.accumulate()
    run.summarize()
    capsys.readouterr()
    np.testing.assert_allclose(list(ours.summary.values()), run.stats, rtol=0, atol=1e-12)
    assert 0.2 < ours.summary["AP"] < 0.9


def test_whole_body_sigmas_are_in_the_order_of_the_parts() -> None:
    sigmas = COCO_WHOLEBODY.keypoint_sigmas
    assert len(sigmas) == 17 + 6 + 68 + 21 + 21
    assert sigmas[:17] == pytest.approx(jaxmap.COCO_KEYPOINTS.keypoint_sigmas)
    assert sigmas[91:112] == sigmas[112:]
    # The first and last of each part, and the sum, as in mmpose's configs/_base_/datasets/coco_wholebody.py.
    assert [sigmas[index] for index in (17, 22, 23, 90, 91, 111)] == [0.068, 0.094, 0.042, 0.008, 0.029, 0.031]
    assert sum(sigmas) == pytest.approx(3.861, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", [VISDRONE, PROPOSALS], ids=lambda one: one.name)  # the others only change grids
def test_inside_jit_equals_the_host(protocol: EvaluationProtocol) -> None:
    narrow = {"f": np.float32, "i": np.int32, "b": np.bool_}
    found, real = random_scene(np.random.default_rng(4), default_options=True).lists()
    dt, gt = (
        {name: column.astype(narrow[column.dtype.kind]) for name, column in pad(side).items()} for side in (found, real)
    )
    sides = jaxmap.Detections(**dt), jaxmap.GroundTruths(**gt)
    expected = jaxmap.evaluate(*sides, protocol=protocol, num_classes=12, box_format="xywh").summary
    in_jit = jax.jit(average_precision, static_argnames=("protocol", "num_classes", "box_format"))
    numbers = in_jit(*sides, protocol=protocol, num_classes=12, box_format="xywh")
    assert numbers.keys() == expected.keys()
    assert any(0 < value < 1 for value in expected.values())
    for name, value in expected.items():
        want = -1.0 if np.isnan(value) else value
        assert float(numbers[name]) == pytest.approx(want, rel=0, abs=1e-6), name  # float32
