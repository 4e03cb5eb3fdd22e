"""DOTA's files to tables: quadrilaterals to rectangles, headers, difficult objects; and what is said of bad files."""

from __future__ import annotations

import pathlib
import tarfile

import numpy as np
import pytest

from jaxmap import io
from jaxmap.types import GroundTruthTable

QUAD = "10 20 40 20 40 30 10 30"  # 30 wide and 10 high around (25, 25)
DIAMOND = "0 -2 2 0 0 2 -2 0"  # a square of side sqrt(8) on a corner
SIDE = np.sqrt(8)


@pytest.fixture
def dota(tmp_path: pathlib.Path) -> pathlib.Path:
    """Two images of two classes, and one without objects, with three detections, as DOTA lays them out."""
    files = {
        "labelTxt/P0003.txt": "imagesource:GoogleEarth\ngsd:null\n",
        "labelTxt/P0001.txt": f"imagesource:GoogleEarth\ngsd:0.146\n{QUAD} ship 0\n{DIAMOND} large-vehicle 1\n",
        "labelTxt/P0000.txt": f"{DIAMOND} ship\r\n\r\n{QUAD}.0 ship 2\r\n",  # no header, one without `difficult`
        "results/Task1_large-vehicle.txt": f"P0001 0.5 {DIAMOND}\n",
        "results/Task1_ship.txt": f"P0001 0.9 {QUAD}\n\nP0003 1e-3 40 20 40 30 10 30 10 20\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def truth(dota: pathlib.Path) -> GroundTruthTable:
    return io.read_dota_ground_truths(dota / "labelTxt")


# ---- what is read ----


def test_ground_truths_are_rectangles_with_their_hulls(truth: GroundTruthTable) -> None:
    assert truth.image_ids.tolist() == ["P0000", "P0001", "P0003"]
    assert truth.class_names == ("large-vehicle", "ship")
    assert truth.image_index.tolist() == [0, 0, 1, 1]
    assert truth.labels.tolist() == [1, 1, 1, 0]
    assert truth.ignore.tolist() == [False, True, False, True]
    assert not truth.crowd.any()
    assert truth.ids.tolist() == [0, 1, 0, 1]
    diamond, flat = [0, 0, SIDE, SIDE, np.pi / 4], [25, 25, 30, 10, 0]
    assert truth.oriented is not None
    np.testing.assert_allclose(truth.oriented, [diamond, flat, flat, diamond], rtol=0, atol=1e-14)
    np.testing.assert_allclose(truth.area, [8, 300, 300, 8], rtol=0, atol=1e-13)
    hull, same = [-2, -2, 4, 4], [10, 20, 30, 10]
    np.testing.assert_allclose(truth.boxes, [hull, same, same, hull], rtol=0, atol=1e-14)


def test_detections_are_read_in_the_order_of_files_and_lines(dota: pathlib.Path, truth: GroundTruthTable) -> None:
    found = io.read_dota_detections(dota / "results", truth)
    assert found.image_index.tolist() == [1, 1, 2]
    assert found.labels.tolist() == [0, 1, 1]
    assert found.scores.tolist() == [0.5, 0.9, 0.001]
    assert found.ids.tolist() == [0, 1, 2]
    assert found.oriented is not None
    assert found.oriented[1].tolist() == [25, 25, 30, 10, 0]
    # The same rectangle from its second corner on: the first side goes down, so width and height change places.
    np.testing.assert_allclose(found.oriented[2], [25, 25, 10, 30, np.pi / 2], rtol=0, atol=1e-14)
    assert found.area is not None
    np.testing.assert_allclose(found.area, [8, 300, 300], rtol=0, atol=1e-13)
    np.testing.assert_allclose(found.boxes[1:], [[10, 20, 30, 10]] * 2, rtol=0, atol=1e-14)


def test_archives_lists_and_single_files_read_alike(dota: pathlib.Path, truth: GroundTruthTable) -> None:
    with tarfile.open(dota / "labels.tgz", "w:gz") as tar:
        tar.add(dota / "labelTxt", arcname="labelTxt")
    packed = io.read_dota_ground_truths(dota / "labels.tgz")
    for name, column in vars(truth).items():
        assert np.array_equal(getattr(packed, name), column), name
    some = io.read_dota_ground_truths(dota / "labelTxt", image_list=["P0003", "P0001"])
    assert some.image_ids.tolist() == ["P0001", "P0003"]
    assert np.array_equal(some.boxes, truth.boxes[2:])
    none = io.read_dota_ground_truths(dota / "labelTxt", image_list=["P0003"])
    assert none.boxes.shape == (0, 4)
    (dota / "results" / "Task1_ship.txt").rename(dota / "results" / "ship.txt")
    with pytest.warns(UserWarning, match="no file for 1 of 2 classes, which count as never detected: 'large-vehicle'"):
        alone = io.read_dota_detections(dota / "results" / "ship.txt", truth)
    assert alone.scores.tolist() == [0.9, 0.001]


# ---- quadrilaterals ----


def test_rectangles_are_their_own() -> None:
    rng = np.random.default_rng(0)
    center, angle = rng.uniform(-1e4, 1e4, (500, 2)), rng.uniform(-np.pi, np.pi, 500)
    size = rng.uniform(1, 200, (500, 2))
    along, across = np.stack([np.cos(angle), np.sin(angle)], 1), np.stack([-np.sin(angle), np.cos(angle)], 1)
    right, down = along * size[:, :1] / 2, across * size[:, 1:] / 2
    quads = center[:, None] + np.stack([-right - down, right - down, right + down, down - right], axis=1)
    # Corners near 1e4 are rounded to 1e-12, which a side of 1 turns into as much of an angle and that, over a side of
    # 200, into 1e-10 of a size.
    found = io.quads_to_oriented(quads)
    np.testing.assert_allclose(found, np.column_stack([center, size, angle]), rtol=0, atol=1e-9)


def test_rectangles_enclose_with_the_least_area() -> None:
    shapely = pytest.importorskip("shapely")
    quads = np.random.default_rng(0).normal(50, 20, (500, 4, 2))  # convex, concave and crossing ones
    x, y, w, h, angle = io.quads_to_oriented(quads).T[:, :, None]
    off_x, off_y = quads[..., 0] - x, quads[..., 1] - y
    assert (np.abs(off_x * np.cos(angle) + off_y * np.sin(angle)) <= w / 2 + 1e-12).all()
    assert (np.abs(off_y * np.cos(angle) - off_x * np.sin(angle)) <= h / 2 + 1e-12).all()
    least = shapely.area(shapely.minimum_rotated_rectangle(shapely.multipoints(quads)))
    np.testing.assert_allclose((w * h)[:, 0], least, rtol=1e-9)


@pytest.mark.parametrize(
    ("quad", "expected"),
    [
        ([[3, 4]] * 4, [3, 4, 0, 0, 0]),  # a point
        ([[0, 0], [4, 0], [4, 0], [0, 0]], [2, 0, 4, 0, 0]),  # a line
        ([[0, 0], [4, 0], [4, 0], [4, 2]], [2, 1, 4, 2, 0]),  # a triangle: half of its rectangle
        ([[0, 0], [4, 0], [4, 4], [3, 1]], [2, 2, 4, 4, 0]),  # concave: the last corner is inside the others' hull
    ],
)
def test_flat_quadrilaterals_by_hand(quad: list[list[int]], expected: list[float]) -> None:
    np.testing.assert_allclose(io.quads_to_oriented(np.array([quad])), [expected], rtol=0, atol=1e-14)


def test_no_quadrilaterals_are_no_boxes() -> None:
    assert io.quads_to_oriented(np.zeros((0, 4, 2))).shape == (0, 5)


# ---- what is refused ----


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gsd:1\n1 2 3 4 5 6 7 8\n", r"bad\.txt, line 2: expected `x1 y1 .* y4 class difficult`, got '1 2 3"),
        (f"{QUAD} ship 0 0", r"bad\.txt, line 1: expected `x1 y1 x2 y2 x3 y3 x4 y4 class difficult`"),
        ("1 2 3 4 5 6 seven 8 ship 0", r"bad\.txt, line 1: `x4` must be a finite number, got 'seven'"),
        ("1 nan 3 4 5 6 7 8 ship 0", r"bad\.txt, line 1: `y1` must be a finite number, got 'nan'"),
        (f"{QUAD} ship -1", r"bad\.txt, line 1: `difficult` must be 0 or 1, got '-1'"),
    ],
)
def test_bad_annotation_names_file_line_and_field(dota: pathlib.Path, text: str, message: str) -> None:
    (dota / "labelTxt" / "bad.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        io.read_dota_ground_truths(dota / "labelTxt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("P0001 0.5 1 2 3 4", r"Task1_ship\.txt, line 1: expected `image score x1 .* y4`, got 'P0001 0\.5 1 2 3 4'"),
        (f"P0009 0.5 {QUAD}", r"line 1: image 'P0009' is not among the 3 of the ground truths"),
        (f"P0001 high {QUAD}", r"line 1: `score` must be a finite number, got 'high'"),
    ],
)
def test_bad_detection_names_file_line_and_field(
    dota: pathlib.Path, truth: GroundTruthTable, text: str, message: str
) -> None:
    (dota / "results" / "Task1_ship.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        io.read_dota_detections(dota / "results", truth)


def test_unknown_class_and_empty_annotations_are_named(dota: pathlib.Path, truth: GroundTruthTable) -> None:
    (dota / "results" / "Task1_plane.txt").write_text("")
    with pytest.raises(
        ValueError, match=r"'plane' is not among the 2 classes.*name the file Task1_CLASS\.txt or CLASS"
    ):
        io.read_dota_detections(dota / "results", truth)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        io.read_dota_ground_truths(dota / "nowhere")
    for file in (dota / "labelTxt").iterdir():
        file.write_text("")
    with pytest.raises(ValueError, match="none of the 3 annotations has an object"):
        io.read_dota_ground_truths(dota / "labelTxt")
