"""Ids in COCO files: each is read by itself, and means the same as an integer and as text."""

from __future__ import annotations

import json
import pathlib
import re
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxmap
from jaxmap.io import coco_detections, coco_ground_truths, read_coco_detections, read_coco_ground_truths
from jaxmap.io._identifiers import column, index_of

BOX: dict[str, Any] = {"bbox": [0, 0, 20, 10]}


def truth_of(image_ids: list[Any], class_ids: list[Any], **fields: Any) -> dict[str, Any]:
    """Returns ground truths with an object of every class in every image."""
    pairs = [(image, label) for image in image_ids for label in class_ids]
    return {
        "images": [{"id": image} for image in image_ids],
        "categories": [{"id": label, "name": f"class {label}"} for label in class_ids],
        "annotations": [
            {"id": number, "image_id": image, "category_id": label, "area": 200} | BOX | fields
            for number, (image, label) in enumerate(pairs, 1)
        ],
    }


def found_of(image_ids: list[Any], class_ids: list[Any]) -> list[dict[str, Any]]:
    """Returns one right detection of every class in every image."""
    return [{"image_id": i, "category_id": k, "score": 0.9} | BOX for i in image_ids for k in class_ids]


@pytest.fixture(params=["parsed", "fast decoder", "standard library"])
def read(request: Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Returns a function that reads ground truths and results in one of the three ways."""
    if request.param == "parsed":
        return lambda truth, found: (table := coco_ground_truths(truth), coco_detections(found, table))
    if request.param == "standard library":
        monkeypatch.setitem(sys.modules, "msgspec", None)  # then its import fails

    def read_files(truth: Any, found: Any) -> Any:
        (tmp_path / "gt.json").write_text(json.dumps(truth))
        (tmp_path / "dt.json").write_text(json.dumps(found))
        table = read_coco_ground_truths(tmp_path / "gt.json")
        return table, read_coco_detections(tmp_path / "dt.json", table)

    return read_files


FORMS = {
    "integers": [1, 2, 10],
    "quoted": ["1", "2", "10"],
    "some quoted": [1, "2", 10],
    "as pandas writes": [1.0, 2.0, 10.0],
    "padded": ["0001", "0002", "0010"],
    "quoted floats": ["1.0", "2.0", "10.00"],
}


@pytest.mark.parametrize("given", FORMS)
@pytest.mark.parametrize("wanted", FORMS)
def test_an_id_means_the_same_however_it_is_written(read: Any, wanted: str, given: str) -> None:
    truth, found = read(truth_of(FORMS[wanted], FORMS[wanted]), found_of(FORMS[given], FORMS[given]))
    assert found.image_index.tolist() == truth.image_index.tolist()
    assert found.labels.tolist() == truth.labels.tolist()
    assert truth.image_ids[found.image_index[[0, 3, 6]]].tolist() == (
        FORMS[wanted] if wanted in ("padded", "quoted floats") else FORMS["integers"]
    )


@pytest.mark.parametrize("wanted", [[1, 2], ["1", "2"], [1, 2, "background"], ["1", "2", "background"]])
@pytest.mark.parametrize("given", [[1, 2], ["1", "2"]])
def test_one_odd_category_leaves_the_others_what_they_are(read: Any, wanted: list[Any], given: list[Any]) -> None:
    found = found_of([7], [*given, "background"])
    if "background" in wanted:
        tables = read(truth_of([7], wanted), found)
    else:
        with pytest.warns(UserWarning, match=r"ignored 1 of 3 .* do not list: 'background' \(they list 1, 2\)"):
            tables = read(truth_of([7], wanted), found)
    assert jaxmap.evaluate(*tables[::-1]).summary["AP"] > 0.999


def test_columns_of_integers_and_names_are_text_in_which_integers_are_spelled(read: Any) -> None:
    truth, _ = read(truth_of(["front", 10, 9], [1]), [])
    assert truth.image_ids.tolist() == ["10", "9", "front"]
    assert truth.image_ids[truth.image_index].tolist() == ["front", "10", "9"]
    evaluation = jaxmap.evaluate(coco_detections(found_of(["9"], [1]), truth), truth)
    assert evaluation.per_image()["num_detections"].tolist() == [0, 1, 0]


HUGE = [2**53, 2**53 + 1, 2**63 - 2, 2**63 - 1, -(2**63)]


@pytest.mark.parametrize("form", [int, str])
def test_ids_of_64_bits_are_exact(read: Any, form: Any) -> None:
    truth, found = read(truth_of(HUGE, [1]), found_of(list(map(form, HUGE)), ["1"]))
    assert truth.image_ids.dtype == np.int64
    assert truth.image_ids.tolist() == sorted(HUGE)
    assert truth.image_ids[found.image_index].tolist() == HUGE


def test_larger_ids_are_text_and_never_floats(read: Any) -> None:
    ids = [2**63, 2**63 + 1, 17218479456385750618, 7]
    truth, found = read(truth_of(ids, [1]), found_of([str(one) for one in ids], [1]))
    assert truth.image_ids[found.image_index].tolist() == [str(one) for one in ids]
    with pytest.raises(ValueError, match="'9223372036854775810'"):
        coco_detections(found_of([2**63 + 2], [1]), truth)


def test_text_ids_of_annotations_are_kept(read: Any) -> None:
    truth = truth_of([7, 9], [1])
    truth["annotations"][0]["id"], truth["annotations"][1]["id"] = "a-1", 5
    tables = read(truth, found_of([7], [1]) + found_of([9], [1]) * 2)
    assert tables[0].ids.tolist() == ["a-1", "5"]
    assert jaxmap.evaluate(*tables[::-1]).matches()["ground_truth"].tolist() == ["a-1", "5", -1]


def test_padded_text_that_may_be_either_of_two_ids_is_refused(read: Any) -> None:
    truth = truth_of([7, "007", 8], [1])
    _, found = read(truth, found_of([7, "007"], [1]))
    assert found.image_index.tolist() == [1, 0]
    with pytest.raises(ValueError, match=r"not list: '07' \(they list '007' and '7': which of these\?\)"):
        read(truth, found_of(["07"], [1]))


# ---- what is no id ----


@pytest.mark.parametrize("value", [True, None, [7], {}, 7.5, float("nan"), 2.0**60, "a\0", "x" * 2000])
@pytest.mark.parametrize("field", ["image_id", "category_id", "id"])
def test_what_is_no_id_is_refused(field: str, value: Any) -> None:
    truth = truth_of([7, 8], [1])
    message = rf"\[1\]\.{field}` must be an integer or a text, got .*; write a whole number, or a text"
    if field != "id":
        with pytest.raises(ValueError, match="`results" + message):
            coco_detections([*found_of([7], [1]), found_of([7], [1])[0] | {field: value}], coco_ground_truths(truth))
    truth["annotations"][1][field] = value
    with pytest.raises(ValueError, match="`annotations" + message):
        coco_ground_truths(truth)


# ---- unknown ids ----


def test_names_of_files_in_place_of_ids_are_hinted_at() -> None:
    truth = coco_ground_truths(truth_of(list(range(1, 9)), [1]))
    message = (
        "2 of 3 `results` are for 2 image ids that the ground truths do not list: 'street_1', 'street_2' (they list 1, "
        "2, 3 and 5 more); if they are file names, as in Ultralytics' predictions.json, replace them by the `id`s of "
        "the images"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        coco_detections(found_of(["street_1", 1, "street_2"], [1]), truth)


def with_files(*files: str) -> dict[str, Any]:
    truth = truth_of(list(range(1, len(files) + 1)), [1])
    for image, file in zip(truth["images"], files, strict=True):
        image["file_name"] = file
    return truth


@pytest.mark.parametrize("name", ["b", "b.jpg", "val/b", "val/b.jpg"])
def test_the_name_of_one_images_file_is_its_id(read: Any, name: str) -> None:
    _, found = read(with_files("val/a.jpg", "val/b.jpg"), found_of([name, 1], [1]))
    assert found.image_index.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("files", "name", "message"),
    [
        (("val/a.jpg", "test/a.jpg"), "a", "'a' (they list '1' and '2': which of these?)"),
        (("a.jpg", "0001.jpg"), "01.jpg", "the files of images are named like 'a.jpg'"),
        (("a.jpg", "0001.jpg"), "0001", "'0001' (they list '1' and '2': which of these?)"),
        (("a.jpg", "1.jpg"), "a", "the files of images are named like 'a.jpg'"),  # then 1 beside it may be a name
    ],
)
def test_names_of_files_that_leave_doubt_are_refused(read: Any, files: Any, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        read(with_files(*files), found_of([name, 1], [1]))


def test_names_of_categories_in_place_of_ids_are_said_to_be_such() -> None:
    truth = coco_ground_truths(truth_of([7], [1, 2]))
    with pytest.warns(UserWarning, match="list: 'class 1' .*; these are names of categories; write their `id`s"):
        coco_detections(found_of([7], ["class 1"]), truth)


# ---- the lookup ----

texts = st.integers(0, 30).map(lambda number: "0" * (number % 3) + str(number // 3)) | st.sampled_from("ab")
ids = st.lists(st.integers(0, 10) | texts, max_size=8)


@given(ids, ids)
def test_index_is_that_of_the_same_value(given: list[Any], listed: list[Any]) -> None:
    known = column(list({str(one): one for one in listed}.values()))
    wanted = column(given)
    assert known is not None
    assert wanted is not None
    known.sort()
    index, found = index_of(wanted, known)
    for one, place, is_found in zip(wanted.astype(str).tolist(), index.tolist(), found.tolist(), strict=True):
        places = [at for at, other in enumerate(known.astype(str).tolist()) if other == one]
        if not places and one not in "ab":
            numbers = [(at, other) for at, other in enumerate(known.astype(str).tolist()) if other not in "ab"]
            places = [at for at, other in numbers if int(other) == int(one)]
        assert is_found == (len(places) == 1)
        assert not is_found or [place] == places


# ---- the id 0 ----


def test_the_id_0_is_said_to_be_read_otherwise_by_pycocotools() -> None:
    truth = truth_of([7, 8], [1])
    truth["annotations"][0]["id"] = 0
    with pytest.warns(UserWarning, match="`annotations`: 1 of 2 have the `id` 0: here it counts .* pycocotools"):
        assert coco_ground_truths(truth).ids.tolist() == [0, 2]
    truth["annotations"][0]["iscrowd"] = 1  # which nothing needs to match
    assert coco_ground_truths(truth).ids.tolist() == [0, 2]
