"""Types of errors by hand, as text and as JSON, and refusals."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap.analysis import ErrorTypes
from support.plain_tide import ERROR_TYPES, MAIN_TYPES
from support.scenes import odd_scenes

pytestmark = odd_scenes

ATOL = 1e-12  # both sides are float64 sums of a few hundred ratios of the same integers


def span(start: float, stop: float) -> list[float]:
    """A box of height 10, so that the IoU of two is that of their spans."""
    return [start, 0.0, stop, 10.0]


def errors_of(
    found: list[tuple[Any, int, float]], truth: list[tuple[Any, int]], *thresholds: float, **options: Any
) -> ErrorTypes:
    """Returns the errors of one image of (span, label, score) and (span, label), of two classes."""
    extra = {name: options.pop(name) for name in ("crowd", "ignore") if name in options}
    detections = {
        "boxes": np.reshape([span(*where) for where, _, _ in found], (-1, 4)),
        "labels": np.array([label for _, label, _ in found], int),
        "scores": np.array([score for _, _, score in found], float),
    }
    ground_truths = {
        "boxes": np.reshape([span(*where) for where, _ in truth], (-1, 4)),
        "labels": np.array([label for _, label in truth], int),
    }
    evaluation = jaxmap.evaluate([detections], [ground_truths | extra], class_names=["cat", "dog"], **options)
    return evaluation.error_types(*thresholds)


def outcomes(errors: ErrorTypes) -> tuple[list[str], list[str]]:
    """Returns the outcomes of the detections and of the ground truths, in the order of the input."""
    columns, truth = errors.detections(), errors.ground_truths()
    order, truth_order = np.argsort(columns["detection"]), np.argsort(truth["ground_truth"])
    return columns["outcome"][order].tolist(), truth["outcome"][truth_order].tolist()


def counts(errors: ErrorTypes) -> dict[str, int]:
    return {name: count for name, count in errors.count.items() if count}


# ---- by hand ----


@pytest.mark.parametrize(
    ("where", "label", "outcome", "of_truth"),
    [
        ((0, 10), 0, "true positive", "found"),
        ((0, 5), 0, "true positive", "found"),  # an IoU that equals the threshold reaches it
        ((0, 4), 0, "localization", "localization"),
        ((0, 1), 0, "localization", "localization"),  # so does 0.1
        ((0, 0.9), 0, "background", "missed"),
        ((0, 9), 1, "classification", "classification"),
        ((0, 5), 1, "classification", "classification"),
        ((0, 4), 1, "both", "missed"),
        ((0, 1), 1, "both", "missed"),
        ((0, 0.9), 1, "background", "missed"),
        ((30, 40), 0, "background", "missed"),
    ],
)
def test_one_detection_of_one_cat(where: tuple[float, float], label: int, outcome: str, of_truth: str) -> None:
    errors = errors_of([(where, label, 0.9)], [((0, 10), 0)])
    assert outcomes(errors) == ([outcome], [of_truth])
    is_cat, is_dog = label == 0, label == 1
    found = outcome == "true positive"
    expected = {} if found else {outcome: 1, "false_positives": 1, "false_negatives": 1}
    assert counts(errors) == expected | ({"missed": 1} if of_truth == "missed" else {})
    assert errors.average_precision == pytest.approx(float(found), abs=ATOL)
    # Once fixed, the cat is found and nothing else is: AP 1. Without the missed cat there is no AP, and it stays 0.
    expected = {outcome: 1.0} if outcome == of_truth else {}
    assert {name: gain for name, gain in errors.gain.items() if gain} == pytest.approx(expected, abs=ATOL)
    columns = errors.per_class()
    assert columns["class_name"] == ["cat", "dog"]
    assert np.isnan(columns["AP"]).tolist() == [False, True]  # no dog is annotated
    if outcome in MAIN_TYPES:
        assert columns[outcome] == [int(is_cat), int(is_dog)]  # the class of the detection


def test_own_class_decides_before_the_others() -> None:
    # IoU 0.8 with the dog, and with the cat 0.4: a localization error of the cat, not a classification error.
    assert outcomes(errors_of([((0, 10), 0, 0.9)], [((0, 4), 0), ((0, 8), 1)])) == (
        ["localization"],
        ["localization", "missed"],
    )
    # The cat at 0.8 is a duplicate, but a dog is there, too: TIDE asks for another class first.
    errors = errors_of([((0, 10), 0, 0.9), ((0, 9), 0, 0.8)], [((0, 10), 0), ((0, 9), 1)])
    assert outcomes(errors) == (["true positive", "classification"], ["found", "classification"])


def test_duplicate_costs_what_stands_below_it() -> None:
    # Ranked: true, duplicate, true. Precision 1 at 51 of 101 recall points, 2/3 at 50.
    truth = [((0, 10), 0), ((20, 30), 0)]
    errors = errors_of([((0, 10), 0, 0.9), ((0, 9), 0, 0.8), ((20, 30), 0, 0.7)], truth)
    assert outcomes(errors) == (["true positive", "duplicate", "true positive"], ["found", "found"])
    assert errors.average_precision == pytest.approx((51 + 50 * 2 / 3) / 101, abs=ATOL)
    lost = 50 / 3 / 101
    assert {name: gain for name, gain in errors.gain.items() if abs(gain) > ATOL} == pytest.approx(
        {"duplicate": lost, "false_positives": lost}, abs=ATOL
    )
    columns = errors.detections()
    assert columns["ground_truth"].tolist() == [0, 0, 1]
    assert columns["iou"].tolist() == [1.0, 0.9, 1.0]
    assert not columns["fixable"].any()


def test_an_object_is_found_once_by_the_error_with_the_highest_score() -> None:
    # Both would find the cat. The dog scores higher and takes it, so fixing localization alone only removes the other.
    errors = errors_of([((0, 4), 0, 0.7), ((0, 9), 1, 0.8), ((0, 5), 1, 0.6)], [((0, 10), 0)])
    assert outcomes(errors) == (["localization", "classification", "classification"], ["classification"])
    assert errors.detections()["fixable"].tolist() == [False, True, False]  # by class: the cat, then the dogs
    # Fixed classification errors: the cat at 0.8, and the localization error below it.
    assert errors.gain["classification"] == pytest.approx(1.0, abs=ATOL)
    assert errors.gain["localization"] == 0.0
    assert counts(errors) == {
        "classification": 2, "localization": 1, "false_positives": 3, "false_negatives": 1,
    }  # fmt: skip


def test_errors_at_an_object_that_is_found_are_removed() -> None:
    # The cat is found at 0.7, below a bad box of it at 0.9 and a dog there at 0.8; precision 1/2 without the dog.
    errors = errors_of([((0, 4), 0, 0.9), ((0, 10), 1, 0.8), ((0, 10), 0, 0.7)], [((0, 10), 0), ((50, 60), 1)])
    assert outcomes(errors) == (["localization", "classification", "true positive"], ["found", "missed"])
    gains = errors.per_class()
    assert gains["localization_gain"] == pytest.approx([0.5, 0.0], abs=ATOL)
    assert gains["classification_gain"] == pytest.approx([0.0, 0.0], abs=ATOL)
    assert errors.gain["localization"] == pytest.approx(0.25, abs=ATOL)  # the mean over both classes


def test_a_missed_object_is_removed_from_the_recall() -> None:
    # One of two cats is found: 51 of 101 recall points. Without the other, all of them.
    errors = errors_of([((0, 10), 0, 0.9)], [((0, 10), 0), ((20, 30), 0)])
    assert errors.gain["missed"] == pytest.approx(50 / 101, abs=ATOL)
    assert errors.gain["false_negatives"] == errors.gain["missed"]
    # A bad box at the other cat: it is not missed, but it is a false negative.
    errors = errors_of([((0, 10), 0, 0.9), ((20, 24), 0, 0.8)], [((0, 10), 0), ((20, 30), 0)])
    assert errors.gain["missed"] == 0.0
    assert errors.gain["localization"] == pytest.approx(50 / 101, abs=ATOL)
    assert errors.gain["false_negatives"] == pytest.approx(50 / 101, abs=ATOL)


def test_crowds_and_ignored_objects_are_no_objects_and_no_errors() -> None:
    found = [((0, 10), 0, 0.9), ((40, 44), 0, 0.8)]
    for extra in ({"crowd": [True, False]}, {"ignore": [True, False]}):
        errors = errors_of(found, [((0, 10), 0), ((60, 70), 0)], **extra)
        assert outcomes(errors) == (["ignored", "background"], ["missed"])
        assert errors.detections()["ground_truth"].tolist() == [0, -1]  # the one that absorbed it
    # A bad box at an ignored object is on the background.
    assert outcomes(errors_of([((0, 3), 0, 0.9)], [((0, 10), 0)], ignore=[True])) == (["background"], [])


def test_other_thresholds_and_protocols() -> None:
    found, truth = [((0, 6), 0, 0.9), ((0, 3), 0, 0.8)], [((0, 10), 0)]
    assert outcomes(errors_of(found, truth))[0] == ["true positive", "localization"]
    assert outcomes(errors_of(found, truth, 0.75, 0.4))[0] == ["localization", "background"]
    assert outcomes(errors_of(found, truth, 0.2, 0.1, iou_thresholds=[0.2, 0.5]))[0] == ["true positive", "duplicate"]
    # VOC: the second cat's best object is taken, so it is a duplicate although another is near enough.
    found, truth = [((0, 10), 0, 0.9), ((0, 10), 0, 0.8)], [((0, 10), 0), ((2, 10), 0)]
    voc = errors_of(found, truth, protocol="voc2012")
    assert outcomes(voc) == (["true positive", "duplicate"], ["found", "missed"])
    assert outcomes(errors_of(found, truth))[0] == ["true positive", "true positive"]


# ---- other doors and refusals ----


def test_json_holds_the_numbers_of_the_tables() -> None:
    errors = errors_of([((0, 10), 0, 0.9), ((0, 4), 0, 0.8)], [((0, 10), 0)])
    content = json.loads(json.dumps(errors.to_dict()))
    assert content["AP"] == errors.average_precision
    assert content["errors"] == {name: {"count": errors.count[name], "gain": errors.gain[name]} for name in ERROR_TYPES}
    columns = errors.per_class()
    assert list(content["classes"][0]) == list(columns)
    assert content["classes"][1]["AP"] is None
    assert content["classes"][0]["localization"] == 1
    assert (content["iou_threshold"], content["background_threshold"]) == (0.5, 0.1)


def test_text_has_a_row_for_each_type() -> None:
    errors = errors_of([((0, 4), 0, 0.9)], [((0, 10), 0)])
    lead, _, head, *rows = str(errors).splitlines()
    assert lead == "AP at IoU 0.5 is 0.0000. It rises if all errors of one type are fixed:"
    assert head.split() == ["error", "count", "AP", "gain"]
    assert [row[:17].strip().replace(" ", "_") for row in rows] == list(ERROR_TYPES)
    assert rows[1].split()[:3] == ["localization", "1", "1.0000"]
    assert rows[1].endswith("IoU from 0.1 to 0.5 with an object of its class")


def test_nothing_to_find() -> None:
    errors = errors_of([((0, 4), 0, 0.9)], [])
    assert str(errors).startswith("There is no counted ground truth")
    assert counts(errors) == {"background": 1, "false_positives": 1}
    assert np.isnan([errors.average_precision, *errors.gain.values()]).all()
    assert errors.to_dict()["AP"] is None
    nothing = errors_of([], [((0, 10), 1)])
    assert counts(nothing) == {"missed": 1, "false_negatives": 1}
    assert set(nothing.gain.values()) == {0.0}
    assert counts(errors_of([], [])) == {}


@pytest.mark.parametrize(
    ("thresholds", "words"),
    [
        ((0.42,), "`iou_threshold` must be one of"),
        ((0.5, 0.5), "`background_threshold` must lie between 0 and `iou_threshold`, 0.5, got 0.5"),
        ((0.5, 0.0), "`background_threshold` must lie between 0 and `iou_threshold`, 0.5, got 0.0"),
        ((0.5, float("nan")), "`background_threshold` must lie between 0 and `iou_threshold`, 0.5, got nan"),
    ],
)
def test_refusals_name_the_threshold(thresholds: tuple[float, ...], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        errors_of([], [((0, 10), 0)], *thresholds)
