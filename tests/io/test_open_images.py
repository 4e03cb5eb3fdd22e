"""Open Images' CSV files: boxes, image-level labels, the hierarchy, names, detections, and what is refused."""

from __future__ import annotations

import gzip
import json
import pathlib
import re
import warnings

import numpy as np
import pytest

from jaxmap import io
from jaxmap.io._open_images import _read_hierarchy

HEADER = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
BOXES = f"""{HEADER}
b,x,/m/cat,1,0.25,0.5,0.5,0.75,0,0,0,0,0
a,x,/m/dog,1,0,0.5,0.25,1,0,0,1,0,0

b,x,/m/car,1,0,1,0,1,0,0,-1,0,0
"""
LABELS = """ImageID,Source,LabelName,Confidence
a,verification,/m/cat,0
c,verification,/m/animal,0
c,verification,/m/car,1
b,verification,/m/rose,1
d,verification,/m/cat,1
"""
NAMES = '/m/cat,Cat\n/m/dog,"Dog, tame"\n/m/animal,Animal\n'
TREE = {
    "LabelName": "/m/entity",
    "Subcategory": [
        {"LabelName": "/m/animal", "Subcategory": [{"LabelName": "/m/cat"}, {"LabelName": "/m/dog"}]},
        {"LabelName": "/m/car", "Part": [{"LabelName": "/m/wheel"}]},
    ],
}
DETECTIONS = """LabelName,ImageID,Score,XMin,XMax,YMin,YMax
/m/dog,a,0.5,0,0.5,0.25,0.75
/m/cat,b,0.25,0.25,0.5,0.5,0.75
"""


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    for name, text in {"boxes": BOXES, "labels": LABELS, "names": NAMES, "detections": DETECTIONS}.items():
        (tmp_path / f"{name}.csv").write_text(text)
    (tmp_path / "tree.json").write_text(json.dumps(TREE))
    return tmp_path


def test_boxes_are_read(folder: pathlib.Path) -> None:
    table = io.read_open_images_ground_truths(folder / "boxes.csv")
    assert table.class_ids.tolist() == list(table.class_names) == ["/m/car", "/m/cat", "/m/dog"]
    assert table.image_ids.tolist() == ["a", "b"]
    assert table.image_index.tolist() == [1, 0, 1]
    assert table.labels.tolist() == [1, 2, 0]
    assert table.boxes.tolist() == [[0.25, 0.5, 0.25, 0.25], [0, 0.25, 0.5, 0.75], [0, 0, 1, 1]]
    assert table.area.tolist() == [0.0625, 0.375, 1.0]
    assert table.crowd.tolist() == [False, True, False]  # -1, not known, is no group
    assert table.ids.tolist() == [0, 1, 2]
    assert table.verified is not None
    assert table.verified.tolist() == [[False, False, True], [True, True, False]]  # what has boxes there


def test_image_level_labels_say_what_else_was_searched_for(folder: pathlib.Path) -> None:
    table = io.read_open_images_ground_truths(folder / "boxes.csv", image_labels=folder / "labels.csv")
    assert table.image_ids.tolist() == ["a", "b", "c", "d"]  # also those without boxes
    assert table.class_names == ("/m/car", "/m/cat", "/m/dog")  # without boxes a class has no AP
    verified = [[False, True, True], [True, True, False], [True, False, False], [False, True, False]]
    assert table.verified is not None
    assert table.verified.tolist() == verified


def test_hierarchy_lifts_boxes_and_what_is_there_and_lowers_what_is_not(folder: pathlib.Path) -> None:
    table = io.read_open_images_ground_truths(
        folder / "boxes.csv", image_labels=folder / "labels.csv", hierarchy=folder / "tree.json"
    )
    # The cat and the dog are animals; the root is no class, and a wheel is part of a car and none itself.
    assert table.class_names == ("/m/animal", "/m/car", "/m/cat", "/m/dog")
    assert table.ids.tolist() == [0, 0, 1, 1, 2]
    assert table.labels.tolist() == [2, 0, 3, 0, 1]
    assert table.crowd.tolist() == [False, False, True, True, False]
    assert table.verified is not None
    assert table.verified.tolist() == [
        [True, False, True, True],  # a: dog, so animal; no cat
        [True, True, True, False],  # b: cat, so animal; car
        [True, True, True, True],  # c: no animal, so neither cat nor dog; car
        [True, False, True, False],  # d: cat, so animal
    ]


