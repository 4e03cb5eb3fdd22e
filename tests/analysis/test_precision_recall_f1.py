"""Precision, recall and F1 of sets: by hand, against every possible matching, and laws."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap import io
from jaxmap._ordering import take_rows
from support.plain_sets import best_counts, queries
from support.scenes import Scene, odd_scenes, random_scene

THERE, SHIFTED, NOWHERE = [0.0, 0.0, 10.0, 10.0], [2.0, 0.0, 12.0, 10.0], [50.0, 50.0, 60.0, 60.0]
RATES = ("precision", "recall", "f1")
COUNTS = ("true_positives", "false_positives", "false_negatives")


def evaluate(found: list[Any], truth: list[Any], **options: Any) -> jaxmap.Evaluation:
    """Evaluates one image of class 0, without scores."""
    detections = [{"boxes": np.reshape(found, (-1, 4)), "labels": [0] * len(found)}]
    return jaxmap.evaluate(detections, [{"boxes": np.reshape(truth, (-1, 4)), "labels": [0] * len(truth)}], **options)


def unscored(scene: Scene) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "score"} for row in scene.results]


def of_scene(seed: int, **options: Any) -> tuple[Scene, jaxmap.Evaluation]:
    scene = random_scene(np.random.default_rng(seed), default_options=True)
    truth = io.coco_ground_truths(scene.ground_truths)
    return scene, jaxmap.evaluate(io.coco_detections(unscored(scene), truth), truth, max_detections=300, **options)


# ---- by hand ----


def test_counts_and_rates_by_hand() -> None:
    # Two objects; one is found with IoU 2/3, and one detection is nowhere.
    rates = evaluate([SHIFTED, NOWHERE], [THERE, [80.0, 0.0, 90.0, 9.0]]).precision_recall_f1()
    assert rates.matching == "optimal"
    assert rates.true_positives[:, 0].tolist() == [1] * 4 + [0] * 6  # up to 0.65
    assert rates.false_positives[:, 0].tolist() == [1] * 4 + [2] * 6
    assert rates.false_negatives[:, 0].tolist() == [1] * 4 + [2] * 6
    at_half = rates.per_class(0.5)
    assert [at_half[name] for name in RATES] == [[0.5] * 3] * 3
    assert [rates.per_class()[name] for name in RATES] == [pytest.approx([0.2] * 3)] * 3
    assert rates.per_class()["class_name"] == ["0", "micro", "macro"]
    assert rates.per_threshold()["micro_f1"].tolist() == [0.5] * 4 + [0] * 6
    assert "0.50:0.95     0.200   0.200   0.200      0.200   0.200   0.200" in str(rates)


def test_order_of_rows_decides_for_ap_but_not_for_a_set() -> None:
    # `between` reaches both objects, and the more similar one first; `there` reaches only that one.
    other, between, there = [4.0, 0.0, 14.0, 10.0], [1.0, 0.0, 11.0, 10.0], [-2.0, 0.0, 8.0, 10.0]
    for found in ([between, there], [there, between]):
        evaluation = evaluate(found, [THERE, other], iou_thresholds=[0.5])
        assert evaluation.precision_recall_f1().true_positives[0, 0] == 2
        by_rows = evaluation.precision_recall_f1(matching="score").true_positives[0, 0]
        assert by_rows == (1 if found[0] is between else 2)
        assert evaluation.tie_bounds().num_contested == 2


def test_classes_add_up_and_average() -> None:
    # Class 0: one of two found. Class 1: one object, none found. Class 2: one detection, no object. Class 3: nothing.
    found = [{"boxes": [THERE, NOWHERE], "labels": [0, 2]}]
    truth = [{"boxes": [THERE, SHIFTED, NOWHERE], "labels": [0, 0, 1]}]
    rates = jaxmap.evaluate(found, truth, num_classes=4, iou_thresholds=[0.5]).precision_recall_f1()
    np.testing.assert_equal(rates.precision[0], [1, np.nan, 0, np.nan, 0.5, 0.5])
    np.testing.assert_equal(rates.recall[0], [0.5, 0, np.nan, np.nan, 1 / 3, 0.25])
    np.testing.assert_equal(rates.f1[0], [2 / 3, 0, np.nan, np.nan, 2 / 5, 1 / 3])
    content = json.loads(json.dumps(rates.to_dict()))
    assert content["classes"][1]["precision"] is None
    assert content["micro"]["per_threshold"]["false_positives"] == [1]
    assert content["macro"]["f1"] == 1 / 3


def test_nothing_is_no_number() -> None:
    rates = evaluate([], []).precision_recall_f1()
    assert np.isnan([rates.precision, rates.recall, rates.f1]).all()
    assert "-" in str(rates)


def test_fewest_false_positives_choose_who_is_left() -> None:
    # Both detections reach the object; only the second also reaches the crowd, so it is left for the crowd.
    for order in ([0, 1], [1, 0]):
        found = [{"boxes": np.array([THERE, SHIFTED])[order], "labels": [0, 0]}]
        truth = [{"boxes": [THERE, [10.0, 0.0, 12.0, 10.0], [1.0, 0.0, 40.0, 10.0]], "labels": [0, 0, 0]}]
        truth[0] |= {"crowd": [False, False, True]}
        rates = jaxmap.evaluate(found, truth, iou_thresholds=[0.6], num_classes=1).precision_recall_f1()
        assert (rates.true_positives[0, 0], rates.false_positives[0, 0]) == (1, 0)


# ---- against the definition ----


def assert_best(seed: int) -> None:
    scene, evaluation = of_scene(seed)
    class_ids = evaluation.class_ids.tolist()
    for area in evaluation.protocol.area_ranges:
        rates = evaluation.precision_recall_f1(matching="optimal", area=area.name)
        for t, threshold in list(enumerate(evaluation.protocol.iou_thresholds))[seed % 3 :: 3]:
            expected = np.zeros((2, len(class_ids)), np.int64)
            for class_id, found, truth in queries(scene.ground_truths, scene.results):
                counts = best_counts(found, truth, threshold, (area.low, area.high))
                expected[:, class_ids.index(class_id)] += counts
            ours = rates.true_positives[t, :-2], rates.false_positives[t, :-2]
            np.testing.assert_array_equal(ours, expected, err_msg=f"seed {seed}, {area.name}, IoU {threshold}")


@odd_scenes
@pytest.mark.parametrize("start", [0, *(pytest.param(one, marks=pytest.mark.slow) for one in range(20, 500, 40))])
def test_every_matching_was_tried(start: int) -> None:
    for seed in range(7000 + start, 7000 + start + (40 if start else 20)):
        assert_best(seed)


@odd_scenes
@pytest.mark.parametrize("seed", range(7000, 7030))
def test_laws_of_sets(seed: int) -> None:
    scene, evaluation = of_scene(seed)
    best, by_rows = (evaluation.precision_recall_f1(matching=name) for name in ("optimal", "score"))
    assert (best.true_positives >= by_rows.true_positives).all()
    assert (best.false_positives <= by_rows.false_positives).all()
    assert (np.diff(best.true_positives, axis=0) <= 0).all()
    found, truth = evaluation.require_matched("test").source, io.coco_ground_truths(scene.ground_truths)
    shuffled = take_rows(found, np.random.default_rng(seed).permutation(len(found.scores)))
    again = jaxmap.evaluate(shuffled, truth, max_detections=300).precision_recall_f1(matching="optimal")
    for name in COUNTS + RATES:
        np.testing.assert_array_equal(getattr(again, name), getattr(best, name))
    # Of scored detections, the counts are those of the operating points.
    scored = jaxmap.evaluate(io.coco_detections(scene.results, truth), truth)
    for score_threshold in (None, 0.5):
        rates = scored.precision_recall_f1(matching="score", score_threshold=score_threshold, area="medium")
        at = -math.inf if score_threshold is None else score_threshold
        for iou_threshold in (0.5, 0.75):
            points = scored.operating_points(iou_threshold, score_threshold=at, area="medium")
            columns = rates.per_class(iou_threshold)
            for ours, theirs in zip((*COUNTS, *RATES), (*COUNTS, "precision", "recall", "f_score"), strict=True):
                np.testing.assert_allclose(columns[ours], points[theirs], rtol=0, atol=1e-12)


def test_scores_choose_the_matching_and_the_detections() -> None:
    found, truth = io.demo_scene(20)
    scored = jaxmap.evaluate(found, truth)
    assert scored.precision_recall_f1().matching == "score"
    half = scored.precision_recall_f1(matching="optimal", score_threshold=0.5)
    kept = take_rows(found, np.flatnonzero(found.scores >= 0.5))
    alone = jaxmap.evaluate(dataclasses.replace(kept, scores=np.ones(len(kept.scores))), truth).precision_recall_f1()
    np.testing.assert_array_equal(half.true_positives, alone.true_positives)
    np.testing.assert_array_equal(half.false_positives, alone.false_positives)
    assert (half.score_threshold, alone.score_threshold, alone.matching) == (0.5, None, "optimal")


@pytest.mark.parametrize("protocol", ["voc2007", "open-images", "open-images-challenge", "lvis", "ultralytics"])
def test_other_protocols_count_no_less_than_their_own_matching(protocol: str) -> None:
    rng = np.random.default_rng(3)
    boxes = np.round(rng.random((30, 12, 4)) * [40, 40, 30, 30] + [0, 0, 8, 8])
    labels = rng.integers(0, 2, (30, 12))
    truth = {"boxes": boxes[:, :6], "labels": labels[:, :6], "crowd": rng.random((30, 6)) < 0.2}
    truth |= {"ignore": rng.random((30, 6)) < 0.2}
    if protocol == "lvis":
        truth |= {"not_exhaustive": rng.random((30, 2)) < 0.2}
    found = {"boxes": boxes + np.round(rng.normal(0, 2, boxes.shape)), "labels": labels}
    evaluation = jaxmap.evaluate(found, truth, protocol=protocol, box_format="xywh", num_classes=2)
    best, by_rows = (evaluation.precision_recall_f1(matching=name) for name in ("optimal", "score"))
    assert by_rows.true_positives.sum() > 0
    assert (best.true_positives >= by_rows.true_positives).all()
    assert (best.false_positives <= by_rows.false_positives).all()
    assert (best.false_positives.sum(axis=1) > 0).all()


def test_mistakes_are_one_line() -> None:
    evaluation = evaluate([THERE], [THERE])
    for options, words in (
        ({"matching": "greedy"}, r"`matching` must be one of \['optimal', 'score'\], got 'greedy'"),
        ({"score_threshold": math.nan}, "`score_threshold` must be a number, got nan"),
        ({"area": "huge"}, "`area` must be one of"),
    ):
        with pytest.raises(ValueError, match=words):
            evaluation.precision_recall_f1(**options)
    with pytest.raises(ValueError, match="`iou_threshold` must be one of"):
        evaluation.precision_recall_f1().per_class(0.3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "scipy.sparse", None)  # then its import fails
        with pytest.raises(ImportError, match=r"needs scipy, which is not installed: pip install 'jaxmap\[sets\]'"):
            evaluation.precision_recall_f1()


def test_ap_without_scores_warns_of_its_bounds() -> None:
    for ask in (lambda one: one.summary, jaxmap.Evaluation.per_class, jaxmap.Evaluation.per_image, str, repr):
        evaluation = evaluate([NOWHERE, THERE], [THERE])
        with pytest.warns(
            UserWarning, match=r"no scores \(all are 1\), so AP depends on the order .* from 0.5000 to 1.0"
        ):
            ask(evaluation)
        ask(evaluation)  # it was told
    assert evaluate([THERE], [THERE]).summary["AP"] > 0.999  # whatever the order, so there is nothing to tell
    lists = [{"boxes": [NOWHERE, THERE], "labels": [0, 0]}], [{"boxes": [THERE], "labels": [0]}]
    padded = [{name: np.array([value]) for name, value in side[0].items()} for side in lists]
    arrays = jaxmap.Detections(**padded[0]), jaxmap.GroundTruths(**padded[1])
    for found, truth in (lists, padded, arrays):
        assert jaxmap.evaluate(found, truth).precision_recall_f1().precision[0, 0] == 0.5


def test_limits_that_cut_sets_are_told() -> None:
    with pytest.warns(UserWarning, match="3 of 5 detections are beyond the limit of 2 per image and class and are"):
        evaluate([THERE] * 5, [THERE], max_detections=2)
    with pytest.warns(UserWarning, match="3 of 5 detections are beyond the limit of 2 per image and are"):
        evaluate([THERE] * 5, [THERE], max_detections=2, protocol="lvis")


def test_parts_of_scored_detections_stay_ranked() -> None:
    # What a limit or a choice of images leaves may have no other score than 1.
    rows = {"boxes": [THERE, NOWHERE], "labels": [0, 0]}
    found, truth = [rows | {"scores": [1.0, 0.5]}, rows | {"scores": [1.0, 1.0]}], [rows, rows]
    assert jaxmap.evaluate(found, truth, max_detections=1).precision_recall_f1().matching == "score"
    part = jaxmap.evaluate(found, truth).of_images(np.array([False, True]))
    assert part.dataset.ranked
    assert part.summary["AP"] > 0.99
