"""Every refusal of `evaluate` says where, what was expected, and what came."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import jaxmap

Images = list[dict[str, Any]]


def scene() -> tuple[Images, Images]:
    """Two images, two classes; the second image has three detections and two ground truths."""
    box, other = [0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 40.0, 40.0]
    found = [
        {"boxes": [box], "scores": [0.9], "labels": [0]},
        {"boxes": [box, other, other], "scores": [0.8, 0.7, 0.6], "labels": [0, 1, 1]},
    ]
    truth = [{"boxes": [box], "labels": [0]}, {"boxes": [box, other], "labels": [0, 1]}]
    return found, truth


def padded() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The same scene in padded arrays, with NaN in the padding."""
    sides = []
    for images in scene():
        length = max(len(image["labels"]) for image in images)
        side: dict[str, Any] = {
            "boxes": np.full((2, length, 4), np.nan),
            "labels": np.full((2, length), -7),
            "valid": np.zeros((2, length), bool),
        }
        if "scores" in images[0]:
            side["scores"] = np.full((2, length), np.nan)
        for i, image in enumerate(images):
            side["valid"][i, : len(image["labels"])] = True
            for name, values in image.items():
                side[name][i, : len(values)] = values
        sides.append(side)
    return sides[0], sides[1]


def refusal(found: Any, truth: Any, error: type[Exception] = ValueError, **options: Any) -> str:
    """Returns the message with which `evaluate` refuses."""
    with pytest.raises(error) as caught:
        jaxmap.evaluate(found, truth, **options)
    return str(caught.value)


def assert_says(message: str, *words: str) -> None:
    missing = [word for word in words if word not in message]
    assert not missing, f"{missing} not in {message!r}"


def edited(side: str, image: int, field: str, value: Any) -> tuple[Images, Images]:
    """The scene with one field of one image replaced."""
    sides = dict(zip(("detections", "ground_truths"), copy.deepcopy(scene()), strict=True))
    sides[side][image][field] = value
    return sides["detections"], sides["ground_truths"]


def test_scene_itself_is_accepted_in_both_forms() -> None:
    summary = jaxmap.evaluate(*scene()).summary
    np.testing.assert_equal(jaxmap.evaluate(*padded()).summary, summary)  # whatever the padding holds


# Shapes.


@pytest.mark.parametrize("side", ["detections", "ground_truths"])
@pytest.mark.parametrize(
    ("boxes", "shape"),
    [([[0.0, 0.0, 10.0]], "[1, 3]"), ([0.0, 0.0, 10.0, 10.0], "[4]"), ([[[0.0, 0.0, 10.0, 10.0]]], "[1, 1, 4]")],
)
def test_boxes_of_wrong_shape_in_a_list(side: str, boxes: Any, shape: str) -> None:
    assert_says(refusal(*edited(side, 1, "boxes", boxes)), f"`{side}[1]['boxes']`", "[boxes, 4]", f"got {shape}")


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 5), (6, 4), (1, 2, 3, 4)])
def test_boxes_of_wrong_shape_in_padded_arrays(side: int, shape: tuple[int, ...]) -> None:
    sides = padded()
    sides[side]["boxes"] = np.zeros(shape)
    name = ("detections", "ground_truths")[side]
    assert_says(refusal(*sides), f"`{name}.boxes`", "[images, boxes, 4]", f"got {list(shape)}")


@pytest.mark.parametrize(
    ("side", "field", "count"),
    [("detections", "scores", 3), ("detections", "labels", 3), ("ground_truths", "labels", 2)],
)
def test_lengths_that_disagree_within_an_image(side: str, field: str, count: int) -> None:
    value = [0] * (count + 1)
    message = refusal(*edited(side, 1, field, value))
    assert_says(message, f"`{side}[1]['{field}']`", f"[{count}]", "`boxes`", f"got [{count + 1}]")


@pytest.mark.parametrize("field", ["crowd", "iscrowd", "area", "ignore"])
def test_lengths_of_optional_fields_that_disagree(field: str) -> None:
    found, truth = scene()
    truth[0][field], truth[1][field] = [1], [1]
    name = "crowd" if field == "iscrowd" else field
    assert_says(refusal(found, truth), f"`ground_truths[1]['{name}']`", "[2]", "got [1]")


