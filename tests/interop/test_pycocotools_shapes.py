"""Masks and keypoints under pycocotools and under the shell of its names: the same numbers and the same text."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import pathlib
import warnings
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as codec

from jaxmap.interop import pycocotools as shell
from support.both_cocos import OURS, THEIRS, assert_same, assert_same_eval, load, script
from support.scenes import random_scene
from support.shape_scenes import shape_scene

SQUARE = [[10, 10, 10, 42, 42, 42, 42, 10]]  # 32 x 32 pixels: small and medium


def dataset_of(*annotations: dict[str, Any]) -> dict[str, Any]:
    rows = [
        {"id": i, "image_id": 7, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 1024.0, "iscrowd": 0} | row
        for i, row in enumerate(annotations, start=1)
    ]
    return {
        "info": {},
        "images": [{"id": 7, "height": 60, "width": 80}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": rows,
    }


def result_of(**fields: Any) -> dict[str, Any]:
    return {"image_id": 7, "category_id": 1, "score": 0.5} | fields


def person(*points: tuple[float, float, int]) -> list[float]:
    """COCO's 17 keypoints, of which these are the first and the others are not labelled."""
    return [float(value) for point in (*points, *[(0, 0, 0)] * (17 - len(points))) for value in point]


def in_silence(run: Any) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run


# The same numbers, text, `evalImgs` and `ious`.


NOTHING_TO_MATCH = pytest.mark.filterwarnings("ignore:.* have no (pixel although|area)")  # drawn on purpose


@NOTHING_TO_MATCH
@pytest.mark.parametrize("iou_type", ["segm", "keypoints"])
@pytest.mark.parametrize("first", [5000, 5004])
def test_random_scenes(first: int, iou_type: str) -> None:
    for seed in range(first, first + 4):
        scene = shape_scene(np.random.default_rng(seed), iou_type, default_options=True)
        run = assert_same(scene.ground_truths, scene.results, iou_type=iou_type)
        assert len(run.stats) == (10 if iou_type == "keypoints" else 12)


@NOTHING_TO_MATCH
@pytest.mark.parametrize("seed", range(5020, 5024))
def test_results_of_boxes_alone_are_masks_of_rectangles(seed: int) -> None:
    masks = shape_scene(np.random.default_rng(seed), "segm", default_options=True)
    boxes = random_scene(np.random.default_rng(seed), default_options=True)
    assert_same(masks.ground_truths, boxes.results, iou_type="segm")


def test_fake_masks_of_a_hundred_images(shared_data: pathlib.Path) -> None:
    folder = shared_data / "cocoapi_val2014_100"
    files = [
        json.loads(gzip.decompress((folder / name).read_bytes()))
        for name in ("ground_truth.json.gz", "fake_masks.json.gz")
    ]
    run = assert_same(*files, iou_type="segm")
    assert run.stats[0] == pytest.approx(0.319545, abs=1e-6)


def test_keypoints_of_people(shared_data: pathlib.Path) -> None:
    folder = shared_data / "small"
    files = [
        json.loads(gzip.decompress((folder / f"keypoints_{side}_dataset.json.gz").read_bytes()))
        for side in ("gt", "dt")
    ]
    run = assert_same(*files, iou_type="keypoints")
    assert 0 < run.stats[0] < 1


@NOTHING_TO_MATCH
def test_other_parameters_of_keypoints() -> None:
    def change(params: Any) -> None:
        params.kpt_oks_sigmas = np.linspace(0.01, 0.2, 17)
        params.maxDets = [1, 3, 20]
        params.areaRng, params.areaRngLbl = [[0, 400], [400, 1e10]], ["all", "large"]

    for seed in range(5030, 5034):
        scene = shape_scene(np.random.default_rng(seed), "keypoints", default_options=True)
        assert_same(scene.ground_truths, scene.results, change, iou_type="keypoints")


@NOTHING_TO_MATCH
def test_datasets_of_pycocotools_itself() -> None:
    for iou_type in ("segm", "keypoints"):
        scene = shape_scene(np.random.default_rng(5001), iou_type, default_options=True)
        expected, _ = script(THEIRS, scene.ground_truths, scene.results, iou_type=iou_type)
        with contextlib.redirect_stdout(io.StringIO()):
            sides = load(THEIRS, scene.ground_truths, scene.results)
        assert_same_eval(in_silence(shell.COCOeval(*sides, iou_type)), expected)


def test_keypoints_of_all_categories_as_one() -> None:
    # pycocotools looks the OKS up under a category that no object has, and so finds no match at all.
    points = person((5, 5, 2), (8, 5, 2))
    dataset = dataset_of({"keypoints": points, "num_keypoints": 2})
    with contextlib.redirect_stdout(io.StringIO()):
        run = shell.COCOeval(*load(OURS, dataset, [result_of(keypoints=points)]), "keypoints")
    run.params.useCats = 0
    assert in_silence(run).stats[0] == pytest.approx(1)


# The ways of use.


