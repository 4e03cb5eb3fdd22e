"""Boxes and labels that were not read as they were meant: one warning names what was probably meant."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap._inputs._misread import _from_xywh, warn_of_misread

Scene = tuple[jaxmap.DetectionTable, jaxmap.GroundTruthTable]


def warned(found: Any, truth: Any, **options: Any) -> str:
    """Returns the only warning of a call."""
    with pytest.warns(UserWarning) as caught:
        jaxmap.evaluate(found, truth, **options)
    [warning] = caught
    return str(warning.message)


def as_lists(scene: Scene, box_format: str = "xyxy") -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns a scene as lists of one mapping per image."""
    found, truth = scene
    sides = []
    for table in scene:
        boxes = _from_xywh(table.boxes, box_format)
        rows = [np.flatnonzero(table.image_index == image) for image in range(len(truth.image_ids))]
        fields = [{"boxes": boxes[one], "labels": table.labels[one]} for one in rows]
        if table is found:
            fields = [one | {"scores": found.scores[row]} for one, row in zip(fields, rows, strict=True)]
        sides.append(fields)
    return sides[0], sides[1]


@pytest.fixture(scope="module")
def scene() -> Scene:
    return jaxmap.io.demo_scene(20)


@pytest.mark.parametrize("box_format", ["xyxy", "cxcywh", "yxyx"])
def test_results_in_another_format_than_cocos(scene: Scene, box_format: str) -> None:
    found, truth = scene
    moved = jaxmap.DetectionTable(**vars(found) | {"boxes": _from_xywh(found.boxes, box_format)})
    message = warned(moved, truth)
    assert f"as {box_format}" in message
    assert "`detections`" in message


def test_lists_of_sizes_read_as_corners(scene: Scene) -> None:
    message = warned(*as_lists(scene, "xywh"), box_format="xyxy")
    assert "negative width or height" in message
    assert "`box_format`" in message
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jaxmap.evaluate(*as_lists(scene, "xywh"), box_format="xywh")


def test_normalised_detections(scene: Scene) -> None:
    found, truth = as_lists(scene)
    message = warned([one | {"boxes": one["boxes"] / [640, 480, 640, 480]} for one in found], truth)
    assert "`detections` lie within the unit square" in message
    assert "normalised" in message


def test_angles_in_degrees() -> None:
    truth = [{"boxes": [[50.0, 50.0, 20.0, 10.0, np.pi / 4]], "labels": [0]}]
    found = [{"boxes": [[50.0, 50.0, 20.0, 10.0, 45.0]], "labels": [0], "scores": [0.9]}]
    assert "deg2rad" in warned(found, truth, iou_type="obb")


def test_labels_off_by_one(scene: Scene) -> None:
    found, truth = as_lists(scene)
    found = [one | {"labels": one["labels"] + 1} for one in found]
    assert "count from 1" in warned(found, truth, num_classes=11)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jaxmap.evaluate(found, truth, num_classes=11, class_agnostic=True)


def test_truths_that_nothing_can_match() -> None:
    truth = [{"boxes": [[5.0, 5.0, 5.0, 9.0], [1.0, 1.0, 1.0, 1.0]], "labels": [0, 0]}]
    found = [{"boxes": [[5.0, 5.0, 9.0, 9.0]], "labels": [0], "scores": [0.9]}]
    assert "100% of 2 objects have a width or height of 0" in warned(found, truth)


@pytest.mark.parametrize("num_images", [1, 2, 5, 20, 100])
def test_demo_is_silent_whatever_its_size(num_images: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(20):
            warn_of_misread(*jaxmap.io.demo_scene(num_images, seed))


def test_random_scenes_of_few_boxes_are_silent() -> None:
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(300):
            found, truth = jaxmap.io.demo_scene(int(rng.integers(1, 4)), int(rng.integers(1000)))
            far = rng.random(found.boxes.shape) * [600, 400, 40, 40]
            warn_of_misread(jaxmap.DetectionTable(**vars(found) | {"boxes": far}), truth)
