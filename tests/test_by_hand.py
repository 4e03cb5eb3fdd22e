"""Small cases whose numbers follow from the definition, derived in the comments.

AP reads the precision envelope at the 101 recall points 0, 0.01, ..., 1. With all ten thresholds met or missed alike,
AP is the AP of one threshold. A cell whose precision is 1 holds 1 / (1 + 2.2e-16), as in pycocotools; `CLOSE` allows
for it and for the order of the sums.
"""

from __future__ import annotations

import functools
import json
import math
from typing import Any

import numpy as np
import pytest

import jaxmap
from support.one_image import BOX, FAR, OTHER, detections, truths

CLOSE = functools.partial(pytest.approx, abs=1e-12, nan_ok=True)
NAN = math.nan


def evaluate(found: list[dict[str, Any]], real: list[dict[str, Any]], **options: Any) -> Any:
    return jaxmap.evaluate(found, real, **options)


# Averages.


def test_ap_is_one_short_of_an_epsilon_for_one_perfect_box() -> None:
    # tp / (tp + fp + eps) = 1 / (1 + 2.2e-16): the rounding shows only at the first detection.
    evaluation = evaluate([detections((BOX, 0.9))], [truths(BOX)])
    assert evaluation.precision[0, 0, 0, 0, 2] == 1 / (1 + np.spacing(1)) == 0.9999999999999998
    assert evaluation.summary["AP"] == pytest.approx(0.9999999999999998, abs=1e-15)
    assert evaluation.recall[0, 0, 0].tolist() == [1, 1, 1]


def test_ap_of_alternating_hits_and_misses() -> None:
    # Ten ground truths, found at ranks 1, 3, 5, ...: precision i / (2 i - 1) at recall i / 10. Recall point 70 of
    # np.linspace is 0.7000000000000001, one step above 7 / 10, so the eighth hit serves it: nine points for the seventh
    # hit and eleven for the eighth; the first serves eleven (0 to 0.1), the others ten each.
    boxes = [[100 * i, 0, 100 * i + 50, 50] for i in range(10)]
    rows = []
    for i, box in enumerate(boxes):
        rows += [(box, 1 - i / 10), ([box[0], 500, box[2], 550], 0.95 - i / 10)]
    evaluation = evaluate([detections(*rows)], [truths(*boxes)])
    points = [11, 10, 10, 10, 10, 10, 9, 11, 10, 10]
    expected = sum(n * i / (2 * i - 1) for i, n in enumerate(points, start=1)) / 101
    assert expected == pytest.approx(0.6105064301551442, abs=1e-15)
    assert evaluation.summary["AP"] == CLOSE(expected)


def test_pooled_ap_is_below_the_ap_of_both_images() -> None:
    # Alone: 1 each (image 2's false positive ranks after its true one). Pooled: TP .95, FP .90, TP .5 with two ground
    # truths: precision 1 up to recall 0.5 (51 points), 2/3 beyond (50 points).
    found = [detections((BOX, 0.5)), detections((BOX, 0.95), (FAR, 0.9))]
    evaluation = evaluate(found, [truths(BOX), truths(BOX)])
    assert evaluation.summary["AP"] == CLOSE((51 + 50 * 2 / 3) / 101)
    assert evaluation.summary["AP"] == pytest.approx(0.8349834983, abs=1e-10)
    columns = evaluation.per_image()
    assert columns["AP"] == CLOSE([1.0, 1.0])
    assert list(columns["num_ground_truths"]) == [1, 1]
    assert list(columns["num_detections"]) == [1, 2]


def test_class_with_detections_only_is_left_out() -> None:
    found = [detections((BOX, 0.9), (OTHER, 0.8), labels=[0, 1])]
    evaluation = evaluate(found, [truths(BOX)], num_classes=2)
    assert evaluation.summary["AP"] == CLOSE(1.0)
    assert evaluation.per_class()["AP"] == CLOSE([1.0, NAN])


def test_class_with_ground_truths_only_counts_as_zero() -> None:
    evaluation = evaluate([detections((BOX, 0.9))], [truths(BOX, OTHER, labels=[0, 1])])
    assert evaluation.summary["AP"] == CLOSE(0.5)
    assert evaluation.per_class()["AP"] == CLOSE([1.0, 0.0])
    assert evaluation.per_class()["AR100"] == CLOSE([1.0, 0.0])