def test_masks_are_the_default_and_the_deprecated_switch_works() -> None:
    files = dataset_of({"segmentation": SQUARE}), [result_of(segmentation=SQUARE, bbox=[10, 10, 32, 16])]
    with contextlib.redirect_stdout(io.StringIO()):
        sides = load(OURS, *files)
    assert in_silence(shell.COCOeval(*sides)).stats[0] == pytest.approx(1)
    for use_masks, expected in ((1, 1), (0, 0)):
        run = shell.COCOeval(*sides, "bbox")
        run.params.useSegm = use_masks
        assert in_silence(run).stats[0] == pytest.approx(expected)


def test_the_area_of_a_result_is_what_it_says() -> None:
    # A false positive of 160 pixels that says 5000 is out of the small range, and so ignored there.
    dataset = dataset_of({"bbox": [0, 0, 20, 10], "area": 200.0})
    results = [result_of(bbox=[0, 0, 20, 10]), result_of(bbox=[50, 30, 20, 8], score=0.9)]
    with contextlib.redirect_stdout(io.StringIO()):
        truth, found = load(OURS, dataset, results)
    assert in_silence(shell.COCOeval(truth, found, "bbox")).stats[3] == pytest.approx(0.5)
    found.anns[2]["area"] = 5000.0
    assert in_silence(shell.COCOeval(truth, found, "bbox")).stats[3] == pytest.approx(1)


@pytest.mark.parametrize(
    "fields",
    [
        {"bbox": [3, 4, 5, 6]},
        {"segmentation": codec.merge(codec.frPyObjects(SQUARE, 60, 80))},
        {"segmentation": codec.merge(codec.frPyObjects(SQUARE, 60, 80)), "bbox": [1, 2, 3, 4]},
        {"segmentation": codec.merge(codec.frPyObjects(SQUARE, 60, 80)), "bbox": []},
        {"keypoints": person((5, 5, 2), (8, 9, 2))},
        {"keypoints": person((5, 5, 2)), "bbox": [1, 2, 3, 4]},
    ],
    ids=lambda fields: " and ".join(fields),
)
def test_the_first_result_decides_where_areas_come_from(fields: dict[str, Any]) -> None:
    rows = []
    for classes in (OURS, THEIRS):
        with contextlib.redirect_stdout(io.StringIO()):
            _, found = load(classes, dataset_of(), [result_of(**fields), result_of(**fields)])
        rows.append([(row["id"], float(row["area"]), list(row["bbox"])) for row in found.dataset["annotations"]])
    assert rows[0] == rows[1]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own, under NumPy 2
def test_masks_of_annotations() -> None:
    counts = codec.frPyObjects({"size": [60, 80], "counts": [10, 20, 4770]}, 60, 80)
    shapes = [SQUARE, {"size": [60, 80], "counts": [10, 20, 4770]}, counts, [*SQUARE, [60, 1, 60, 9, 70, 9]]]
    dataset = dataset_of(*({"segmentation": shape} for shape in shapes))
    with contextlib.redirect_stdout(io.StringIO()):
        ours, theirs = (load(classes, dataset, [])[0] for classes in (OURS, THEIRS))
    for mine, other in zip(ours.loadAnns([1, 2, 3, 4]), theirs.loadAnns([1, 2, 3, 4]), strict=True):
        assert ours.annToRLE(mine) == theirs.annToRLE(other)
        mask, expected = ours.annToMask(mine), theirs.annToMask(other)
        assert mask.dtype == expected.dtype == np.uint8
        np.testing.assert_array_equal(mask, expected)
    assert ours.annToMask(ours.anns[1]).sum() == 32 * 32
    assert ours.annToMask({"image_id": 7, "bbox": [10, 10, 32, 32]}).sum() == 32 * 32


# Refusals.


def test_shapes_that_cannot_be_scored_are_named() -> None:
    small = codec.encode(np.ones((6, 8), np.uint8, order="F"))
    good = result_of(segmentation=codec.encode(np.ones((60, 80), np.uint8, order="F")))
    cases = [
        (
            "segm",
            {"segmentation": small},
            good,
            r"of one image must have the same size, got \[60, 80\] and \[6, 8\] in image 0",
        ),
        ("segm", {}, good, r"cocoGt: `annotations\[0\]` has no `segmentation`"),
        ("keypoints", {"keypoints": [1.0, 2.0]}, result_of(keypoints=person()), "three numbers per"),
        ("keypoints", {}, result_of(keypoints=person()), r"cocoGt: `annotations\[0\]` has no `keypoints`"),
    ]
    for iou_type, annotation, result, message in cases:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".* differ in size from their image")
            run = shell.COCOeval(*load(OURS, dataset_of(annotation), [result]), iou_type)
            with pytest.raises(ValueError, match=message):
                run.evaluate()


def test_keypoints_of_another_skeleton_ask_for_its_sigmas() -> None:
    points = [5.0, 5.0, 2.0, 8.0, 5.0, 2.0]
    dataset = dataset_of({"keypoints": points, "num_keypoints": 2})
    with contextlib.redirect_stdout(io.StringIO()):
        run = shell.COCOeval(*load(OURS, dataset, [result_of(keypoints=points)]), "keypoints")
        with pytest.raises(ValueError, match="sigmas"):
            run.evaluate()
    run.params.kpt_oks_sigmas = np.array([0.05, 0.1])
    assert in_silence(run).stats[0] == pytest.approx(1)
