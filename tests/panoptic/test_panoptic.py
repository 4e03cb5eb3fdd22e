"""`panoptic_quality` on arrays: forms of the input, and how bad ones fail."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jaxmap
from support.panoptic_scenes import NUM_CLASSES, host_images, random_scene


def test_stacked_arrays_and_images_and_unsigned_maps_are_the_same() -> None:
    found, truth = host_images(random_scene())
    names = ["a", "b", "c", "d"]
    evaluation = jaxmap.panoptic_quality(found, truth, class_names=names)
    stacked = [{name: np.stack([image[name] for image in side]) for name in side[0]} for side in (found, truth)]
    unsigned = [
        [image | {"segments": image["segments"].astype(np.uint64)} for image in side] for side in (found, truth)
    ]
    for other in (stacked, unsigned):
        columns = jaxmap.panoptic_quality(*other, num_classes=NUM_CLASSES, class_names=names).per_class()
        assert columns["class_name"] == names
        for name, column in evaluation.per_class().items():
            np.testing.assert_array_equal(columns[name], column)


def test_no_image_is_no_number() -> None:
    evaluation = jaxmap.panoptic_quality([], [], num_classes=2, things=[1])
    assert np.isnan(list(evaluation.summary.values())).all()


IMAGE = {"segments": np.array([[0, 5, 5]]), "ids": np.array([5]), "labels": np.array([1])}


@pytest.mark.parametrize(
    ("spoil", "options", "error", "message"),
    [
        ({"ids": np.array([6])}, {}, ValueError, "image 1: the prediction has pixels of segment 5, which .* not list"),
        ({"ids": np.array([-5])}, {}, ValueError, "image 1: the prediction's `ids` must be 0 or more, got -5"),
        ({"labels": np.array([2])}, {}, ValueError, "image 1: the prediction's `labels` must be below 2, .* got 2"),
        ({"labels": np.array([1, 1])}, {}, ValueError, "image 1: .* must have equal lengths, got 2, 1 and 2"),
        ({"labels": np.array([1.0])}, {}, TypeError, "image 1: .* `labels` must hold integers, got dtype float64"),
        ({"segments": np.zeros((1, 3))}, {}, TypeError, "image 1: .* `segments` must hold integers"),
        ({"segments": np.zeros(3, int)}, {}, ValueError, r"image 1: .* `segments` must have 2 axes, got shape \[3\]"),
        ({"segments": np.zeros((1, 2), int)}, {}, ValueError, r"size of the ground truth, \[1, 3\], got \[1, 2\]"),
        ({}, {"num_classes": None}, ValueError, "`num_classes` or `class_names` must be given"),
        ({}, {"class_names": ["a"]}, ValueError, "`class_names` must have `num_classes` names, got 1 and 2"),
        ({}, {"things": [2]}, ValueError, "`things` must be classes from 0 to 1, got 2"),
    ],
)
def test_bad_input_is_refused(
    spoil: dict[str, Any], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        jaxmap.panoptic_quality([IMAGE, IMAGE | spoil], [IMAGE, IMAGE], **{"num_classes": 2} | options)


def test_inputs_of_other_forms_are_refused() -> None:
    with pytest.raises(ValueError, match="must have `segments` and `labels`, got \\['ids'\\]"):
        jaxmap.panoptic_quality([{"ids": [5]}], [IMAGE], num_classes=2)
    with pytest.raises(ValueError, match="must hold the same images, got 1 and 2"):
        jaxmap.panoptic_quality([IMAGE], [IMAGE, IMAGE], num_classes=2)
    with pytest.raises(TypeError, match=r"`predictions` must be a sequence .*, got generator"):
        jaxmap.panoptic_quality((image for image in [IMAGE]), [IMAGE], num_classes=2)
    with pytest.raises(ValueError, match="the fields of `ground_truths` must have the same first axis, images"):
        jaxmap.panoptic_quality([IMAGE], {"segments": np.zeros((1, 2, 2), int), "labels": np.zeros((2, 1), int)},
                                num_classes=2)  # fmt: skip
