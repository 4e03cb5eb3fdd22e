"""Boxes by GIoU: the definition and a greedy matching in plain Python give what the host and `jit` give."""

from __future__ import annotations

import functools
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmap
from jaxmap._candidates import _host as candidates_host
from jaxmap._candidates._device import MARGIN, TOLERANCE
from jaxmap._cli import main
from jaxmap._geometry import geometry_of
from jaxmap._geometry._giou import giou_pairs
from jaxmap.metrics import ConfusionMatrix

COCO_GIOU = jaxmap.COCO.customize(iou_type="giou")
NUM_IMAGES, D, G, K = 6, 14, 7, 2
THRESHOLDS = (0.1, 0.3, 0.5, 0.75)


def giou(box: Any, other: Any, crowd: bool) -> float:
    """The definition, for boxes as corners."""
    width, height = (min(box[2 + k], other[2 + k]) - max(box[k], other[k]) for k in (0, 1))
    (w, h), (other_w, other_h) = ((one[2] - one[0], one[3] - one[1]) for one in (box, other))
    if min(w, h, other_w, other_h) <= 0:
        return 0.0
    intersection = max(width, 0) * max(height, 0)
    if crowd:
        return intersection / (w * h)
    union = w * h + other_w * other_h - intersection
    hull_w, hull_h = (max(box[2 + k], other[2 + k]) - min(box[k], other[k]) for k in (0, 1))
    return intersection / union - (hull_w * hull_h - union) / (hull_w * hull_h)


