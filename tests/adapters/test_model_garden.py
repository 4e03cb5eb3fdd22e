"""Model Garden's dictionaries against plain loops, row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chex
import jax
import numpy as np
import pytest

from jaxmap.adapters import EvaluationBatch, from_model_garden
from jaxmap.metrics import image_id_words

NUM_IMAGES, NUM_ROWS, NUM_TRUTHS = 4, 7, 3


def close(one: Any, other: Any) -> None:
    """Asserts equality up to a few roundings of float32."""
    np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-6, atol=1e-4)


def adapt(predictions: Any, batch: Any, **options: Any) -> EvaluationBatch:
    """Calls the adapter inside `jit`."""
    return jax.jit(lambda predictions, batch: from_model_garden(predictions, batch, **options))(predictions, batch)


def inputs(seed: int = 0) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns predictions in the resized image, and ground truths in the original one; the last image is padding."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 100, (2, NUM_IMAGES, NUM_ROWS, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 80, corner.shape)], axis=-1).astype(np.float32)
    num_truths = np.array([3, 0, 2, 0], np.int32)
    padding = np.arange(NUM_TRUTHS) >= num_truths[:, None]
    scale = rng.uniform(0.4, 2.0, (NUM_IMAGES, 2))
    offset = rng.integers(0, 20, (NUM_IMAGES, 2))
    size = rng.integers(200, 600, (NUM_IMAGES, 2))
    info = np.stack([size, np.round(size * scale), scale, offset], axis=1).astype(np.float32)
    info[-1] = 0
    predictions = {
        "detection_boxes": boxes[0],
        "detection_scores": rng.random((NUM_IMAGES, NUM_ROWS)).astype(np.float32),
        "detection_classes": rng.integers(1, 91, (NUM_IMAGES, NUM_ROWS)).astype(np.int32),
        "num_detections": np.array([7, 2, 0, 7], np.int32),
        "image_info": info,
    }
    labels = {
        "source_id": np.array([[42], [7], [0], [-1]], np.int32),
        "boxes": np.where(padding[..., None], -1, boxes[1, :, :NUM_TRUTHS]).astype(np.float32),
        "classes": np.where(padding, -1, rng.integers(1, 91, padding.shape)).astype(np.int32),
        "areas": np.where(padding, -1, rng.uniform(1, 9999, padding.shape)).astype(np.float32),
        "is_crowds": np.where(padding, 0, rng.integers(0, 2, padding.shape)).astype(np.int32),
        "num_detections": num_truths[:, None],
        "height": np.zeros(NUM_IMAGES, np.int32),
    }
    return predictions, labels


def original(box: np.ndarray, info: np.ndarray, image: str) -> list[float]:
    y0, x0, y1, x1 = box.astype(np.float64)
    if image == "original":
        return [x0, y0, x1, y1]
    (scale_y, scale_x), (offset_y, offset_x) = info[2:].astype(np.float64)
    return [(x0 + offset_x) / scale_x, (y0 + offset_y) / scale_y, (x1 + offset_x) / scale_x, (y1 + offset_y) / scale_y]


@pytest.mark.parametrize("detections_in", ["resized", "original"])
@pytest.mark.parametrize("ground_truths_in", ["resized", "original"])
def test_from_model_garden_brings_boxes_to_the_original_image(detections_in: str, ground_truths_in: str) -> None:
    predictions, labels = inputs()
    options = {"detections_in": detections_in, "ground_truths_in": ground_truths_in}
    found, truth, image_id, valid = adapt(predictions, labels, **options)
    info = predictions["image_info"]
    for i in range(NUM_IMAGES - 1):
        for d in range(NUM_ROWS):
            close(found.boxes[i, d], original(predictions["detection_boxes"][i, d], info[i], detections_in))
            assert found.labels[i, d] == predictions["detection_classes"][i, d] - 1
            assert found.scores[i, d] == predictions["detection_scores"][i, d]
            assert found.valid[i, d] == (d < predictions["num_detections"][i])
        for g in range(NUM_TRUTHS):
            assert truth.valid[i, g] == (g < labels["num_detections"][i, 0])
            close(truth.boxes[i, g], original(labels["boxes"][i, g], info[i], ground_truths_in))
            assert truth.labels[i, g] == labels["classes"][i, g] - 1
            assert truth.crowd[i, g] == (labels["is_crowds"][i, g] == 1)
            assert truth.area[i, g] == labels["areas"][i, g]
    np.testing.assert_array_equal(image_id, [42, 7, 0, -1])
    np.testing.assert_array_equal(valid, [True, True, True, False])
    assert np.isfinite(found.boxes).all()  # also in the padding image, of no scale


def test_from_model_garden_without_counts_takes_every_detection_and_ground_truths_of_a_class() -> None:
    predictions, labels = inputs()
    del predictions["num_detections"], labels["num_detections"]
    adapted = adapt(predictions, labels)
    assert adapted.detections.valid is None
    np.testing.assert_array_equal(adapted.ground_truths.valid, labels["classes"] >= 1)


def test_from_model_garden_takes_either_count_and_class_numbers_as_floats() -> None:
    predictions, labels = inputs()
    expected = adapt(predictions, labels)
    labels["num_groundtruths"] = labels.pop("num_detections")[:, 0]
    predictions["detection_classes"] = predictions["detection_classes"].astype(np.float32)
    chex.assert_trees_all_equal(adapt(predictions, labels), expected)


@pytest.mark.parametrize(("smallest", "expected"), [(0, [True, True, True, False]), (1, [True, True, False, False])])
def test_from_model_garden_knows_padding_images_by_their_id(smallest: int, expected: list[bool]) -> None:
    adapted = adapt(*inputs(), smallest_image_id=smallest)
    np.testing.assert_array_equal(adapted.valid, expected)


def test_from_model_garden_without_ground_truths() -> None:
    predictions, labels = inputs()
    adapted = adapt(predictions | {"source_id": labels["source_id"]}, {})
    assert adapted.ground_truths is None
    np.testing.assert_array_equal(adapted.image_id, labels["source_id"][:, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, b: p.pop("image_info"), r"'image_info', or boxes must be in the original image"),
        (lambda p, b: b.pop("classes"), r"`labels` must have the entry 'classes'"),
        (lambda p, b: b.update(source_id=np.ones(4)), r"`source_id` must hold integers, got dtype float64"),
        (lambda p, b: b.update(source_id=np.ones(3, int)), r"`source_id` must have shape \[4\], one per image"),
        (lambda p, b: b.update(source_id=np.full(4, 2**32)), r"`source_id` must fit int32, .*image_id_words"),
    ],
)
def test_from_model_garden_names_what_is_missing_or_misshapen(change: Callable[..., Any], message: str) -> None:
    predictions, batch = inputs()
    change(predictions, batch)
    with pytest.raises((TypeError, ValueError), match=message):
        from_model_garden(predictions, batch)


def test_from_model_garden_passes_on_the_words_of_long_ids() -> None:
    predictions, labels = inputs()
    ids = [2**32 + 1, 1, 0, -1]
    adapted = from_model_garden(predictions, labels | {"source_id": image_id_words(ids)}, smallest_image_id=1)
    np.testing.assert_array_equal(adapted.image_id, image_id_words(ids))
    np.testing.assert_array_equal(adapted.valid, [True, True, False, False])


@pytest.mark.parametrize("option", ["detections_in", "ground_truths_in"])
def test_from_model_garden_refuses_unknown_options(option: str) -> None:
    with pytest.raises(ValueError, match=f"`{option}` must be .*, got 'middle'"):
        from_model_garden(*inputs(), **{option: "middle"})
