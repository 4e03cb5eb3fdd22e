"""`jaxmap errors`: what it prints and writes, and how it fails."""

from __future__ import annotations

import json
import pathlib

import pytest

import jaxmap
from jaxmap import io
from jaxmap._cli import main
from support.command import error_of, write_files

# The dog of image 7 is found, at IoU 0.7; the dog of image 9 is called a traffic light.
RESULTS = [
    {"image_id": 7, "category_id": 18, "bbox": [10, 10, 14, 10], "score": 0.9},
    {"image_id": 9, "category_id": 44, "bbox": [10, 10, 200, 100], "score": 0.5},
]


@pytest.fixture
def files(tmp_path: pathlib.Path) -> list[str]:
    return write_files(tmp_path, RESULTS)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["errors", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def rows(text: str) -> dict[str, list[str]]:
    """Returns the numbers of each type."""
    lines = text.split("\n\n")[1].splitlines()[1:]
    return {line[:17].strip(): line[17:].split()[:2] for line in lines}


def test_the_table_has_every_type(capsys: pytest.CaptureFixture[str], files: list[str]) -> None:
    text = run(capsys, *files)
    # One of two dogs is found, precision 1 at 51 of 101 recall points; the other 50 are lost to its class.
    assert text.startswith("AP at IoU 0.5 is 0.5050. It rises")
    nothing = ["0", "0.0000"]
    assert rows(text) == {
        "classification": ["1", "0.4950"],
        "localization": nothing,
        "both": nothing,
        "duplicate": nothing,
        "background": nothing,
        "missed": nothing,
        "false positives": ["1", "0.0000"],
        "false negatives": ["1", "0.4950"],
    }


def test_thresholds_are_options(capsys: pytest.CaptureFixture[str], files: list[str]) -> None:
    text = run(capsys, *files, "--iou", "0.8")
    assert text.startswith("AP at IoU 0.8 is 0.0000.")
    assert rows(text)["localization"] == ["1", "0.5050"]
    assert rows(run(capsys, *files, "--iou", "0.8", "--background", "0.75"))["background"] == ["1", "0.0000"]


def test_per_class_and_json_have_the_numbers_of_each_class(
    capsys: pytest.CaptureFixture[str], files: list[str], tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "out.json"
    text = run(capsys, *files, "--per-class", "--json", str(out))
    dog, light = (line.split() for line in text.splitlines()[-2:])
    assert dog == ["dog", "2", "0.505", "0.495", *["0.000"] * 6, "0.495"]
    assert light == ["traffic", "light", "0", *["-"] * 9]
    content = json.loads(out.read_text())
    assert content["errors"]["classification"] == {"count": 1, "gain": pytest.approx(50 / 101)}
    dog, light = content["classes"]
    assert (dog["class_id"], dog["class_name"], dog["num_ground_truths"]) == (18, "dog", 2)
    assert (dog["classification"], dog["classification_gain"]) == (0, pytest.approx(50 / 101))
    assert (light["classification"], light["classification_gain"], light["AP"]) == (1, None, None)
    assert json.loads(run(capsys, *files, "--json", "-")) == content


def test_demo_is_that_of_the_evaluation(capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(run(capsys, "--demo", "--json", "-"))
    assert content == jaxmap.evaluate(*io.demo_scene()).error_types().to_dict()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "errors needs two files, GT and DT, or --demo"),
        (["--demo", "--iou", "1.5"], "must lie in (0, 1], got [1.5]"),
        (["--demo", "--iou", "0.1"], "`background_threshold` must lie between 0 and `iou_threshold`, 0.1, got 0.1"),
        (["--demo", "--background", "nan"], "`background_threshold` must lie between 0 and"),
        (["--demo", "--background", "low"], "invalid float value: 'low'"),
    ],
)
def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert words in error_of(capsys, "errors", *arguments)
