"""Masks and keypoints: on the host every match and cell equals live pycocotools', inside `jit` the numbers agree."""

from __future__ import annotations

import gzip
import json
import pathlib
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

import jaxmap
from jaxmap import io
from jaxmap._geometry._keypoints import keypoint_similarity
from jaxmap._geometry._rle import coco_masks, decode_mask, encode_masks
from jaxmap._summary import summary_lines
from jaxmap.protocols import EvaluationProtocol
from support.fuzz import check_scene
from support.oracle import run_pycocotools
from support.scenes import Scene, cut, odd_scenes
from support.shape_scenes import shape_scene

pytestmark = [odd_scenes, pytest.mark.slow]

ATOL = 1e-12  # matches are exact on both sides; the rest is float64
PSEUDO_TRUTH = "coco_val2017/pseudo_mask_ground_truth_100_images"
PAIRS = {
    # Published: by pycocotools' own demo; and AP as `shared/data` has it, to four digits.
    "cocoapi_val2014_100/fake_masks": (
        "cocoapi_val2014_100/ground_truth",
        ".319545 .562288 .298927 .387374 .310183 .326934 .268230 .415449 .416839 .469450 .376759 .381472",
    ),
    "coco_val2017/yolact_base_masks_100_images": (PSEUDO_TRUTH, ""),
    "coco_val2017/yolact_darknet53_masks_100_images": (PSEUDO_TRUTH, ".6362"),
}
SEGM = jaxmap.COCO.customize(iou_type="segm")


def load(folder: pathlib.Path, results: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    dataset, rows = (
        json.loads(gzip.decompress((folder / f"{name}.json.gz").read_bytes())) for name in (PAIRS[results][0], results)
    )
    return dataset, rows


def without_boxes(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "bbox"} for row in results]


@pytest.mark.parametrize("results", PAIRS)
def test_real_masks_equal_pycocotools_and_the_published_numbers(results: str, shared_data: pathlib.Path) -> None:
    dataset, rows = load(shared_data, results)
    check_scene(Scene(dataset, rows, {}, "segm"))
    truth = io.coco_ground_truths(dataset, iou_type="segm")
    summary = jaxmap.evaluate(io.coco_detections(rows, truth, iou_type="segm"), truth, protocol=SEGM).summary
    for (name, number), published in zip(summary.items(), PAIRS[results][1].split(), strict=False):
        digits = len(published.lstrip("."))
        assert abs(number - float(published)) <= 0.5 * 10**-digits + 1e-12, (name, number, published)


def test_areas_of_results_come_from_their_boxes_where_they_have_some(shared_data: pathlib.Path) -> None:
    dataset, rows = load(shared_data, "coco_val2017/yolact_darknet53_masks_100_images")
    check_scene(Scene(dataset, without_boxes(rows), {}, "segm"))
    truth = io.coco_ground_truths(dataset, iou_type="segm")
    sides = [io.coco_detections(side, truth, iou_type="segm") for side in (rows, without_boxes(rows))]
    first, second = (jaxmap.evaluate(side, truth, protocol=SEGM).summary for side in sides)
    assert first["AP"] == second["AP"]
    assert first["APs"] != second["APs"]


@pytest.mark.parametrize("iou_type", ["segm", "keypoints"])
def test_random_scenes_equal_pycocotools(iou_type: str) -> None:
    for seed in range(20):  # other grids go by the same code for every kind of shape; `fuzz.py` draws them too
        check_scene(shape_scene(np.random.default_rng(seed), iou_type, default_options=True))


def test_crowded_keypoints_equal_pycocotools() -> None:
    # More detections of an image than the limit of 20, around objects that share their places.
    rng = np.random.default_rng(0)
    scene = shape_scene(rng, "keypoints", default_options=True)
    while not scene.results or not scene.ground_truths["annotations"]:
        scene = shape_scene(rng, "keypoints", default_options=True)
    rows = [
        {
            **row,
            "score": float(rng.integers(0, 9) / 8),
            "image_id": scene.image_ids[0],
            "category_id": scene.class_ids[0],
        }
        for row in scene.results * 40
    ]
    annotations = [
        {**row, "image_id": scene.image_ids[0], "category_id": scene.class_ids[0]}
        for row in scene.ground_truths["annotations"]
    ]
    dataset = {**scene.ground_truths, "annotations": annotations}
    assert len(rows) > 20
    for limits in ([20], [1, 5, 100]):
        check_scene(Scene(dataset, rows, {"max_detections": limits}, "keypoints"))


def test_another_skeleton_inside_jit_asks_for_its_sigmas() -> None:
    found, truth = random_keypoints(np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"`detections\.keypoints` must have one keypoint for each of the 17"):
        score(found, truth, num_classes=K, protocol=jaxmap.COCO_KEYPOINTS)


