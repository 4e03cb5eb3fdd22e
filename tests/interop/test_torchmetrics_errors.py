"""What the torchmetrics shell refuses, in torchmetrics' words and order: a case has later faults too, where it can."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from jaxmap.interop.torchmetrics import MeanAveragePrecision
from support.torchmetrics_inputs import image, scores_of


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"foo": 1, "box_format": "a"}, "Unexpected keyword arguments: `foo`"),
        (
            {"box_format": "a", "iou_type": "b"},
            "Expected argument `box_format` to be one of ('xyxy', 'xywh', 'cxcywh') but got a",
        ),
        (
            {"iou_type": "b", "iou_thresholds": 1},
            "Expected argument `iou_type` to be one of ('segm', 'bbox') or a tuple of, but got ('b',)",
        ),
        (
            {"iou_type": ("bbox", "segm"), "iou_thresholds": 0.5, "rec_thresholds": 0.5},
            "Expected argument `iou_thresholds` to either be `None` or a list of floats but got 0.5",
        ),
        (
            {"rec_thresholds": (0.5,), "max_detection_thresholds": 1},
            "Expected argument `rec_thresholds` to either be `None` or a list of floats but got (0.5,)",
        ),
        (
            {"max_detection_thresholds": (1, 10, 100), "class_metrics": 0},
            "Expected argument `max_detection_thresholds` to either be `None` or a list of ints but got (1, 10, 100)",
        ),
        (
            {"max_detection_thresholds": [1, 10], "class_metrics": 0},
            "When providing a list of max detection thresholds it should have length 3. Got value 2",
        ),
        ({"class_metrics": 0, "extended_summary": 0}, "Expected argument `class_metrics` to be a boolean"),
        ({"extended_summary": 0, "average": "a"}, "Expected argument `extended_summary` to be a boolean"),
        (
            {"average": "a", "backend": "b"},
            "Expected argument `average` to be one of ('macro', 'micro') but got a",
        ),
        (
            {"backend": "b", "iou_type": "segm"},
            "Expected argument `backend` to be one of ('pycocotools', 'faster_coco_eval') but got b",
        ),
        ({"iou_thresholds": [0.0, 0.5]}, "The IoU thresholds must be above 0, got [0.0, 0.5]."),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        MeanAveragePrecision(**options)


def test_options_that_change_nothing_here() -> None:
    options = {"backend": "faster_coco_eval", "sync_on_compute": False, "compute_on_cpu": True}
    MeanAveragePrecision(iou_type=("bbox", "segm"), **options)


FOUND, TRUTH = image([[0, 0, 1, 1]], [0], [0.5]), image([[0, 0, 1, 1]], [0])
ARRAY, TWO = np.zeros(1, np.float32), np.zeros(2, np.int64)


def without(side: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in side.items() if name not in names}


@pytest.mark.parametrize(
    ("preds", "target", "message"),
    [
        (ARRAY, ARRAY, "Expected argument `preds` to be of type Sequence, but got [0.]"),
        ([FOUND], ARRAY, "Expected argument `target` to be of type Sequence, but got [0.]"),
        ([{}], [{}, {}], "Expected argument `preds` and `target` to have the same length, but got 1 and 2"),
        ([{}], [{}], "Expected all dicts in `preds` to contain the `boxes` key"),
        ([without(FOUND, "labels", "scores")], [{}], "Expected all dicts in `preds` to contain the `labels` key"),
        ([without(FOUND, "scores")], [{}], "Expected all dicts in `preds` to contain the `scores` key"),
        ([FOUND], [{}], "Expected all dicts in `target` to contain the `boxes` key"),
        (
            [{**FOUND, "boxes": []}],
            [without(TRUTH, "labels")],
            "Expected all dicts in `target` to contain the `labels`",
        ),
        ([{**FOUND, "boxes": [], "scores": []}], [TRUTH], "Expected all boxes in `preds` to be of type Tensor"),
        ([{**FOUND, "scores": [], "labels": []}], [TRUTH], "Expected all scores in `preds` to be of type Tensor"),
        ([{**FOUND, "labels": []}], [{**TRUTH, "boxes": []}], "Expected all labels in `preds` to be of type Tensor"),
        (
            [{**FOUND, "labels": TWO}],
            [{**TRUTH, "boxes": [], "labels": []}],
            "Expected all boxes in `target` to be of type Tensor",
        ),
        ([{**FOUND, "labels": TWO}], [{**TRUTH, "labels": []}], "Expected all labels in `target` to be of type Tensor"),
        (
            [FOUND, {**FOUND, "labels": TWO}],
            [TRUTH, {**TRUTH, "labels": TWO}],
            "Input 'boxes' and labels of sample 1 in targets have a different length (expected 1 labels, got 2)",
        ),
        (
            [FOUND, {**FOUND, "labels": TWO}],
            [TRUTH, TRUTH],
            "Input 'boxes', labels and scores of sample 1 in predictions have a different length"
            " (expected 1 labels and scores, got 2 labels and 1)",
        ),
        ([FOUND], [{**TRUTH, "labels": np.int64(1)}], "Expected all labels to have at least one axis"),
        ([FOUND], [{**TRUTH, "area": TWO}], "Input 'area' of sample 0 in targets must have shape [1]"),
    ],
)
def test_wrong_inputs(preds: Any, target: Any, message: str) -> None:
    metric = MeanAveragePrecision()
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        metric.update(preds, target)
    assert (scores_of(metric.compute()) == -1).all()  # nothing was added


@pytest.mark.parametrize(
    ("found", "truth", "message"),
    [
        (
            {"boxes": ARRAY[None]},
            {"boxes": np.zeros((1, 3)), "labels": ARRAY},
            "Invalid input box of sample 1, element 0 (expected 4 values, got 3)",
        ),
        (
            {"boxes": np.zeros((1, 5)), "labels": ARRAY},
            {"labels": ARRAY},
            "Invalid input class of sample 1, element 0 (expected value of type integer, got type <class 'float'>)",
        ),
        (
            {"boxes": np.zeros((1, 5)), "labels": ARRAY},
            {},
            "Invalid input box of sample 1, element 0 (expected 4 values, got 5)",
        ),
        (
            {"labels": ARRAY, "scores": TWO[:1]},
            {},
            "Invalid input class of sample 1, element 0 (expected value of type integer, got type <class 'float'>)",
        ),
        (
            {"scores": TWO[:1]},
            {},
            "Invalid input score of sample 1, element 0 (expected value of type float, got type <class 'int'>)",
        ),
    ],
)
def test_wrong_values_are_found_by_compute(found: dict[str, Any], truth: dict[str, Any], message: str) -> None:
    metric = MeanAveragePrecision()
    metric.update([FOUND, FOUND | found], [TRUTH, TRUTH | truth])
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        metric.compute()


def test_values_that_are_not_finite_are_refused() -> None:
    metric = MeanAveragePrecision()
    metric.update(FOUND | {"scores": np.array([np.nan])}, TRUTH)
    with pytest.raises(ValueError, match=r"`detections\.scores` must be finite, got nan in image 0, row 0"):
        metric.compute()
