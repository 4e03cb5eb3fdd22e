"""scenic's evaluator: its keys and its words, with pycocotools' numbers."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmap.interop.scenic import DetrGlobalEvaluator
from jaxmap.io import read_coco_detections, read_coco_ground_truths
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

NAMES = ["AP", "AP_50", "AP_75", "AP_small", "AP_medium", "AP_large", "AR_max_1", "AR_max_10", "AR_max_100"]
NAMES += ["AR_small", "AR_medium", "AR_large"]


@pytest.fixture(scope="module")
def truth_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_truth(tmp_path_factory.mktemp("coco"))


def scenic_example(image_id: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns DETR's output of the image's results, last one first, because scenic reverses equal scores."""
    rows = rows_of(image_id, RESULTS)[::-1]
    class_ids = [category["id"] for category in TRUTH["categories"]]
    probs = np.zeros((len(rows), 1 + len(class_ids)), np.float32)
    probs[:, 0] = 0.99  # the background has no say
    for row, result in enumerate(rows):
        probs[row, 1 + class_ids.index(result["category_id"])] = result["score"]
    boxes = np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4)
    boxes[:, :2] += boxes[:, 2:] / 2
    boxes /= np.float32([WIDTH, HEIGHT, WIDTH, HEIGHT])
    prediction = {"pred_boxes": jnp.asarray(boxes), "pred_probs": probs}
    return prediction, {"image/id": np.int32(image_id), "orig_size": np.array([HEIGHT, WIDTH], np.int32)}


def scenic_evaluator(truth_file: str, image_ids: list[int] = IMAGE_IDS, **options: Any) -> DetrGlobalEvaluator:
    evaluator = DetrGlobalEvaluator("coco", annotations_loc=truth_file, **options)
    for image_id in image_ids:
        evaluator.add_example(*scenic_example(image_id))
    return evaluator


def test_numbers_are_those_of_pycocotools(truth_file: str) -> None:
    assert_numbers(scenic_evaluator(truth_file).compute_metrics(), NAMES, full_oracle())


def test_image_without_a_kept_detection_counts_its_ground_truths(truth_file: str) -> None:
    kept = [row for row in RESULTS if row["score"] >= 0.6]
    assert any(not rows_of(i, kept) and rows_of(i, TRUTH["annotations"]) for i in IMAGE_IDS)
    evaluator = scenic_evaluator(truth_file, threshold=0.6)
    assert_numbers(evaluator.compute_metrics(), NAMES, run_pycocotools(TRUTH, kept))


def test_scores_only_the_images_that_were_added_and_included(truth_file: str) -> None:
    evaluator = scenic_evaluator(truth_file, IMAGE_IDS[:20])
    for ids, included in ((IMAGE_IDS[:20], None), (IMAGE_IDS[:10], set(IMAGE_IDS[:10]))):
        images = [image for image in TRUTH["images"] if image["id"] in ids]
        annotations = [row for row in TRUTH["annotations"] if row["image_id"] in ids]
        expected = run_pycocotools(
            {**TRUTH, "images": images, "annotations": annotations}, [row for row in RESULTS if row["image_id"] in ids]
        )
        numbers = evaluator.compute_metrics(included_image_ids=included, clear_annotations=False)
        assert_numbers(numbers, NAMES, expected)


def test_counts_an_image_once_and_forgets_when_asked(truth_file: str) -> None:
    evaluator = scenic_evaluator(truth_file, IMAGE_IDS + IMAGE_IDS[:3])
    assert len(evaluator) == len(IMAGE_IDS)
    assert_numbers(evaluator.compute_metrics(clear_annotations=False), NAMES, full_oracle())
    assert len(evaluator) == len(IMAGE_IDS)
    evaluator.compute_metrics()
    assert len(evaluator) == 0
    assert set(evaluator.compute_metrics().values()) == {-1.0}
    for clear in (evaluator.clear, evaluator.clear_annotations):
        evaluator.add_example(*scenic_example(IMAGE_IDS[0]))
        clear()
        assert len(evaluator) == 0


def test_writes_a_results_file(truth_file: str, tmp_path: pathlib.Path) -> None:
    evaluator = scenic_evaluator(truth_file)
    evaluator.write_pred_annotations_to_file(str(tmp_path / "new"), fname_app="_1", clear_annotations=False)
    assert len(evaluator) == len(IMAGE_IDS)
    evaluator.write_pred_annotations_to_file(str(tmp_path))
    assert len(evaluator) == 0
    path = tmp_path / "predictions.json"
    assert path.read_text() == (tmp_path / "new" / "predictions_1.json").read_text()
    truth = read_coco_ground_truths(truth_file)
    table = read_coco_detections(path, truth)
    written = zip(
        truth.image_ids[table.image_index].tolist(),
        truth.class_ids[table.labels].tolist(),
        map(tuple, table.boxes.tolist()),
        table.scores.tolist(),
        strict=True,
    )
    expected = [(row["image_id"], row["category_id"], tuple(row["bbox"]), row["score"]) for row in RESULTS]
    assert sorted(written) == sorted(expected)


