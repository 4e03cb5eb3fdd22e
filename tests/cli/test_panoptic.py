"""`jaxmap panoptic`: what it prints and writes, and how it fails."""

from __future__ import annotations

import json
import pathlib
import sys

import pytest

from jaxmap._cli import main
from support.panoptic_files import write_panoptic

DOG, TREE = 18, 184


@pytest.fixture
def files(tmp_path: pathlib.Path) -> list[str]:
    rows = [{"id": 1, "category_id": DOG, "iscrowd": 0}, {"id": 2, "category_id": TREE, "iscrowd": 0}]
    truth = write_panoptic(tmp_path / "gt.json", {7: ([[1, 1, 1, 1, 2, 2]], rows)})
    found = write_panoptic(tmp_path / "dt.json", {7: ([[1, 1, 1, 2, 2, 2]], rows)})  # IoU 3/4 and 2/3
    return [truth, found]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["panoptic", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_table_and_classes(capsys: pytest.CaptureFixture[str], files: list[str]) -> None:
    lines = run(capsys, *files, "--per-class").splitlines()
    assert lines[2:5] == [
        "All       |  70.8   70.8  100.0     2",
        "Things    |  75.0   75.0  100.0     1",
        "Stuff     |  66.7   66.7  100.0     1",
    ]
    assert lines[6].split() == ["id", "class", "PQ", "SQ", "RQ", "TP", "FP", "FN"]
    assert lines[7].split() == ["1", "person", "-", "-", "-", "0", "0", "0"]
    assert lines[8].split() == ["18", "dog", "0.750", "0.750", "1.000", "1", "0", "0"]
    assert run(capsys, *files).splitlines() == lines[:5]
    content = json.loads(run(capsys, *files, "--per-class", "--json", "-"))
    person, dog = content["per_class"][:2]
    assert (person["class_name"], person["PQ"], person["true_positives"]) == ("person", None, 0)
    assert (dog["class_id"], dog["PQ"], dog["true_positives"]) == (18, 0.75, 1)


def test_json_and_folders(capsys: pytest.CaptureFixture[str], files: list[str], tmp_path: pathlib.Path) -> None:
    for name in ("gt", "dt"):
        (tmp_path / name).rename(tmp_path / f"{name}_png")
    folders = ["--gt-folder", str(tmp_path / "gt_png"), "--dt-folder", str(tmp_path / "dt_png")]
    numbers = json.loads(run(capsys, *files, *folders, "--json", "-"))
    assert numbers["PQ_th"] == 3 / 4
    assert numbers["PQ_st"] == 2 / 3
    assert numbers["RQ"] == 1
    run(capsys, *files, *folders, "--json", str(tmp_path / "out.json"))
    assert json.loads((tmp_path / "out.json").read_text()) == numbers


def test_modified_and_boundary_quality(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path) -> None:
    rows = [{"id": 1, "category_id": DOG, "iscrowd": 0}, {"id": 2, "category_id": TREE, "iscrowd": 0}]
    truth, found = [[1] * 8 + [2] * 8] * 8, [[1] * 14 + [2] * 2] * 8  # IoU 64/112 and 16/64
    files = [
        write_panoptic(tmp_path / f"{name}.json", {7: (map_, rows)}) for name, map_ in (("gt", truth), ("dt", found))
    ]
    numbers = json.loads(run(capsys, *files, "--modified", "--json", "-"))
    assert (numbers["PQ_th"], numbers["PQ_st"], numbers["RQ_st"]) == (64 / 112, 16 / 64, 1)
    # Rings of 64 - 36 and 112 - 72 pixels share 22: the left column, and 7 more of the top and of the bottom row.
    numbers = json.loads(run(capsys, *files, "--modified", "--boundary", "--json", "-"))
    assert (numbers["PQ_th"], numbers["PQ_st"]) == (0, 16 / 64)
    numbers = json.loads(run(capsys, *files, "--boundary-ratio", "1", "--json", "-"))
    assert (numbers["PQ_th"], numbers["PQ_st"]) == (64 / 112, 0)
    assert main(["panoptic", *files, "--boundary-ratio", "2"]) == 2
    assert "`boundary_ratio` must be a number above 0 and at most 1, got 2.0" in capsys.readouterr().err


def test_mistakes_are_one_line(
    capsys: pytest.CaptureFixture[str], files: list[str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def error_of(*arguments: str) -> str:
        assert main(["panoptic", *arguments]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert err.startswith("jaxmap: error: ")
        return err

    assert "the following arguments are required: DT" in error_of(files[0])
    missing = str(tmp_path / "nowhere")
    assert f"{missing}: no such folder; name the one with the PNG files" in error_of(*files, "--dt-folder", missing)
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert 'pip install "jaxmap[panoptic]"' in error_of(*files)
