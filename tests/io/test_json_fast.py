"""The fast decoder: the same tables, warnings and errors as without it, and used wherever a file is regular."""

from __future__ import annotations

import contextlib
import io
import json
import pathlib
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmap.io import coco_ground_truths, read_coco_detections, read_coco_ground_truths
from jaxmap.io._coco import ground_truth_layouts, result_layout
from jaxmap.io._json import Entries
from jaxmap.io._json_fast import Columns, Layout, typed_lists
from jaxmap.io._json_fast import typed_list as read_typed_list

pytest.importorskip("msgspec")

RESULT = {"image_id": 7, "category_id": 18, "bbox": [1.5, 0, 20, 10], "score": 0.9}
ANNOTATION = {"id": 1, "image_id": 7, "category_id": 18, "bbox": [0, 0, 20, 10], "area": 150, "iscrowd": 0}
DATASET = {"images": [{"id": 9}, {"id": 7}], "categories": [{"id": 18, "name": "dog"}], "annotations": [ANNOTATION]}
RESULTS, GROUND_TRUTHS = result_layout("bbox"), ground_truth_layouts("bbox")


def typed_list(content: bytes, layout: Layout) -> Columns | None:
    return read_typed_list(io.BytesIO(content), layout)


@contextlib.contextmanager
def without_msgspec() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "msgspec", None)  # then its import fails
        yield


def outcome(path: pathlib.Path, content: bytes) -> tuple[Any, list[str]]:
    """Returns what reading a file gives, arrays as bytes, or the error; and the warnings."""
    path.write_bytes(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if content.lstrip()[:1] == b"{":
                table: Any = read_coco_ground_truths(path)
            else:
                table = read_coco_detections(path, coco_ground_truths(DATASET))
            columns = [
                (value.dtype, value.shape, value.tolist() if value.dtype == object else value.tobytes())
                if isinstance(value, np.ndarray)
                else value
                for value in vars(table).values()
            ]
        except ValueError as error:
            columns = [str(error)]
    return columns, [str(warning.message) for warning in caught]


def with_text(entry: dict[str, Any], field: str, text: str) -> str:
    """Returns a list of a good entry and one whose field is written as given."""
    return json.dumps([entry, entry | {field: "HERE"}]).replace('"HERE"', text)


# ---- regular files ----


def test_good_files_are_decoded_by_type() -> None:
    columns = typed_list(json.dumps([RESULT, RESULT | {"segmentation": {"counts": "x"}}]).encode(), RESULTS)
    assert columns is not None
    assert {name: column.dtype for name, column in columns.items()} == {
        "image_id": np.int64, "category_id": np.int64, "bbox": np.float64, "score": np.float64,
    }  # fmt: skip
    assert columns["bbox"].tolist() == [[1.5, 0, 20, 10]] * 2
    lists = typed_lists(json.dumps(DATASET | {"info": {}, "licenses": [None]}).encode(), GROUND_TRUTHS)
    assert lists is not None
    assert lists["categories"]["name"] == ["dog"]
    assert lists["annotations"]["iscrowd"].dtype == np.bool_


@pytest.mark.parametrize("name", ["ssd_resnet50_fpn", "yolact_base_masks_100_images"])
def test_real_files_are_decoded_by_type_and_alike(shared_data: pathlib.Path, name: str) -> None:
    folder = shared_data / "coco_val2017"
    truth_path, found_path = folder / "ground_truth_integer_boxes.json.gz", folder / f"{name}.json.gz"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxmap.io._coco.parse_json", lambda data, path: pytest.fail("not decoded by type"))
        truth = read_coco_ground_truths(truth_path)
        found = read_coco_detections(found_path, truth)
    with without_msgspec():
        pairs = (truth, read_coco_ground_truths(truth_path)), (found, read_coco_detections(found_path, truth))
    for one, other in pairs:
        for value, expected in zip(vars(one).values(), vars(other).values(), strict=True):
            np.testing.assert_array_equal(value, expected, strict=isinstance(value, np.ndarray))


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(st.sampled_from([7, 9]), st.lists(finite | st.integers(), min_size=4, max_size=4), finite)))
@settings(deadline=None)
def test_numbers_are_those_of_the_standard_library_bit_for_bit(rows: list[tuple[int, list[float], float]]) -> None:
    items = [
        {
            "image_id": image,
            "category_id": 18,
            "bbox": [max(min(side, 10**300), -(10**300)) for side in box],
            "score": s,
        }
        for image, box, s in rows
    ]
    content = json.dumps(items).encode()
    columns = typed_list(content, RESULTS)
    assert columns is not None
    entries = Entries(items=json.loads(content), name="results", source="")
    for field, read in RESULTS.items():
        assert columns[field].tobytes() == read(entries, field).tobytes()


