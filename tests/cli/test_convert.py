"""`jaxmap convert`: files whose numbers are the same, and what it refuses."""

from __future__ import annotations

import json
import os
import pathlib

import pytest

from jaxmap._cli import main
from support.command import error_of, numbers


def boxes_csv(folder: pathlib.Path) -> list[str]:
    """Writes Open Images' files, in which all classes are verified in all images."""
    head = "ImageID,LabelName,{}XMin,XMax,YMin,YMax{}\n"
    gt, dt = folder / "gt.csv", folder / "dt.csv"
    gt.write_text(
        head.format("", ",IsGroupOf")
        + "b,/m/2,0.1,0.5,0.2,0.4,0\nb,/m/1,0.2,0.9,0.1,0.7,1\na,/m/1,0.3,0.7,0.1,0.3,0\na,/m/2,0.1,0.2,0.1,0.2,0\n"
    )
    dt.write_text(head.format("Score,", "") + "a,/m/1,0.9,0.31,0.7,0.1,0.3\nb,/m/2,0.8,0.1,0.5,0.2,0.45\n")
    return [str(gt), str(dt)]


def test_converted_files_give_the_same_numbers(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path) -> None:
    files = boxes_csv(tmp_path)
    assert main(["convert", *files, "-o", str(tmp_path / "new" / "coco")]) == 0
    made = capsys.readouterr().out.splitlines()
    assert made == [str(tmp_path / "new" / "coco" / f"{name}.json") for name in ("ground_truths", "detections")]
    for options in ([], ["--protocol", "open-images", "--per-class"]):
        one, other = numbers(capsys, *files, *options), numbers(capsys, *made, *options)
        classes, others = one.pop("per_class", []), other.pop("per_class", [])
        assert one == other
        assert [row | {"class_id": 0} for row in classes] == [row | {"class_id": 0} for row in others]
    assert main(["check", *made]) == 0


def test_ground_truths_alone(capsys: pytest.CaptureFixture[str], files: list[str], tmp_path: pathlib.Path) -> None:
    assert main(["convert", files[0], "--output", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/out/ground_truths.json\n"
    assert os.listdir(tmp_path / "out") == ["ground_truths.json"]


def difficult(folder: pathlib.Path) -> list[str]:
    """Writes VOC's files with an object that is difficult, and one that is not."""
    one = (
        "<object><name>dog</name><difficult>{}</difficult><bndbox><xmin>{}</xmin><ymin>1</ymin><xmax>{}</xmax>"
        "<ymax>30</ymax></bndbox></object>"
    )
    (folder / "a.xml").write_text(f"<annotation>{one.format(0, 1, 20)}{one.format(1, 50, 90)}</annotation>")
    (folder / "dog.txt").write_text("a 0.9 50 1 90 30\na 0.8 1 1 20 30\n")
    return [str(folder), str(folder / "dog.txt")]


def test_ignored_objects_are_refused_unless_told(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path) -> None:
    (tmp_path / "voc").mkdir()
    files, out = difficult(tmp_path / "voc"), tmp_path / "out"
    message = error_of(capsys, "convert", *files, "-o", str(out))
    assert "1 of 2 objects are ignored, such as VOC's difficult ones" in message
    assert "--ignored" in message
    assert not out.exists()
    for how, crowds in (("crowd", [0, 1]), ("leave-out", [0])):
        assert main(["convert", *files, "-o", str(out), "--ignored", how]) == 0
        capsys.readouterr()
        content = json.loads((out / "ground_truths.json").read_text())
        assert [row["iscrowd"] for row in content["annotations"]] == crowds


def test_inputs_are_not_overwritten(
    capsys: pytest.CaptureFixture[str], files: list[str], tmp_path: pathlib.Path
) -> None:
    gt = tmp_path / "ground_truths.json"
    os.rename(files[0], gt)
    before = gt.read_text()
    message = error_of(capsys, "convert", str(gt), files[1], "-o", str(tmp_path))
    assert message == f"jaxmap: error: --output {tmp_path} would overwrite an input file\n"
    assert gt.read_text() == before
    assert "Not a directory" in error_of(capsys, "convert", files[1], "-o", files[1])
    assert "arguments are required: -o/--output" in error_of(capsys, "convert", files[1])


@pytest.mark.parametrize("kind", ["jsonl", "npz", "parquet"])
def test_results_as_columns_give_the_same_numbers(
    capsys: pytest.CaptureFixture[str], files: list[str], tmp_path: pathlib.Path, kind: str
) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="Parquet files need pyarrow, which is large")
    assert main(["convert", *files, "-o", str(tmp_path / "out"), "--results", kind]) == 0
    made = capsys.readouterr().out.splitlines()
    assert made == [str(tmp_path / "out" / name) for name in ("ground_truths.json", f"detections.{kind}")]
    assert numbers(capsys, *made) == numbers(capsys, *files)