def scene(seed: int, *, grid: float = 1.0) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Detections near their ground truths, `[I, D]` and `[I, G]`, corners in float32; scores are distinct."""
    rng = np.random.default_rng(seed)
    start, size = rng.integers(0, 100, (NUM_IMAGES, G, 2)), rng.integers(10, 50, (NUM_IMAGES, G, 2))
    truth = np.concatenate([start, start + size], axis=-1) * grid
    found = truth[:, rng.integers(0, G, D)] + rng.integers(-4, 5, (NUM_IMAGES, D, 4)) * grid
    labels = rng.integers(0, K, (NUM_IMAGES, G))
    scores = rng.permutation(NUM_IMAGES * D).reshape(NUM_IMAGES, D) / (NUM_IMAGES * D)
    return (
        {
            "boxes": found.astype(np.float32),
            "scores": scores.astype(np.float32),
            "labels": rng.integers(0, K, (NUM_IMAGES, D)),
        },
        {"boxes": truth.astype(np.float32), "labels": labels, "crowd": rng.random((NUM_IMAGES, G)) < 0.15},
    )


def plain_ap(found: dict[str, np.ndarray], truth: dict[str, np.ndarray], label: int, threshold: float) -> float:
    """The mean precision at 101 recall points, as COCO defines it, one pair after another."""
    outcomes, total = [], 0
    for image in range(NUM_IMAGES):
        objects = [row for row in range(G) if truth["labels"][image, row] == label]
        total += sum(not truth["crowd"][image, row] for row in objects)
        taken: set[int] = set()
        rows = [row for row in range(D) if found["labels"][image, row] == label]
        for row in sorted(rows, key=lambda one: -found["scores"][image, one]):
            reached = []
            for other in objects:
                crowd = bool(truth["crowd"][image, other])
                boxes = (side["boxes"][image, at].astype(float) for side, at in ((found, row), (truth, other)))
                value = giou(*boxes, crowd)
                if value >= threshold and other not in taken:
                    reached.append((not crowd, value, other))
            counted, _, best = max(reached, default=(None, 0.0, -1))
            if counted:
                taken.add(best)
            if counted is not False:  # what meets a crowd alone is neither
                outcomes.append((found["scores"][image, row], bool(counted)))
    hits = np.cumsum([hit for _, hit in sorted(outcomes, reverse=True)])
    precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
    place = np.searchsorted(hits / total, np.linspace(0, 1, 101), side="left")
    return float(np.append(precision, 0.0)[place].mean())


@functools.cache
def update_of(metric: jaxmap.AveragePrecision) -> Any:
    return jax.jit(metric.update)


def in_jit(found: dict[str, np.ndarray], truth: dict[str, np.ndarray], protocol: jaxmap.EvaluationProtocol) -> Any:
    metric = jaxmap.AveragePrecision(protocol=protocol, num_classes=K, max_images=NUM_IMAGES)
    sides = jaxmap.Detections(**found), jaxmap.GroundTruths(**truth)
    return metric.compute(update_of(metric)(metric.init(), *sides, image_id=jnp.arange(NUM_IMAGES)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_greedy_matching_in_plain_python_gives_the_same_numbers_on_both_routes(seed: int) -> None:
    found, truth = scene(seed)
    protocol = COCO_GIOU.customize(iou_thresholds=THRESHOLDS, max_detections=100)
    evaluation = jaxmap.evaluate(found, truth, protocol=protocol, num_classes=K)
    result = in_jit(found, truth, protocol)
    by_iou = jaxmap.evaluate(found, truth, protocol=protocol, iou_type="bbox", num_classes=K)
    assert evaluation.summary["AP"] < by_iou.summary["AP"]
    for index, threshold in enumerate(THRESHOLDS):
        for label in range(K):
            expected = plain_ap(found, truth, label, threshold)
            assert evaluation.precision[index, :, label, 0, 0].mean() == pytest.approx(expected, abs=1e-12)
            assert result.curves.precision[index, :, label, 0, 0].mean() == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_equal_values_and_values_at_a_threshold_are_decided_alike_on_both_routes() -> None:
    protocol = COCO_GIOU.customize(iou_thresholds=np.arange(1, 20) / 20)
    hits = 0
    for seed in range(8):
        found, truth = scene(seed)
        for side in (found, truth):  # so few places and sizes that most values occur several times
            boxes = side["boxes"]
            boxes[..., :2] = boxes[..., :2] // 12
            boxes[..., 2:] = boxes[..., :2] + np.maximum(boxes[..., 2:] // 12 - boxes[..., :2], 1)
        expected = jaxmap.evaluate(found, truth, protocol=protocol, num_classes=K)
        result = in_jit(found, truth, protocol)
        assert np.allclose(result.curves.precision, expected.precision, rtol=0, atol=1e-6, equal_nan=True)
        assert np.allclose(result.curves.recall, expected.recall, rtol=0, atol=1e-6, equal_nan=True)
        value = giou_pairs(
            *(_xywh(side["boxes"].reshape(-1, 4)[: G * NUM_IMAGES]) for side in (found, truth)), np.array(False)
        )
        hits += np.isin(value, protocol.iou_thresholds).sum()
    assert hits > 10


def _xywh(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).astype(float)


@pytest.mark.parametrize("scale", [1e-100, 1e140])
def test_boxes_of_any_scale_have_their_value(scale: float) -> None:
    boxes, others = np.array([[0.0, 0.0, 10.0, 10.0]]) * scale, np.array([[5.0, 0.0, 10.0, 20.0]]) * scale
    assert giou_pairs(boxes, others, np.array([False])) == pytest.approx(50 / 250 - 50 / 300)


@pytest.mark.slow
@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_similarity_is_the_definition(offset: float) -> None:
    rng = np.random.default_rng(0)
    boxes, others = (offset + rng.uniform(0, 60, (n, 4)) for n in (60, 50))
    boxes[:40, 2:] = boxes[:40, :2] + rng.uniform(1, 60, (40, 2))  # some others have a negative side
    others[:40, 2:] = boxes[:40, 2:] + rng.uniform(0, 3, (40, 2))
    boxes, others = boxes.astype(np.float32), others.astype(np.float32)
    crowd = rng.random(len(others)) < 0.2
    expected = np.array([[giou(one, other, flag) for other, flag in zip(others.astype(float), crowd, strict=True)]
                         for one in boxes.astype(float)])  # fmt: skip
    assert (expected > 0.5).sum() > 10
    assert (expected < 0).sum() > 100

    rows, places = (grid.ravel() for grid in np.indices(expected.shape))
    sides = [
        np.concatenate([side[:, :2], side[:, 2:] - side[:, :2]], 1)
        for side in (boxes.astype(float), others.astype(float))
    ]
    on_host = giou_pairs(sides[0][rows], sides[1][places], crowd[places])
    assert np.allclose(on_host, expected.ravel(), rtol=0, atol=1e-9)

    @jax.jit
    def compare(boxes: jax.Array, others: jax.Array, crowd: jax.Array) -> Any:
        shapes = {"boxes": boxes}, {"boxes": others}
        similarity = geometry_of("giou").image(*shapes, crowd, None, constants=COCO_GIOU, box_format="xyxy")
        everything = jnp.broadcast_to(jnp.arange(len(others)), (len(boxes), len(others)))
        return similarity.approximate(), similarity.exact(everything)

    approximate, exact = compare(boxes, others, crowd)
    assert np.abs(approximate - expected).max() < MARGIN
    assert np.abs(np.float64(exact.hi) + np.float64(exact.lo) - on_host.reshape(expected.shape)).max() < TOLERANCE


def test_search_along_x_of_a_crowded_scene_loses_no_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    found, truth = scene(7)
    found, truth = (
        {name: array.reshape(1, -1, *array.shape[2:]) for name, array in side.items()} for side in (found, truth)
    )
    options = {"protocol": COCO_GIOU, "iou_thresholds": (0.05, 0.5), "class_agnostic": True}
    whole = jaxmap.evaluate(found, truth, **options)
    monkeypatch.setattr(candidates_host, "PAIRS_AT_ONCE", 20)
    assert np.array_equal(jaxmap.evaluate(found, truth, **options).precision, whole.precision, equal_nan=True)
    assert whole.summary["AP"] > 0.3


@pytest.mark.slow
def test_confusion_matrix_counts_alike_on_both_routes() -> None:
    found, truth = scene(3)
    metric = ConfusionMatrix(num_classes=K, protocol=COCO_GIOU, iou_threshold=0.7)
    sides = jaxmap.Detections(**found), jaxmap.GroundTruths(**truth)
    state = jax.jit(metric.update)(metric.init(), *sides, image_id=jnp.arange(NUM_IMAGES))
    expected = jaxmap.confusion_matrix(found, truth, protocol=COCO_GIOU, iou_threshold=0.7, num_classes=K)
    by_iou = jaxmap.confusion_matrix(found, truth, iou_threshold=0.7, num_classes=K)
    assert np.array_equal(state.counts, expected.counts)
    assert expected.counts[:K, :K].sum() > 10
    assert not np.array_equal(expected.counts, by_iou.counts)


def test_command_reads_the_boxes_of_coco_files(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, truth = scene(4)

    def rows(side: dict[str, np.ndarray], *more: str) -> list[dict[str, Any]]:
        result = []
        for image, row in np.ndindex(side["labels"].shape):
            x0, y0, x1, y1 = side["boxes"][image, row].tolist()
            entry = {"image_id": image + 1, "category_id": int(side["labels"][image, row]) + 1}
            entry |= {"id": len(result) + 1, "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
            result.append(
                entry | {{"crowd": "iscrowd", "scores": "score"}[name]: side[name][image, row].item() for name in more}
            )
        return result

    annotations = [row | {"iscrowd": int(row["iscrowd"])} for row in rows(truth, "crowd")]
    categories = [{"id": label + 1, "name": str(label)} for label in range(K)]
    data = {
        "images": [{"id": image + 1} for image in range(NUM_IMAGES)],
        "categories": categories,
        "annotations": annotations,
    }
    paths = tmp_path / "gt.json", tmp_path / "dt.json"
    for path, content in zip(paths, (data, rows(found, "scores")), strict=True):
        path.write_text(json.dumps(content))
    assert main(["eval", *map(str, paths), "--iou-type", "giou", "--json", "-"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    expected = jaxmap.evaluate(found, truth, protocol=COCO_GIOU, num_classes=K).summary
    assert {name: numbers[name] for name in ("AP", "AP50", "AR100")} == pytest.approx(
        {name: expected[name] for name in ("AP", "AP50", "AR100")}
    )
    assert main(["eval", "--demo", "--iou-type", "giou"]) == 0
