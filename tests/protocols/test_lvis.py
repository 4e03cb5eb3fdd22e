"""The rules of LVIS by hand; reference/test_lvis.py holds them against lvis-api."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap import LVIS
from support.one_image import BOX, FAR, OTHER, detections, truths


def summary(found: list[dict[str, Any]], real: list[dict[str, Any]], **options: Any) -> dict[str, float]:
    return jaxmap.evaluate(found, real, protocol=LVIS, num_classes=2, **options).summary


def test_limit_is_on_the_image_and_comes_before_unverified_classes_go() -> None:
    # Class 1 was not verified, but its detections are the first two of the image: of class 0 none is among them.
    found = [detections((FAR, 0.9), (FAR, 0.8), (BOX, 0.7), labels=[1, 1, 0])]
    real = [truths(BOX) | {"verified": [True, False]}]
    for limit, expected in ((2, 0.0), (3, 1.0)):
        numbers = summary(found, real, max_detections=limit)
        assert numbers["AP"] == pytest.approx(expected)
        assert numbers[f"AR@{limit}"] == expected


def test_detections_of_a_class_that_is_not_exhaustive_are_no_false_positives() -> None:
    # One false positive before the hit halves the precision, unless more may be there than was annotated.
    found = [detections((FAR, 0.9), (BOX, 0.8))]
    assert summary(found, [truths(BOX)])["AP"] == pytest.approx(0.5)
    flags = {"not_exhaustive": [True, False]}
    assert summary(found, [truths(BOX) | flags])["AP"] == pytest.approx(1.0)
    assert summary([detections((FAR, 0.9))], [truths(BOX) | flags])["AP"] == 0


def test_detection_without_area_is_left_out() -> None:
    found = [detections(([5, 5, 5, 9], 0.9), (BOX, 0.8))]
    assert summary(found, [truths(BOX)])["AP"] == pytest.approx(1.0)
    assert jaxmap.evaluate(found, [truths(BOX)]).summary["AP"] == pytest.approx(0.5)  # COCO counts it


def test_groups_average_over_their_classes_alone() -> None:
    # Class 0 is found, of class 1 one object of two: 51 of 101 recall points.
    found = [detections((BOX, 0.9), (BOX, 0.9), labels=[0, 1])]
    evaluation = jaxmap.evaluate(found, [truths(BOX, BOX, OTHER, labels=[0, 1, 1])], protocol=LVIS)
    numbers = jaxmap._summary.summarize(evaluation.curves, LVIS, np.array(["f", "r"]))
    assert numbers["APf"] == pytest.approx(1.0)
    assert numbers["APr"] == pytest.approx(51 / 101)
    assert np.isnan(numbers["APc"])
    assert numbers["AP"] == pytest.approx((1 + 51 / 101) / 2)
    assert np.isnan(evaluation.summary["APr"])  # arrays do not say which class is of which group
    for columns in (evaluation.per_class(), evaluation.per_image()):  # nor is a group of one class or one image
        assert "AP75" in columns
        assert not {"APr", "APc", "APf"} & columns.keys()
