"""Model Garden's evaluator: its keys and its words, with pycocotools' numbers."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxmap.interop.model_garden import COCOEvaluator
from support.evaluator_files import (
    HEIGHT,
    IMAGE_IDS,
    RESULTS,
    TRUTH,
    WIDTH,
    assert_numbers,
    full_oracle,
    rows_of,
    write_truth,
)
from support.oracle import run_pycocotools

NAMES = ["AP", "AP50", "AP75", "APs", "APm", "APl", "ARmax1", "ARmax10", "ARmax100", "ARs", "ARm", "ARl"]
NUM_SLOTS = 200


@pytest.fixture(scope="module")
def truth_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_truth(tmp_path_factory.mktemp("coco"))


def to_yxyx(rows: list[dict[str, Any]], scale: float = 1.0) -> np.ndarray:
    x, y, width, height = scale * np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4).T
    return np.stack([y, x, y + height, x + width], axis=1)


def garden_batches(size: int = 16) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yields (ground truths, predictions) with garbage beyond the counts; padding images are all zeros but for it."""
    for start in range(0, len(IMAGE_IDS), size):
        ids = IMAGE_IDS[start : start + size]
        truth = {name: np.zeros(size, np.int32) for name in ("source_id", "height", "width", "num_detections")}
        truth |= {"classes": np.full((size, NUM_SLOTS), 2), "is_crowds": np.zeros((size, NUM_SLOTS), np.int32)}
        truth |= {"areas": np.ones((size, NUM_SLOTS), np.float32), "boxes": np.ones((size, NUM_SLOTS, 4), np.float32)}
        found: dict[str, Any] = {name: np.zeros(size, np.int32) for name in ("source_id", "num_detections")}
        found |= {"image_info": np.zeros((size, 4, 2), np.float32), "detection_classes": np.full((size, NUM_SLOTS), 2)}
        found |= {"detection_boxes": np.ones((size, NUM_SLOTS, 4), np.float32)}
        found |= {"detection_scores": np.ones((size, NUM_SLOTS), np.float32)}
        for i, image_id in enumerate(ids):
            rows = rows_of(image_id, TRUTH["annotations"])
            truth["source_id"][i] = found["source_id"][i] = image_id
            truth["height"][i], truth["width"][i], truth["num_detections"][i] = HEIGHT, WIDTH, len(rows)
            for name, key in (("classes", "category_id"), ("is_crowds", "iscrowd"), ("areas", "area")):
                truth[name][i, : len(rows)] = [row[key] for row in rows]
            truth["boxes"][i, : len(rows)] = to_yxyx(rows)
            rows = rows_of(image_id, RESULTS)
            found["num_detections"][i], found["image_info"][i, 2] = len(rows), (2.0, 2.0)
            for name, key in (("detection_classes", "category_id"), ("detection_scores", "score")):
                found[name][i, : len(rows)] = [row[key] for row in rows]
            found["detection_boxes"][i, : len(rows)] = to_yxyx(rows, 2.0)
        yield truth, found


def garden_evaluator(annotation_file: str | None, **options: Any) -> COCOEvaluator:
    evaluator = COCOEvaluator(annotation_file, include_mask=False, **options)
    for truth, found in garden_batches():
        evaluator.update_state(truth, found)
    return evaluator


def test_numbers_are_those_of_pycocotools(truth_file: str) -> None:
    for annotation_file in (truth_file, None):
        evaluator = garden_evaluator(annotation_file)
        numbers = evaluator.result()
        assert_numbers(numbers, NAMES, full_oracle(), atol=1e-7)  # the numbers are float32
        assert {type(value) for value in numbers.values()} == {np.float32}
        assert set(evaluator.result().values()) == {-1.0}  # all images are forgotten


def test_takes_jax_arrays_replicas_and_ids_as_bytes(truth_file: str) -> None:
    evaluator = COCOEvaluator(truth_file, False)
    for _, found in garden_batches():
        found = {name: (jnp.asarray(value[:8]), jnp.asarray(value[8:])) for name, value in found.items()}
        found["source_id"] = np.array([b"%d" % i for half in found["source_id"] for i in half.tolist()])
        evaluator.update_state(None, found)
    assert evaluator.name == "coco_metric"
    assert_numbers(evaluator.evaluate(), NAMES, full_oracle(), atol=1e-7)
    assert_numbers(evaluator.evaluate(), NAMES, full_oracle(), atol=1e-7)  # which forgets nothing
    evaluator.reset_states()
    assert evaluator.evaluate()["AP"] == -1


def test_counts_an_image_once() -> None:
    evaluator = garden_evaluator(None)
    evaluator.update_state(*next(garden_batches()))
    assert_numbers(evaluator.result(), NAMES, full_oracle(), atol=1e-7)


