"""LRP and oLRP by hand, against the definition in loops, against vernier where it is installed, and their laws.

Sums of IoUs are rounded, so errors are compared to 1e-12; thresholds and counts exactly.
"""

from __future__ import annotations

import json
import math
import pathlib
import re
from typing import Any

import numpy as np
import pytest

import jaxmap
from reference.test_shared_data import PAIRS, Pair
from support.plain_lrp import NAMES, PlainClass, assert_same_errors
from support.scenes import odd_scenes
from support.score_scenes import score_scene

pytestmark = odd_scenes

SAME = 1e-12
QUICK, ALL = range(9000, 9010), range(9000, 9500)
SAMPLES = [pytest.param(QUICK, id="sample"), pytest.param(ALL, id="500 scenes", marks=pytest.mark.slow)]


def one_image(scores: list[float], overlaps: list[float], labels: list[int], truth_labels: list[int]) -> Any:
    """Evaluates detections that lie on the ground truth of the same row, with a given IoU each."""
    corners = [[20.0 * i, 0.0, 20.0 * i + 10, 10.0] for i in range(max(len(scores), len(truth_labels)))]
    boxes = [[x, y, right, 10 * overlap] for (x, y, right, _), overlap in zip(corners, overlaps, strict=False)]
    found = [{"boxes": boxes, "scores": scores, "labels": labels}]
    truth = [{"boxes": corners[: len(truth_labels)], "labels": truth_labels}]
    return jaxmap.evaluate(found, truth, num_classes=3)


def row_of(columns: dict[str, Any], label: int) -> list[float]:
    return [float(columns[name][label]) for name in ("score_threshold", *NAMES)]


# ---- by hand ----


def test_by_hand() -> None:
    # Class 0: three objects; .9 true at IoU .8, .8 false, .7 true at IoU 1. Down to .9: (.2 / .5 + 0 + 2) / 3 = .8;
    # to .8: (.4 + 1 + 2) / 4 = .85; to .7: (.4 + 1 + 1) / 4 = .6. Class 1: an object that is missed. Class 2: none.
    evaluation = one_image([0.9, 0.8, 0.7, 0.6], [0.8, 0.2, 1.0, 1.0], [0, 0, 0, 2], [0, 0, 0, 1])
    columns = evaluation.localisation_recall_precision()
    assert columns["class_name"] == [*evaluation.class_names, "mean"]
    assert columns["class_id"].tolist() == [0, 1, 2, -1]
    assert columns["num_ground_truths"].tolist() == [3, 1, 0, 4]
    assert columns["true_positives"].tolist() == [2, 0, 0, 2]
    assert columns["false_positives"].tolist() == [1, 0, 0, 1]
    assert columns["false_negatives"].tolist() == [1, 1, 0, 2]
    nan = math.nan
    assert row_of(columns, 0) == pytest.approx([0.7, 0.6, 0.1, 1 / 3, 1 / 3], abs=SAME)
    assert row_of(columns, 1) == pytest.approx([math.inf, 1.0, nan, nan, 1.0], nan_ok=True)
    assert row_of(columns, 2) == pytest.approx([math.inf, nan, nan, nan, nan], nan_ok=True)
    assert row_of(columns, 3) == pytest.approx([nan, 0.8, 0.1, 1 / 3, 2 / 3], abs=SAME, nan_ok=True)  # moLRP
    at = evaluation.localisation_recall_precision(score_threshold=0.8)
    assert row_of(at, 0) == pytest.approx([0.8, 0.85, 0.2, 0.5, 2 / 3], abs=SAME)
    assert row_of(at, 1) == pytest.approx([0.8, 1.0, nan, nan, 1.0], nan_ok=True)
    assert row_of(at, 3) == pytest.approx([0.8, 0.925, 0.2, 0.5, 5 / 6], abs=SAME)


def test_the_iou_threshold_sets_the_room_for_localisation() -> None:
    evaluation = one_image([0.9], [0.8], [0], [0])
    # Of the IoU from .75 to 1, the box at .8 loses .2 of .25.
    assert row_of(evaluation.localisation_recall_precision(0.75), 0) == pytest.approx([0.9, 0.8, 0.2, 0, 0], abs=SAME)
    # At .85 it is a false positive: one wrong and one missed.
    assert row_of(evaluation.localisation_recall_precision(0.85), 0)[:2] == [math.inf, 1.0]