def test_no_ground_truth_is_undefined_everywhere() -> None:
    evaluation = evaluate([detections((BOX, 0.9))], [truths()], num_classes=1)
    assert all(math.isnan(value) for value in evaluation.summary.values())
    assert all(value is None for value in json.loads(evaluation.to_json()).values())
    assert "AP" in str(evaluation) or "Average Precision" in str(evaluation)


def test_no_detection_is_zero() -> None:
    evaluation = evaluate([detections()], [truths(BOX)])
    assert evaluation.summary["AP"] == 0
    assert evaluation.summary["AR100"] == 0
    assert math.isnan(evaluation.summary["APs"])  # 50 x 50 is medium


# Matching.


def test_iou_exactly_at_the_threshold_matches() -> None:
    # A half of the box has IoU 0.5 exactly: found at the first threshold, missed at the nine others.
    evaluation = evaluate([detections(([0, 0, 25, 50], 0.9))], [truths(BOX)])
    assert evaluation.summary["AP50"] == CLOSE(1.0)
    assert evaluation.summary["AP"] == CLOSE(0.1)
    assert evaluation.matches(iou_threshold=0.5)["iou"].tolist() == [0.5]


def test_threshold_of_one_is_met_by_the_same_box() -> None:
    evaluation = evaluate([detections((BOX, 0.9))], [truths(BOX)], iou_thresholds=[1.0])
    assert evaluation.summary["AP"] == CLOSE(1.0)


def test_later_of_two_identical_ground_truths_wins() -> None:
    evaluation = evaluate([detections((BOX, 0.9))], [truths(BOX, BOX)])
    assert evaluation.matches()["ground_truth"].tolist() == [1]
    assert evaluation.summary["AR100"] == CLOSE(0.5)


def test_ground_truth_with_id_zero_is_matched() -> None:
    # pycocotools stores the matched id and tests it for zero, so such a match is lost there (AP 0); here it counts.
    columns = evaluate([detections((BOX, 0.9))], [truths(BOX)]).matches()
    assert columns["ground_truth"].tolist() == [0]
    assert columns["matched"].tolist() == [True]


def test_second_detection_takes_the_second_best_ground_truth() -> None:
    # Both are nearest to the first box (IoU 1 and 45/55); the second one falls back on the box at x = 12, with which it
    # shares 43 of 57 columns, 0.754: a match up to threshold 0.75. VOC would call it a false positive.
    found = [detections((BOX, 0.9), ([5, 0, 55, 50], 0.8))]
    evaluation = evaluate(found, [truths(BOX, [12, 0, 62, 50])])
    assert evaluation.matches(iou_threshold=0.75)["ground_truth"].tolist() == [0, 1]
    assert evaluation.matches(iou_threshold=0.8)["ground_truth"].tolist() == [0, -1]


def test_lower_score_does_not_take_a_ground_truth_from_a_higher_one() -> None:
    found = [detections((BOX, 0.3), ([0, 0, 50, 40], 0.7))]  # the better box comes second by score
    columns = evaluate(found, [truths(BOX)]).matches()
    matched = dict(zip(columns["detection"].tolist(), columns["matched"].tolist(), strict=True))
    assert matched == {0: False, 1: True}


def test_touching_and_empty_boxes_never_match() -> None:
    found = [detections(([50, 0, 100, 50], 0.9), ([10, 10, 10, 40], 0.8))]
    evaluation = evaluate(found, [truths(BOX, [10, 10, 10, 40])], iou_thresholds=[1e-9])
    assert not evaluation.matches(iou_threshold=1e-9)["matched"].any()


def test_boxes_are_not_clipped_at_the_origin() -> None:
    # Clipped, both boxes would be [0, 0, 10, 10]; as they are, IoU = 100 / 400.
    found, real = [detections(([0, 0, 10, 10], 0.9))], [truths([-10, -10, 10, 10])]
    assert evaluate(found, real, iou_thresholds=[0.25]).summary["AP"] == CLOSE(1.0)
    assert evaluate(found, real, iou_thresholds=[0.2500001]).summary["AP"] == 0


