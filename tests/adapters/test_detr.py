"""DETR's dictionaries against plain loops, query by query."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmap
from jaxmap.adapters import EvaluationBatch, from_detr

NUM_IMAGES, NUM_QUERIES, NUM_COLUMNS, NUM_TRUTHS = 4, 7, 5, 3


def close(one: Any, other: Any) -> None:
    """Asserts equality up to a few roundings of float32."""
    np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-6, atol=1e-4)


def adapt(predictions: Any, batch: Any, **options: Any) -> EvaluationBatch:
    """Calls the adapter inside `jit`, with arrays of the batch as arguments."""
    arrays = {name: value for name, value in batch.items() if isinstance(value, (dict, np.ndarray))}
    return jax.jit(lambda predictions, arrays: from_detr(predictions, arrays, **options))(predictions, arrays)


def inputs(seed: int = 0) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Returns predictions and batch as scenic's DETR has them; the last image is padding, with zeros throughout."""
    rng = np.random.default_rng(seed)
    predictions = {
        "pred_logits": rng.normal(0, 2, (NUM_IMAGES, NUM_QUERIES, NUM_COLUMNS)).astype(np.float32),
        "pred_boxes": rng.uniform(0.1, 0.9, (NUM_IMAGES, NUM_QUERIES, 4)).astype(np.float32),
    }
    label = {
        "boxes": rng.uniform(0.1, 0.9, (NUM_IMAGES, NUM_TRUTHS, 4)).astype(np.float32),
        "labels": rng.integers(0, NUM_COLUMNS, (NUM_IMAGES, NUM_TRUTHS)).astype(np.int32),
        "is_crowd": rng.random((NUM_IMAGES, NUM_TRUTHS)) < 0.3,
        "area": rng.uniform(10, 5000, (NUM_IMAGES, NUM_TRUTHS)).astype(np.float32),
        "orig_size": rng.integers(100, 600, (NUM_IMAGES, 2)).astype(np.int32),
        "size": rng.integers(800, 1333, (NUM_IMAGES, 2)).astype(np.int32),
        "image/id": np.array([139, 285, 632, 0], np.int32),
    }
    for column in label.values():
        column[-1] = 0
    return predictions, {"label": label, "batch_mask": np.array([1, 1, 1, 0], np.float32), "inputs": object()}


def pixels(box: np.ndarray, size: np.ndarray) -> list[float]:
    (x, y, w, h), (height, width) = box.astype(np.float64), size
    return [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height]


def probabilities(logits: np.ndarray, activation: str) -> np.ndarray:
    logits = logits.astype(np.float64)
    if activation == "sigmoid":
        return 1 / (1 + np.exp(-logits))
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


@pytest.mark.parametrize("background", ["first", "last", None])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_from_detr_takes_the_best_class_of_each_query(activation: str, background: str | None) -> None:
    predictions, batch = inputs()
    adapted = adapt(predictions, batch, activation=activation, background=background)
    for i in range(NUM_IMAGES):
        for q in range(NUM_QUERIES):
            scores = probabilities(predictions["pred_logits"][i, q], activation)
            columns = {"first": range(1, NUM_COLUMNS), "last": range(NUM_COLUMNS - 1), None: range(NUM_COLUMNS)}
            classes = [scores[column] for column in columns[background]]
            close(adapted.detections.scores[i, q], max(classes))
            assert adapted.detections.labels[i, q] == int(np.argmax(classes))
            close(
                adapted.detections.boxes[i, q], pixels(predictions["pred_boxes"][i, q], batch["label"]["orig_size"][i])
            )
    assert adapted.detections.valid is None
    np.testing.assert_array_equal(adapted.valid, [True, True, True, False])
    np.testing.assert_array_equal(adapted.image_id, [139, 285, 632, 0])
    assert adapted.image_id.dtype == jnp.int32


@pytest.mark.parametrize("top_k", [1, 10, 100])
def test_from_detr_takes_the_best_pairs_of_query_and_class(top_k: int) -> None:
    predictions, batch = inputs()
    adapted = adapt(predictions, batch, activation="sigmoid", background=None, top_k=top_k)
    assert adapted.detections.scores.shape == (NUM_IMAGES, min(top_k, NUM_QUERIES * NUM_COLUMNS))
    for i in range(NUM_IMAGES):
        scores = probabilities(predictions["pred_logits"][i], "sigmoid")
        pairs = [(scores[q, k], q, k) for q in range(NUM_QUERIES) for k in range(NUM_COLUMNS)]
        for rank, (score, q, k) in enumerate(sorted(pairs, key=lambda pair: -pair[0])[:top_k]):
            close(adapted.detections.scores[i, rank], score)
            assert adapted.detections.labels[i, rank] == k
            box = pixels(predictions["pred_boxes"][i, q], batch["label"]["orig_size"][i])
            close(adapted.detections.boxes[i, rank], box)


def test_from_detr_gives_equal_scores_to_the_earlier_query_then_to_the_smaller_class() -> None:
    predictions = {"pred_probs": np.full((1, 2, 3), 0.5, np.float32), "pred_boxes": np.zeros((1, 2, 4), np.float32)}
    predictions["pred_boxes"][0, :, 0] = [0.25, 0.75]
    adapted = adapt(predictions, {"label": {"orig_size": np.array([[8, 8]])}}, background=None, top_k=4)
    np.testing.assert_array_equal(adapted.detections.labels[0], [0, 1, 2, 0])
    np.testing.assert_array_equal(adapted.detections.boxes[0, :, 0], [2, 2, 2, 6])