def test_boxes_of_the_original_image_need_no_image_info(truth_file: str) -> None:
    evaluator = COCOEvaluator(truth_file, False, need_rescale_bboxes=False)
    for _, found in garden_batches():
        del found["image_info"]
        evaluator.update_state({}, found | {"detection_boxes": found["detection_boxes"] / 2})
    assert_numbers(evaluator.result(), NAMES, full_oracle(), atol=1e-7)


def test_limit_on_detections(truth_file: str) -> None:
    numbers = garden_evaluator(truth_file, max_num_eval_detections=30).result()
    names = [name.replace("100", "30") for name in NAMES]
    assert_numbers(numbers, names, run_pycocotools(TRUTH, RESULTS, max_detections=[1, 10, 30]), atol=1e-7)
    numbers = garden_evaluator(truth_file, max_num_eval_detections=3, per_category_metrics=True).result()
    assert numbers["ARmax10"] == numbers["ARmax3"] > numbers["ARmax1"]
    assert numbers["Recall AR@10 ByCategory/car"] == numbers["Recall AR@100 ByCategory/car"]


def test_numbers_of_categories(truth_file: str) -> None:
    numbers = garden_evaluator(truth_file, per_category_metrics=True).result()
    assert list(numbers)[:12] == NAMES
    assert len(numbers) == 12 + 12 * len(full_oracle().class_ids)
    names = {category["id"]: category["name"] for category in TRUTH["categories"]}
    for k, class_id in enumerate(full_oracle().class_ids):
        precision, recall = full_oracle().precision[:, :, k, :, -1], full_oracle().recall[:, k]
        expected = {
            "Precision mAP ByCategory": precision[..., 0],
            "Precision mAP ByCategory@50IoU": precision[0, :, 0],
            "Precision mAP ByCategory@75IoU": precision[5, :, 0],
            "Precision mAP ByCategory (small)": precision[..., 1],
            "Precision mAP ByCategory (large)": precision[..., 3],
            "Recall AR@1 ByCategory": recall[:, 0, 0],
            "Recall AR@10 ByCategory": recall[:, 0, 1],
            "Recall AR@100 ByCategory": recall[:, 0, 2],
            "Recall AR (medium) ByCategory": recall[:, 2, 2],
        }
        for key, cells in expected.items():
            assert numbers[f"{key}/{names[class_id]}"] == pytest.approx(cells.mean(), abs=1e-7)
    without_names = garden_evaluator(None, per_category_metrics=True).result()
    assert without_names["Precision mAP ByCategory/2"] == numbers["Precision mAP ByCategory/person"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"include_mask": True}, "`include_mask` must be False: only boxes are supported yet"),
        ({"include_keypoint": True}, "`include_keypoint` must be False"),
        ({"max_num_eval_detections": None}, "`max_num_eval_detections` must be a positive integer, got None"),
        ({"max_num_eval_detections": 0}, "`max_num_eval_detections` must be a positive integer, got 0"),
    ],
)
def test_refuses_an_option(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        COCOEvaluator(**{"annotation_file": None, "include_mask": False} | options)


@pytest.mark.parametrize(
    ("side", "changes", "message"),
    [
        (0, {"height": None}, r"Missing the required keys \['height'\] in groundtruths"),
        (1, {"image_info": None}, r"Missing the required keys \['image_info'\] in predictions"),
        (0, {"areas": np.zeros(16)}, r"`groundtruths\['areas'\]` must have shape \[16, 200\], got \[16\]"),
        (1, {"detection_boxes": np.zeros((16, 4))}, r"`predictions\['detection_boxes'\]` must have shape \[B, N, 4\]"),
        (1, {"source_id": np.arange(16)}, r"`predictions\['source_id'\]\[1\]` must be an image .* got 1; padding"),
    ],
)
def test_refuses_a_batch(side: int, changes: dict[str, Any], message: str) -> None:
    batch = list(next(garden_batches()))
    batch[side] = {name: value for name, value in (batch[side] | changes).items() if value is not None}
    evaluator = COCOEvaluator(None, False)
    with pytest.raises(ValueError, match=message):
        evaluator.update_state(*batch)
    assert evaluator.result()["AP"] == -1  # nothing of it was kept


def test_wants_ground_truths_from_somewhere() -> None:
    with pytest.raises(ValueError, match=r"Missing the required keys .* in groundtruths"):
        COCOEvaluator(None, False).update_state(None, next(garden_batches())[1])


def test_image_ids_may_be_text(tmp_path: pathlib.Path) -> None:
    truth = {**TRUTH, "images": [{"id": f"image {i}"} for i in IMAGE_IDS]}
    truth["annotations"] = [row | {"image_id": f"image {row['image_id']}"} for row in TRUTH["annotations"]]
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(truth))
    evaluator = COCOEvaluator(str(path), False)
    for _, found in garden_batches():
        real = found["source_id"] > 0
        found = {name: value[real] for name, value in found.items()}
        evaluator.update_state(None, found | {"source_id": np.array([b"image %d" % i for i in found["source_id"]])})
    assert_numbers(evaluator.result(), NAMES, full_oracle(), atol=1e-7)