def test_class_may_stand_in_several_places_of_the_hierarchy(tmp_path: pathlib.Path) -> None:
    # The tensorflow script's lists name P twice above C here, which would double its boxes.
    node = {"LabelName": "P", "Subcategory": [{"LabelName": "C"}]}
    tree = {"LabelName": "R", "Subcategory": [{"LabelName": one, "Subcategory": [node]} for one in "XY"]}
    (tmp_path / "tree.json").write_text(json.dumps(tree))
    above, below = _read_hierarchy(tmp_path / "tree.json")
    assert above == {"X": set(), "Y": set(), "P": {"X", "Y"}, "C": {"X", "Y", "P"}}
    assert below == {"X": {"P", "C"}, "Y": {"P", "C"}, "P": {"C"}}


def test_descriptions_name_classes_and_choose_them(folder: pathlib.Path) -> None:
    with pytest.warns(UserWarning, match="ignored 1 of 3 boxes, of classes that are not described: '/m/car'"):
        table = io.read_open_images_ground_truths(folder / "boxes.csv", class_descriptions=folder / "names.csv")
    assert table.class_ids.tolist() == ["/m/cat", "/m/dog"]
    assert table.class_names == ("Cat", "Dog, tame")
    assert table.ids.tolist() == [0, 1]


def test_detections_are_read(folder: pathlib.Path) -> None:
    truth = io.read_open_images_ground_truths(folder / "boxes.csv")
    packed = folder / "detections.csv.gz"
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + DETECTIONS.encode()))  # with a byte order mark
    for path in (folder / "detections.csv", packed):
        assert io.is_open_images(path)
        found = io.read_open_images_detections(path, truth)
        assert found.image_index.tolist() == [0, 1]
        assert found.labels.tolist() == [2, 1]
        assert found.scores.tolist() == [0.5, 0.25]
        assert found.boxes.tolist() == [[0, 0.25, 0.5, 0.5], [0.25, 0.5, 0.25, 0.25]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/m/dog,z,0.9,0,1,0,1", "of images that the ground truths do not name: 'z'"),
        ("/m/owl,a,0.9,0,1,0,1", "of classes that have no boxes in the ground truths: '/m/owl'"),
        ("/m/dog,a,0.9,0.5,0.5,0,1", "whose boxes have no area"),
        ("/m/dog,a,0.9,1,0,1,0", "whose boxes have no area"),
    ],
)
def test_detection_that_cannot_count_is_left_out(folder: pathlib.Path, line: str, message: str) -> None:
    truth = io.read_open_images_ground_truths(folder / "boxes.csv")
    (folder / "detections.csv").write_text(DETECTIONS.replace("\n/m/dog", f"\n{line}\n/m/dog"))
    with pytest.warns(UserWarning, match=f"ignored 1 of 3 detections, {message}"):
        found = io.read_open_images_detections(folder / "detections.csv", truth)
    assert found.ids.tolist() == [1, 2]


def test_descriptions_may_have_a_third_column_of_numbers(folder: pathlib.Path) -> None:
    (folder / "names.csv").write_text("/m/cat,Cat,1\n/m/dog,Dog,2\n/m/car,Car,3\n")
    table = io.read_open_images_ground_truths(folder / "boxes.csv", class_descriptions=folder / "names.csv")
    assert table.class_names == ("Car", "Cat", "Dog")


def test_the_image_that_is_meant_is_shown(folder: pathlib.Path) -> None:
    truth = io.read_open_images_ground_truths(folder / "boxes.csv")
    (folder / "detections.csv").write_text(DETECTIONS.replace("dog,a", "dog,a.jpg"))
    with pytest.warns(UserWarning, match=r"not name: 'a\.jpg'; known are 'a', 'b'; does 'a\.jpg' stand for 'a'\?"):
        io.read_open_images_detections(folder / "detections.csv", truth)


@pytest.mark.parametrize(("cut", "warned"), [(0, False), (1, False), (2, True)])
def test_a_last_number_that_may_be_cut_off_is_said_once(folder: pathlib.Path, cut: int, warned: bool) -> None:
    truth = io.read_open_images_ground_truths(folder / "boxes.csv")
    (folder / "detections.csv").write_text(DETECTIONS[: len(DETECTIONS) - cut])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = io.read_open_images_detections(folder / "detections.csv", truth)
    assert found.boxes[1, 3] == pytest.approx([0.25, 0.25, 0.2][cut])
    assert [str(one.message).count("as if it were cut off") for one in caught] == [1] * warned