@pytest.mark.parametrize("label_offset", [0, 1])
@pytest.mark.parametrize("area_measured_at", ["size", "orig_size"])
def test_from_detr_reads_ground_truths(area_measured_at: str, label_offset: int) -> None:
    predictions, batch = inputs()
    options = {"area_measured_at": area_measured_at, "label_offset": label_offset}
    truth = adapt(predictions, batch, **options).ground_truths
    label = batch["label"]
    for i in range(NUM_IMAGES - 1):
        ratio = label["orig_size"][i].astype(float).prod() / label[area_measured_at][i].astype(float).prod()
        for g in range(NUM_TRUTHS):
            assert truth.valid[i, g] == (label["labels"][i, g] >= label_offset)
            assert truth.labels[i, g] == label["labels"][i, g] - label_offset
            assert truth.crowd[i, g] == label["is_crowd"][i, g]
            close(truth.area[i, g], label["area"][i, g] * ratio)
            close(truth.boxes[i, g], pixels(label["boxes"][i, g], label["orig_size"][i]))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(truth))  # also in the padding image, of no size


def test_from_detr_without_optional_entries() -> None:
    predictions, batch = inputs()
    label = batch["label"]
    bare = adapt(predictions, {"label": {"orig_size": label["orig_size"]}})
    assert bare.ground_truths is None
    assert bare.image_id is None
    assert bare.valid.all()
    boxes = {name: label[name] for name in ("orig_size", "boxes", "labels")}
    truth = adapt(predictions, {"label": boxes}).ground_truths
    assert truth.crowd is None
    assert truth.area is None


def test_from_detr_prefers_probabilities_to_logits() -> None:
    predictions, batch = inputs()
    given = predictions | {"pred_probs": np.roll(probabilities(predictions["pred_logits"], "softmax"), 1, axis=1)}
    rolled = {
        name: np.roll(value, 1, axis=1) if name == "pred_logits" else value for name, value in predictions.items()
    }
    one, other = adapt(given, batch), adapt(rolled, batch)
    close(one.detections.scores, other.detections.scores)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, b: p.pop("pred_boxes"), r"`predictions` must have the entry 'pred_boxes'"),
        (lambda p, b: p.pop("pred_logits"), r"the entry 'pred_logits' or 'pred_probs', got \['pred_boxes'\]"),
        (lambda p, b: p.update(pred_boxes=np.zeros((4, 7, 5))), r"`pred_boxes` must have shape \[any, any, 4\]"),
        (lambda p, b: b.pop("label"), r"`batch` must have the entry 'label'"),
        (lambda p, b: b["label"].pop("labels"), r"`batch\['label'\]` must have the entry 'labels'"),
        (lambda p, b: b["label"].pop("size"), r"`area_measured_at` must be 'orig_size'"),
        (lambda p, b: b.update(batch_mask=np.ones(3)), r"`batch_mask` must have shape \[4\], got \[3\]"),
    ],
)
def test_from_detr_names_what_is_missing_or_misshapen(change: Callable[..., Any], message: str) -> None:
    predictions, batch = inputs()
    change(predictions, batch)
    with pytest.raises(ValueError, match=message):
        from_detr(predictions, batch)


@pytest.mark.parametrize("option", ["background", "activation", "area_measured_at"])
def test_from_detr_refuses_unknown_options(option: str) -> None:
    with pytest.raises(ValueError, match=f"`{option}` must be .*, got 'middle'"):
        from_detr(*inputs(), **{option: "middle"})


@pytest.mark.slow
def test_boxes_made_in_the_step_itself_count_as_they_would_from_memory() -> None:
    """A product that a compiler fuses into the metric's sums would move IoUs off their thresholds."""
    rng = np.random.default_rng(0)
    num, size = 32, 640
    corner = rng.integers(0, 200, (num, num, 2))
    side = rng.choice([20, 40, 100], (num, num, 2))
    truth = np.concatenate([corner, side], -1)  # xywh, and every detection's IoU is a multiple of 1/20
    found = truth.astype(np.float32)
    found[..., 2] *= rng.integers(10, 21, (num, num)) / 20
    centre = [
        (np.concatenate([x[..., :2] + x[..., 2:] / 2, x[..., 2:]], -1) / size).astype(np.float32)
        for x in (found, truth)
    ]
    predictions = {"pred_probs": rng.random((num, num, 1)).astype(np.float32), "pred_boxes": centre[0]}
    label = {
        "boxes": centre[1],
        "labels": np.ones((num, num), np.int32),
        "orig_size": np.full((num, 2), size, np.int32),
        "image/id": np.arange(num, dtype=np.int32),
    }
    metric = jaxmap.AveragePrecision(
        num_classes=1, max_images=num, max_detections_per_image=num, max_ground_truths_per_image=num
    )

    def update(batch: EvaluationBatch) -> Any:
        return metric.update(metric.init(), batch.detections, batch.ground_truths, image_id=batch.image_id)

    from_memory = jax.jit(update)(adapt(predictions, {"label": label}, background=None))
    in_step = jax.jit(lambda *inputs: update(from_detr(*inputs, background=None)))(predictions, {"label": label})
    chex.assert_trees_all_equal(in_step, from_memory)
