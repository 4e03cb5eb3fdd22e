"""Masks in COCO's files and in lists: what is refused, what is warned about, and what is taken as it is."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap._geometry._rle import coco_masks, encode_masks
from jaxmap.io import coco_detections, coco_ground_truths

SQUARE = [[5, 2, 15, 2, 15, 7, 5, 7]]
SEGM = {"iou_type": "segm"}
PERFECT = pytest.approx(1)


def dataset(*segmentations: Any, **fields: Any) -> dict[str, Any]:
    rows = [
        {"id": place, "image_id": 1, "category_id": 1, "area": 50, "bbox": [5, 2, 10, 5], "segmentation": one} | fields
        for place, one in enumerate(segmentations, 11)
    ]
    return {"images": [{"id": 1, "height": 20, "width": 30}], "categories": [{"id": 1}], "annotations": rows}


def results(*segmentations: Any, **fields: Any) -> list[dict[str, Any]]:
    return [{"image_id": 1, "category_id": 1, "score": 0.5, "segmentation": one} | fields for one in segmentations]


def dense(height: int = 20, width: int = 30) -> dict[str, Any]:
    mask = np.zeros((1, height, width), bool)
    mask[0, height // 4 : height // 2, width // 4 : width // 2] = True
    [encoded] = coco_masks(encode_masks(mask))
    return encoded | {"counts": encoded["counts"].decode()}


def test_a_damaged_mask_is_named_by_file_entry_and_field() -> None:
    with pytest.raises(ValueError, match=r"^ground truths: `annotations`\[1\].segmentation.counts must be COCO's"):
        coco_ground_truths(dataset(SQUARE, dense() | {"counts": dense()["counts"][:-1]}), **SEGM)
    truth = coco_ground_truths(dataset(SQUARE), **SEGM)
    with pytest.raises(
        ValueError, match=r"^results: `results`\[1\].segmentation.counts must hold run lengths from 0, got -100"
    ):
        coco_detections(results(dense(), {"size": [20, 30], "counts": [700, -100]}), truth, **SEGM)


@pytest.mark.parametrize("height", [0, -1, 2**32, 10**9])
def test_heights_that_no_image_has_are_refused(height: int) -> None:
    data = dataset(SQUARE)
    data["images"][0]["height"] = height
    with pytest.raises(ValueError, match=r"size of the image must be .height, width., integers from 1 to 65536"):
        coco_ground_truths(data, **SEGM)


@pytest.mark.parametrize(
    ("segmentation", "cause"),
    [
        ([], r"their `segmentation` is \[\]"),
        ([[0.1, 0.1, 0.5, 0.1, 0.5, 0.5]], "fractions of the image"),
        ([[40, 2, 50, 2, 50, 7]], "outside their images"),
        ([[-40, -2, -50, -2, -50, -7]], "outside their images"),
        ([[5.1, 2.1, 5.2, 2.1, 5.2, 2.2]], "enclose no pixel"),
        ({"size": [20, 30], "counts": [600]}, "run-length encodings are empty"),
    ],
)
def test_truths_that_nothing_can_match_are_said_once(segmentation: Any, cause: str) -> None:
    expected = f"2 of 3 have no pixel although their box or area is not empty: ids 12, 13; .*{cause}"
    with pytest.warns(UserWarning, match=expected) as caught:
        coco_ground_truths(dataset(SQUARE, segmentation, segmentation), **SEGM)
    assert len(caught) == 1


def test_results_that_match_nothing_are_said_once() -> None:
    truth = coco_ground_truths(dataset(SQUARE), **SEGM)
    fractions = [[0.1, 0.1, 0.5, 0.1, 0.5, 0.5]]
    with pytest.warns(UserWarning, match="`results`: 2 of 3 have no pixel .*: ids 1, 2; .*fractions") as caught:
        coco_detections(results(SQUARE, fractions, fractions), truth, **SEGM)
    assert len(caught) == 1


def test_empty_encodings_of_networks_and_tiny_objects_are_no_news() -> None:
    empty = {"size": [20, 30], "counts": [600]}
    truth = coco_ground_truths(dataset(empty, area=0), **SEGM)
    coco_ground_truths(dataset([[5.1, 2.1, 5.2, 2.1, 5.2, 2.2]], area=0.01, bbox=[5.1, 2.1, 0.1, 0.1]), **SEGM)
    coco_detections(results(empty, bbox=[5, 2, 10, 5]), truth, **SEGM)


def test_masks_of_another_resolution_than_the_image_are_compared_with_one_warning() -> None:
    with pytest.warns(UserWarning, match=r"1 of 1 masks differ in size from their image, .*\[10, 15\] at") as caught:
        truth = coco_ground_truths(dataset(dense(10, 15)), **SEGM)
    assert len(caught) == 1
    found = coco_detections(results(dense(10, 15)), truth, **SEGM)
    assert jaxmap.evaluate(found, truth, **SEGM).summary["AP"] == PERFECT
    with pytest.warns(UserWarning, match="differ in size from their image"):
        other = coco_detections(results(dense()), truth, **SEGM)
    message = (
        r"`detections.masks` of one image must have the same size, got \[20, 30\] and \[10, 15\] in image 1, row 0"
    )
    with pytest.raises(ValueError, match=message):
        jaxmap.evaluate(other, truth, **SEGM)


def test_truths_of_one_image_must_agree_in_size() -> None:
    with pytest.warns(UserWarning, match="differ in size from their image"):
        truth = coco_ground_truths(dataset(dense(10, 15), SQUARE), **SEGM)
    found = coco_detections([], truth, **SEGM)
    with pytest.raises(ValueError, match=r"`ground_truths.masks` of one image must have the same size"):
        jaxmap.evaluate(found, truth, **SEGM)


def lists(masks: Any, other: Any, **fields: Any) -> float:
    found, truth = {"masks": masks, "scores": [0.5], "labels": [0]}, {"masks": other, "labels": [0]}
    return jaxmap.evaluate([found | fields], [truth | fields], **SEGM).summary["AP"]


def test_polygons_in_lists_need_the_size_of_their_image() -> None:
    assert lists([SQUARE], [SQUARE], size=[20, 30]) == PERFECT
    assert lists([SQUARE], [{"size": [20, 30], "counts": dense()["counts"]}], size=(20, 30)) == 0
    assert lists([[[5, 2, 15, 2, 15, 7], [5, 2, 15, 2, 15, 7, 5, 7]]], [SQUARE], size=[20, 30]) == PERFECT
    expected = (
        r"`detections\[0\]\['masks'\]` must have .*polygons, which need the `size` of the image, \[height, width\]"
    )
    for masks in ([SQUARE], [[[5, 2, 15, 2, 15, 7], [5, 2, 15, 2, 15, 7, 5, 7]]]):
        with pytest.raises(ValueError, match=expected):
            lists(masks, masks)
    with pytest.raises(ValueError, match=r"`detections\[0\]`.size must be \[height, width\]"):
        lists([SQUARE], [SQUARE], size=[20])
    with pytest.raises(ValueError, match=r"`detections\[0\]\['masks'\]\[0\]`\[0\] must hold finite numbers"):
        lists([[[5, 2, None, 2, 15, 7]]], [SQUARE], size=[20, 30])


def test_nested_lists_of_zeros_and_ones_are_dense_masks() -> None:
    mask = [[[0, 1, 1], [0, 1, 1]]]
    assert lists(mask, mask) == lists(mask, np.array(mask), size=[2, 3]) == PERFECT


def test_a_table_filled_with_objects_of_coco_is_read() -> None:
    truth = coco_ground_truths(dataset(dense()), **SEGM)
    found = coco_detections(results(dense()), truth, **SEGM)
    column = np.empty(1, object)
    column[0] = dense()

    assert jaxmap.evaluate(dataclasses.replace(found, masks=column), truth, **SEGM).summary["AP"] == PERFECT


def test_objects_without_area_under_oks_are_said_once() -> None:
    row = {"id": 7, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "keypoints": [1, 2, 2] * 17, "area": 0}
    data = {"images": [{"id": 1}], "categories": [{"id": 1}], "annotations": [row]}
    truth = coco_ground_truths(data, iou_type="keypoints")
    found = coco_detections([], truth, iou_type="keypoints")
    with pytest.warns(UserWarning, match="1 of 1 objects have no area, .*: ids 7; give the area") as caught:
        jaxmap.evaluate(found, truth, protocol="coco-keypoints")
    assert len(caught) == 1
    row["num_keypoints"] = 0  # ignored
    with pytest.warns(UserWarning, match="labelled keypoints, but a `num_keypoints` of 0"):
        truth = coco_ground_truths(data, iou_type="keypoints")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jaxmap.evaluate(found, truth, protocol="coco-keypoints")
