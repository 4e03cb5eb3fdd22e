"""`jaxmap calibration`: what it prints and writes, and how it fails."""

from __future__ import annotations

import json
import pathlib

import pytest

import jaxmap
from jaxmap._cli import main
from support.command import error_of, write_files

# The dog of image 7 is found, at IoU 0.7; the traffic light is none.
RESULTS = [
    {"image_id": 7, "category_id": 18, "bbox": [10, 10, 14, 10], "score": 0.875},
    {"image_id": 9, "category_id": 44, "bbox": [10, 10, 200, 100], "score": 0.5},
]


@pytest.fixture
def files(tmp_path: pathlib.Path) -> list[str]:
    return write_files(tmp_path, RESULTS)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["calibration", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_the_table_is_of_bins(capsys: pytest.CaptureFixture[str], files: list[str]) -> None:
    lead, _, titles, *bins = run(capsys, *files).splitlines()
    assert lead == "ECE 0.3125, MCE 0.5000 at IoU 0.5: 2 detections, 2 bins with detections"
    assert titles.split() == ["from", "score", "to", "detections", "mean", "score", "precision", "gap"]
    assert [row.split() for row in bins] == [
        ["0.500", "0.600", "1", "0.500", "0.000", "0.500"],
        ["0.800", "0.900", "1", "0.875", "1.000", "-0.125"],
    ]


def test_options(capsys: pytest.CaptureFixture[str], files: list[str]) -> None:
    text = run(capsys, *files, "--per-class", "--bins", "2", "--score", "0.6", "--iou", "0.75")
    assert text.startswith("ECE 0.8750, MCE 0.8750 at IoU 0.75: 1 detections, 1 bins")
    classes = [line.replace("traffic light", "light").split() for line in text.splitlines()[-2:]]
    assert classes == [["dog", "1", "0.875", "0.875"], ["light", "0", "-", "-"]]
    assert "from score" in run(capsys, *files, "--binning", "quantile")
    nothing = run(capsys, *files, "--score", "0.9")
    assert nothing.startswith("ECE -, MCE - at IoU 0.5: 0 detections")


def test_json_has_bins_and_classes(
    capsys: pytest.CaptureFixture[str], files: list[str], tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "out.json"
    assert run(capsys, *files, "--json", str(out)) == run(capsys, *files)
    content = json.loads(out.read_text())
    assert list(content) == ["iou_threshold", "num_detections", "ece", "mce", "bins", "classes"]
    assert content["bins"][0] == {
        "score_low": 0.5, "score_high": 0.6, "num_detections": 1, "mean_score": 0.5, "precision": 0.0, "gap": 0.5,
    }  # fmt: skip
    assert content["classes"][0] == {
        "class_id": 18, "class_name": "dog", "num_detections": 1, "ece": 0.125, "mce": 0.125,
    }  # fmt: skip


def test_position_and_size_are_of_the_image(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "--demo", "--by", "position,size", "--bins", "4,2,2,2,2"
    assert "from score" not in run(capsys, *arguments)
    content = json.loads(run(capsys, *arguments, "--json", "-"))
    evaluation = jaxmap.evaluate(*jaxmap.io.demo_scene(), iou_thresholds=[0.5])
    expected = evaluation.calibration(by=["position", "size"], num_bins=[4, 2, 2, 2, 2])
    assert content == expected.to_dict()
    assert {"x_low", "y_high", "width_low", "height_high"} <= set(content["bins"][0])


def test_sizes_of_images_come_from_the_file(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path) -> None:
    truth = {
        "images": [{"id": 1, "height": 100, "width": 200}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [100, 10, 20, 10], "area": 200, "iscrowd": 0}
        ],
    }
    found = [{"image_id": 1, "category_id": 1, "bbox": [100, 10, 20, 10], "score": 0.5}]
    paths = [tmp_path / "gt.json", tmp_path / "dt.json"]
    for sizes_known in (True, False):
        for path, content in zip(paths, (truth, found), strict=True):
            path.write_text(json.dumps(content))
        arguments = [*map(str, paths), "--by", "position", "--bins", "1,100,100", "--json", "-"]
        if sizes_known:
            [one] = json.loads(run(capsys, *arguments))["bins"]
            assert (one["x_low"], one["y_low"]) == (0.55, 0.15)
        else:
            assert "write `height` and `width` of all images" in error_of(capsys, "calibration", *arguments)
        truth["images"][0]["height"] = None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "calibration needs two files, GT and DT, or --demo"),
        (["--demo", "--bins", "0"], "`num_bins` must be a positive whole number"),
        (["--demo", "--bins", "5,5"], "`num_bins` must be a positive whole number"),
        (["--demo", "--bins", "ten"], "'ten' is not a list of whole numbers"),
        (
            ["--demo", "--by", "place"],
            "`by` must be a list of different names from ['position', 'size'], got ['place']",
        ),
        (["--demo", "--binning", "equal"], "argument --binning: invalid choice: 'equal'"),
        (["--demo", "--score", "nan"], "`score_threshold` must be a number, got nan"),
    ],
)
def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert words in error_of(capsys, "calibration", *arguments)