@pytest.mark.parametrize(
    "text",
    [
        "9007199254740993", "0.1000000000000000055511151231257827021181583404541015625", "-0", "-0.0", "1e23",
        "2.2250738585072011e-308", "5e-324", "2.4703282292062328e-324", "179769313486231570814e288", "123456789" * 9,
        "1e-400",
    ],
)  # fmt: skip
def test_hard_numbers_are_rounded_correctly(text: str) -> None:
    columns = typed_list(with_text(RESULT, "score", text).encode(), RESULTS)
    assert columns is not None
    expected = np.array([0.9, json.loads(text)], np.float64)  # of Python's own correctly rounded conversion
    assert columns["score"].tobytes() == expected.tobytes()


# ---- in chunks ----


@contextlib.contextmanager
def chunks_of(size: int) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxmap.io._json_fast.CHUNK", size)
        yield


def as_bytes(columns: dict[str, Any] | None) -> dict[str, bytes] | None:
    return None if columns is None else {name: column.tobytes() for name, column in columns.items()}


@pytest.mark.parametrize("size", [1, 100, 10**6])
@pytest.mark.parametrize("style", [{}, {"separators": (",", ":")}, {"indent": 2}])
def test_chunks_of_any_size_give_the_same_columns(size: int, style: dict[str, Any]) -> None:
    results = [RESULT | {"score": score / 64, "segmentation": {"counts": "}"}} for score in range(20)]
    dataset = DATASET | {"annotations": [ANNOTATION | {"id": number} for number in range(20)]}
    dataset["categories"] = [{"id": number, "name": f"class {number}"} for number in range(20)]
    with chunks_of(size):
        columns = typed_list(json.dumps(results, **style).encode(), RESULTS)
        lists = typed_lists(json.dumps(dataset, **style).encode(), GROUND_TRUTHS)
    assert columns is not None
    assert lists is not None
    assert columns["bbox"].tolist() == [RESULT["bbox"]] * 20
    assert columns["score"].tolist() == [score / 64 for score in range(20)]
    assert lists["annotations"]["id"].tolist() == list(range(20))
    assert lists["categories"]["name"] == [f"class {number}" for number in range(20)]


@pytest.mark.parametrize("size", [1, 10**6])
@pytest.mark.parametrize("scores", [[{}] * 3, [{}, {"score": 0.5}, {}], [{"score": 0.5}, {}], [{"score": None}], []])
def test_scores_may_be_missing_in_all_results(size: int, scores: list[dict[str, Any]], tmp_path: pathlib.Path) -> None:
    row = {name: value for name, value in RESULT.items() if name != "score"}
    content = json.dumps([row | score for score in scores]).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxmap.io._json_fast.CHUNK", size)
        columns = typed_list(content, RESULTS)
        by_type = outcome(tmp_path / "dt.json", content)
    with without_msgspec():
        assert outcome(tmp_path / "dt.json", content) == by_type
    assert (columns is None) == any(scores)
    if columns is not None:
        assert columns["score"].tolist() == [1.0] * len(scores)


@pytest.mark.parametrize("size", [1, 10**6])
def test_keypoints_are_of_one_length_in_all_chunks(size: int) -> None:
    layout = {"keypoints": Entries.keypoints}
    with chunks_of(size):
        columns = typed_list(b'[{"keypoints": [1, 2, 2]}, {"keypoints": [3, 4, 0]}]', layout)
        assert columns is not None
        assert columns["keypoints"].tolist() == [[[1, 2, 2]], [[3, 4, 0]]]
        assert typed_list(b'[{"keypoints": [1, 2, 2]}, {"keypoints": [3, 4, 0, 5, 6, 1]}]', layout) is None


@pytest.mark.parametrize("extra", ["a }, { b", [{}, {}], [[{"a": 1}, {"b": 2}]], '\\"}, {"'])
def test_what_only_looks_like_the_end_of_an_object_is_left_to_the_readers(extra: Any) -> None:
    content = json.dumps([RESULT | {"extra": extra}] * 3).encode()
    assert typed_list(content, RESULTS) is not None
    with chunks_of(1):  # then the first cut is inside `extra`
        assert typed_list(content, RESULTS) is None


pieces = st.sampled_from(['"', "\\", "{", "}", "[", "]", ",", ", ", ":", "}, {", "},{", "}]", "[{", "1", "é"])


