"""LVIS files for differential tests, and the numbers that lvis-api gives them."""

from __future__ import annotations

import copy
import json
import pathlib
from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap import io

Files = tuple[dict[str, Any], list[dict[str, Any]]]


def run_lvis_api(files: Files, folder: pathlib.Path, iou_type: str = "bbox") -> dict[str, float]:
    """Returns lvis-api's 13 numbers by name, NaN where it says -1."""
    lvis = pytest.importorskip("lvis", reason="the reference of LVIS: pip install lvis", exc_type=ImportError)
    paths = [folder / "truth.json", folder / "results.json"]
    for path, data in zip(paths, files, strict=True):
        path.write_text(json.dumps(data))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "float", float, raising=False)  # 0.5.3 uses the name that NumPy 1.24 took away
        run = lvis.LVISEval(*map(str, paths), iou_type)
        run.run()
    return {name: np.nan if value == -1 else float(value) for name, value in run.get_results().items()}


def evaluate_lvis(files: Files, iou_type: str = "bbox", **options: Any) -> jaxmap.Evaluation:
    truth = io.lvis_ground_truths(files[0], iou_type=iou_type)
    found = io.coco_detections(files[1], truth, iou_type=iou_type)
    return jaxmap.evaluate(found, truth, protocol=jaxmap.LVIS, iou_type=iou_type, **options)


def jittered_results(truth: dict[str, Any], rng: np.random.Generator, *, masks: bool = False) -> list[dict[str, Any]]:
    """Returns what a detector might find: objects moved a little, other classes, doubles, 350 in the first image.

    Scores are of two digits, so that many tie. With `masks` they are polygons, encoded, without boxes.
    """
    classes = [category["id"] for category in truth["categories"]]
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    results = []
    for row in truth["annotations"]:
        for _ in range(int(rng.integers(0, 4))):
            scale = np.array(row["bbox"])[[2, 3, 2, 3]]
            box = np.array(row["bbox"]) + scale * rng.normal(0, rng.choice([0.0, 0.03, 0.1]), 4) * [1, 1, 0.5, 0.5]
            found = {"image_id": row["image_id"], "category_id": row["category_id"], "bbox": box.tolist()}
            if masks:
                found["segmentation"] = _moved(row, rng, sizes[row["image_id"]])
                del found["bbox"]
            if rng.random() < 0.15:
                found["category_id"] = int(rng.choice(classes))
            results.append(found)
    for image in truth["images"]:  # what was looked for and is not there, and what nobody looked for
        for class_id in [*image["neg_category_ids"], *image["not_exhaustive_category_ids"], *rng.choice(classes, 3)]:
            x, y, w, h = rng.random(4) * [400, 300, 200, 100] + 1
            found = {"image_id": image["id"], "category_id": int(class_id), "bbox": [x, y, w, h]}
            if masks:
                found["segmentation"] = _encoded([[x, y, x + w, y, x + w, y + h]], sizes[image["id"]])
                del found["bbox"]
            results.append(found)
    first = [row for row in results if row["image_id"] == results[0]["image_id"]]
    results += [copy.deepcopy(first[int(rng.integers(len(first)))]) for _ in range(350)]
    scores = np.round(rng.random(len(results)), 2).tolist()
    return [results[i] | {"score": score} for i, score in zip(rng.permutation(len(results)), scores, strict=True)]


def federated_scene(rng: np.random.Generator, *, max_classes: int = 8, max_objects: int = 3) -> Files:
    """Returns a small random scene: ignored annotations, every kind of image and class, boxes on a grid that tie.

    Args:
      rng: decides everything.
      max_classes: up to so many; with less than 8 no image has more than 40 detections.
      max_objects: of an image and class.
    """
    num_images, classes = (
        int(rng.integers(2, 7)),
        (rng.permutation(40)[: int(rng.integers(2, max_classes + 1))] + 1).tolist(),
    )
    images, annotations, results = [], [], []
    for image_id in (rng.permutation(50)[:num_images] + 1).tolist():
        kind = {one: int(rng.integers(4)) for one in classes}  # present, negative, unknown, not exhaustive
        open_ended = [one for one in classes if kind[one] == 3 or rng.random() < 0.1]
        images.append(
            {"id": image_id, "height": 300, "width": 300}
            | {
                "neg_category_ids": [one for one in classes if kind[one] == 1],
                "not_exhaustive_category_ids": open_ended,
            }
        )
        for class_id in classes:
            for _ in range(int(rng.integers(1, max_objects + 1)) if kind[class_id] in (0, 3) else 0):
                box = (10 * rng.integers(1, 12, 4)).tolist()
                annotations.append({"image_id": image_id, "category_id": class_id, "bbox": box})
                annotations[-1] |= {"area": box[2] * box[3] * float(rng.choice([1.0, 0.4]))}
                annotations[-1] |= {"ignore": 1} if rng.random() < 0.15 else {}
                for _ in range(int(rng.integers(0, 4))):
                    near = (np.array(box) + rng.choice([0, 0, 2, 5], 4)).tolist()
                    near[2] *= rng.random() < 0.9  # without area it takes a place among the first 300, and is left out
                    results.append({"image_id": image_id, "category_id": class_id, "bbox": near})
        for _ in range(int(rng.integers(0, 9))):
            found = {"image_id": image_id, "category_id": int(rng.choice(classes))}
            results.append(found | {"bbox": (10 * rng.integers(1, 12, 4)).tolist()})
    if len(results) < 2:
        return federated_scene(rng, max_classes=max_classes, max_objects=max_objects)
    if max_classes == 8:
        results += [dict(results[int(rng.integers(2))]) for _ in range(int(rng.choice([0, 320])))]
    scores = (rng.integers(1, 20, len(results)) / 20).tolist()
    results = [results[i] | {"score": score} for i, score in zip(rng.permutation(len(results)), scores, strict=True)]
    categories = [
        {"id": one, "name": f"class {one}", "frequency": "rcf"[i % 3]} for i, one in enumerate(sorted(classes))
    ]
    annotations = [row | {"id": number} for number, row in enumerate(annotations, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}, results


def _moved(row: dict[str, Any], rng: np.random.Generator, size: tuple[int, int]) -> dict[str, Any]:
    step = rng.normal(0, rng.choice([0.0, 1.0, 4.0]), 2)
    polygons = [(np.array(one).reshape(-1, 2) + step).clip(0).ravel().tolist() for one in row["segmentation"]]
    return _encoded(polygons, size)


def _encoded(polygons: list[list[float]], size: tuple[int, int]) -> dict[str, Any]:
    from pycocotools import mask

    merged = mask.merge(mask.frPyObjects(polygons, *size))
    return {"size": list(size), "counts": merged["counts"].decode()}