# Crowds and ignored ground truths.


@pytest.mark.parametrize("name", ["crowd", "iscrowd"])
def test_crowd_absorbs_any_number_of_detections(name: str) -> None:
    # Inside the crowd the overlap is measured against the detection's own area, so both small boxes are at 1.0; they
    # are ignored, and the one countable ground truth is found: AP 1 although it has the lowest score.
    real = truths([0, 0, 100, 100], [200, 200, 250, 250], **{name: [1, 0]})
    found = detections(([10, 10, 20, 20], 0.9), ([30, 30, 40, 40], 0.8), ([200, 200, 250, 250], 0.7))
    evaluation = evaluate([found], [real])
    assert evaluation.summary["AP"] == CLOSE(1.0)
    assert evaluation.matches()["ignored"].tolist() == [True, True, False]
    assert evaluation.matches()["ground_truth"].tolist() == [0, 0, 1]
    assert evaluation.matches()["iou"].tolist() == [1.0, 1.0, 1.0]


def test_ignored_ground_truth_absorbs_one_detection() -> None:
    # The first detection is neither right nor wrong, the second finds the box taken and is wrong; then one hit: with
    # one countable ground truth the precision is 1/2 at every recall.
    found = detections((BOX, 0.9), (BOX, 0.8), (OTHER, 0.7))
    evaluation = evaluate([found], [truths(BOX, OTHER, ignore=[True, False])])
    assert evaluation.summary["AP"] == CLOSE(0.5)
    assert evaluation.matches()["ignored"].tolist() == [True, False, False]
    assert evaluation.matches()["matched"].tolist() == [True, False, True]


def test_countable_ground_truth_is_preferred_to_an_ignored_one_of_higher_iou() -> None:
    # IoU 1 with the ignored box, 40/50 with the other: the other one is taken up to threshold 0.8.
    evaluation = evaluate([detections((BOX, 0.9))], [truths(BOX, [0, 0, 50, 40], ignore=[True, False])])
    assert evaluation.matches(iou_threshold=0.75)["ground_truth"].tolist() == [1]
    assert evaluation.matches(iou_threshold=0.85)["ground_truth"].tolist() == [0]
    assert evaluation.matches(iou_threshold=0.85)["ignored"].tolist() == [True]


# Areas.


def test_area_on_the_edge_is_in_both_ranges() -> None:
    box = [0, 0, 32, 32]  # 1024
    summary = evaluate([detections((box, 0.9))], [truths(box)]).summary
    assert [summary["APs"], summary["APm"], summary["APl"]] == CLOSE([1.0, 1.0, NAN])


def test_false_positive_outside_the_area_range_is_ignored() -> None:
    # Over all areas the large false positive ranks first: precision 1/2. Among the small ones it does not exist.
    found = detections(([200, 200, 400, 400], 0.9), ([0, 0, 20, 20], 0.5))
    summary = evaluate([found], [truths([0, 0, 20, 20])]).summary
    assert summary["AP"] == CLOSE(0.5)
    assert [summary["APs"], summary["APm"], summary["APl"]] == CLOSE([1.0, NAN, NAN])


def test_area_of_the_annotation_decides_the_range_and_not_its_box() -> None:
    # The mask of this 50 x 50 box covers 900 pixels: small, and the detection that finds it counts there.
    summary = evaluate([detections((BOX, 0.9))], [truths(BOX, area=[900.0])]).summary
    assert [summary["APs"], summary["APm"], summary["APl"]] == CLOSE([1.0, NAN, NAN])


def test_own_area_ranges_name_their_numbers() -> None:
    ranges = {"tiny": (0, 16**2), "rest": (16**2, 1e10)}
    summary = evaluate([detections((BOX, 0.9))], [truths(BOX)], area_ranges=ranges).summary
    assert list(summary) == [
        "AP", "AP50", "AP75", "AP_tiny", "AP_rest", "AR1", "AR10", "AR100", "AR_tiny", "AR_rest"
    ]  # fmt: skip
    assert [summary["AP"], summary["AP_tiny"], summary["AP_rest"]] == CLOSE([1.0, NAN, 1.0])