@pytest.mark.parametrize("field", ["scores", "labels", "valid"])
def test_padded_arrays_whose_first_axes_disagree(field: str) -> None:
    found, truth = padded()
    found[field] = found[field][:, :2]
    assert_says(refusal(found, truth), f"`detections.{field}`", "[2, 3]", "`boxes`", "got [2, 2]")


def test_numbers_of_images_that_disagree() -> None:
    found, truth = scene()
    assert_says(refusal(found[:1], truth), "`detections`", "`ground_truths`", "same images", "got 1 and 2")


def test_no_image_at_all() -> None:
    assert_says(refusal([], []), "`detections`", "at least one image", "got an empty sequence")


# Fields.


@pytest.mark.parametrize(
    ("side", "field"),
    [("detections", "boxes"), ("detections", "labels"), ("ground_truths", "boxes"), ("ground_truths", "labels")],
)
def test_missing_field(side: str, field: str) -> None:
    found, truth = scene()
    del (found if side == "detections" else truth)[1][field]
    assert_says(refusal(found, truth), f"`{side}[1]`", f"must have the fields ['{field}']", "got [")


def test_scores_are_in_all_images_or_in_none() -> None:
    found, truth = scene()
    del found[1]["scores"]
    assert_says(refusal(found, truth), "`detections[1]` must have the fields of `detections[0]`", "'scores'], got [")


def test_unknown_field_is_no_option_that_silently_does_nothing() -> None:
    message = refusal(*edited("ground_truths", 1, "is_crowd", [0, 1]))
    assert_says(message, "`ground_truths[1]`", "unknown", "is_crowd", "crowd")


def test_optional_field_in_some_images_only() -> None:
    assert_says(
        refusal(*edited("ground_truths", 1, "crowd", [0, 1])), "`ground_truths[1]`", "crowd", "ground_truths[0]"
    )


@pytest.mark.parametrize("value", [None, 3, "boxes"])
def test_input_of_another_kind(value: Any) -> None:
    message = refusal(value, scene()[1], TypeError)
    assert_says(message, "`detections` must be", "padded arrays", "sequence", f"got {type(value).__name__}")


def test_image_of_another_kind() -> None:
    found, truth = scene()
    assert_says(refusal([found[0], found[1]["boxes"]], truth, TypeError), "`detections[1]`", "mapping", "got list")


def test_table_beside_lists() -> None:
    truth = scene()[1]
    columns = {"boxes": np.zeros((0, 4)), "scores": np.zeros(0)}
    columns |= {name: np.zeros(0, np.int64) for name in ("image_index", "labels", "ids")}
    message = refusal(jaxmap.DetectionTable(**columns), truth, TypeError)
    assert_says(message, "`detections` and `ground_truths`", "tables", "got DetectionTable and list")


# Values.


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", ["detections", "ground_truths"])
def test_boxes_that_are_not_finite(side: str, value: float) -> None:
    boxes = [[0.0, 0.0, 10.0, 10.0], [20.0, value, 40.0, 40.0], [20.0, 20.0, 40.0, 40.0]]
    message = refusal(*edited(side, 1, "boxes", boxes[: 3 if side == "detections" else 2]))
    assert_says(message, f"`{side}.boxes` must be finite", str(value), "image 1, row 1")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite(value: float) -> None:
    message = refusal(*edited("detections", 1, "scores", [0.5, 0.5, value]))
    assert_says(message, "`detections.scores` must be finite", f"got {value}", "image 1, row 2")


def test_areas_that_are_not_finite() -> None:
    found, truth = scene()
    truth[0]["area"], truth[1]["area"] = [100.0], [np.nan, 400.0]
    assert_says(refusal(found, truth), "`ground_truths.area` must be finite", "got nan", "image 1, row 0")


@pytest.mark.parametrize("field", ["boxes", "scores"])
def test_valid_rows_of_padded_arrays_that_are_not_finite(field: str) -> None:
    found, truth = padded()
    found["valid"][0, 2] = True  # a row of padding that is called real
    if field == "scores":
        found["boxes"][0, 2], found["labels"][0, 2] = 1.0, 0
    assert_says(refusal(found, truth), f"`detections.{field}` must be finite", "nan", "image 0, row 2", "not valid")


@pytest.mark.parametrize("side", ["detections", "ground_truths"])
def test_negative_labels(side: str) -> None:
    labels = [0, -1, 1][: 3 if side == "detections" else 2]
    message = refusal(*edited(side, 1, "labels", labels))
    assert_says(message, f"`{side}.labels`", "from 0", "got -1", "image 1, row 1")


