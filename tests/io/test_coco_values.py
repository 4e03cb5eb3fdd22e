"""Values in COCO files as tools write them: read, said once, or refused; alike by both decoders."""

from __future__ import annotations

import json
import pathlib
import re
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxmap.io import coco_ground_truths, read_coco_detections, read_coco_ground_truths

POLYGON = [[0, 0, 10, 0, 10, 10, 0, 10]]
ANNOTATION = {"id": 1, "image_id": 7, "category_id": 18, "bbox": [0, 0, 20, 10], "area": 150, "segmentation": POLYGON}
DATASET: dict[str, Any] = {
    "images": [{"id": 7, "height": 100, "width": 120}],
    "categories": [{"id": 18, "name": "dog"}],
    "annotations": [ANNOTATION],
}
RESULT = {"image_id": 7, "category_id": 18, "bbox": [1.5, 0, 20, 10], "score": 0.9}
PERSON = ANNOTATION | {"keypoints": [1, 2, 2, 3, 4, 1], "num_keypoints": 2}
NUMBERS = "write finite numbers without quotes, or drop the entry"


def written(entry: dict[str, Any], **texts: str) -> str:
    """Returns JSON of an entry with some of its fields written as given."""
    return json.dumps(entry)[:-1] + "".join(f', "{name}": {text}' for name, text in texts.items()) + "}"


def truth_with(*annotations: str | dict[str, Any], **lists: Any) -> str:
    rows = ", ".join(one if isinstance(one, str) else json.dumps(one) for one in annotations)
    others = json.dumps({name: value for name, value in (DATASET | lists).items() if name != "annotations"})
    return others[:-1] + f', "annotations": [{rows}]}}'


def outcome(path: pathlib.Path, content: bytes, iou_type: str, results: bool) -> tuple[Any, list[str], str]:
    """Returns the columns that are read, the warnings, and the error; the same with msgspec and without."""
    path.write_bytes(content)
    outcomes = []
    for hidden in (False, True):
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if hidden:
                patch.setitem(sys.modules, "msgspec", None)  # then its import fails
            columns, problem = {}, ""
            try:
                if results:
                    read: Any = read_coco_detections(path, coco_ground_truths(DATASET), iou_type=iou_type)
                else:
                    read = read_coco_ground_truths(path, iou_type=iou_type)
                columns = {k: v.tolist() for k, v in vars(read).items() if isinstance(v, np.ndarray)}
            except ValueError as error:
                problem = str(error)
        outcomes.append((columns, [str(warning.message) for warning in caught], problem))
    assert outcomes[0] == outcomes[1]
    return outcomes[0]


# ---- accepted ----

AS_THEY_ARE = {
    "null flag": (truth_with(written(ANNOTATION, iscrowd="null")), "bbox", {"crowd": [False]}),
    "flag with a point": (truth_with(written(ANNOTATION, iscrowd="1.0")), "bbox", {"crowd": [True]}),
    "sizes with a point": (
        truth_with(ANNOTATION, images=[{"id": 7.0, "height": 100.0, "width": 120.0}]),
        "segm",
        {"image_sizes": [[100, 120]], "image_ids": [7]},
    ),
    "nested keypoints": (
        truth_with(PERSON, PERSON | {"id": 2, "keypoints": [[1, 2, 2], [3, 4, 1]]}),
        "keypoints",
        {"keypoints": [[[1, 2, 2], [3, 4, 1]]] * 2},
    ),
    "count of keypoints with a point": (
        truth_with(written(PERSON, num_keypoints="2.0")),
        "keypoints",
        {"ignore": [False]},
    ),
    "null count of keypoints": (truth_with(written(PERSON, num_keypoints="null")), "keypoints", {"ignore": [False]}),
    "huge number that nobody reads": (truth_with(written(ANNOTATION, x="9" * 5000)), "bbox", {"area": [150]}),
    "byte order mark": ("\ufeff" + truth_with(ANNOTATION), "bbox", {"area": [150]}),
}


