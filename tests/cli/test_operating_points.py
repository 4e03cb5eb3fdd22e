"""`jaxmap operating-points`: what it prints and writes, and how it fails."""

from __future__ import annotations

import json
import pathlib
from typing import Any

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
    assert main(["operating-points", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def rows(text: str) -> list[list[str]]:
    return [line.replace("traffic light", "light").split() for line in text.splitlines()]


def test_the_table_is_of_all_classes(capsys: pytest.CaptureFixture[str], files: list[str]) -> None:
    title, names, micro, macro = rows(run(capsys, *files))
    assert title[:2] == ["IoU", "0.5;"]
    assert names == ["class", "objects", "score", "TP", "FP", "FN", "precision", "recall", "F1"]
    # One of two found, and nothing wrong, from the score of the dog on; F1 = 2 / (1 + 2).
    assert micro == ["micro", "2", "0.8765", "1", "0", "1", "1.000", "0.500", "0.667"]
    assert macro == ["macro", "2", "0.8765", "1", "0", "1", "1.000", "0.500", "0.667"]


def test_per_class_a_threshold_and_beta(capsys: pytest.CaptureFixture[str], files: list[str]) -> None:
    _, names, dog, light, micro, _ = rows(run(capsys, *files, "--per-class", "--score", "0.5", "--beta", "2"))
    assert names[-1] == "F2"
    assert dog == ["dog", "2", "0.5", "1", "0", "1", "1.000", "0.500", "0.556"]  # 5 / (1 + 4 * 2)
    assert light == ["light", "0", "0.5", "0", "1", "0", "0.000", "-", "-"]
    assert micro == ["micro", "2", "0.5", "1", "1", "1", "0.500", "0.500", "0.500"]  # 5 / (2 + 4 * 2)


def test_the_iou_threshold_may_be_any(capsys: pytest.CaptureFixture[str], files: list[str]) -> None:
    assert rows(run(capsys, *files, "--iou", "0.7"))[2][3] == "1"
    _, _, micro, _ = rows(run(capsys, *files, "--iou", "0.71"))
    assert micro == ["micro", "2", "inf", "0", "0", "2", "-", "0.000", "0.000"]  # nothing should be reported


def test_json_has_the_numbers_in_full(
    capsys: pytest.CaptureFixture[str], files: list[str], tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "out.json"
    table = run(capsys, *files, "--json", str(out))
    assert table == run(capsys, *files)
    content = json.loads(out.read_text())
    point: dict[str, Any] = {
        "num_ground_truths": 2, "score_threshold": 0.87654321, "true_positives": 1, "false_positives": 0,
        "false_negatives": 1, "precision": 1.0, "recall": 0.5, "f_score": 2 / 3,
    }  # fmt: skip
    mean = pytest.approx(point, rel=0, abs=1e-12)  # added up in steps of 2^-48
    assert content == {"iou_threshold": 0.5, "beta": 1.0, "micro": point, "macro": mean}
    content = json.loads(run(capsys, *files, "--json", "-", "--per-class"))
    assert content["classes"][0] == {"class_id": 18, "class_name": "dog"} | point
    assert content["classes"][1]["score_threshold"] is None  # nothing should be reported
    assert content["classes"][1]["recall"] is None


def test_demo_is_that_of_the_evaluation(capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(run(capsys, "--demo", "--json", "-"))
    best = jaxmap.evaluate(*jaxmap.io.demo_scene(), iou_thresholds=[0.5]).curve(average="macro").best
    assert content["macro"]["score_threshold"] == best.score_threshold
    assert content["macro"]["f_score"] == best.f_score


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "operating-points needs two files, GT and DT, or --demo"),
        (["--demo", "--iou", "1.5"], "must lie in (0, 1], got [1.5]"),
        (["--demo", "--beta", "0"], "`beta` must be a positive number, got 0.0"),
        (["--demo", "--score", "nan"], "`score_threshold` must be a number, got nan"),
        (["--demo", "--score", "high"], "invalid float value: 'high'"),
    ],
)
def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert main(["operating-points", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("jaxmap: error: ")
    assert words in err


def test_what_is_compared_is_an_option(capsys: pytest.CaptureFixture[str], files: list[str]) -> None:
    message = error_of(capsys, "operating-points", *files, "--iou-type", "segm")
    assert "`images[0]` has no `height`" in message  # masks need it, boxes do not