@pytest.mark.parametrize("side", ["detections", "ground_truths"])
@pytest.mark.parametrize("options", [{"num_classes": 2}, {"class_names": ["cat", "dog"]}])
def test_labels_beyond_the_classes(side: str, options: dict[str, Any]) -> None:
    labels = [0, 2, 1][: 3 if side == "detections" else 2]
    message = refusal(*edited(side, 1, "labels", labels), **options)
    assert_says(message, f"`{side}.labels`", "2 classes [0, 1]", "got 2", "image 1, row 1")


def test_labels_that_no_name_is_for() -> None:
    message = refusal(*scene(), class_names={0: "cat", 7: "dog"})
    assert_says(message, "`detections.labels`", "[0, 7]", "got 1", "image 1, row 1")


def test_labels_that_are_not_integers() -> None:
    message = refusal(*edited("detections", 1, "labels", [0.0, 1.0, 1.0]), error=TypeError)
    assert_says(message, "`detections[1]['labels']`", "integers", "float64")


def test_boxes_that_are_no_numbers() -> None:
    boxes = [["a", "b", "c", "d"]] * 3
    message = refusal(*edited("detections", 1, "boxes", boxes), error=TypeError)
    assert_says(message, "`detections[1]['boxes']`", "numbers", "got dtype <U1")


def test_names_and_number_of_classes_that_disagree() -> None:
    message = refusal(*scene(), class_names=["cat", "dog"], num_classes=3)
    assert_says(message, "`class_names`", "`num_classes` = 3", "got 2")


# Options.


@pytest.mark.parametrize("name", ["iou_thresholds", "recall_points", "max_detections"])
@pytest.mark.parametrize(
    ("values", "expected"), [([], "at least one"), ([1, 0.5], "strictly ascending"), ([1, 1], "strictly ascending")]
)
def test_grids_that_are_empty_or_not_ascending(name: str, values: list[float], expected: str) -> None:
    message = refusal(*scene(), **{name: values})
    assert_says(message, f"`{name}` must", expected, "got none" if not values else f"got {[float(v) for v in values]}")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"iou_thresholds": [0.0, 0.5]}, ["`iou_thresholds`", "(0, 1]", "[0.0, 0.5]"]),
        ({"iou_thresholds": [0.5, 50]}, ["`iou_thresholds`", "(0, 1]", "[0.5, 50.0]"]),
        ({"iou_thresholds": [float("nan")]}, ["`iou_thresholds`", "finite", "[nan]"]),
        ({"iou_thresholds": "0.5"}, ["`iou_thresholds`", "numbers", "'0.5'"]),
        ({"iou_thresholds": 0.5}, ["`iou_thresholds`", "sequence", "0.5"]),
        ({"recall_points": [-0.1, 1]}, ["`recall_points`", "[0, 1]", "[-0.1, 1.0]"]),
        ({"recall_points": [0.5, 1.1]}, ["`recall_points`", "[0, 1]", "[0.5, 1.1]"]),
        ({"max_detections": 0}, ["`max_detections`", "at least 1", "[0]"]),
        ({"max_detections": [1.5]}, ["`max_detections`", "whole numbers", "[1.5]"]),
        ({"area_ranges": {}}, ["`area_ranges`", "(low, high)", "{}"]),
        ({"area_ranges": [(0, 1)]}, ["`area_ranges`", "name", "[(0, 1)]"]),
        ({"area_ranges": {"odd": (9, 4)}}, ["`area_ranges['odd']`", "low <= high", "(9, 4)"]),
        ({"area_ranges": {"odd": (1, 2, 3)}}, ["`area_ranges['odd']`", "(low, high)", "(1, 2, 3)"]),
        ({"box_format": "xxyy"}, ["`box_format`", "'xyxy', 'xywh', 'cxcywh', 'yxyx'", "got 'xxyy'"]),
        ({"protocol": "cocoo"}, ["`protocol`", "'coco'", "got 'cocoo'"]),
    ],
)
def test_options_out_of_range(options: dict[str, Any], words: list[str]) -> None:
    assert_says(refusal(*scene(), **options), *words)


def test_protocol_of_another_kind() -> None:
    assert_says(refusal(*scene(), TypeError, protocol=3), "`protocol`", "name or an EvaluationProtocol", "got int")


