"""Tables of images and groups of classes: what is read, in which order, and what is refused."""

from __future__ import annotations

import dataclasses
import gzip
import json
import pathlib
import re
import warnings

import numpy as np
import pytest

from jaxmap import io
from jaxmap.types import GroundTruthTable

TABLE = "weather, image_id ,hour\nrain,9,3\n sun ,7,\n"


@pytest.fixture
def truth() -> GroundTruthTable:
    images = [{"id": 7, "file_name": "val/000007.jpg"}, {"id": 9, "file_name": "val/000009.jpg"}]
    content = {"images": images, "categories": [{"id": 18, "name": "dog"}], "annotations": []}
    return io.coco_ground_truths(content)


def write(folder: pathlib.Path, text: str, name: str = "table.csv") -> pathlib.Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_lines_are_sorted_by_the_images_of_the_ground_truths(tmp_path: pathlib.Path, truth: GroundTruthTable) -> None:
    expected = {"weather": ["sun", "rain"], "hour": ["", "3"]}
    assert io.read_image_table(write(tmp_path, TABLE), truth) == expected
    packed = tmp_path / "table.csv.gz"
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + TABLE.replace("\n", "\r\n").encode()))
    assert io.read_image_table(packed, truth) == expected


@pytest.mark.parametrize("name", ["val/00000{}.jpg", "00000{}.jpg", "00000{}", "{}"])
def test_file_names_stand_for_ids(tmp_path: pathlib.Path, truth: GroundTruthTable, name: str) -> None:
    text = f"file_name,weather\n{name.format(9)},rain\n{name.format(7)},sun\n"
    assert io.read_image_table(write(tmp_path, text), truth) == {"weather": ["sun", "rain"]}


def test_ids_come_before_file_names(tmp_path: pathlib.Path, truth: GroundTruthTable) -> None:
    text = "file_name,image_id,weather\nval/000009.jpg,7,sun\nval/000007.jpg,9,rain\n"
    assert io.read_image_table(write(tmp_path, text), truth) == {"weather": ["sun", "rain"]}


def test_images_may_be_named_by_text(tmp_path: pathlib.Path, truth: GroundTruthTable) -> None:
    named = dataclasses.replace(truth, image_ids=np.array(["left", "right"]), image_files=None)
    path = write(tmp_path, "image_id,group\nright,b\nleft,a\n")
    assert io.read_image_table(path, named) == {"group": ["a", "b"]}
    assert io.read_image_groups(path, named) == ["a", "b"]


def test_lines_of_other_images_are_ignored_with_a_warning(tmp_path: pathlib.Path, truth: GroundTruthTable) -> None:
    path = write(tmp_path, TABLE + "fog,10,3\n")
    with pytest.warns(UserWarning, match=r"table\.csv: ignored 1 of 3 lines, whose images .* do not list: '10'"):
        assert io.read_image_table(path, truth)["weather"] == ["sun", "rain"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("weather\nsun\n", "expected a column `image_id` or `file_name` in line 1, got 'weather'"),
        ("image_id,a,a\n7,1,1\n", "line 1 names the column 'a' more than once"),
        ("image_id,a\n7,1\n9\n", "table.csv, line 3: expected 2 values, as in line 1, got 1"),
        ("image_id,a\n\n7,1\n9,1\n7,2\n", "table.csv, line 5: the image '7' has a line above already"),
        ("image_id,a\n9,1\n", "no line for 1 of 2 images, 7"),
        ("image_id,a\n9,1\nx7.png,1\n", "no line for 1 of 2 images, 7; known are 'x7.png'"),
        (f"image_id,a\n9,1\n{'x' * 2000},1\n", "line 3: `image_id` must be an id or a file name, got 'xxx"),
        ('image_id,a\n9,"1\n', "not a CSV file in UTF-8"),
    ],
)
def test_bad_tables_are_refused(tmp_path: pathlib.Path, truth: GroundTruthTable, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        io.read_image_table(write(tmp_path, text), truth)
    assert str(caught.value).startswith(str(tmp_path / "table.csv"))
    assert len(str(caught.value)) < 400


def test_every_image_needs_a_group(tmp_path: pathlib.Path, truth: GroundTruthTable) -> None:
    with pytest.raises(ValueError, match=r"expected the column `group` in line 1, got 'weather, hour'"):
        io.read_image_groups(write(tmp_path, TABLE), truth)
    with pytest.raises(ValueError, match=r"`group` is empty for 1 images: 9"):
        io.read_image_groups(write(tmp_path, "image_id,group\n7,a\n9,\n"), truth)


@pytest.mark.parametrize("read", [io.read_image_table, lambda path, _: io.read_class_groups(path)])
def test_only_files_are_read(tmp_path: pathlib.Path, truth: GroundTruthTable, read: object) -> None:
    assert callable(read)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read(tmp_path, truth)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "missing.csv", truth)


def test_groups_of_classes_are_read_from_json_and_csv(tmp_path: pathlib.Path) -> None:
    groups = {"base": ["cat", "dog"], "novel": [3]}
    assert io.read_class_groups(write(tmp_path, json.dumps(groups), "groups.json")) == groups
    path = write(tmp_path, 'group,class\nbase,cat\nnovel,3\nbase,"dog, tame"\n', "groups.CSV")
    assert io.read_class_groups(path) == {"base": ["cat", "dog, tame"], "novel": ["3"]}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("groups.json", "[]", "expected an object from the name of a group to a list of classes, got a list"),
        ("groups.json", '{"a": "cat"}', "'a' must be a list of class names or ids, got"),
        ("groups.json", '{"a": [1.5]}', "'a' must be a list of class names or ids, got '[1.5]'"),
        ("groups.json", '{"a": [true]}', "'a' must be a list of class names or ids"),
        ("groups.json", "{", "not valid JSON"),
        ("groups.csv", "class\ncat\n", "expected the column `group` in line 1, got 'class'"),
        ("groups.csv", "class,group\ncat,\n", "groups.csv, line 2: `group` is empty"),
        ("groups.csv", "class,group\n,a\n", "groups.csv, line 2: `class` is empty"),
    ],
)
def test_bad_groups_of_classes_are_refused(tmp_path: pathlib.Path, name: str, text: str, message: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=re.escape(message)):
            io.read_class_groups(write(tmp_path, text, name))
