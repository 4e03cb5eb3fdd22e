"""WIDER FACE's files to tables: faces, invalid ones, images without any; and what is said of bad files.

The files are as the benchmark's readme.txt describes them: an image without a face has a line of zeros.
"""

from __future__ import annotations

import pathlib

import pytest

import jaxmap
from jaxmap import io
from jaxmap.types import GroundTruthTable
from support.command import numbers

TRUTH = """1--Handshaking/1_b.jpg
0
0 0 0 0 0 0 0 0 0 0 
0--Parade/0_a.jpg
2
449 330 122 149 0 0 0 0 0 0 
10 10 20 20 2 0 0 1 0 0 
"""  # noqa: W291
FOUND = "0_a\n2\n449.0 330.0 122.0 149.0 0.99 \n11 10 20 20 0.5 \n"


@pytest.fixture
def wider(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "wider_face_val_bbx_gt.txt").write_text(TRUTH)
    for name, text in {"0--Parade/0_a.txt": FOUND, "1--Handshaking/1_b.txt": "1--Handshaking/1_b.jpg\n0\n"}.items():
        (tmp_path / "pred" / name).parent.mkdir(parents=True)
        (tmp_path / "pred" / name).write_text(text)
    return tmp_path


@pytest.fixture
def truth(wider: pathlib.Path) -> GroundTruthTable:
    return io.read_wider_face_ground_truths(wider / "wider_face_val_bbx_gt.txt")


def test_faces_of_every_image_are_read(truth: GroundTruthTable) -> None:
    assert truth.image_ids.tolist() == ["0_a", "1_b"]
    assert truth.image_files is not None
    assert truth.image_files.tolist() == ["0--Parade/0_a.jpg", "1--Handshaking/1_b.jpg"]
    assert truth.boxes.tolist() == [[449, 330, 122, 149], [10, 10, 20, 20]]
    assert truth.ignore.tolist() == [False, True]
    assert truth.area.tolist() == [122 * 149, 400]
    assert truth.class_names == ("face",)


def test_detections_are_read_from_folders_of_events(capsys, wider: pathlib.Path, truth: GroundTruthTable) -> None:
    found = io.read_wider_face_detections(wider / "pred", truth)
    assert found.image_index.tolist() == [0, 0]
    assert found.scores.tolist() == [0.99, 0.5]
    assert jaxmap.evaluate(found, truth).summary["AP"] == pytest.approx(1)
    files = (str(wider / "wider_face_val_bbx_gt.txt"), str(wider / "pred"))
    assert numbers(capsys, *files)["AP"] == pytest.approx(1)
    assert numbers(capsys, *files, "--format", "wider-face")["AP"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0--Parade/0_a.jpg", "0--Parade/0_a", "line 4: expected the path of an image, got '0--Parade/0_a'"),
        ("\n2\n", "\n3\n", r"line 5: 3 faces of '0--Parade/0_a\.jpg', but only 2 lines follow"),
        ("\n2\n", "\n1\n", "line 7: expected the path of an image, got '10 10 20 20"),
        ("\n2\n", "\nx\n", "line 5: expected the number of faces of .*, got 'x'"),
        ("449", "nan", "line 6: `x` must be a finite number, got 'nan'"),
        ("449 ", "", "line 6: expected `x y width height blur .*`, got '330"),
        ("0 0 0 0 0 0 0 0 0 0", "1 0 9 9 0 0 0 0 0 0", r"line 3: a face of '1--.*', which has 0; correct the number"),
        ("1--Handshaking/1_b", "0--Parade/0_a", "line 4: the image '0_a' is listed above already"),
    ],
)
def test_invalid_ground_truths_are_named(wider: pathlib.Path, old: str, new: str, message: str) -> None:
    (wider / "wider_face_val_bbx_gt.txt").write_text(TRUTH.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        io.read_wider_face_ground_truths(wider / "wider_face_val_bbx_gt.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FOUND.replace("0_a", "0_b"), "line 1: expected the image of the file's name, got '0_b'"),
        (FOUND.replace(" 0.99", ""), "line 3: expected `x y width height score`"),
        (FOUND.replace("\n2\n", "\n1\n"), r"0_a\.txt, line 4: expected the number of faces"),
        ("0_a\n", "line 1: expected the number of faces of '0_a', got 'nothing'"),
    ],
)
def test_invalid_detections_are_named(wider: pathlib.Path, truth: GroundTruthTable, text: str, message: str) -> None:
    (wider / "pred/0--Parade/0_a.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        io.read_wider_face_detections(wider / "pred", truth)
