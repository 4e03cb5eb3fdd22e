"""Masks in the torchmetrics shell, alone and beside boxes: its keys and its words, with pycocotools' numbers."""

from __future__ import annotations

import re
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxmap._geometry._rle import coco_masks, encode_masks
from jaxmap.interop.torchmetrics import MeanAveragePrecision
from support.oracle import Oracle, run_pycocotools
from support.torchmetrics_inputs import CLASS_NAMES, NAMES, scores_of

BOTH = ("bbox", "segm")
HEIGHT, WIDTH = 120, 160


def mask_of(*rows: str) -> np.ndarray:
    return np.array([[[pixel == "#" for pixel in row] for row in rows]])


# torchmetrics' own example: 3 of 5 pixels are common.
PREDICTED = mask_of(".....", "..##.", "..##.", ".....", ".....")
TARGET = mask_of(".....", "..#..", "..##.", "..#..", ".....")
FOUND = {"masks": PREDICTED, "scores": np.float32([0.536]), "labels": np.array([0])}
TRUTH = {"masks": TARGET, "labels": np.array([0])}


def test_the_documented_example() -> None:
    metric = MeanAveragePrecision(iou_type="segm", extended_summary=True)
    metric.update([FOUND], [TRUTH])
    result = metric.compute()
    assert result["ious"][0, 0] == np.float32(0.6)
    assert result["map"] == pytest.approx(0.3)  # 0.5, 0.55 and 0.6
    assert (result["map_50"], result["map_75"], result["map_small"], result["map_large"]) == (1, 0, result["map"], -1)
    # torchmetrics prints 0.2: its third threshold is the float32 0.60000002.
    metric = MeanAveragePrecision("xyxy", "segm", np.linspace(0.5, 0.95, 10).astype(np.float32).tolist())
    metric.update([FOUND], [TRUTH])
    result = metric.compute()
    assert [round(float(result[name]), 6) for name in ("map", "map_50", "map_75")] == [0.2, 1, 0]


def random_sides(rng: np.random.Generator) -> tuple[list[Any], list[Any]]:
    """Rectangles without a corner, and boxes beside them that are not what encloses them."""

    def side(count: int) -> dict[str, Any]:
        masks, boxes = np.zeros((count, HEIGHT, WIDTH), bool), np.zeros((count, 4), np.float32)
        for mask, box in zip(masks, boxes, strict=True):
            x, y, w, h = rng.choice([0, 8, 16, 20]), rng.choice([0, 4, 10]), *rng.choice([32, 40, 96, 101], 2)
            mask[y : y + h, x : x + w] = True
            mask[y : y + rng.choice([0, 8]), x : x + rng.choice([0, 16, 32])] = False
            box[:] = x, y, x + w + rng.choice([0, 3]), y + h
        return {"masks": masks, "boxes": boxes, "labels": rng.integers(0, 2, count)}

    preds, target = [], []
    for _ in range(4):
        count = int(rng.integers(0, 7))
        preds.append(side(count) | {"scores": rng.integers(0, 9, count).astype(np.float32) / 8})
        count = int(rng.integers(0, 5))
        area = rng.choice([0.0, -2.0, 1024.0, 5000.0], count)
        target.append(side(count) | {"area": area, "iscrowd": (rng.random(count) < 0.2).astype(np.int64)})
    return preds, target


