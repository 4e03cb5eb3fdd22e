"""CrowdHuman's files to tables: people and what is ignored, sizes and clipping; and what is said of bad files.

The files are as crowdhuman.org's `annotation_val.odgt` and as CrowdDet's tools/test.py writes its detections.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap import io
from support.command import numbers
from support.plain_crowdhuman import crowdhuman


def person(box: list[int], *, tag: str = "person", ignore: int | None = None, head_ignore: int = 0) -> dict[str, Any]:
    extra = {"box_id": 0, "occ": 0} if ignore is None else {"ignore": ignore}
    head = {"ignore": head_ignore, "occ": 0, "unsure": 0}
    x, y, width, height = box
    parts = {"fbox": box, "vbox": [x, y, width, height // 2], "hbox": [x, y, width // 2, height // 4]}
    return {"tag": tag, "extra": extra, "head_attr": head, **parts}


TRUTH = [
    {"ID": "2,b", "gtboxes": [person([-10, 5, 40, 80]), person([60, 0, 50, 40], ignore=1)]},
    {"ID": "1,a", "gtboxes": [person([10, 10, 20, 40], head_ignore=1), person([0, 0, 9, 9], tag="mask", ignore=1)]},
    {"ID": "3,c", "gtboxes": []},
]
FOUND = [
    {
        "ID": "2,b",
        "height": 60,
        "width": 100,
        "dtboxes": [
            {"box": [-8.0, 5.1, 38.0, 80.0], "score": 0.98765, "tag": 1},
            {"box": [70.0, 1.0, 90.5, 30.0], "score": 0.5, "tag": 1},
        ],
        "gtboxes": [{"box": [-10, 5, 40, 80], "tag": 1}],
    },
    {"ID": "3,c", "height": 60, "width": 90, "dtboxes": [], "gtboxes": []},
    {
        "ID": "1,a",
        "height": 70,
        "width": 90,
        "dtboxes": [{"box": [0.0, 0.0, 5, 5], "score": 0.25, "tag": 1}],
        "gtboxes": [],
    },
]


def write(path: pathlib.Path, lines: list[dict[str, Any]]) -> pathlib.Path:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


@pytest.fixture
def files(tmp_path: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    return write(tmp_path / "annotation_val.odgt", TRUTH), write(tmp_path / "dump-30.json", FOUND)


def test_people_of_every_image_are_read_and_clipped(files: tuple[pathlib.Path, pathlib.Path]) -> None:
    truth = io.read_crowdhuman_ground_truths(files[0], image_sizes=files[1])
    assert truth.image_ids.tolist() == ["1,a", "2,b", "3,c"]
    assert truth.image_index.tolist() == [0, 0, 1, 1]
    assert truth.boxes.tolist() == [[10, 10, 20, 40], [0, 0, 9, 9], [0, 5, 30, 55], [60, 0, 40, 40]]
    assert truth.area.tolist() == [800, 81, 30 * 55, 1600]
    assert truth.crowd.tolist() == [False, True, False, True]
    assert truth.ids.tolist() == [0, 1, 0, 1]
    assert truth.image_sizes is not None
    assert truth.image_sizes.tolist() == [[70, 90], [60, 100], [60, 90]]
    found = io.read_crowdhuman_detections(files[1], truth)
    assert found.image_index.tolist() == [1, 1, 0]
    np.testing.assert_allclose(found.boxes, [[0, 5.1, 30, 54.9], [70, 1, 30, 30], [0, 0, 5, 5]], rtol=0, atol=1e-12)
    assert found.scores.tolist() == [0.98765, 0.5, 0.25]


def test_numbers_are_those_of_the_plain_definition(
    capsys: pytest.CaptureFixture[str], files: tuple[pathlib.Path, pathlib.Path]
) -> None:
    truth = io.read_crowdhuman_ground_truths(files[0], image_sizes=files[1])
    found = io.read_crowdhuman_detections(files[1], truth)
    images = range(3)
    plain = crowdhuman(
        [
            {"boxes": found.boxes[found.image_index == i], "scores": found.scores[found.image_index == i]}
            for i in images
        ],
        [{"boxes": truth.boxes[truth.image_index == i], "ignore": truth.crowd[truth.image_index == i]} for i in images],
    )
    summary = jaxmap.evaluate(found, truth, protocol="crowdhuman").summary
    assert [summary["AP"], summary["MR"]] == pytest.approx([plain.envelope, plain.mr], abs=1e-12)
    assert summary["MR"] == pytest.approx(0.5)
    paths = [str(path) for path in files]
    assert numbers(capsys, *paths, "--protocol", "crowdhuman", "--image-sizes", paths[1])["MR"] == summary["MR"]


def test_parts_of_people(files: tuple[pathlib.Path, pathlib.Path]) -> None:
    head = io.read_crowdhuman_ground_truths(files[0], part="head", image_sizes=files[1])
    assert head.crowd.tolist() == [True, True, False, True]
    assert head.boxes[0].tolist() == [10, 10, 10, 10]
    visible = io.read_crowdhuman_ground_truths(files[0], part="visible", image_sizes=files[1])
    assert visible.crowd.tolist() == [False, True, False, True]
    assert visible.boxes[0].tolist() == [10, 10, 20, 20]
    with pytest.raises(ValueError, match=r"`part` must be one of \['full', 'visible', 'head'\], got 'fbox'"):
        io.read_crowdhuman_ground_truths(files[0], part="fbox")


def test_without_sizes_nothing_is_clipped(files: tuple[pathlib.Path, pathlib.Path]) -> None:
    with pytest.warns(UserWarning, match="sizes of the images are unknown, so boxes are not clipped"):
        truth = io.read_crowdhuman_ground_truths(files[0])
    assert truth.boxes[2].tolist() == [-10, 5, 40, 80]
    assert io.read_crowdhuman_detections(files[1], truth).boxes[0].tolist() == [-8.0, 5.1, 38.0, 80.0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"ID": "1,a"', '"ID": "2,b"', "images listed more than once: '2,b'; keep one of each"),
        ('"ID": "1,a"', '"id": "1,a"', r"`lines\[1\]` has no `ID`"),
        ('"gtboxes": []', '"gtboxes": 3', r"`lines\[2\].gtboxes` must be a list, got 3"),
        ('"fbox": [60, 0, 50, 40]', '"fbox": [60, 0, 50]', r"`gtboxes\[1\].fbox` must be four finite numbers"),
        ('"tag": "person"', '"kind": "person"', r"`gtboxes\[0\]` has no `tag`"),
        ('"extra": {"ignore": 1}', '"extra": {"ignore": "1"}', r"`gtboxes.extra\[1\].ignore` must be 0 or 1"),
        ('{"ID": "3,c"', '{"ID": "4,d"', "no size of 1 of 3 images: '4,d'; add their lines"),
        ('{"ID": "3,c"', '["ID"', "odgt, line 3: not valid JSON"),
    ],
)
def test_invalid_ground_truths_are_named(
    files: tuple[pathlib.Path, pathlib.Path], old: str, new: str, message: str
) -> None:
    text = files[0].read_text()
    assert old in text
    files[0].write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        io.read_crowdhuman_ground_truths(files[0], image_sizes=files[1])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"ID": "1,a"', '"ID": "2,b"', "images listed more than once: '2,b'"),
        (
            '"ID": "1,a"',
            '"ID": "9,z"',
            "1 of 3 images are not in the ground truths: '9,z'; known are '1,a', '2,b', '3,c'",
        ),
        ('"score": 0.5', '"score": NaN', r"`dtboxes\[1\].score` must be a finite number"),
        ('"dtboxes"', '"boxes"', r"`lines\[0\]` has no `dtboxes`"),
    ],
)
def test_invalid_detections_are_named(
    files: tuple[pathlib.Path, pathlib.Path], old: str, new: str, message: str
) -> None:
    truth = io.read_crowdhuman_ground_truths(files[0], image_sizes=files[1])
    files[1].write_text(files[1].read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        io.read_crowdhuman_detections(files[1], truth)
