"""JSON files: unpacked by content, and named when they are broken."""

from __future__ import annotations

import gc
import gzip
import json
import re
import sys

import pytest

from jaxmap.io import read_coco_detections, read_coco_ground_truths

ANNOTATION = {"id": 1, "image_id": 7, "category_id": 18, "bbox": [0, 0, 20, 10], "area": 150}
RESULT = {"image_id": 7, "category_id": 18, "bbox": [1.5, 0, 20, 10], "score": 0.9}
DATASET = json.dumps(
    {"images": [{"id": 7}], "categories": [{"id": 18, "name": "dog"}], "annotations": [ANNOTATION]}
).encode()


@pytest.fixture(autouse=True, params=["fast decoder", "standard library"])
def decoder(request, monkeypatch):
    if request.param == "fast decoder":
        pytest.importorskip("msgspec")
    else:
        monkeypatch.setitem(sys.modules, "msgspec", None)  # then its import fails


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("suffix", [".json", ".json.gz"])
def test_files_are_unpacked_by_content_and_not_by_name(tmp_path, pack, suffix):
    (tmp_path / f"gt{suffix}").write_bytes(pack(DATASET))
    (tmp_path / f"dt{suffix}").write_bytes(pack(json.dumps([RESULT]).encode()))
    table = read_coco_ground_truths(tmp_path / f"gt{suffix}")
    assert table.area.tolist() == [150]
    assert read_coco_detections(str(tmp_path / f"dt{suffix}"), table).scores.tolist() == [0.9]


def test_reading_leaves_the_garbage_collector_as_it_was(tmp_path):
    (tmp_path / "gt.json").write_bytes(DATASET)
    (tmp_path / "bad.json").write_text("{")
    assert gc.isenabled()
    read_coco_ground_truths(tmp_path / "gt.json")
    with pytest.raises(ValueError, match="not valid JSON"):
        read_coco_ground_truths(tmp_path / "bad.json")
    assert gc.isenabled()


@pytest.mark.parametrize("read", [read_coco_ground_truths, lambda path: read_coco_detections(path, None)])
def test_missing_file_raises_file_not_found(tmp_path, read):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json"):
        read(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (DATASET[:-20], "not valid JSON .* damaged or cut off"),
        (b"\xff\xfe\xfa", "not valid JSON"),
        (b"[" * 200_000, "not valid JSON"),
        (gzip.compress(DATASET)[:-12], "broken gzip data .* damaged or cut off"),
        (b"\x1f\x8bnonsense", "broken gzip data"),
        (gzip.compress(b""), "the file is empty"),
    ],
    ids=["empty", "blank", "cut", "bytes", "deep", "cut-gzip", "bad-gzip", "empty-gzip"],
)
def test_broken_file_is_named(tmp_path, content, message):
    path = tmp_path / "gt.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(path)) + ": .*" + message):
        read_coco_ground_truths(path)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_file_cut_off_anywhere_raises(tmp_path, pack):
    path = tmp_path / "gt.json"
    content = pack(DATASET)
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"damaged or cut off|is empty"):
            read_coco_ground_truths(path)
