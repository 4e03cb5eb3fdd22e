"""`jaxmap lrp`: what it prints and writes, and how it fails."""

from __future__ import annotations

import json
import pathlib

import pytest

import jaxmap
from jaxmap._cli import main
from support.command import error_of, write_files

# The dog of image 7 is found, at IoU 0.7; the traffic light is none.
RESULTS = [
    {"image_id": 7, "category_id": 18, "bbox": [10, 10, 14, 10], "score": 0.87654321},
    {"image_id": 9, "category_id": 44, "bbox": [10, 10, 200, 100], "score": 0.5},
]


@pytest.fixture
def files(tmp_path: pathlib.Path) -> list[str]:
    return write_files(tmp_path, RESULTS)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["lrp", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def rows(text: str) -> list[list[str]]:
    return [line.replace("traffic light", "light").split() for line in text.splitlines()]


def test_the_table_is_the_mean(capsys: pytest.CaptureFixture[str], files: list[str]) -> None:
    lead, titles, mean = rows(run(capsys, *files))
    assert lead[:2] == ["IoU", "0.5,"]
    assert " ".join(titles) == "class objects score TP FP FN oLRP 1 - IoU 1 - precision 1 - recall"
    # One of two dogs, with 0.3 of the allowed 0.5 lost: (0.6 + 0 + 1) / 2.
    assert mean == ["mean", "2", "-", "1", "0", "1", "0.800", "0.300", "0.000", "0.500"]


def test_per_class_and_a_threshold(capsys: pytest.CaptureFixture[str], files: list[str]) -> None:
    _, _, dog, light, _ = rows(run(capsys, *files, "--per-class"))
    assert dog == ["dog", "2", "0.8765", "1", "0", "1", "0.800", "0.300", "0.000", "0.500"]
    assert light == ["light", "0", "inf", "0", "0", "0", "-", "-", "-", "-"]
    lead, titles, _, light, mean = rows(run(capsys, *files, "--per-class", "--score", "0.5", "--iou", "0.6"))
    assert " ".join(lead) == "IoU 0.6, score threshold 0.5; lower is better"
    assert titles[6] == "LRP"
    assert light == ["light", "0", "0.5", "0", "1", "0", "-", "-", "-", "-"]
    assert mean[:7] == ["mean", "2", "0.5", "1", "1", "1", "0.875"]  # (0.3 / 0.4 + 0 + 1) / 2


def test_json_has_the_numbers_of_every_class(
    capsys: pytest.CaptureFixture[str], files: list[str], tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "out.json"
    assert run(capsys, *files, "--json", str(out)) == run(capsys, *files)
    content = json.loads(out.read_text())
    assert list(content) == ["iou_threshold", "mean", "classes"]
    dog, light = content["classes"]
    assert dog == {
        "class_id": 18, "class_name": "dog", "num_ground_truths": 2, "score_threshold": 0.87654321,
        "true_positives": 1, "false_positives": 0, "false_negatives": 1,
        "lrp": pytest.approx(0.8), "lrp_loc": pytest.approx(0.3), "lrp_fp": 0.0, "lrp_fn": 0.5,
    }  # fmt: skip
    assert (light["lrp"], light["score_threshold"]) == (None, None)
    assert content["mean"] == {name: dog[name] for name in list(dog)[2:]} | {"score_threshold": None}


def test_demo_is_that_of_the_evaluation(capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(run(capsys, "--demo", "--json", "-"))
    columns = jaxmap.evaluate(*jaxmap.io.demo_scene(), iou_thresholds=[0.5]).localisation_recall_precision()
    assert content["mean"]["lrp"] == columns["lrp"][-1]
    assert [row["score_threshold"] for row in content["classes"]] == columns["score_threshold"][:-1].tolist()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "lrp needs two files, GT and DT, or --demo"),
        (["--demo", "--iou", "1"], "`iou_threshold` must be less than 1 for LRP"),
        (["--demo", "--score", "nan"], "`score_threshold` must be a number, got nan"),
    ],
)
def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert words in error_of(capsys, "lrp", *arguments)