def test_matches_at_a_threshold_or_area_that_was_not_evaluated() -> None:
    evaluation = jaxmap.evaluate(*scene(), iou_thresholds=[0.5, 0.75])
    with pytest.raises(ValueError, match=r"`iou_threshold` must be one of \[0\.5, 0\.75\], got 0\.6"):
        evaluation.matches(iou_threshold=0.6)
    with pytest.raises(ValueError, match=r"`area` must be one of \['all', 'small', 'medium', 'large'\], got 'tiny'"):
        evaluation.matches(area="tiny")


EMPTY = [{"boxes": [], "scores": [], "labels": []}]
NOTHING = [{"boxes": [], "labels": []}]


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (ValueError, "`max_detections` must be whole numbers of at least 1, got", {"max_detections": 2.5}),
        (ValueError, r"`area_ranges\['a'\]` must be \(low, high\)", {"area_ranges": {"a": 5}}),
        (ValueError, r"`area_ranges\['a'\]` must be \(low, high\)", {"area_ranges": {"a": ("x", "y")}}),
        (TypeError, "`class_names` must map integer labels to names", {"class_names": {"a": "b"}}),
        (TypeError, "`class_names` must be a sequence of names", {"class_names": "cat"}),
        (ValueError, "`num_classes` must be a whole number of at least 1, got -1", {"num_classes": -1}),
        (ValueError, "`num_classes` must be a whole number of at least 1, got 2.5", {"num_classes": 2.5}),
    ],
)
def test_options_of_a_wrong_kind_raise(error, message, options):
    with pytest.raises(error, match=message):
        jaxmap.evaluate(EMPTY, NOTHING, **options)


@pytest.mark.parametrize(
    ("error", "message", "fields"),
    [
        (ValueError, r"`ground_truths\[0\]\['boxes'\]` must be a rectangular array", {"boxes": [[0, 0, 1], [0]]}),
        (ValueError, r"`ground_truths\[0\]` has both `crowd` and `iscrowd`", {"crowd": [1], "iscrowd": [0]}),
        (ValueError, r"`ground_truths\[0\]\['crowd'\]` must be boolean, or 0 and 1", {"crowd": [float("nan")]}),
        (TypeError, r"`ground_truths\[0\]\['area'\]` must be real numbers", {"area": [1j]}),
    ],
)
def test_fields_of_a_wrong_kind_raise(error, message, fields):
    truth = {"boxes": [[0, 0, 1, 1]], "labels": [0]} | fields
    with pytest.raises(error, match=message):
        jaxmap.evaluate(EMPTY, [truth])


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (r"`detections.image_index` must be in \[0, 1\), got 5 in row 0", {"image_index": np.array([5])}),
        (r"`detections.labels` must be in \[0, 1\), got 9 in row 0", {"labels": np.array([9])}),
        (r"`detections.scores` must be finite, got nan in image 0, row 0", {"scores": np.array([np.nan])}),
        (r"`detections.boxes` must have shape \[1, 4\], got \[1, 5\]", {"boxes": np.zeros((1, 5))}),
    ],
)
def test_tables_are_checked(message, fields):
    truth = jaxmap.GroundTruthTable(
        image_index=np.array([0]),
        labels=np.array([0]),
        boxes=np.zeros((1, 4)),
        area=np.zeros(1),
        crowd=np.zeros(1, bool),
        ignore=np.zeros(1, bool),
        ids=np.array([1]),
        image_ids=np.array([0]),
        class_ids=np.array([0]),
        class_names=("a",),
    )
    columns = {
        "image_index": np.array([0]),
        "labels": np.array([0]),
        "boxes": np.zeros((1, 4)),
        "scores": np.zeros(1),
        "ids": np.array([0]),
    }
    with pytest.raises(ValueError, match=message):
        jaxmap.evaluate(jaxmap.DetectionTable(**(columns | fields)), truth)


def test_another_shape_than_is_compared_comes_with_advice() -> None:
    masks = {"masks": np.ones((1, 4, 4), bool), "labels": [0]}
    expected = r"must have the fields \['boxes'\], got .*; `iou_type` says what is compared, .* \['masks'\]"
    with pytest.raises(ValueError, match=expected):
        jaxmap.evaluate([masks | {"scores": [0.5]}], [masks])