def test_equal_errors_go_to_the_lower_threshold() -> None:
    # Two objects: after one true 1/2; after two more false and the other one (0 + 2 + 0) / 4.
    evaluation = one_image([0.9, 0.8, 0.7, 0.5], [1.0, 0.1, 0.1, 1.0], [0] * 4, [0, 1, 1, 0])
    assert row_of(evaluation.localisation_recall_precision(), 0) == [0.5, 0.5, 0.0, 0.5, 0.0]


def test_nothing_is_reported_if_that_is_as_good() -> None:
    # A box at IoU exactly .5 costs as much as a missed object.
    evaluation = one_image([0.9], [0.5], [0], [0])
    assert row_of(evaluation.localisation_recall_precision(), 0)[:2] == [math.inf, 1.0]
    assert row_of(evaluation.localisation_recall_precision(score_threshold=0.9), 0) == [0.9, 1.0, 0.5, 0.0, 0.0]


def test_equal_scores_are_reported_together() -> None:
    evaluation = one_image([0.9, 0.9, 0.9], [1.0, 0.1, 1.0], [0] * 3, [0, 1, 0])
    columns = evaluation.localisation_recall_precision()
    assert (columns["true_positives"][0], columns["false_positives"][0]) == (2, 1)
    assert columns["lrp"][0] == pytest.approx(1 / 3)


def test_ignored_detections_are_not_counted() -> None:
    truth = [{"boxes": [[0.0, 0.0, 10.0, 10.0], [50.0, 0.0, 90.0, 40.0]], "labels": [0, 0], "crowd": [False, True]}]
    found = [{"boxes": [[0.0, 0.0, 10.0, 9.0], [55.0, 5.0, 65.0, 15.0]], "labels": [0, 0], "scores": [0.5, 0.9]}]
    columns = jaxmap.evaluate(found, truth).localisation_recall_precision()
    assert row_of(columns, 0) == pytest.approx([0.5, 0.2, 0.1, 0.0, 0.0], abs=SAME)


# ---- references ----


@pytest.mark.parametrize("seeds", SAMPLES)
def test_random_scenes_equal_the_definition(seeds: range) -> None:
    for seed in seeds:
        evaluation, rng = score_scene(seed).evaluation, np.random.default_rng(seed)
        protocol = evaluation.protocol
        iou, limit = float(rng.choice(protocol.iou_thresholds)), int(rng.choice(protocol.max_detections))
        area, score = str(rng.choice([one.name for one in protocol.area_ranges])), float(rng.random())
        options: dict[str, Any] = {"area": area, "max_detections": limit}
        best = evaluation.localisation_recall_precision(iou, **options)
        given = evaluation.localisation_recall_precision(iou, score_threshold=score, **options)
        for label in range(len(evaluation.class_ids)):
            plain = PlainClass(evaluation, label, iou, area, limit)
            assert_same_errors(best, label, plain.best())
            assert_same_errors(given, label, plain.at(score))
        for columns in (best, given):
            for name in NAMES:
                defined = columns[name][:-1][~np.isnan(columns[name][:-1])]
                mean = defined.mean() if len(defined) else math.nan
                assert columns[name][-1] == pytest.approx(mean, abs=SAME, nan_ok=True), (seed, name)


def assert_equals_vernier(evaluation: jaxmap.Evaluation, ground_truths: Any, results: Any) -> int:
    """Compares all classes, and returns how many of them have an oLRP.

    Deliberate differences: vernier's localisation part is divided by 1 minus the IoU threshold, unlike in the paper and
    the authors' code; its false-positive part is 0 where nothing is reported, here NaN; of thresholds of equal error it
    takes the first of its grid, also if the error is 1; it counts areas beyond COCO's largest; and its mean of no class
    is 0.
    """
    vernier = pytest.importorskip("vernier._lrp")
    columns = evaluation.localisation_recall_precision()
    grid = sorted({row["score"] for row in results}) or [0.5]
    content = json.dumps(ground_truths).encode(), json.dumps(results).encode()
    theirs = vernier.optimal_lrp(*content, tau_grid=grid, parity_mode="strict")
    assert columns["lrp"][-1] == pytest.approx(theirs.olrp, abs=SAME) or not evaluation.curves.num_ground_truths.any()
    by_class = {one.category_id: one for one in theirs.per_class}
    for label, class_id in enumerate(evaluation.class_ids.tolist()):
        one = by_class[class_id]
        assert columns["lrp"][label] == pytest.approx(one.olrp, abs=SAME, nan_ok=True), class_id
        if columns["lrp"][label] < 1:  # else its threshold may be one with a true positive that does not help
            ours = columns
            if one.tau != columns["score_threshold"][label]:  # another threshold of the same error
                ours = evaluation.localisation_recall_precision(score_threshold=one.tau)
                assert ours["lrp"][label] == pytest.approx(columns["lrp"][label], abs=SAME)
            parts = [ours[name][label] for name in NAMES[1:]]
            assert parts == pytest.approx([one.olrp_loc / 2, one.olrp_fp, one.olrp_fn], abs=SAME), class_id
    return int((~np.isnan(columns["lrp"][:-1])).sum())