@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_unambiguous_values_are_read(name: str, tmp_path: pathlib.Path) -> None:
    content, iou_type, expected = AS_THEY_ARE[name]
    columns, messages, problem = outcome(tmp_path / "gt.json", content.encode(), iou_type, results=False)
    assert not messages
    assert not problem
    assert {name: columns[name] for name in expected} == expected


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_other_encodings_of_unicode_are_read(encoding: str, tmp_path: pathlib.Path) -> None:
    content = json.dumps([RESULT | {"text": "é"}], ensure_ascii=False).encode(encoding)
    assert outcome(tmp_path / "dt.json", content, "bbox", results=True)[0]["scores"] == [0.9]


def without_area(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name != "area"}


@pytest.mark.parametrize(
    ("iou_type", "area", "what"),
    [
        ("bbox", 200, "width x height of its box"),
        ("segm", 100, "that of its mask"),
        ("keypoints", 106, "0.53 x width x height of its box"),
    ],
)
def test_missing_areas_are_those_of_the_shapes_and_said_once(
    iou_type: str, area: float, what: str, tmp_path: pathlib.Path
) -> None:
    if iou_type == "segm":
        pytest.importorskip("pycocotools")
    content = truth_with(without_area(PERSON), PERSON | {"id": 2}, PERSON | {"id": 3, "area": None})
    columns, messages, _ = outcome(tmp_path / "gt.json", content.encode(), iou_type, results=False)
    assert columns["area"] == [area, 150, area]
    assert [message.partition(": ")[2] for message in messages] == [
        f"2 of 3 `annotations` have no `area`; {what} is used in its place (pycocotools raises an error)."
    ]


def test_crowdposes_files_have_no_areas(tmp_path: pathlib.Path) -> None:
    content = truth_with(without_area(PERSON), images=[{"id": 7, "crowdIndex": 0.5}])
    columns, messages, _ = outcome(tmp_path / "gt.json", content.encode(), "keypoints", results=False)
    assert columns["area"] == [106]
    assert not messages


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**65) | st.floats() | st.sampled_from(["7", "007", "7.0", "x", ""]),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)


