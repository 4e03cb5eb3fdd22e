"""Formats on the command line: recognised or named, YOLO's options, and lists of images for each."""

from __future__ import annotations

import json
import pathlib
from unittest import mock

import pytest

from jaxmap._cli import main
from jaxmap.io import _image_lists
from support.command import GROUND_TRUTHS, RESULTS, error_of, numbers

LABELS = "0 0.5 0.5 0.25 0.5\n"


@pytest.fixture
def yolo(tmp_path: pathlib.Path) -> pathlib.Path:
    """Two images of 80 x 40, and one without labels; one of two objects is found."""
    files = {
        "data.yaml": "names: [cat]\nval: images/val\n",
        "sizes.csv": "file_name,width,height\na.jpg,80,40\nb.jpg,80,40\nc.jpg,80,40\n",
        "list.txt": "./images/val/a.jpg\n./images/val/c.jpg\n",
        "labels/val/a.txt": LABELS,
        "labels/val/b.txt": LABELS,
        "runs/a.txt": "0 0.5 0.5 0.25 0.5 0.75\n",
        "runs/c.txt": "0 0.5 0.5 0.25 0.5 0.5\n",
    } | {f"images/val/{name}.jpg": "not read" for name in "abc"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_yolo_is_recognised_by_its_yaml_file_folder_or_lines(capsys, yolo):
    sizes = ("--image-sizes", str(yolo / "sizes.csv"))
    for source, names in (("data.yaml", ()), (".", ()), ("labels", ("--class-names", str(yolo / "data.yaml")))):
        result = numbers(capsys, str(yolo / source), str(yolo / "runs"), *sizes, *names)
        assert result["AP"] == pytest.approx(51 / 101)  # recall reaches a half
        assert result["AR1"] == 0.5
    message = error_of(capsys, "eval", str(yolo), str(yolo / "runs"), *sizes, "--split", "test")
    assert "data.yaml: `test` must be a folder" in message
    assert "a.jpg: not an image whose size can be read" in error_of(capsys, "eval", str(yolo), str(yolo / "runs"))


def test_options_of_yolo_need_its_files(capsys, files):
    for option in ("--split", "--class-names"):
        assert f"{option} is for YOLO's folders, which GT is not" in error_of(capsys, "eval", *files, option, "x")
    for_both = "--image-sizes is for CrowdHuman's .odgt and YOLO's folders, which GT is not"
    assert for_both in error_of(capsys, "eval", *files, "--image-sizes", "x")


def test_image_lists_serve_every_format(capsys, tmp_path, files, yolo):
    listed = ("--image-list", str(yolo / "list.txt"))
    result = numbers(capsys, str(yolo), str(yolo / "runs"), "--image-sizes", str(yolo / "sizes.csv"), *listed)
    assert result["AR1"] == 1.0  # `b`, where the object is missed, is left out
    one = tmp_path / "one.txt"
    for text in ("7\n", "images/7.jpg\n"):
        one.write_text(text)
        assert numbers(capsys, *files, "--image-list", str(one))["AP"] == pytest.approx(1)
    one.write_text("8\n")
    message = error_of(capsys, "eval", *files, "--image-list", str(one))
    assert "one.txt: 1 of 1 images are not in the ground truths: '8'; known are '7', '9'" in message
    one.write_text("7\n9.jpg\n9\n")
    assert "lines for the same image: '9.jpg', '9'" in error_of(capsys, "eval", *files, "--image-list", str(one))
    assert "--demo has neither" in error_of(capsys, "eval", "--demo", "--image-list", str(one))
    boxes = "ImageID,LabelName,{},XMin,XMax,YMin,YMax\n"
    (tmp_path / "gt.csv").write_text(boxes.format("IsGroupOf") + "a,/m/1,0,0,0.5,0,0.5\nb,/m/1,0,0,0.5,0,0.5\n")
    (tmp_path / "dt.csv").write_text(boxes.format("Score") + "a,/m/1,0.5,0,0.5,0,0.5\n")
    (tmp_path / "one.txt").write_text("a\n")
    csvs = (str(tmp_path / "gt.csv"), str(tmp_path / "dt.csv"), "--protocol", "open-images")
    assert min(numbers(capsys, *csvs, "--image-list", str(one)).values()) == pytest.approx(1)


def test_image_lists_serve_comparisons_of_detectors(capsys, tmp_path, files):
    (tmp_path / "better.json").write_text(json.dumps([{**RESULTS[1], "category_id": 18}]))
    missed = {"id": 3, "image_id": 11, "category_id": 18, "bbox": [10, 10, 20, 10], "area": 200}
    more = {
        "images": [*GROUND_TRUTHS["images"], {"id": 11}],
        "annotations": [*GROUND_TRUTHS["annotations"], missed],
    }
    (tmp_path / "more.json").write_text(json.dumps(GROUND_TRUTHS | more))
    (tmp_path / "list.txt").write_text("9\n7\n")

    def compared(*command: str) -> str:
        assert main(["compare", *command, files[1], str(tmp_path / "better.json"), "--json", "-"]) == 0
        return capsys.readouterr().out

    reads = mock.Mock(wraps=_image_lists.read_bytes)
    with mock.patch.object(_image_lists, "read_bytes", reads):
        some = compared("--image-list", str(tmp_path / "list.txt"), str(tmp_path / "more.json"))
    assert reads.call_count == 1
    assert some == compared(files[0]) != compared(str(tmp_path / "more.json"))


def test_a_format_can_be_named_where_a_folder_could_be_several(capsys, yolo):
    (yolo / "labels/val/a.xml").write_text("<annotation/>")
    sizes = ("--image-sizes", str(yolo / "sizes.csv"))
    assert "--image-sizes is for CrowdHuman's .odgt and YOLO's" in error_of(
        capsys, "eval", str(yolo), str(yolo / "runs"), *sizes, "--format", "voc"
    )
    assert numbers(capsys, str(yolo), str(yolo / "runs"), *sizes, "--format", "yolo")["AR1"] == 0.5
    assert "none of the 1 annotations has an object" in error_of(
        capsys, "eval", str(yolo / "labels"), str(yolo / "runs"), "--format", "voc"
    )
    assert "invalid choice: 'txt'" in error_of(capsys, "eval", str(yolo), "x", "--format", "txt")


def test_a_folder_that_no_format_fits_is_told_what_was_looked_for(capsys, tmp_path):
    (tmp_path / "gt").mkdir()
    (tmp_path / "gt/a.md").write_text("notes")
    message = error_of(capsys, "eval", str(tmp_path / "gt"), str(tmp_path / "gt"))
    assert "gt: no format fits, it has 1 of .md; check that it is the right folder or archive; looked for " in message
    assert "looked for a *.csv file" in message
    for word in ("(open-images)", "(yolo)", "(dota)", "(voc)", "(coco)", "--format"):
        assert word in message
    (tmp_path / "gt/a.txt").write_text("1 2 3 4 5 6 7 8 ship 0\n")
    assert "it looks like DOTA's labels" in error_of(capsys, "eval", str(tmp_path / "gt"), str(tmp_path / "gt"))