def oracle_of(preds: list[Any], target: list[Any], iou_type: str, *, measured_by_masks: bool) -> Oracle:
    """pycocotools on the same: a target without area is measured by its mask, or by its box."""

    def box_of(box: np.ndarray) -> list[float]:
        return [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()]

    annotations, results = [], []
    for image_id, (found, truth) in enumerate(zip(preds, target, strict=True)):
        for row, mask in enumerate(coco_masks(encode_masks(truth["masks"])) if len(truth["labels"]) else []):
            box = box_of(truth["boxes"][row])
            computed = float(truth["masks"][row].sum()) if measured_by_masks else box[2] * box[3]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": int(truth["labels"][row]),
                    "bbox": box,
                    "segmentation": mask,
                    "iscrowd": int(truth["iscrowd"][row]),
                    "area": truth["area"][row] if truth["area"][row] > 0 else computed,
                }
            )
        for row, mask in enumerate(coco_masks(encode_masks(found["masks"])) if len(found["labels"]) else []):
            shape = {"segmentation": mask} if iou_type == "segm" else {"bbox": box_of(found["boxes"][row])}
            result = {"category_id": int(found["labels"][row]), "score": float(found["scores"][row])}
            results.append({"image_id": image_id} | result | shape)
    labels = {row["category_id"] for row in (*annotations, *results)}
    dataset = {
        "images": [{"id": image_id, "height": HEIGHT, "width": WIDTH} for image_id in range(len(preds))],
        "categories": [{"id": label, "name": str(label)} for label in sorted(labels)],
        "annotations": annotations,
    }
    return run_pycocotools(dataset, results, iou_type=iou_type)


@pytest.mark.parametrize("iou_type", ["segm", "bbox", BOTH], ids=str)
def test_random_images_equal_pycocotools(iou_type: Any) -> None:
    kinds = iou_type if isinstance(iou_type, tuple) else (iou_type,)
    for seed in range(6000, 6004):
        preds, target = random_sides(np.random.default_rng(seed))
        metric = MeanAveragePrecision(iou_type=iou_type, class_metrics=True, extended_summary=True)
        metric.update(preds, target)
        result = metric.compute()
        for kind in kinds:
            prefix = f"{kind}_" if len(kinds) > 1 else ""
            oracle = oracle_of(preds, target, kind, measured_by_masks="segm" in kinds)
            numbers = scores_of(result, [prefix + name for name in NAMES])
            np.testing.assert_allclose(numbers, oracle.stats, rtol=0, atol=1e-6)  # float32
            for name in ("precision", "recall", "scores"):
                np.testing.assert_allclose(result[prefix + name], getattr(oracle, name), rtol=0, atol=1e-12)


def test_names_with_two_types() -> None:
    preds, target = random_sides(np.random.default_rng(6000))
    results = {}
    for iou_type in ("segm", "bbox", BOTH):
        metric = MeanAveragePrecision(iou_type=iou_type, class_metrics=True, extended_summary=True)
        metric.update(preds, target)
        results[iou_type] = metric.compute()
    names = [*NAMES, "ious", "precision", "recall", "scores", *CLASS_NAMES]
    assert list(results[BOTH]) == [*(f"bbox_{name}" for name in names), *(f"segm_{name}" for name in names), "classes"]
    assert list(results["segm"]) == [*names, "classes"]
    for name in names:
        np.testing.assert_equal(results[BOTH][f"segm_{name}"], results["segm"][name])
    np.testing.assert_equal(results[BOTH]["bbox_ious"], results["bbox"]["ious"])  # but not the numbers of areas


def test_micro_average_of_masks() -> None:
    preds, target = random_sides(np.random.default_rng(6001))
    one_class = [[side | {"labels": np.zeros_like(side["labels"])} for side in sides] for sides in (preds, target)]
    results = []
    for average, inputs in (("micro", (preds, target)), ("macro", one_class)):
        metric = MeanAveragePrecision(iou_type=BOTH, average=average)
        metric.update(*inputs)
        results.append([metric.compute()[f"{kind}_{name}"] for kind in BOTH for name in NAMES])
    assert results[0] == results[1]