# Arrays and encodings.


def test_dense_masks_and_encoded_ones_give_the_same_numbers() -> None:
    found, truth = random_masks(np.random.default_rng(0))
    expected = jaxmap.evaluate(found, truth, protocol=PROTOCOLS["segm"], num_classes=K).summary

    def encoded(side: Any, fields: tuple[str, ...], convert: Callable[[np.ndarray], Any]) -> list[dict[str, Any]]:
        return [
            {name: getattr(side, name)[image][side.valid[image]] for name in fields}
            | {"masks": convert(side.masks[image][side.valid[image]])}
            for image in range(NUM_IMAGES)
        ]

    for convert in (lambda masks: coco_masks(encode_masks(masks)), encode_masks, list, np.float32, np.asarray):
        sides = encoded(found, ("scores", "labels"), convert), encoded(truth, ("labels", "crowd"), convert)
        assert jaxmap.evaluate(*sides, protocol=PROTOCOLS["segm"], num_classes=K).summary == expected


# Inside `jit`: random scenes in one shape for each kind.

NUM_IMAGES, D, G, K, HEIGHT, WIDTH, P = 5, 14, 6, 2, 24, 30, 4
AREAS = {"small": (0, 40), "medium": (40, 120), "large": (120, 1e10)}
PROTOCOLS: dict[str, EvaluationProtocol] = {
    "segm": SEGM.customize(area_ranges=AREAS),
    "boundary": jaxmap.COCO.customize(iou_type="boundary", area_ranges=AREAS),
    "keypoints": jaxmap.COCO_KEYPOINTS.customize(keypoint_sigmas=[0.1, 0.2, 0.3, 0.4], area_ranges=AREAS),
}


@partial(jax.jit, static_argnums=0)
def update(metric: jaxmap.AveragePrecision, *batch: Any, **options: Any) -> Any:
    return metric.update(*batch, **options)


def score(found: Any, truth: Any, **options: Any) -> dict[str, float]:
    """Matches inside `jit`; curves do not depend on what is compared, and are made on the host."""
    num_images, num_detections = found.labels.shape
    metric = jaxmap.AveragePrecision(
        max_images=num_images,
        max_detections_per_image=num_detections,
        max_ground_truths_per_image=truth.labels.shape[1],
        **options,
    )
    state = update(metric, metric.init(), found, truth, image_id=np.arange(num_images))
    return metric.summarize(metric.compute(state))


def random_masks(rng: np.random.Generator) -> tuple[jaxmap.Detections, jaxmap.GroundTruths]:
    """Rectangles with holes on a coarse grid, so that overlaps of k / 20 and equal ones are common; some are empty."""

    def masks(rows: int) -> np.ndarray:
        result = np.zeros((NUM_IMAGES, rows, HEIGHT, WIDTH), bool)
        for mask in result.reshape(-1, HEIGHT, WIDTH):
            y, x, h, w = *rng.integers(0, 3, 2) * 2, *rng.integers(0, 6, 2) * 4
            mask[y : y + h, x : x + w] = True
            mask[y + 2 : y + rng.integers(2, 5), x + 2 : x + 4] = False
        return result

    found = jaxmap.Detections(
        masks=masks(D),
        scores=rng.integers(0, 6, (NUM_IMAGES, D)).astype(np.float32) / 5,
        labels=rng.integers(0, K, (NUM_IMAGES, D), np.int32),
        valid=rng.random((NUM_IMAGES, D)) < 0.8,
    )
    truth = jaxmap.GroundTruths(
        masks=masks(G),
        labels=rng.integers(0, K, (NUM_IMAGES, G), np.int32),
        valid=rng.random((NUM_IMAGES, G)) < 0.8,
        crowd=rng.random((NUM_IMAGES, G)) < 0.2,
    )
    return found, truth


