"""A made-up detector's COCO files, for the evaluators that read one of them, and pycocotools' numbers of both."""

from __future__ import annotations

import functools
import json
import pathlib
from typing import Any

import numpy as np

from jaxmap.io import demo_scene
from support.oracle import Oracle, run_pycocotools

HEIGHT, WIDTH = 512, 1024  # with even pixels, all conversions of boxes are exact in float32
FIRST_ID = 1000


def make_files() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns COCO ground truths, with categories in no order, and results with scores that float32 holds."""
    found, truth = demo_scene(num_images=40, seed=1)
    truth_boxes, found_boxes = (2 * np.round(table.boxes / 2) for table in (truth, found))
    class_ids = [3 * label + 2 for label in range(len(truth.class_ids))]
    order = np.random.default_rng(0).permutation(len(class_ids))
    annotations = [
        {"id": row + 1, "image_id": int(image) + FIRST_ID, "category_id": class_ids[label], "bbox": box.tolist()}
        | {"area": float(np.float32(area)), "iscrowd": int(crowd)}
        for row, (image, label, box, area, crowd) in enumerate(
            zip(truth.image_index, truth.labels, truth_boxes, truth.area, truth.crowd, strict=True)
        )
    ]
    results = [
        {"image_id": int(image) + FIRST_ID, "category_id": class_ids[label], "bbox": box.tolist()}
        | {"score": float(np.float32(score))}
        for image, label, box, score in zip(found.image_index, found.labels, found_boxes, found.scores, strict=True)
    ]
    images = [{"id": index + FIRST_ID} for index in range(len(truth.image_ids))]
    categories = [{"id": class_ids[label], "name": truth.class_names[label]} for label in order]
    return {"images": images, "annotations": annotations, "categories": categories}, results


TRUTH, RESULTS = make_files()
IMAGE_IDS = [image["id"] for image in TRUTH["images"]]


@functools.cache
def full_oracle() -> Oracle:
    return run_pycocotools(TRUTH, RESULTS)


def write_truth(folder: pathlib.Path) -> str:
    path = folder / "truth.json"
    path.write_text(json.dumps(TRUTH))
    return str(path)


def rows_of(image_id: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["image_id"] == image_id]


def assert_numbers(numbers: dict[str, Any], names: list[str], oracle: Oracle, atol: float = 1e-12) -> None:
    assert list(numbers) == names
    np.testing.assert_allclose(list(numbers.values()), oracle.stats, rtol=0, atol=atol)