@given(st.sampled_from([*PERSON, "score", "iscrowd"]), values, st.sampled_from(["bbox", "keypoints"]), st.booleans())
@settings(
    deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_both_decoders_agree_on_any_value(
    tmp_path: pathlib.Path, field: str, value: Any, iou_type: str, results: bool
) -> None:
    entry = (RESULT | {"keypoints": PERSON["keypoints"]} if results else PERSON) | {field: value}
    content = json.dumps([RESULT, entry]) if results else truth_with(PERSON, entry)
    columns, _, problem = outcome(tmp_path / "file.json", content.encode(), iou_type, results)
    assert columns or problem


# ---- accepted, with a word ----

SAID_ONCE = {
    "negative width": (
        [{"bbox": [20, 0, -20, 10]}, {}],
        "bbox",
        "1 of 2 have a `bbox` without area, which nothing",
    ),
    "many boxes of size 0": ([{"bbox": [5, 5, 0, 0]}, {}], "bbox", "1 of 2 have a `bbox` without area"),
    "negative area": ([{"area": -1}, {}], "bbox", "1 of 2 have a negative `area`, which is in no area range"),
    "none counted": (
        [{"num_keypoints": 0}] * 2,
        "keypoints",
        "2 of 2 have labelled keypoints, but a `num_keypoints`",
    ),
}


@pytest.mark.parametrize("name", SAID_ONCE)
def test_what_nothing_can_match_is_said_once(name: str, tmp_path: pathlib.Path) -> None:
    changes, iou_type, message = SAID_ONCE[name]
    rows = [PERSON | {"id": number} | change for number, change in enumerate(changes, 1)]
    _, messages, problem = outcome(tmp_path / "gt.json", truth_with(*rows).encode(), iou_type, results=False)
    assert not problem
    assert len(messages) == 1
    assert message in messages[0]
    assert str(tmp_path / "gt.json") in messages[0]


def test_a_few_boxes_of_size_0_are_as_in_real_files(tmp_path: pathlib.Path) -> None:
    rows = [ANNOTATION | {"id": number, "bbox": [5, 5, 0 if number == 1 else 9, 9]} for number in range(1, 101)]
    assert not outcome(tmp_path / "gt.json", truth_with(*rows).encode(), "bbox", results=False)[1]


# ---- refused ----

REFUSED_TRUTH = {
    "quoted flag": (written(ANNOTATION, iscrowd='"0"'), "bbox", "iscrowd` must be 0 or 1, got '0' (str); write one of"),
    "quoted area": (written(ANNOTATION, area='"150"'), "bbox", "area` must be a finite number, got '150' (str)"),
    "huge box": (
        written(ANNOTATION, bbox="[0, 0, 1e200, 1e200]"),
        "bbox",
        "bbox` must hold numbers up to 1e+150, whose areas are finite, got [0.0, 0.0, 1e+200, 1e+200]",
    ),
    "quoted count": (written(PERSON, num_keypoints='"2"'), "keypoints", "must be an integer, got '2' (str)"),
    **{
        text: (written(PERSON, keypoints=text), "keypoints", f"keypoint, [x, y, visibility, ...], got {got}")
        for text, got in {
            "[]": "[] (list)", "[1, 2]": "[1, 2] (list)", "[[1, 2], [3, 4]]": "[[1, 2], [3, 4]] (list)",
            "null": "None (NoneType)", '"x"': "'x' (str)", "[1, 2, true]": "[1, 2, True] (list)",
            "[1, 2, NaN]": "[1, 2, nan] (list)", '[[1, 2, "2"]]': "[[1, 2, '2']] (list)", "7": "7 (int)",
        }.items()
    },
    "far keypoints": (written(PERSON, keypoints="[1e200, 2, 2]"), "keypoints", "must hold numbers up to 1e+150"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED_TRUTH)
def test_annotation_is_refused_by_name_and_value(name: str, tmp_path: pathlib.Path) -> None:
    row, iou_type, message = REFUSED_TRUTH[name]
    _, _, problem = outcome(tmp_path / "gt.json", truth_with(row).encode(), iou_type, results=False)
    assert problem.startswith(f"{tmp_path / 'gt.json'}: `annotations[0].")
    assert message in problem


def test_keypoints_of_another_number_than_the_first_are_named(tmp_path: pathlib.Path) -> None:
    content = truth_with(PERSON, PERSON | {"id": 2, "keypoints": [[1, 2, 2]]})
    _, _, problem = outcome(tmp_path / "gt.json", content.encode(), "keypoints", results=False)
    assert "`annotations[1].keypoints` must be three numbers per keypoint" in problem
    assert "6 of them as in the first entry, got [[1, 2, 2]] (list)" in problem


REFUSED_RESULT = {
    "null": ("score", "null", "must be a finite number, got None (NoneType)"),
    "quoted": ("score", '"0.9"', f"must be a finite number, got '0.9' (str); {NUMBERS}"),
    "true": ("score", "true", "must be a finite number, got True (bool)"),
    "NaN": ("score", "NaN", "must be a finite number, got nan (float)"),
    "infinite": ("score", "-Infinity", "must be a finite number, got -inf (float)"),
    "huge exponent": ("score", "1e999", "must be a finite number, got inf (float)"),
    "thousands of digits": ("score", "9" * 5000, "must be a finite number, got inf (float)"),
    "list": ("score", "[0.9]", "must be a finite number, got [0.9] (list)"),
    "no number of digits is an id": ("image_id", "9" * 5000, "must be an integer or a text, got inf (float)"),
    "huge box": ("bbox", "[0, 0, 1e308, 1e308]", "must hold numbers up to 1e+150"),
    "short box": ("bbox", "[1, 2, 3]", "must be four finite numbers [x, y, width, height], got [1, 2, 3] (list)"),
    "box of texts": (
        "bbox",
        '["1", "2", "3", "4"]',
        "must be four finite numbers [x, y, width, height], got ['1',",
    ),
    "nested box": ("bbox", "[[1, 2, 3, 4]]", "must be four finite numbers [x, y, width, height], got [[1, 2, 3, 4]]"),
}


@pytest.mark.parametrize("name", REFUSED_RESULT)
def test_result_is_refused_by_name_and_value(name: str, tmp_path: pathlib.Path) -> None:
    field, text, message = REFUSED_RESULT[name]
    content = f"[{json.dumps(RESULT)}, {written(RESULT, **{field: text})}]"
    _, _, problem = outcome(tmp_path / "dt.json", content.encode(), "bbox", results=True)
    assert problem.startswith(f"{tmp_path / 'dt.json'}: `results[1].{field}` {message}")


LINES = "\n".join([json.dumps(RESULT)] * 3)
NO_LISTS = {
    "JSON lines": (
        LINES,
        "it has JSON lines, one value per line, where one JSON value is expected: name a file of results",
    ),
    "one result": (json.dumps(RESULT), "got a dict; put a list around the one result."),
    "ground truths": (json.dumps(DATASET), "got a dict; it looks like a ground-truth file, so the two may be swapped."),
    "wrapper": (json.dumps({"info": [], "annotations": [RESULT]}), "save only the list under its `annotations`."),
    "another wrapper": (json.dumps({"predictions": [RESULT]}), "save only the list under its `predictions`."),
    "printed": (str([RESULT]), "it looks like a printed Python object; write it with `json.dump`."),
    "web page": ("<!DOCTYPE html><html></html>", "it looks like XML or a web page."),
    "pointer": ("version https://git-lfs.github.com/spec/v1\noid", "get the file with `git lfs pull`."),
    "archive": ("PK\3\4", "is a ZIP archive, which is not supported; unpack it"),
    "nothing": ("", "the file is empty; JSON was expected."),
    "zeros": ("\0" * 99, "the file is damaged or cut off; write it again."),
    "deep": ("[" * 100_000 + "]" * 100_000, "not valid JSON (maximum recursion depth exceeded"),
    "long number, cut off": (f"[{written(RESULT, x='9' * 5000)}", "the file is damaged or cut off; write it again."),
    "trailing comma": (f"[{json.dumps(RESULT)},]", "not valid JSON ("),
}


@pytest.mark.parametrize("name", NO_LISTS)
def test_what_is_no_list_of_results_is_called_what_it_is(name: str, tmp_path: pathlib.Path) -> None:
    content, message = NO_LISTS[name]
    _, _, problem = outcome(tmp_path / "dt.json", content.encode(), "bbox", results=True)
    assert problem.startswith(f"{tmp_path / 'dt.json'}: ")
    assert message in problem
    assert "\n" not in problem


def test_a_file_keyed_by_image_is_named_shortly(tmp_path: pathlib.Path) -> None:
    content = json.dumps({str(image): [] for image in range(3000)})
    _, _, problem = outcome(tmp_path / "gt.json", content.encode(), "bbox", results=False)
    assert re.search(r"got no `images` among \['0', '1', .{,60}\.\.\.\]\.$", problem)


def test_parsed_data_may_hold_integers_that_python_does_not_print() -> None:
    with pytest.raises(
        ValueError, match=r"`annotations\[0\]\.area` must be a finite number, got a huge number \(int\)"
    ):
        coco_ground_truths(DATASET | {"annotations": [ANNOTATION | {"area": 10**5000}]})


def test_the_shared_files_are_silent(shared_data: pathlib.Path) -> None:
    small, coco = shared_data / "small", shared_data / "coco_val2017"
    for path, iou_type in (
        (small / "example_crowdpose_val.json.gz", "keypoints"),
        (small / "keypoints_gt_dataset.json.gz", "keypoints"),
        (small / "gt_dataset.json.gz", "bbox"),
        (small / "gt_ignore_test.json.gz", "bbox"),
        (coco / "ground_truth_integer_boxes.json.gz", "bbox"),  # one box of size 0
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read_coco_ground_truths(path, iou_type=iou_type)
