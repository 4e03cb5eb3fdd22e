"""`jaxmap explain`: the text, the JSON, and how it fails."""

from __future__ import annotations

import json
import pathlib

import pytest

import jaxmap
from jaxmap import io
from jaxmap._cli import main


@pytest.fixture(scope="module")
def evaluation() -> jaxmap.Evaluation:
    return jaxmap.evaluate(*io.demo_scene())


def test_explain_prints_the_explanation_and_the_ties(
    capsys: pytest.CaptureFixture[str], evaluation: jaxmap.Evaluation
) -> None:
    assert main(["explain", "--demo", "--top", "2"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{evaluation.explain().to_text(2)}\n\n{evaluation.tie_bounds()}\n"
    assert err == ""


def test_explain_writes_json(
    capsys: pytest.CaptureFixture[str], evaluation: jaxmap.Evaluation, tmp_path: pathlib.Path
) -> None:
    expected = evaluation.explain().to_dict(3) | {"ties": evaluation.tie_bounds().to_dict()}
    assert main(["explain", "--demo", "--top", "3", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(expected))
    assert main(["explain", "--demo", "--top", "3", "--json", str(tmp_path / "out.json")]) == 0
    assert capsys.readouterr().out.startswith("The mean per-image AP of ")
    assert json.loads((tmp_path / "out.json").read_text()) == json.loads(json.dumps(expected))


def test_explain_reads_files_and_grids(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path) -> None:
    box = [0, 0, 10, 10]
    truth = {
        "images": [{"id": 7}, {"id": 9}],
        "categories": [{"id": 3, "name": "dog"}],
        "annotations": [
            {"id": index, "image_id": image, "category_id": 3, "bbox": box, "area": 100}
            for index, image in ((1, 7), (2, 9))
        ],
    }
    results = [
        {"image_id": image, "category_id": 3, "bbox": [x, 0, 10, 10], "score": score}
        for image, x, score in ((7, 0, 0.5), (9, 0, 0.95), (9, 50, 0.9))
    ]
    for name, data in (("gt.json", truth), ("dt.json", results)):
        (tmp_path / name).write_text(json.dumps(data))
    assert main(["explain", str(tmp_path / "gt.json"), str(tmp_path / "dt.json"), "--iou-thresholds", "0.5"]) == 0
    out = capsys.readouterr().out
    assert "the pooled AP is 0.8350, 0.1650 lower" in out
    assert "dog" in out
    assert "1 of 1 IoU" in out
    assert "1 in image 7, none in the same image" in out
    assert "equal scores" not in out  # nothing ties


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--demo", "--top", "-1"], "--top must be at least 0, got -1"),
        ([], "explain needs two files, GT and DT, or --demo"),
    ],
)
def test_explain_says_what_is_wrong(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert main(["explain", *arguments]) == 2
    assert message in capsys.readouterr().err