@pytest.mark.parametrize("seeds", SAMPLES)
def test_random_scenes_equal_vernier(seeds: range) -> None:
    defined = 0
    for seed in seeds:
        scene = score_scene(seed, any_area=True)
        defined += assert_equals_vernier(scene.evaluation, scene.ground_truths, scene.results)
    assert defined > len(seeds)


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS[:1] + PAIRS[6:], ids=str)  # each of 5,000 images takes seconds
def test_real_detections_equal_the_definition_and_vernier(pair: Pair, shared_data: pathlib.Path) -> None:
    ground_truths, results = pair.load(shared_data)
    truth = jaxmap.io.coco_ground_truths(ground_truths)
    evaluation = jaxmap.evaluate(jaxmap.io.coco_detections(results, truth), truth)
    columns = evaluation.localisation_recall_precision()
    for label in range(0, len(evaluation.class_ids), 40):
        assert_same_errors(columns, label, PlainClass(evaluation, label, 0.5, "all", 100).best())
    assert 0 < columns["lrp"][-1] < 1
    assert_equals_vernier(evaluation, ground_truths, results)


# ---- laws ----


@pytest.mark.parametrize("seed", QUICK)
def test_laws(seed: int) -> None:
    evaluation = score_scene(seed).evaluation
    columns = evaluation.localisation_recall_precision()
    defined = ~np.isnan(columns["lrp"][:-1])
    assert ((columns["lrp"][:-1][defined] >= 0) & (columns["lrp"][:-1][defined] <= 1 + SAME)).all()
    for score in (0.0, 0.3, 0.9):  # no threshold is better than the best
        at = evaluation.localisation_recall_precision(score_threshold=score)
        assert (at["lrp"][:-1][defined] >= columns["lrp"][:-1][defined] - SAME).all()
        points = evaluation.operating_points(score_threshold=score)
        for name in ("true_positives", "false_positives"):
            np.testing.assert_array_equal(at[name][:-1], points[name][:-2])
        has_objects = points["num_ground_truths"][:-2] > 0
        for part, rate in (("lrp_fp", "precision"), ("lrp_fn", "recall")):
            ours, theirs = at[part][:-1][has_objects], 1 - points[rate][:-2][has_objects]
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=SAME)


# ---- bad input ----


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"iou_threshold": 0.42}, "`iou_threshold` must be one of [0.5, "),
        ({"iou_threshold": 1.0}, "`iou_threshold` must be less than 1 for LRP, which divides by 1 minus it, got 1.0."),
        ({"area": "tiny"}, "`area` must be one of ['all', 'small', 'medium', 'large'], got 'tiny'"),
        ({"max_detections": 50}, "`max_detections` must be one of [1, 10, 100], got 50"),
        ({"score_threshold": math.nan}, "`score_threshold` must be a number, got nan."),
    ],
)
def test_refusals_name_the_argument(options: dict[str, Any], words: str) -> None:
    truth = [{"boxes": [[0.0, 0.0, 10.0, 10.0]], "labels": [0]}]
    evaluation = jaxmap.evaluate([truth[0] | {"scores": [0.9]}], truth, iou_thresholds=[0.5, 1.0])
    with pytest.raises(ValueError, match=re.escape(words)):
        evaluation.localisation_recall_precision(**options)


def test_a_dataset_without_anything_has_no_error() -> None:
    nothing: dict[str, Any] = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int)}
    columns = jaxmap.evaluate([nothing | {"scores": np.zeros(0)}], [nothing]).localisation_recall_precision()
    assert columns["class_name"] == ["mean"]
    assert np.isnan([columns[name][0] for name in NAMES]).all()