def test_arrays_of_other_kinds_and_images_without_masks() -> None:
    none = {"masks": np.zeros((0, 5, 5), bool), "scores": np.zeros(0, np.float32), "labels": np.zeros(0, np.int64)}
    flat = {"masks": np.zeros(0, np.uint8), "labels": np.zeros(0, np.int64)}
    for convert in (jnp.asarray, lambda mask: mask.astype(np.uint8), lambda mask: mask.astype(np.float32)):
        metric = MeanAveragePrecision(iou_type="segm")
        found, truth = FOUND | {"masks": convert(PREDICTED)}, TRUTH | {"masks": convert(TARGET)}
        metric.update([found, none, none], [truth, flat, truth])
        assert metric.compute()["map"] == pytest.approx(0.3 * 51 / 101)  # one of two objects, up to a recall of 0.5
    # A false positive on an image without objects counts: it stands first, and halves the precision.
    metric = MeanAveragePrecision(iou_type="segm")
    metric.update([FOUND, FOUND | {"scores": np.float32([0.9])}], [TRUTH, flat])
    assert metric.compute()["map_50"] == pytest.approx(0.5)


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric:UserWarning")  # where torchmetrics is installed
def test_nothing_updated() -> None:
    result = MeanAveragePrecision(iou_type=BOTH).compute()
    assert list(result) == [*(f"{kind}_{name}" for kind in BOTH for name in NAMES), "classes"]
    assert all(result[f"{kind}_{name}"] == -1 for kind in BOTH for name in NAMES)


# What is refused, in torchmetrics' words and order: a case has later faults too, where it can.

TWO = np.zeros(2, np.int64)
BOX = np.float32([[0, 0, 1, 1]])


def without(side: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in side.items() if name not in names}


@pytest.mark.parametrize(
    ("iou_type", "found", "truth", "message"),
    [
        ("segm", without(FOUND, "masks", "labels"), {}, "Expected all dicts in `preds` to contain the `masks` key"),
        (BOTH, without(FOUND, "masks"), {}, "Expected all dicts in `preds` to contain the `boxes` key"),
        (BOTH, without(FOUND, "labels") | {"boxes": BOX}, {}, "Expected all dicts in `preds` to contain the `labels`"),
        (("segm", "bbox"), {}, {}, "Expected all dicts in `preds` to contain the `masks` key"),
        ("segm", FOUND, {}, "Expected all dicts in `target` to contain the `masks` key"),
        ("segm", FOUND | {"masks": [], "scores": []}, TRUTH, "Expected all masks in `preds` to be of type Tensor"),
        ("segm", FOUND, TRUTH | {"masks": []}, "Expected all masks in `target` to be of type Tensor"),
        (
            BOTH,
            FOUND | {"boxes": BOX, "labels": TWO},
            TRUTH | {"boxes": BOX, "masks": TARGET[:0]},
            "Input 'masks' and labels of sample 0 in targets have a different length (expected 0 labels, got 1)",
        ),
        (
            "segm",
            FOUND | {"labels": TWO},
            TRUTH,
            "Input 'masks', labels and scores of sample 0 in predictions have a different length"
            " (expected 1 labels and scores, got 2 labels and 1)",
        ),
        (
            "segm",
            FOUND | {"masks": PREDICTED[0, :1]},
            TRUTH,
            "Input 'masks' of sample 0 in predictions must have shape [N, height, width], got [1, 5]",
        ),
        (
            "segm",
            FOUND,
            TRUTH | {"masks": np.full((1, 5, 5), 0.7)},
            "Input 'masks' of sample 0 in targets must be boolean, or 0 and 1",
        ),
    ],
)
def test_wrong_inputs(iou_type: Any, found: dict[str, Any], truth: dict[str, Any], message: str) -> None:
    metric = MeanAveragePrecision(iou_type=iou_type)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        metric.update([found], [truth])
    assert len(metric.compute()["classes"]) == 0  # nothing was added


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"labels": np.float32([0])}, "Invalid input class of sample 0, element 0 (expected value of type integer"),
        ({"scores": TWO[:1]}, "Invalid input score of sample 0, element 0 (expected value of type float"),
        ({"masks": PREDICTED[:, :4]}, "`detections.masks` of one image must have the same size, got [4, 5] and [5, 5]"),
    ],
)
def test_wrong_values_are_found_by_compute(found: dict[str, Any], message: str) -> None:
    metric = MeanAveragePrecision(iou_type="segm")
    metric.update([FOUND | found], [TRUTH])
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        metric.compute()