def test_boxes_that_end_before_they_start_are_said_once(folder: pathlib.Path) -> None:
    (folder / "boxes.csv").write_text(BOXES.replace("0.25,0.5,0.5,0.75", "0.5,0.25,0.5,0.75"))
    with pytest.warns(
        UserWarning, match=r"1 of 3 boxes end before they start.*from \(0\.5, 0\.5\) to \(0\.25, 0\.75\)"
    ):
        io.read_open_images_ground_truths(folder / "boxes.csv")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("boxes", BOXES.replace("IsGroupOf", "IsGroup"), "expected the columns ImageID, LabelName, XMin"),
        ("boxes", "", "expected the columns ImageID, LabelName, XMin"),
        ("boxes", "\n", "expected the columns ImageID, LabelName, XMin"),
        ("boxes", f"{HEADER}\n", "no boxes in it"),
        ("boxes", BOXES.replace("0.25,0.5,0.5", "0.25,wide,0.5"), "line 2: `XMax` must be a finite number, got 'wide'"),
        ("boxes", BOXES.replace("0,1,0,1", "0,nan,0,1"), "line 5: `XMax` must be a finite number, got 'nan'"),
        ("boxes", f"{BOXES}b,x\n", "line 6: expected 13 values, as in line 1, got 2"),
        ("labels", "ImageID,LabelName\n", "expected the columns ImageID, LabelName, Confidence"),
        ("names", NAMES + "/m/cat\n", "line 4: expected `LabelName,name` or `LabelName,name,number`, got '/m/cat'"),
        ("names", "/m/cat,Cat, tame\n", "put a name with a comma into quotes"),
        ("names", NAMES + "/m/cat,Dog\n", "line 4: '/m/cat' is named 'Dog', but 'Cat' above; keep one of them"),
        ("names", "/m/owl,Owl\n", "no boxes in it, or none of a class that is described"),
        ("boxes", "\xff", "not a CSV file in UTF-8"),
        ("boxes", BOXES + "b,x,/m/car,1,0,1,0,1,0,0,0,0\n", "line 6: expected 13 values, as in line 1, got 12"),
        ("boxes", BOXES + "b,x,/m/car,1,0,1,0,1,0,0,0,0,0,0\n", "line 6: expected 13 values, as in line 1, got 14"),
        (
            "boxes",
            BOXES + 'b,"x,/m/car,1,0,1,0,1,0,0,0,0,0\nb,x,/m/car,1,0,1,0,1,0,0,0,0,0\n',
            "unexpected end of data",
        ),
        ("boxes", BOXES.replace("Source", "XMin"), "expected the columns ImageID, LabelName, XMin"),
        ("boxes", BOXES.replace("\na,x", "\n,x"), "line 3: `ImageID` is empty; every line needs one"),
        ("boxes", BOXES.replace("x,/m/car", "x,"), "line 5: `LabelName` is empty; every line needs one"),
        ("boxes", BOXES.replace("0,-1,0,0", "0,0.5,0,0"), "line 5: `IsGroupOf` must be one of -1, 0, 1, got '0.5'"),
        ("boxes", BOXES.replace("0,1,0,1", "0,1_0,0,1"), "line 5: `XMax` must be a finite number, got '1_0'"),
        ("labels", LABELS.replace("cat,1", "cat,0.7"), "line 6: `Confidence` must be one of 0, 1, got '0.7'"),
    ],
)
def test_fault_is_named(folder: pathlib.Path, name: str, text: str, message: str) -> None:
    (folder / f"{name}.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=re.escape(message)):
        io.read_open_images_ground_truths(
            folder / "boxes.csv", image_labels=folder / "labels.csv", class_descriptions=folder / "names.csv"
        )


def test_a_hierarchy_too_deep_is_refused(folder: pathlib.Path) -> None:
    depth = 100_000  # beyond what any version of Python reads
    tree = '{"LabelName": "a", "Subcategory": [' * depth + "]}" * depth
    (folder / "tree.json").write_text(tree)
    with pytest.raises(ValueError, match=r"tree\.json: "):
        io.read_open_images_ground_truths(folder / "boxes.csv", hierarchy=folder / "tree.json")


@pytest.mark.parametrize(
    "tree",
    [
        [],
        {"LabelName": "R", "Subcategory": [{"Name": "X"}]},
        {"LabelName": "R", "Subcategory": 3},
        {"Subcategory": [3]},
    ],
)
def test_fault_of_the_hierarchy_is_named(folder: pathlib.Path, tree: object) -> None:
    (folder / "tree.json").write_text(json.dumps(tree))
    with pytest.raises(ValueError, match="expected a tree of objects with `LabelName`"):
        io.read_open_images_ground_truths(folder / "boxes.csv", hierarchy=folder / "tree.json")


def test_long_file_is_read_in_pieces(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = io.read_open_images_ground_truths(folder / "boxes.csv")
    monkeypatch.setattr("jaxmap.io._csv._LINES_AT_ONCE", 2)
    pieces = io.read_open_images_ground_truths(folder / "boxes.csv")
    for name, column in vars(whole).items():
        np.testing.assert_array_equal(getattr(pieces, name), column)
