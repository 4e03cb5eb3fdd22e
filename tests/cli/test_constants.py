"""The constants of what is compared, on every command that evaluates: sigmas of keypoints, width of boundaries."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest

from jaxmap._cli import main
from jaxmap.protocols import COCO, COCO_KEYPOINTS
from support.command import error_of, numbers

TWO_POINTS = [10, 10, 2, 30, 30, 2]


@pytest.fixture
def files(tmp_path: pathlib.Path) -> list[str]:
    """A creature of two keypoints, found three pixels beside its place."""
    truth = {
        "images": [{"id": 1, "height": 40, "width": 40}],
        "categories": [{"id": 1, "name": "creature"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 30, 30], "area": 900, "keypoints": TWO_POINTS,
             "num_keypoints": 2, "iscrowd": 0}
        ],
    }  # fmt: skip
    found = [{"image_id": 1, "category_id": 1, "score": 0.5, "keypoints": [13, 10, 2, 33, 30, 2]}]
    paths = [tmp_path / "gt.json", tmp_path / "dt.json"]
    for path, content in zip(paths, (truth, found), strict=True):
        path.write_text(json.dumps(content))
    return [str(path) for path in paths]


def oks(sigma: float) -> float:
    return float(np.exp(-9 / (2 * 900 * (2 * sigma) ** 2)))


@pytest.mark.parametrize("text", ["0.05,0.05", "0.05, 0.05", "[0.05,\n0.05]\n", "0.05\n0.05\n"])
def test_sigmas_are_a_list_or_a_file(
    capsys: pytest.CaptureFixture[str], files: list[str], tmp_path: pathlib.Path, text: str
) -> None:
    path = tmp_path / "sigmas.txt"
    path.write_text("\ufeff" + text, encoding="utf-8")
    reached = sum(oks(0.05) >= threshold for threshold in COCO.iou_thresholds)
    assert 0 < reached < 10
    for value in [str(path)] if "\n" in text else [text, str(path)]:
        result = numbers(capsys, *files, "--iou-type", "keypoints", "--keypoint-sigmas", value)
        assert result["AP"] == pytest.approx(reached / 10)


@pytest.mark.parametrize("command", [["explain"], ["operating-points"], ["report", "-o", "{}"]])
def test_every_command_that_evaluates_takes_sigmas(
    capsys: pytest.CaptureFixture[str], files: list[str], tmp_path: pathlib.Path, command: list[str]
) -> None:
    rest = [word.format(tmp_path / "out") for word in command[1:]]
    options = ["--iou-type", "keypoints", "--keypoint-sigmas"]
    assert main([command[0], *files, *rest, *options, "1,1"]) == 0
    capsys.readouterr()
    assert "for each of the 3 `keypoint_sigmas` of the protocol, got 2" in error_of(
        capsys, command[0], *files, *rest, *options, "1,1,1"
    )


def test_width_of_a_boundary(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path) -> None:
    square, shifted = ([[x, 10, x + 60, 10, x + 60, 70, x, 70]] for x in (10, 14))
    truth = {
        "images": [{"id": 1, "height": 100, "width": 100}],
        "categories": [{"id": 1, "name": "square"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": square, "area": 3600, "iscrowd": 0,
                         "bbox": [10, 10, 60, 60]}],
    }  # fmt: skip
    paths = [tmp_path / "gt.json", tmp_path / "dt.json"]
    paths[0].write_text(json.dumps(truth))
    paths[1].write_text(json.dumps([{"image_id": 1, "category_id": 1, "score": 0.5, "segmentation": shifted}]))
    thin, thick = (
        numbers(capsys, *map(str, paths), "--iou-type", "boundary", "--boundary-ratio", ratio)["AP"]
        for ratio in ("0.02", "0.3")
    )
    assert (thin, thick) == (0.0, pytest.approx(0.8))  # of the squares 56 x 60 of 64 x 60 are common: IoU 0.875
    assert COCO.customize(boundary_ratio=0.3).boundary_ratio == 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--keypoint-sigmas", "0.1"], "--keypoint-sigmas is for --iou-type keypoints, not bbox"),
        (["--boundary-ratio", "0.1", "--iou-type", "segm"], "--boundary-ratio is for --iou-type boundary, not segm"),
        (["--boundary-ratio", "wide"], "'wide' is not a number"),
        (["--keypoint-sigmas", "0.1;0.2"], "neither a file nor a list of numbers such as 0.026,0.025"),
        (["--iou-type", "keypoints", "--keypoint-sigmas", "0.1,-1"], "must hold a positive number for every keypoint"),
        (["--iou-thresholds", "0:1:1e-12"], "'0:1:1e-12' is a range of 1e+12 values; at most"),
        (["--recall-points", "0:1:1e-300"], "is a range of 1e+300 values; at most"),
        (["--recall-points", "0:2:1"], "`recall_points` must lie in [0, 1]"),
    ],
)
def test_mistakes_are_one_line(
    capsys: pytest.CaptureFixture[str], files: list[str], arguments: list[str], message: str
) -> None:
    assert message in error_of(capsys, "eval", *files, *arguments)


def test_recall_points_are_a_range(capsys: pytest.CaptureFixture[str], files: list[str]) -> None:
    options = ["--iou-type", "keypoints", "--keypoint-sigmas", "0.05,0.05"]
    points = ["--recall-points", "0:1:0.01"]
    assert COCO_KEYPOINTS.recall_points == COCO.recall_points
    assert numbers(capsys, *files, *options, *points) == numbers(capsys, *files, *options)