def random_keypoints(rng: np.random.Generator) -> tuple[jaxmap.Detections, jaxmap.GroundTruths]:
    """Objects in each other's way; no OKS is near a threshold, where float32 could go to either side."""
    while True:
        labelled = rng.random((NUM_IMAGES, G, P)) < 0.5
        places = rng.integers(0, 12, (NUM_IMAGES, G, P, 2)).astype(np.float32)
        boxes = np.concatenate([places[..., 0, :], rng.integers(2, 14, (NUM_IMAGES, G, 2))], axis=-1).astype(np.float32)
        truth = np.concatenate([places, labelled[..., None]], axis=-1).astype(np.float32)
        near = np.take_along_axis(truth, rng.integers(0, G, (NUM_IMAGES, D))[..., None, None], axis=1)
        found = near + np.round(rng.normal(0, 2, near.shape), 1).astype(np.float32)
        wide = [side.astype(np.float64) for side in (found[:, :, None], truth[:, None], boxes[:, None])]
        area = wide[2][..., 2] * wide[2][..., 3]
        similarity = keypoint_similarity(*wide, area, np.array(PROTOCOLS["keypoints"].keypoint_sigmas))
        thresholds = np.array(PROTOCOLS["keypoints"].iou_thresholds)
        if np.abs(similarity[..., None] - thresholds).min() > 1e-5:
            break
    return (
        jaxmap.Detections(
            keypoints=found,
            scores=rng.integers(0, 6, (NUM_IMAGES, D)).astype(np.float32) / 5,
            labels=rng.integers(0, K, (NUM_IMAGES, D), np.int32),
            valid=rng.random((NUM_IMAGES, D)) < 0.8,
        ),
        jaxmap.GroundTruths(
            keypoints=truth,
            boxes=boxes,
            labels=rng.integers(0, K, (NUM_IMAGES, G), np.int32),
            valid=rng.random((NUM_IMAGES, G)) < 0.8,
            crowd=rng.random((NUM_IMAGES, G)) < 0.2,
        ),
    )


@pytest.mark.parametrize("iou_type", PROTOCOLS)
def test_random_arrays_agree_with_the_host(iou_type: str) -> None:
    protocol = PROTOCOLS[iou_type]
    draw = random_keypoints if iou_type == "keypoints" else random_masks
    defined = set()
    for seed in range(25):
        found, truth = draw(np.random.default_rng(seed))
        expected = jaxmap.evaluate(found, truth, protocol=protocol, num_classes=K, box_format="xywh").summary
        numbers = score(found, truth, num_classes=K, protocol=protocol, box_format="xywh")
        for name, value in expected.items():
            assert numbers[name] == pytest.approx(value, rel=0, abs=ATOL, nan_ok=True), (seed, name)
            defined |= {name} if 0 < value < 1 else set()
    assert defined == expected.keys()


@pytest.mark.parametrize("results", [name for name in PAIRS if "yolact" in name])
def test_real_masks_inside_jit_agree_with_pycocotools(results: str, shared_data: pathlib.Path) -> None:
    # Images with few detections, at full size: 6 images padded to 640 x 640 pixels. Scores as float32, for both.
    dataset, rows = load(shared_data, results)
    by_image = {image["id"]: [row for row in rows if row["image_id"] == image["id"]] for image in dataset["images"]}
    annotated = {row["image_id"] for row in dataset["annotations"]}
    image_ids = sorted(sorted(annotated), key=lambda image_id: len(by_image[image_id]))[4:10]
    dataset, rows = cut(dataset, without_boxes(rows), image_ids)
    rows = [{**row, "score": float(np.float32(row["score"]))} for row in rows]
    class_ids = sorted(category["id"] for category in dataset["categories"])
    num_detections, num_ground_truths, size = 24, 8, 640

    def padded(rows: list[dict[str, Any]], length: int, **columns: Any) -> dict[str, np.ndarray]:
        shape = len(image_ids), length
        arrays = {name: np.zeros(shape, dtype) for name, dtype in columns.items()}
        arrays |= {"masks": np.zeros((*shape, size, size), bool), "valid": np.zeros(shape, bool)}
        for image, image_id in enumerate(sorted(image_ids)):
            for place, row in enumerate(row for row in rows if row["image_id"] == image_id):
                mask = decode_mask(row["segmentation"])
                arrays["masks"][image, place, : mask.shape[0], : mask.shape[1]] = mask
                arrays["valid"][image, place] = True
                arrays["labels"][image, place] = class_ids.index(row["category_id"])
                for name in set(columns) - {"labels"}:
                    arrays[name][image, place] = row[{"scores": "score", "crowd": "iscrowd"}.get(name, name)]
        return arrays

    found = jaxmap.Detections(**padded(rows, num_detections, scores=np.float32, labels=np.int32))
    truth = jaxmap.GroundTruths(
        **padded(dataset["annotations"], num_ground_truths, labels=np.int32, crowd=bool, area=np.float32)
    )
    summary = score(found, truth, num_classes=len(class_ids), protocol=SEGM)
    oracle = run_pycocotools(dataset, rows, iou_type="segm")
    ours = [-1.0 if np.isnan(summary[line.name]) else summary[line.name] for line in summary_lines(SEGM)]
    np.testing.assert_allclose(ours, oracle.stats, rtol=0, atol=ATOL)
    assert oracle.stats[0] > 0.3
