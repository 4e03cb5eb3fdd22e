"""LVIS annotation files: what is read beside COCO's fields, and what is refused."""

from __future__ import annotations

import copy
import json
import pathlib
import re
from typing import Any

import pytest

from jaxmap import io

BOX = {"bbox": [0, 0, 20, 10], "area": 150}
TRUTH: dict[str, Any] = {
    "images": [  # in no order, as categories
        {"id": 9, "height": 20, "width": 30, "neg_category_ids": [5], "not_exhaustive_category_ids": []},
        {"id": 7, "height": 20, "width": 30, "neg_category_ids": [3], "not_exhaustive_category_ids": [5, 8]},
    ],
    "categories": [
        {"id": 8, "name": "cup", "frequency": "f"},
        {"id": 3, "name": "axe", "frequency": "r"},
        {"id": 5, "name": "bee", "frequency": "c"},
    ],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 8, **BOX},
        {"id": 2, "image_id": 9, "category_id": 8, **BOX, "ignore": 1, "iscrowd": 1},
    ],
}


def changed(place: tuple[str, int], **fields: Any) -> dict[str, Any]:
    data = copy.deepcopy(TRUTH)
    data[place[0]][place[1]] |= fields
    return data


@pytest.mark.parametrize("with_msgspec", [True, False])
def test_file_is_read_with_what_lvis_adds(
    with_msgspec: bool, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not with_msgspec:
        monkeypatch.setitem(__import__("sys").modules, "msgspec", None)
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(TRUTH))
    for table in (io.read_lvis_ground_truths(path), io.lvis_ground_truths(TRUTH)):
        assert table.class_names == ("axe", "bee", "cup")
        assert table.class_group is not None
        assert table.class_group.tolist() == ["r", "c", "f"]
        # Images 7 and 9: negative classes and those with annotations.
        assert table.verified is not None
        assert table.verified.tolist() == [[True, False, True], [False, True, True]]
        assert table.not_exhaustive is not None
        assert table.not_exhaustive.tolist() == [[False, True, True], [False, False, False]]
        assert table.ignore.tolist() == [False, True]
        assert table.crowd.tolist() == [False, False]  # LVIS has none, whatever a file says


def test_masks_are_read_with_the_sizes_of_images() -> None:
    data = changed(("annotations", 0), segmentation=[[0, 0, 10, 0, 10, 10, 0, 10]])
    data["annotations"][1]["segmentation"] = [[0, 0, 4, 0, 4, 4, 0, 4]]
    table = io.lvis_ground_truths(data, iou_type="segm")
    assert table.masks is not None
    assert table.boxes.tolist() == [[0, 0, 10, 10], [0, 0, 4, 4]]
    assert table.area.tolist() == [150, 150]  # the file's


def test_annotation_without_area_is_none() -> None:
    with pytest.warns(UserWarning, match="ignored 1 of 2 `annotations`, whose `area` is not above 0"):
        table = io.lvis_ground_truths(changed(("annotations", 0), area=0))
    assert table.ids.tolist() == [2]
    assert table.verified is not None
    assert table.verified.tolist() == [[True, False, False], [False, True, True]]


def test_missing_area_is_that_of_the_box() -> None:
    with pytest.warns(UserWarning, match="1 of 2 `annotations` have no `area`; width x height of its box"):
        table = io.lvis_ground_truths(changed(("annotations", 0), area=None))
    assert table.area.tolist() == [200, 150]


@pytest.mark.parametrize("ids", [["5"], [5.0], ["5", "cup"], ["005"]])
def test_ids_of_categories_are_read_as_everywhere(ids: list[Any]) -> None:
    table = io.lvis_ground_truths(changed(("images", 0), neg_category_ids=ids))
    assert table.verified is not None
    assert table.verified[1].tolist() == [False, True, True]


def test_unknown_categories_of_images_do_not_matter() -> None:
    table = io.lvis_ground_truths(changed(("images", 0), neg_category_ids=[5, 99]))
    assert table.verified is not None
    assert table.verified[1].tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed(("images", 0), neg_category_ids=5), "`images[0].neg_category_ids` must be a list of category ids"),
        (
            changed(("images", 1), not_exhaustive_category_ids=[1.5]),
            "`images[1].not_exhaustive_category_ids` must be a list of category ids, got [1.5]",
        ),
        (
            changed(("images", 0), neg_category_ids=[True]),
            "`images[0].neg_category_ids` must be a list of category ids",
        ),
        (changed(("images", 0), neg_category_ids=None), "neg_category_ids` must be a list of category ids, got None"),
        (changed(("categories", 1), frequency=None), "`categories[1].frequency` must be one of ['r', 'c', 'f']"),
        (changed(("categories", 1), frequency="x"), "`categories[1].frequency` must be one of ['r', 'c', 'f']"),
    ],
)
def test_fault_is_named(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        io.lvis_ground_truths(data, source="gt.json")


def test_coco_file_is_no_lvis_file() -> None:
    data = copy.deepcopy(TRUTH)
    del data["images"][1]["neg_category_ids"]
    with pytest.raises(ValueError, match=re.escape("`images[1]` has no `neg_category_ids`")):
        io.lvis_ground_truths(data)
    with pytest.raises(ValueError, match="`iou_type` must be bbox, segm, boundary or giou for LVIS files"):
        io.lvis_ground_truths(TRUTH, iou_type="keypoints")
