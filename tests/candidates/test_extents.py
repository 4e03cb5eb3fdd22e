"""The search for pairs along x holds for boxes of any extent: positive, zero, negative, and tiny for where they are."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmap._candidates import _host as _candidates
from jaxmap._candidates._host import Groups, find_pairs
from jaxmap._geometry._boxes_host import box_iou_pairs
from jaxmap._geometry._host import PairSimilarity, pair_similarity
from jaxmap.protocols import COCO
from jaxmap.types import DetectionTable, GroundTruthTable

T = COCO.iou_thresholds


def tables(boxes: np.ndarray, other_boxes: np.ndarray, crowd: np.ndarray) -> tuple[DetectionTable, GroundTruthTable]:
    """Returns one image and class of xywh boxes."""
    found, truth = (np.zeros(len(side), np.int64) for side in (boxes, other_boxes))
    ids, no = np.arange(len(truth)), np.zeros(len(truth), bool)
    return DetectionTable(
        image_index=found, labels=found, boxes=boxes, scores=-np.arange(len(found), dtype=float), ids=found
    ), GroundTruthTable(
        image_index=truth,
        labels=truth,
        boxes=other_boxes,
        area=np.ones(len(truth)),
        crowd=crowd,
        ignore=no,
        ids=ids,
        image_ids=np.array([0]),
        class_ids=np.array([0]),
        class_names=("0",),
    )


def pairs_of(found: DetectionTable, truth: GroundTruthTable, thresholds: tuple[float, ...]) -> dict[tuple, float]:
    sizes = (np.array([size]) for size in (0, len(found.scores), 0, len(truth.labels)))
    similarity: PairSimilarity = pair_similarity(found, truth, COCO)
    pairs = find_pairs(found, np.arange(len(found.scores)), truth, Groups(*sizes), similarity, thresholds)
    ends = zip(pairs.detection.tolist(), pairs.ground_truth.tolist(), strict=True)
    return dict(zip(ends, pairs.similarity.tolist(), strict=True))


def brute_force(found: DetectionTable, truth: GroundTruthTable, thresholds: tuple[float, ...]) -> dict[tuple, float]:
    rows, others = (grid.ravel() for grid in np.indices((len(found.scores), len(truth.labels))))
    iou = box_iou_pairs(found.boxes[rows], truth.boxes[others], truth.crowd[others])
    kept = iou >= min(thresholds[0], 1 - 1e-10)
    return dict(zip(zip(rows[kept].tolist(), others[kept].tolist(), strict=True), iou[kept].tolist(), strict=True))


def boxes_of_any_sign(rng: np.random.Generator, count: int, offset: float, unit: float) -> np.ndarray:
    start = offset + unit * rng.integers(0, 20, (count, 2))
    return np.concatenate([start, unit * rng.integers(-4, 9, (count, 2))], axis=1).astype(float)


@pytest.mark.parametrize("thresholds", [T, (1e-3,), (1.0,)], ids=["coco", "low", "one"])
@pytest.mark.parametrize(("offset", "unit"), [(-9, 1.0), (1e15, 0.5), (-1e15, 0.5), (1e16, 2.0), (0.0, 1e-12)])
def test_search_finds_what_brute_force_finds(
    offset: float, unit: float, thresholds: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_candidates, "PAIRS_AT_ONCE", 50)
    count = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        found, truth = tables(
            *(boxes_of_any_sign(rng, n, offset, unit) for n in (60, 40)), crowd=rng.random(40) < 0.1 * (seed % 2)
        )
        expected = brute_force(found, truth, thresholds)
        assert pairs_of(found, truth, thresholds) == expected
        count += len(expected)
    assert count


def test_a_detection_of_negative_width_in_a_crowded_scene_overlaps_nothing() -> None:
    rng = np.random.default_rng(0)
    boxes, other_boxes = (np.concatenate([rng.random((n, 2)) * 500, np.full((n, 2), 20.0)], axis=1) for n in (400, 400))
    boxes[:3, 2:] = [[-20, 20], [0, 20], [-20, -20]]
    found, truth = tables(boxes, other_boxes, np.zeros(400, bool))
    assert len(boxes) * len(other_boxes) > _candidates.PAIRS_AT_ONCE
    pairs = pairs_of(found, truth, T)
    assert pairs == brute_force(found, truth, T)
    assert len(pairs) > 50
    assert min(row for row, _ in pairs) >= 3


def test_nothing_but_inverted_intervals() -> None:
    rng = np.random.default_rng(1)
    boxes, other_boxes = (np.concatenate([500 * rng.random((n, 2)), -rng.random((n, 2))], axis=1) for n in (400, 400))
    assert pairs_of(*tables(boxes, other_boxes, np.ones(400, bool)), T) == {}
