"""KITTI's files to tables: corners, scores, regions that do not count; and what is said of bad files.

The lines are as in the development kit's readme.txt; unknown values are -1, -10 and -1000.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import pytest

import jaxmap
from jaxmap import io
from jaxmap.types import GroundTruthTable
from support.command import numbers

CAR = "Car 0.00 0 -1.58 100.00 50.00 140.00 80.00 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59"
WALKER = "Pedestrian 0.00 1 0.21 10.5 20 20.5 60 1.89 0.48 1.20 1.84 1.47 8.41 0.01"
REGION = "DontCare -1 -1 -10 200 50 300 100 -1 -1 -1 -1000 -1000 -1000 -10"


def found(kind: str, corners: str, score: str) -> str:
    return f"{kind} -1 -1 -10 {corners} -1 -1 -1 -1000 -1000 -1000 -10 {score}\n"


def write(folder: pathlib.Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def kitti(tmp_path: pathlib.Path) -> pathlib.Path:
    """Two images with a car each, a pedestrian, and a region; one car and what lies in the region are found."""
    write(
        tmp_path,
        {
            "label_2/000000.txt": f"{CAR}\n{REGION}\n",
            "label_2/000001.txt": f"{WALKER}\n{CAR}\n",
            "results/000000.txt": found("Car", "100 50 140 80", "0.5")
            + found("Car", "210 60 230 70", "0.9")
            + found("Car", "250 60 270 70", "0.8"),
        },
    )
    return tmp_path


@pytest.fixture
def truth(kitti: pathlib.Path) -> GroundTruthTable:
    return io.read_kitti_ground_truths(kitti / "label_2")


def test_objects_are_corners_and_regions_are_crowds_of_every_class(truth: GroundTruthTable) -> None:
    assert truth.image_ids.tolist() == ["000000", "000001"]
    assert truth.class_names == ("Car", "Pedestrian")
    assert truth.image_index.tolist() == [0, 1, 1, 0, 0]
    assert truth.labels.tolist() == [0, 1, 0, 0, 1]
    assert truth.crowd.tolist() == [False, False, False, True, True]
    assert truth.boxes.tolist() == [[100, 50, 40, 30], [10.5, 20, 10, 40], [100, 50, 40, 30], *[[200, 50, 100, 50]] * 2]
    assert truth.area.tolist() == [1200, 400, 1200, 5000, 5000]
    assert truth.ids.tolist() == [0, 0, 1, 2, 3]


def test_detections_in_a_region_do_not_count(capsys, kitti: pathlib.Path, truth: GroundTruthTable) -> None:
    detections = io.read_kitti_detections(kitti / "results", truth)
    assert detections.scores.tolist() == [0.5, 0.9, 0.8]
    assert detections.boxes[0].tolist() == [100, 50, 40, 30]
    ap = 51 / 101  # of cars one of two, and no false one
    assert jaxmap.evaluate(detections, truth).summary["AP50"] == pytest.approx(ap / 2)
    assert numbers(capsys, str(kitti / "label_2"), str(kitti / "results"))["AP50"] == pytest.approx(ap / 2)
    write(kitti, {"label_2/000000.txt": CAR})
    alone = io.read_kitti_ground_truths(kitti / "label_2")
    assert jaxmap.evaluate(detections, alone).summary["AP50"] < ap / 2


def test_image_list_decides_which_images_count(kitti: pathlib.Path) -> None:
    some = io.read_kitti_ground_truths(kitti / "label_2", image_list=["000000"])
    assert some.image_ids.tolist() == ["000000"]
    assert some.crowd.sum() == 2  # also of pedestrians, which only the other image has


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (CAR.rsplit(" ", 1)[0], r"000000\.txt, line 2: expected `type truncated .* rotation_y`, got 'Car"),
        (f"{CAR} 0.5", "line 2: expected"),  # a result
        (CAR.replace("100.00", "nan"), "line 2: `left` must be a finite number, got 'nan'"),
        (CAR.replace("Car", "3"), "line 2: expected"),
    ],
)
def test_invalid_lines_are_named(kitti: pathlib.Path, line: str, message: str) -> None:
    write(kitti, {"label_2/000000.txt": f"{CAR}\n{line}\n"})
    with pytest.raises(ValueError, match=message):
        io.read_kitti_ground_truths(kitti / "label_2")


def test_faults_of_results_are_named(kitti: pathlib.Path, truth: GroundTruthTable) -> None:
    for text, message in (
        (CAR, "line 1: expected `type .* score`"),
        (found("Car", "1 2 3 4", "inf"), "line 1: `score` must be a finite number, got 'inf'"),
        (found("Tram", "1 2 3 4", "1"), "'Tram' is not among the classes of the ground truths, 'Car', 'Pedestrian'"),
    ):
        write(kitti, {"results/000000.txt": text})
        with pytest.raises(ValueError, match=rf"000000\.txt.*{message}"):
            io.read_kitti_detections(kitti / "results", truth)
    write(kitti, {"label_2/000000.txt": REGION, "label_2/000001.txt": REGION})
    with pytest.raises(ValueError, match="none of the 2 label files has an object beside DontCare"):
        io.read_kitti_ground_truths(kitti / "label_2")