@given(
    st.lists(st.lists(pieces, max_size=6).map("".join), min_size=1, max_size=4),
    st.integers(0, 300),
    st.integers(0, 300),
    pieces | st.just(""),
)
@settings(deadline=None, max_examples=300)
def test_chunks_never_read_anything_else(texts: list[str], start: int, length: int, put: str) -> None:
    """Whatever is written into a file: chunks of one object give what the whole gives, or leave it to the readers."""
    text = json.dumps([RESULT | {"extra": text} for text in texts], ensure_ascii=False)
    for content in (text.encode(), (text[:start] + put + text[start + length % 8 :]).encode()):
        with chunks_of(10**6):
            whole = as_bytes(typed_list(content, RESULTS))
        with chunks_of(1):
            assert as_bytes(typed_list(content, RESULTS)) in (None, whole)


# ---- everything else is the readers' ----

IRREGULAR = {
    "quoted id": with_text(RESULT, "image_id", '"7"'),
    "id with a point": with_text(RESULT, "category_id", "18.0"),
    "id of 64 bits": with_text(RESULT, "image_id", str(2**63)),
    "flag in place of an id": with_text(RESULT, "image_id", "true"),
    "NaN": with_text(RESULT, "score", "NaN"),
    "infinite": with_text(RESULT, "score", "1e400"),
    "huge integer": with_text(RESULT, "score", "1" * 400),
    "text": with_text(RESULT, "score", '"0.9"'),
    "null": with_text(RESULT, "bbox", "null"),
    "short box": with_text(RESULT, "bbox", "[1, 2, 3]"),
    "long box": with_text(RESULT, "bbox", "[1, 2, 3, 4, 5]"),
    "flag in a box": with_text(RESULT, "bbox", "[1, 2, 3, true]"),
    "no score": json.dumps([RESULT, {name: RESULT[name] for name in list(RESULT)[:3]}]),
    "no object": json.dumps([RESULT, 3]),
    "NaN where nobody reads": with_text(RESULT | {"extra": 0}, "extra", "NaN"),
    "lone surrogate where nobody reads": with_text(RESULT | {"extra": 0}, "extra", '"\\ud800"'),
    "cut off": json.dumps([RESULT])[:-4],
    "more behind the end": json.dumps([RESULT]) + "]",
    "numeric flag": json.dumps(DATASET | {"annotations": [ANNOTATION | {"iscrowd": 1.0}]}),
    "no such flag": json.dumps(DATASET | {"annotations": [ANNOTATION | {"iscrowd": 2}]}),
    "no list": json.dumps({"images": [], "categories": []}),
    "ids that are words": json.dumps(DATASET | {"images": [{"id": "seven"}, {"id": "nine"}]}),
}


@pytest.mark.parametrize("name", IRREGULAR)
def test_irregular_files_go_to_the_readers(name: str, tmp_path: pathlib.Path) -> None:
    content = IRREGULAR[name].encode()
    assert typed_list(content, RESULTS) is None
    assert typed_lists(content, GROUND_TRUTHS) is None
    result = outcome(tmp_path / "file.json", content)
    with without_msgspec():
        assert outcome(tmp_path / "file.json", content) == result


def test_text_that_is_not_utf8_is_an_error_even_where_nobody_reads(tmp_path: pathlib.Path) -> None:
    content = json.dumps([RESULT | {"file_name": "HERE"}]).encode().replace(b"HERE", b"\xe9")
    assert typed_list(content, RESULTS) is None
    columns, _ = outcome(tmp_path / "dt.json", content)
    assert "not valid JSON" in columns[0]


def test_of_a_repeated_field_the_last_counts() -> None:
    columns = typed_list(b'[{"image_id": 1, "category_id": 2, "bbox": [0, 0, 1, 1], "score": 1, "score": 2}]', RESULTS)
    assert columns is not None
    assert columns["score"].tolist() == [2.0]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps([RESULT, RESULT | {"category_id": 5}]),  # left out with a warning
        json.dumps([RESULT | {"image_id": 8}]),  # an error
        json.dumps([]),
        json.dumps(
            DATASET | {"annotations": [ANNOTATION, ANNOTATION, ANNOTATION | {"category_id": 3}]}
        ),  # two warnings
        json.dumps(DATASET | {"images": [{"id": 7}, {"id": 7}]}),
        json.dumps(DATASET | {"images": []}),
        json.dumps(DATASET | {"categories": [{"id": 18}, {"id": 2, "name": "é"}, {"id": 3, "name": 1e22}]}),
    ],
)
def test_regular_files_mean_the_same_without_msgspec(content: str, tmp_path: pathlib.Path) -> None:
    result = outcome(tmp_path / "file.json", content.encode())
    with without_msgspec():
        assert outcome(tmp_path / "file.json", content.encode()) == result