def test_takes_the_softmax_of_logits(truth_file: str, tmp_path: pathlib.Path) -> None:
    logits = np.random.default_rng(0).normal(size=(5, 11)).astype(np.float32)
    _, target = scenic_example(IMAGE_IDS[0])
    evaluator = scenic_evaluator(truth_file, [])
    evaluator.add_example({"pred_boxes": np.full((5, 4), 0.5), "pred_logits": jnp.asarray(logits)}, target)
    evaluator.write_pred_annotations_to_file(tmp_path)
    scores = [row["score"] for row in json.loads((tmp_path / "predictions.json").read_text())]
    expected = jax.nn.softmax(logits)[:, 1:].max(axis=1)
    np.testing.assert_allclose(scores, np.sort(expected)[::-1], rtol=1e-6)  # float32 sums in another order


def test_the_later_query_of_equal_scores_comes_first(truth_file: str, tmp_path: pathlib.Path) -> None:
    evaluator = scenic_evaluator(truth_file, [])
    boxes = np.array([[0.5, 0.5, 0.25, side] for side in (0.25, 0.5, 0.75)])  # heights of 128, 256 and 384 pixels
    _, target = scenic_example(IMAGE_IDS[0])
    evaluator.add_example({"pred_boxes": boxes, "pred_probs": np.array([[0, 0.5], [0, 0.75], [0, 0.5]])}, target)
    evaluator.write_pred_annotations_to_file(tmp_path)
    results = json.loads((tmp_path / "predictions.json").read_text())
    assert [row["bbox"][3] for row in results] == [256, 384, 128]


def test_prints_the_table_when_asked(truth_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    scenic_evaluator(truth_file, IMAGE_IDS[:2], disable_output=False).compute_metrics()
    assert len(capsys.readouterr().out.splitlines()) == 12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pred_boxes": None}, r"`prediction` must have \['pred_boxes'\]"),
        ({"pred_probs": None}, r"`prediction` must have \['pred_logits'\]"),
        ({"orig_size": None}, r"`target` must have \['orig_size'\]"),
        ({"image/id": 5}, "must be an image of the annotation file, got 5"),
        ({"pred_boxes": np.zeros((3, 4))}, r"of image 1000 must have shapes \[D, 4\] and \[D, 1 \+ K\], got \[3, 4\]"),
        ({"pred_probs": np.zeros((1, 1)), "pred_boxes": np.zeros((1, 4))}, "background and at least one class, got 1"),
        (
            {"pred_probs": np.eye(12)[11:], "pred_boxes": np.zeros((1, 4))},
            "a detection of class 11; .* must be 1 to 10",
        ),
    ],
)
def test_refuses_an_example(changes: dict[str, Any], message: str, truth_file: str) -> None:
    mappings = [
        {name: changes.get(name, value) for name, value in mapping.items() if changes.get(name, 0) is not None}
        for mapping in scenic_example(IMAGE_IDS[0])
    ]
    evaluator = scenic_evaluator(truth_file, [])
    with pytest.raises(ValueError, match=message):
        evaluator.add_example(*mappings)
    assert len(evaluator) == 0


def test_wants_an_annotation_file() -> None:
    with pytest.raises(ValueError, match="`annotations_loc` must be the path"):
        DetrGlobalEvaluator("coco")


def test_id_may_have_an_axis_of_its_own(truth_file: str) -> None:
    evaluator = DetrGlobalEvaluator("coco", annotations_loc=truth_file)
    for image_id in IMAGE_IDS:
        prediction, target = scenic_example(image_id)
        evaluator.add_example(prediction, target | {"image/id": np.array([image_id])})
    assert_numbers(evaluator.compute_metrics(), NAMES, full_oracle())


@pytest.mark.parametrize(
    ("image_id", "message"),
    [
        (np.array([1, 2]), "must be one id, got"),
        (IMAGE_IDS[0] + 0.5, "must hold integers of 64 bits, got"),
        (2**64, "must hold integers of 64 bits, got 18446744073709551616"),
        ("one", "must hold integers of 64 bits, got"),
        (2**32 + IMAGE_IDS[0], "must be an image of the annotation file, got"),
    ],
)
def test_id_that_is_none_is_refused(truth_file: str, image_id: Any, message: str) -> None:
    evaluator = DetrGlobalEvaluator("coco", annotations_loc=truth_file)
    prediction, target = scenic_example(IMAGE_IDS[0])
    with pytest.raises(ValueError, match=f"`target.'image/id'.` {message}"):
        evaluator.add_example(prediction, target | {"image/id": image_id})
