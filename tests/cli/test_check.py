"""`jaxmap check`: findings as text and JSON, the exit status, and what the readers of files say."""

from __future__ import annotations

import json
import pathlib

import pytest

from jaxmap._cli import main
from support.command import GROUND_TRUTHS, RESULTS, error_of, write_files

NOTES = "note: ground truths: 1 of 2 classes are not used ('traffic light') [unused-class]"


def test_files_with_nothing_but_notes_pass(
    capsys: pytest.CaptureFixture[str], files: list[str], tmp_path: pathlib.Path
) -> None:
    assert main(["check", *files]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == NOTES
    assert out.splitlines()[-1] == "0 warnings and 2 notes about 2 ground truths and 2 detections of 2 images"
    assert err == ""
    assert main(["check", files[0]]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "0 warnings and 1 note about 2 ground truths of 2 images"
    listed = tmp_path / "list.txt"
    listed.write_text("7\n")
    assert main(["check", files[0], "--image-list", str(listed)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(" of 1 image")


def test_findings_set_the_exit_status(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path) -> None:
    files = write_files(tmp_path, [*RESULTS, RESULTS[0]])
    assert main(["check", *files]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("warning: detections: 1 of 3 detections have the class and shape of an earlier one")
    assert main(["check", *files, "--ignore", "detected-twice"]) == 0
    assert "detected-twice" not in capsys.readouterr().out
    assert main(["check", *files, "--json", "-"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["clean"] is False
    assert [one["kind"] for one in content["findings"]] == ["unused-class", "detected-twice", "class-only-detected"]
    assert content["findings"][1]["examples"] == [{"image_id": 7, "id": 2}]
    out = tmp_path / "findings.json"
    assert main(["check", *files, "--json", str(out)]) == 1
    assert json.loads(out.read_text()) == content
    assert capsys.readouterr().out.splitlines() == lines


def test_warnings_of_readers_are_findings(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path) -> None:
    files = write_files(tmp_path, [*RESULTS, RESULTS[0] | {"category_id": 99}])
    assert main(["check", *files]) == 1
    out, err = capsys.readouterr()
    assert out.startswith(f"warning: files: {files[1]}: ignored 1 of 3 `results`, whose category ids ")
    assert out.splitlines()[0].endswith("[reader]")
    assert err == ""
    assert main(["check", *files, "--ignore", "reader"]) == 0


def test_a_repeated_id_is_said_once(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path) -> None:
    rows = GROUND_TRUTHS["annotations"]
    gt = tmp_path / "gt.json"
    gt.write_text(json.dumps(GROUND_TRUTHS | {"annotations": [rows[0], rows[1] | {"id": rows[0]["id"]}]}))
    assert main(["check", str(gt)]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]
    assert len(lines) == 1
    assert "1 of 2 annotations have the id of an earlier one; pycocotools scores only the last" in lines[0]
    # Not found again, because the annotation is of no class: then the reader says it.
    gt.write_text(json.dumps(GROUND_TRUTHS | {"annotations": [*rows, rows[0] | {"category_id": 99}]}))
    assert main(["check", str(gt)]) == 1
    assert "`annotations` repeat 1 ids" in capsys.readouterr().out


def test_other_formats_and_geometries(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path) -> None:
    boxes = tmp_path / "boxes.csv"
    boxes.write_text(
        "ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf\na,/m/1,0.1,0.5,0.2,0.4,0\na,/m/1,0.1,0.5,0.2,0.4,0\n"
    )
    assert main(["check", str(boxes)]) == 1
    assert "1 of 2 annotations have an IoU above 0.95 with an earlier one" in capsys.readouterr().out
    gt = tmp_path / "gt.json"
    square = [[10, 10, 30, 10, 30, 20, 10, 20]]
    rows = [row | {"segmentation": square, "area": 200} for row in GROUND_TRUTHS["annotations"]]
    images = [{"id": one, "height": 100, "width": 100} for one in (7, 9)]
    gt.write_text(json.dumps(GROUND_TRUTHS | {"annotations": rows, "images": images}))
    assert main(["check", str(gt), "--iou-type", "segm"]) == 0
    capsys.readouterr()
    assert main(["check", str(gt)]) == 1  # the second box is larger than its image
    assert "[outside-image]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "the following arguments are required: GT"),
        (["gt", "dt", "other"], "unrecognized arguments: other"),
        (["nowhere.json"], "nowhere.json: No such file or directory"),
        (["gt", "--ignore", "areas"], "'areas' is not a kind of finding: reader, repeated-id"),
        (["gt", "--plain-corners"], "--plain-corners is for VOC's folders"),
    ],
)
def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert words in error_of(capsys, "check", *arguments)