# Grids and limits.


def test_ap_is_over_the_largest_limit_whatever_it_is() -> None:
    # pycocotools looks for a limit of 100 literally and prints -1 without one.
    summary = evaluate([detections((BOX, 0.9))], [truths(BOX)], max_detections=[1, 10, 1000]).summary
    assert [summary[name] for name in ("AP", "AR1", "AR10", "AR1000")] == CLOSE([1.0] * 4)


def test_detections_past_the_limit_do_not_exist() -> None:
    # Two ground truths; the hit has the 101st score of its image and class.
    rows = [(FAR, 0.9)] * 100 + [(BOX, 0.5)]
    evaluation = evaluate([detections(*rows)], [truths(BOX)])
    assert evaluation.summary["AP"] == 0
    assert len(evaluation.matches()["detection"]) == 100
    # with room for it the precision is 1/101 at every recall
    more = evaluate([detections(*rows)], [truths(BOX)], max_detections=[1, 101])
    assert more.summary["AP"] == CLOSE(1 / 101)
    assert [more.summary["AR1"], more.summary["AR101"]] == CLOSE([0.0, 1.0])


def test_limit_holds_for_each_image_and_class() -> None:
    found = [detections((BOX, 0.9), (OTHER, 0.8), labels=[0, 1])]
    summary = evaluate(found, [truths(BOX, OTHER, labels=[0, 1])], max_detections=1).summary
    assert summary["AR1"] == CLOSE(1.0)


def test_number_at_a_threshold_that_is_not_there_is_undefined() -> None:
    # 0.09 overlap is nothing at 0.3; the whole box is everything.
    summary = evaluate([detections((BOX, 0.9))], [truths(BOX)], iou_thresholds=[0.3]).summary
    assert [summary["AP"], summary["AP50"], summary["AP75"]] == CLOSE([1.0, NAN, NAN])


def test_recall_points_beyond_the_reached_recall_read_zero() -> None:
    # One of two found: recall 0.5 is reached, 0.51 is not.
    evaluation = evaluate([detections((BOX, 0.9))], [truths(BOX, OTHER)], recall_points=[0.0, 0.5, 0.51, 1.0])
    assert evaluation.precision[0, :, 0, 0, -1] == CLOSE([1.0, 1.0, 0.0, 0.0])
    assert evaluation.scores[0, :, 0, 0, -1].tolist() == [0.9, 0.9, 0.0, 0.0]


# Order.


def test_equal_scores_rank_by_image_then_position() -> None:
    # Image 1: hit. Image 2: miss, then hit, all at one score. In that order the precision is 1 up to recall 0.5 and 2/3
    # beyond; with the images swapped the miss ranks first: 2/3 at every recall.
    hit, miss_hit = detections((BOX, 0.5)), detections((FAR, 0.5), (BOX, 0.5))
    real = [truths(BOX), truths(BOX)]
    assert evaluate([hit, miss_hit], real).summary["AP"] == CLOSE((51 + 50 * 2 / 3) / 101)
    assert evaluate([miss_hit, hit], real).summary["AP"] == CLOSE(2 / 3)


def test_both_zeros_are_one_score() -> None:
    found = [detections((FAR, -0.0), (BOX, 0.0))]
    assert evaluate(found, [truths(BOX)]).summary["AP"] == CLOSE(0.5)  # the miss stands first and stays first


def test_scores_equal_in_float32_keep_their_order_in_float64() -> None:
    found = [detections((FAR, 0.5), (BOX, 0.5 + 2**-40))]
    assert evaluate(found, [truths(BOX)]).summary["AP"] == CLOSE(1.0)


def test_class_agnostic_matches_across_classes() -> None:
    found, real = [detections((BOX, 0.9), labels=[1])], [truths(BOX, labels=[0])]
    assert evaluate(found, real, num_classes=2).summary["AP"] == 0
    evaluation = evaluate(found, real, num_classes=2, class_agnostic=True)
    assert evaluation.summary["AP"] == CLOSE(1.0)
    assert evaluation.precision.shape == (10, 101, 1, 4, 3)
