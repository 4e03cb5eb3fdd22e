"""Results as JSON lines and as columns: the same tables and errors as from JSON, and damaged files are refused."""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
import lzma
import pathlib
import sys
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxmap.io import coco_detections, coco_ground_truths, read_coco_detections, read_ultralytics_detections
from jaxmap.io import write_results as write

TRUTH: dict[str, Any] = {
    "images": [{"id": 7, "height": 20, "width": 30, "file_name": "7.jpg"}, {"id": 2**53 + 1, "height": 9, "width": 9}],
    "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "cat"}],
    "annotations": [],
}
RESULT = {"image_id": 7, "category_id": 18, "bbox": [1.5, 0.1, 20.0, 10.0], "score": 0.9}
OTHER = {"image_id": 2**53 + 1, "category_id": 3, "bbox": [0.1 + 0.2, -1.0, 5e-324, 1e20], "score": 1 / 3}
KEYPOINTS = [
    {"image_id": 7, "category_id": 18, "keypoints": [0.1 * one, 2.0, 1.0] * 17, "score": 0.5} for one in (1, 2)
]
MASKS = [
    {"image_id": 7, "category_id": 18, "segmentation": {"size": [20, 30], "counts": counts}, "score": 0.5}
    for counts in ("W36>000000000000000000000Q8", "W37=000000000000000m9")
]
needs_arrow = pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed")
PARQUET = pytest.param("parquet", marks=needs_arrow)
KINDS = ["json", "jsonl", "npz", PARQUET]


def outcome(read: Callable[[], Any]) -> tuple[Any, list[str]]:
    """Returns the columns of a table, arrays as bytes, or the error; and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            columns: Any = {
                name: (value.dtype, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else repr(value)
                for name, value in vars(read()).items()
            }
        except ValueError as error:
            columns = str(error)
    return columns, [str(warning.message) for warning in caught]


def read_both(path: pathlib.Path, results: list[Any], iou_type: str = "bbox") -> tuple[Any, Any]:
    """Returns what a file gives, and what its results give as parsed JSON."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        truth = coco_ground_truths(TRUTH | {"annotations": []}, iou_type=iou_type)
    return (
        outcome(lambda: read_coco_detections(path, truth, iou_type=iou_type)),
        outcome(lambda: coco_detections(results, truth, iou_type=iou_type, source=str(path))),
    )


# ---- the same results ----


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("results", "iou_type"),
    [([RESULT, OTHER], "bbox"), ([], "bbox"), (KEYPOINTS, "keypoints"), (MASKS, "segm")],
    ids=["boxes", "none", "keypoints", "masks"],
)
def test_every_format_holds_the_same(tmp_path: pathlib.Path, kind: str, results: list[Any], iou_type: str) -> None:
    path = tmp_path / f"dt.{kind}"
    if kind == "npz" and results is MASKS:
        with pytest.raises(ValueError, match=r"`segmentation` is not made of numbers.* write \.parquet or \.jsonl"):
            write(path, results)
        assert not path.exists()
        return
    assert write(path, results) == path
    found, expected = read_both(path, results, iou_type)
    assert found == expected
    assert isinstance(found[0], dict)


@pytest.mark.parametrize("kind", KINDS)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([7, 2**53 + 1]),
            st.lists(st.floats(-1e100, 1e100), min_size=4, max_size=4),
            st.floats(allow_nan=False, allow_infinity=False),
        ),
        min_size=1,
    )
)
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_numbers_are_kept_bit_for_bit(
    tmp_path: pathlib.Path, kind: str, rows: list[tuple[int, list[float], float]]
) -> None:
    results = [{"image_id": image, "category_id": 3, "bbox": box, "score": score} for image, box, score in rows]
    path = write(tmp_path / f"dt.{kind}", results)
    found, expected = read_both(path, results)
    assert found == expected


