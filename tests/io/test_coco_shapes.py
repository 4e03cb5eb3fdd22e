"""Masks and keypoints in COCO's files: what stands for what is missing, and what is refused."""

from __future__ import annotations

import pytest

from jaxmap._geometry._rle import coco_masks
from jaxmap.io import coco_detections, coco_ground_truths


def test_results_of_boxes_alone_count_as_rectangles_where_masks_are_compared() -> None:
    truth = coco_ground_truths(
        {
            "images": [{"id": 1, "height": 20, "width": 30}],
            "categories": [{"id": 1}],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 1, "area": 50, "segmentation": [[5, 2, 15, 2, 15, 7, 5, 7]]}
            ],
        },
        iou_type="segm",
    )
    rows = [{"image_id": 1, "category_id": 1, "bbox": [5, 2, 10, 5], "score": 0.5}]
    found = coco_detections(rows, truth, iou_type="segm")
    assert found.masks is not None
    assert truth.masks is not None
    assert coco_masks(found.masks) == coco_masks(truth.masks)
    del rows[0]["bbox"]
    with pytest.raises(ValueError, match=r"`results`\[0\].segmentation must be a list of polygons"):
        coco_detections(rows, truth, iou_type="segm")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_keypoints", "two", "`annotations\\[0\\].num_keypoints` must be an integer"),
        ("area", "x", "a finite number"),
    ],
)
def test_optional_fields_of_keypoints_are_checked_where_they_are(field: str, value: str, message: str) -> None:
    row = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "keypoints": [1, 2, 2], field: value}
    data = {"images": [{"id": 1}], "categories": [{"id": 1}], "annotations": [row]}
    with pytest.raises(ValueError, match=message):
        coco_ground_truths(data, iou_type="keypoints")


def test_a_box_beside_keypoints_that_is_none_is_named() -> None:
    row = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 5, "keypoints": [1, 2, 2]}
    data = {"images": [{"id": 1}], "categories": [{"id": 1}], "annotations": [row]}
    truth = coco_ground_truths(data, iou_type="keypoints")
    result = {"image_id": 1, "category_id": 1, "score": 0.5, "keypoints": [1, 2, 2], "bbox": 5}
    with pytest.raises(ValueError, match=r"`results\[0\].bbox` must be four finite numbers"):
        coco_detections([result], truth, iou_type="keypoints")