@pytest.mark.parametrize("name", ["dt.JSONL", "dt.ndjson", "dt.jsonl.gz", "dt.jsonl.xz"])
def test_lines_are_recognised_by_their_suffix(tmp_path: pathlib.Path, name: str) -> None:
    text = f"{json.dumps(RESULT)}\r\n\n  {json.dumps(OTHER)}"
    pack = {".gz": gzip.compress, ".xz": lzma.compress}.get(pathlib.Path(name).suffix, bytes)
    (tmp_path / name).write_bytes(pack(text.encode()))
    found, expected = read_both(tmp_path / name, [RESULT, OTHER])
    assert found == expected
    assert isinstance(found[0], dict)


@pytest.mark.parametrize("size", [1, 100, 10**6])
def test_lines_of_any_chunks(tmp_path: pathlib.Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    results = [RESULT | {"score": score / 64, "extra": "}\u2028{"} for score in range(50)]
    path = write(tmp_path / "dt.jsonl", results)
    monkeypatch.setattr("jaxmap.io._json_fast.CHUNK", size)
    found, expected = read_both(path, results)
    assert found == expected


def test_other_types_of_arrays(tmp_path: pathlib.Path) -> None:
    """Arrays of a training loop are float32 and int32, may be transposed, and have other columns."""
    boxes = np.asfortranarray(np.array([[1.1, 2, 3, 4], [5, 6, 7, 8]], np.float32))
    scores = np.array([0.1, 0.7], ">f4")
    np.savez(
        tmp_path / "dt.npz",
        image_id=np.array([7, 7], np.uint16),
        category_id=np.array([18, 3], np.int32),
        bbox=boxes,
        score=scores,
        embedding=np.zeros((2, 3)),
    )
    rows = zip([18, 3], boxes.tolist(), scores.tolist(), strict=True)
    results = [{"image_id": 7, "category_id": label, "bbox": box, "score": score} for label, box, score in rows]
    found, expected = read_both(tmp_path / "dt.npz", results)
    assert found == expected


@needs_arrow
def test_tables_of_other_programs(tmp_path: pathlib.Path) -> None:
    """Parquet has many types of lists and numbers; null is JSON's null."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    results = [RESULT, OTHER | {"bbox": [0.5, 1.0, 2.0, 3.0]}, RESULT]
    for boxes in (arrow.list_(arrow.float64()), arrow.list_(arrow.float64(), 4), arrow.large_list(arrow.float64())):
        schema = arrow.schema(
            [("image_id", arrow.int64()), ("category_id", arrow.uint8()), ("bbox", boxes), ("score", arrow.float64())]
        )
        table = arrow.Table.from_pylist(results, schema)
        parquet.write_table(table.slice(1), tmp_path / "dt.parquet", row_group_size=1, compression="zstd")
        found, expected = read_both(tmp_path / "dt.parquet", results[1:])
        assert found == expected
        assert isinstance(found[0], dict)


@pytest.mark.parametrize("kind", ["npz", PARQUET])
def test_predictions_of_ultralytics(tmp_path: pathlib.Path, kind: str) -> None:
    if kind == "npz":
        path, text = tmp_path / "dt.npz", np.array(["7.jpg"])
        np.savez(path, file_name=text, image_id=[7], category_id=[1], bbox=[[0.0, 0.0, 2.0, 1.0]], score=[0.5])
    else:
        path = write(tmp_path / "dt.parquet", [RESULT | {"category_id": 1, "file_name": "7.jpg"}])
    truth = coco_ground_truths(TRUTH | {"annotations": []})
    assert read_ultralytics_detections(path, truth, category_ids="from-1").labels.tolist() == [0]


# ---- the same errors ----

NO_SCORE = {name: value for name, value in RESULT.items() if name != "score"}
FAULTS = {
    "quoted ids": [RESULT | {"image_id": "7"}, RESULT | {"image_id": "007"}],
    "unknown image": [RESULT, RESULT | {"image_id": 8}],
    "unknown category": [RESULT, RESULT | {"category_id": 8}],
    "no scores": [NO_SCORE, NO_SCORE],
    "no image": [{name: value for name, value in RESULT.items() if name != "image_id"}],
    "score is null": [RESULT, RESULT | {"score": None}],
    "id is null": [RESULT, RESULT | {"image_id": None}],
    "ids with a point": [RESULT | {"image_id": 7.0}],
    "ids with a fraction": [RESULT | {"image_id": 7.5}],
    "flags as ids": [RESULT | {"category_id": True}],
    "text as a score": [RESULT | {"score": "0.9"}],
    "NaN": [RESULT | {"score": float("nan")}],
    "infinite box": [RESULT | {"bbox": [1.0, 2.0, float("inf"), 3.0]}],
    "large box": [RESULT | {"bbox": [1.0, 2.0, 1e200, 3.0]}],
    "short boxes": [RESULT | {"bbox": [1.0, 2.0, 3.0]}],
    "no boxes": [RESULT | {"bbox": 1.0}],
    "short box": [RESULT, RESULT | {"bbox": [1.0, 2.0, 3.0]}],
    "box is null": [RESULT, RESULT | {"bbox": None}],
    "side is null": [RESULT, RESULT | {"bbox": [1.0, 2.0, None, 3.0]}],
}


@pytest.mark.parametrize("kind", ["jsonl", "npz", PARQUET])
@pytest.mark.parametrize("name", FAULTS)
def test_faults_have_the_words_of_json(tmp_path: pathlib.Path, kind: str, name: str) -> None:
    results, path = FAULTS[name], tmp_path / f"dt.{kind}"
    if kind == "npz" and name in ("quoted ids", "text as a score", "flags as ids"):
        np.savez(path, **{field: np.array([one[field] for one in results]) for field in results[0]})
    elif kind == "npz" and ("null" in name or name == "short box"):
        with pytest.raises(ValueError, match=r"is not made of numbers|inhomogeneous"):
            write(path, results)
        return
    else:
        write(path, results)
    found, expected = read_both(path, results)
    assert found == expected


def test_damaged_lines_are_named(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "dt.jsonl"
    path.write_text(f"{json.dumps(RESULT)}\n\n{json.dumps(RESULT)[:-1]}\n")
    found, _ = read_both(path, [])
    assert found[0].startswith(f"{path}:3: not valid JSON (")
    path.write_text(f"[{json.dumps(RESULT)}]\n[]\n")
    assert "`results[0]` must be an object" in read_both(path, [])[0][0]


# ---- files that are damaged, or made to do harm ----


def npz_of(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


def npy_of(array: Any, **header: Any) -> bytes:
    """Returns the content of an `.npy` file, with other words in its header."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array), allow_pickle=True)
    data = file.getvalue()
    for name, value in header.items():
        said = f"'{name}': {np.lib.format.header_data_from_array_1_0(np.asarray(array))[name]!r}"
        assert said.encode() in data
        other = f"'{name}': {value!r}"
        data = data.replace(said.encode(), other.encode())
        grown = len(other) - len(said)
        data = (
            data.replace(b" " * grown + b"\n", b"\n", 1) if grown > 0 else data.replace(b"\n", b" " * -grown + b"\n", 1)
        )
    return data


IDS = npy_of([7, 7])
HARMFUL = {
    "empty": b"",
    "no archive": b"PK\x03\x04 and more",
    "cut off": npz_of({"image_id": IDS})[:-30],
    "damaged": npz_of({"image_id": IDS}).replace(b"\x07\0", b"\x08\0"),
    "place outside the file": npz_of({"image_id": IDS})[:-6] + b"\xff\xff\xff\x7f\0\0",
    "other compression": npz_of({"image_id": IDS}, zipfile.ZIP_BZIP2),
    "no array": npz_of({"image_id": b"seven"}),
    "objects": npz_of({"image_id": npy_of(np.array([7, None], object))}),
    "fields": npz_of({"image_id": npy_of(np.zeros(2, [("a", int)]))}),
    "larger than it is": npz_of({"image_id": npy_of([7, 7], shape=(10**13,))}),
    "smaller than it is": npz_of({"image_id": npy_of([7, 7], shape=(1,))}),
    "negative": npz_of({"image_id": npy_of([7, 7], shape=(-2, -1))}),
    "version 9": npz_of({"image_id": IDS.replace(b"NUMPY\x01", b"NUMPY\x09")}),
    "code in the header": npz_of({"image_id": IDS.replace(b"'<i8'", b"exit()")}),
    "other columns": npz_of({"images": IDS}),
    "two lengths": npz_of({"image_id": IDS, "category_id": npy_of([1, 2, 3])}),
    "a number": npz_of({"image_id": npy_of(7)}),
    "text": b'[{"image_id": 7}]',
}


@pytest.mark.parametrize("name", HARMFUL)
def test_harmful_arrays_are_refused(tmp_path: pathlib.Path, name: str) -> None:
    path = tmp_path / "dt.npz"
    path.write_bytes(HARMFUL[name])
    message = read_both(path, [])[0][0]
    assert isinstance(message, str), "not refused"
    assert message.startswith(f"{path}: ")
    assert len(message.splitlines()) == 1


def test_arrays_that_expand_beyond_the_limit_are_refused(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jaxmap.io._files._ALWAYS_ALLOWED", 1000)
    path = tmp_path / "dt.npz"
    path.write_bytes(npz_of({"image_id": npy_of(np.zeros(10**6, int))}, zipfile.ZIP_DEFLATED))
    assert "bytes of ZIP data unpack to more than" in read_both(path, [])[0][0]


@pytest.mark.parametrize("kind", ["npz", PARQUET, "jsonl"])
@given(st.integers(0, 10**6), st.integers(0, 8), st.binary(max_size=4))
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_is_refused_or_harmless(tmp_path: pathlib.Path, kind: str, at: int, length: int, put: bytes) -> None:
    data = write(tmp_path / f"whole.{kind}", [RESULT, OTHER]).read_bytes()
    at %= len(data)
    path = tmp_path / f"dt.{kind}"
    path.write_bytes(data[:at] + put + data[at + length :])
    found = read_both(path, [])[0][0]  # no other error than a ValueError
    assert isinstance(found, dict) or (found.startswith(f"{path}:") and len(found.splitlines()) == 1)


@needs_arrow
def test_damaged_tables_are_refused(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "dt.parquet", [RESULT] * 2000)
    data = path.read_bytes()
    for content in (b"", b"PAR1", data[:-20], data[:100] + data[-200:], json.dumps([RESULT]).encode()):
        path.write_bytes(content)
        message = read_both(path, [])[0][0]
        assert message.startswith(f"{path}: not a Parquet file (")
        assert len(message.splitlines()) == 1
    path.write_bytes(data)
    monkeypatch.setattr("jaxmap.io._files._ALWAYS_ALLOWED", 100)
    monkeypatch.setattr("jaxmap.io._files._MAX_RATIO", 1)
    assert "bytes of Parquet data unpack to more than" in read_both(path, [])[0][0]
    write(path, [{"images": 3}])
    assert "must have the columns image_id, " in read_both(path, [])[0][0]


def test_what_is_missing_is_said(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r'pip install "jaxmap\[parquet\]"'):
        write(tmp_path / "dt.parquet", [RESULT])
    (tmp_path / "dt.parquet").write_bytes(b"PAR1")
    with pytest.raises(ImportError, match=r'dt\.parquet: Parquet files need pyarrow.* pip install "jaxmap\[parquet\]"'):
        read_coco_detections(tmp_path / "dt.parquet", coco_ground_truths(TRUTH | {"annotations": []}))
    for suffix in ("npz", "jsonl"):
        with pytest.raises(FileNotFoundError):
            read_coco_detections(tmp_path / f"none.{suffix}", coco_ground_truths(TRUTH))
