"""Text files as tools write them: byte order marks, line ends, blanks, numbers, names, cut lines; and odd XML."""

from __future__ import annotations

import codecs
import itertools
import pathlib
import re
import warnings

import numpy as np
import pytest

from jaxmap import io
from jaxmap.io._lines import finite_number, finite_numbers, known_names, lines_of
from jaxmap.types import GroundTruthTable

QUAD = "10 20 40 20 40 30 10 30"
BOX = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>{}</xmax><ymax>40</ymax></bndbox>"


def annotation(name: str = "car", xmax: object = 30, *, tag: str = "object", before: str = "") -> str:
    return f"{before}<annotation><{tag}><name>{name}</name>{BOX.format(xmax)}</{tag}></annotation>"


@pytest.fixture
def voc(tmp_path: pathlib.Path) -> pathlib.Path:
    """Two images with a car each, one of which has blanks in its name."""
    (tmp_path / "xml").mkdir()
    for image in ("000012", "my  cat 3"):
        (tmp_path / "xml" / f"{image}.xml").write_text(annotation())
    (tmp_path / "txt").mkdir()
    return tmp_path


@pytest.fixture
def truth(voc: pathlib.Path) -> GroundTruthTable:
    return io.read_voc_ground_truths(voc / "xml")


# ---- numbers ----


@pytest.mark.parametrize("text", ["0", "-0.5", "+1e3", ".5", "5.", "1E-3", "1" * 300, "1e-400"])
def test_plain_decimal_notation_is_a_number(text: str) -> None:
    assert finite_number(text) == float(text)
    found = finite_numbers([text, "1"])
    assert found is not None
    assert found.tolist() == [float(text), 1]


@pytest.mark.parametrize(
    "text", ["", "nan", "-inf", "Infinity", "1e999", "1_000", "0x10", "\uff11", "\u0661", "1,5", "1e", "--1"]
)
def test_everything_else_is_none(text: str, voc: pathlib.Path, truth: GroundTruthTable) -> None:
    assert finite_number(text) is None
    assert finite_numbers(["1", text]) is None
    if text:
        (voc / "txt" / "car.txt").write_text(f"000012 0.5 1 2 3 4\n000012 {text} 1 2 3 4\n")
        with pytest.raises(ValueError, match="line 2: `score` must be a finite number, got '"):
            io.read_voc_detections(voc / "txt", truth)


# ---- lines ----


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_marks_and_line_ends_of_all_systems_are_read(
    voc: pathlib.Path, truth: GroundTruthTable, mark: bytes, end: str
) -> None:
    (voc / "txt" / "car.txt").write_bytes(mark + f"000012 0.5 1 2 30 40{end}{end}000012 0.25 1 2 3 4{end}".encode())
    assert io.read_voc_detections(voc / "txt", truth).scores.tolist() == [0.5, 0.25]
    (voc / "list.txt").write_bytes(mark + f"000012{end}my  cat 3{end}".encode())
    assert len(io.read_voc_ground_truths(voc / "xml", image_list=voc / "list.txt").image_ids) == 2
    (voc / "xml" / "000012.xml").write_bytes(mark + annotation().replace("><", f">{end}<").encode())
    assert io.read_voc_ground_truths(voc / "xml").boxes[0].tolist() == [0, 1, 30, 39]
    (voc / "labels").mkdir()
    (voc / "labels" / "P1.txt").write_bytes(
        mark + f"imagesource:x{end}{QUAD} ship 0{end}{QUAD} large ship 1{end}".encode()
    )
    dota = io.read_dota_ground_truths(voc / "labels")
    assert dota.class_names == ("large ship", "ship")
    assert dota.ignore.tolist() == [False, True]
    (voc / "boxes.csv").write_bytes(
        mark + f"ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf{end}a,/m/cat,0,1,0,1,0{end}".encode()
    )
    assert io.read_open_images_ground_truths(voc / "boxes.csv").image_ids.tolist() == ["a"]


def test_only_line_ends_end_a_line() -> None:
    text = "one\x0btwo\x0cthree\x1cfour\x85five\u2028six"  # at all of which Python's splitlines() cuts
    assert lines_of("list.txt", text.encode()) == [text]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_encodings_are_named(voc: pathlib.Path, truth: GroundTruthTable, encoding: str) -> None:
    (voc / "car.txt").write_bytes("000012 0.5 1 2 30 40\n".encode(encoding))
    (voc / "dt.csv").write_bytes("LabelName,ImageID,Score\n".encode(encoding))
    for path, read in ((voc / "car.txt", io.read_voc_detections), (voc / "dt.csv", io.read_open_images_detections)):
        with pytest.raises(ValueError, match=rf"{path.name}.*: .*UTF-16"):
            read(path, truth)
    (voc / "car.txt").write_bytes(b"000012 0.5 1 2 30 40\n" + bytes(512))  # as after a crash of the machine
    with pytest.raises(ValueError, match=r"line 2: .* because it has zero bytes; it is damaged"):
        io.read_voc_detections(voc / "car.txt", truth)


def test_names_of_images_may_have_blanks(voc: pathlib.Path, truth: GroundTruthTable) -> None:
    (voc / "txt" / "car.txt").write_text("my  cat 3 0.5 1 2 30 40\n  000012\t0.25 1 2  3 4  \n")
    found = io.read_voc_detections(voc / "txt", truth)
    assert found.image_index.tolist() == [1, 0]
    assert found.scores.tolist() == [0.5, 0.25]
    (voc / "list.txt").write_text("my  cat 3 \n")
    assert io.read_voc_ground_truths(voc / "xml", image_list=voc / "list.txt").image_ids.tolist() == ["my  cat 3"]
    (voc / "labels").mkdir()
    (voc / "labels" / "an image.txt").write_text(f"{QUAD} ship 0\n")
    dota = io.read_dota_ground_truths(voc / "labels")
    (voc / "labels" / "ship.txt").write_text(f"an image 0.5 {QUAD}\n")
    assert io.read_dota_detections(voc / "labels" / "ship.txt", dota).image_index.tolist() == [0]
    (voc / "txt" / "car.txt").write_text("000012 0.5 1 2 30 40 7\n")  # one number too many is no name with a blank
    with pytest.raises(ValueError, match=r"line 1: expected `image score x1 y1 x2 y2`, got '000012 0.5 1 2 30 40 7'"):
        io.read_voc_detections(voc / "txt", truth)


# ---- names ----


@pytest.mark.parametrize("unknown", ["000012.jpg", "images/000012.png", "C:\\data\\000012.JPG", "12", "0000012"])
def test_the_image_that_is_meant_is_shown(voc: pathlib.Path, truth: GroundTruthTable, unknown: str) -> None:
    message = rf"known are '000012', 'my  cat 3'; does {re.escape(repr(unknown))} stand for '000012'\?"
    (voc / "txt" / "car.txt").write_text(f"{unknown} 0.5 1 2 30 40\n")
    with pytest.raises(ValueError, match=f"not among the 2 of the ground truths; {message}"):
        io.read_voc_detections(voc / "txt", truth)
    with pytest.raises(ValueError, match=f"no annotation for 1 of 2 images of the list: .*{message}"):
        io.read_voc_ground_truths(voc / "xml", image_list=[unknown, "000012"])


def test_known_names_are_shown_also_where_none_is_like_the_unknown() -> None:
    assert known_names(["x"], list("abcdefg")) == "known are 'a', 'b', 'c', 'd', 'e' and 2 more"
    assert known_names(["IMG_1"], ["img_1.jpg"]) == "known are 'img_1.jpg'; does 'IMG_1' stand for 'img_1.jpg'?"
    assert known_names(["x"], []) == "none is known"


@pytest.mark.parametrize("flag", ["-1", " 0", " 1"])
def test_a_list_with_a_second_column_is_explained(voc: pathlib.Path, flag: str) -> None:
    (voc / "car_test.txt").write_text(f"000012 {flag}\n")
    with pytest.raises(ValueError, match=r"second column marks the images of one class; .* such as test\.txt"):
        io.read_voc_ground_truths(voc / "xml", image_list=voc / "car_test.txt")


def test_names_may_come_in_any_collection(voc: pathlib.Path) -> None:
    for ids in (["000012"], ("000012",), {"000012"}, np.array(["000012"]), iter(["000012"])):
        assert io.read_voc_ground_truths(voc / "xml", image_list=ids).image_ids.tolist() == ["000012"]
    with pytest.raises(TypeError, match="`image_list` must be a file or the ids of images, got 12"):
        io.read_voc_ground_truths(voc / "xml", image_list=12)


def test_messages_show_the_beginning_of_a_long_line(voc: pathlib.Path, truth: GroundTruthTable) -> None:
    long = "x" * 100_000
    for name in ("car.txt", "P1.txt", "gt.csv", "list.txt"):
        (voc / name).write_text(long)
    for read in (
        lambda: io.read_voc_detections(voc / "car.txt", truth),
        lambda: io.read_dota_ground_truths(voc / "P1.txt"),
        lambda: io.read_open_images_ground_truths(voc / "gt.csv"),
        lambda: io.read_voc_ground_truths(voc / "xml", image_list=voc / "list.txt"),
    ):
        with pytest.raises(ValueError, match=r"xxxx\.\.\.'") as caught:
            read()
        assert len(str(caught.value)) < 500


# ---- cut lines ----

CUT = "000012 0.5 1 2 30 40.125\n000012 0.25 1 2 3 40.1"


@pytest.mark.parametrize(
    ("files", "cut"),
    [
        ({"car": CUT}, "car"),
        ({"car": CUT, "dog": "000012 0.5 1 2 30 40\n"}, "car"),
        ({"car": CUT, "dog": CUT.replace("\n000012 0.25", "\n")}, None),  # no file ends its last line
        ({"car": CUT + "\n"}, None),
        ({"car": CUT + "25"}, None),  # as long as another
        ({"car": "000012 0.5 1 2 30 4"}, None),  # nothing to compare with
        ({"car": "", "dog": ""}, None),
    ],
)
def test_a_last_line_that_may_be_cut_off_is_said_once(
    voc: pathlib.Path, files: dict[str, str], cut: str | None
) -> None:
    (voc / "xml" / "dog.xml").write_text(annotation("dog"))
    truth = io.read_voc_ground_truths(voc / "xml")
    for name, text in ({"car": "", "dog": ""} | files).items():
        (voc / "txt" / f"{name}.txt").write_text(text.replace("\n 1", "\n000012 0.25 1"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        io.read_voc_detections(voc / "txt", truth)
    messages = [str(one.message) for one in caught]
    assert len(messages) == (cut is not None)
    assert all(f"{cut}.txt: the file ends within a line that is shorter than others" in one for one in messages)


def test_a_dota_file_that_lacks_its_last_flag_is_said_once(tmp_path: pathlib.Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(f"{QUAD} ship 0\n{QUAD} shi")
    with pytest.warns(UserWarning, match=r"a\.txt: .* as if it were cut off \(like 1 more\)") as caught:
        io.read_dota_ground_truths(tmp_path)
    assert len(caught) == 1
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(f"{QUAD} ship\n{QUAD} ship")
    io.read_dota_ground_truths(tmp_path)  # nothing to say: no line has the flag


# ---- XML ----


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<?xml version="1.0" encoding="klingon"?>' + annotation(), r"bad\.xml: not valid XML \(unknown encoding"),
        ('<?xml version="1.0" encoding="rot13"?>' + annotation(), r"bad\.xml: not valid XML \("),
        ('<?xml version="1.0" encoding="shift_jis"?>' + annotation(), r"bad\.xml: not valid XML \("),
        ('<!DOCTYPE a [<!ENTITY b "car">]>' + annotation("&b;"), r"bad\.xml: entities are not read"),
        (annotation("&b;"), r"bad\.xml: not valid XML \(undefined entity"),
        (annotation()[:-20], r"bad\.xml: not valid XML"),
        (annotation().replace("<annotation>", '<annotation xmlns="a">'), r"expected a VOC <annotation>, got <\{a\}"),
        (annotation(tag="Object"), "must be directly inside <annotation>, in lower case and without a namespace"),
        (annotation(tag="o:object").replace("<annotation>", '<annotation xmlns:o="a">'),
         "must be directly inside <annotation>"),
        (annotation().replace("<object>", "<objects><object>").replace("</object>", "</object></objects>"),
         "must be directly inside <annotation>"),
        (annotation().replace("</object>", BOX.format(3) + "</object>"), "object 1: expected one <bndbox>, got 2"),
        (annotation().replace("bndbox", "robndbox"), "expected one <bndbox>, got 0 and <name>, <robndbox>"),
        (annotation(xmax="1_0"), "<bndbox><xmax> must be a finite number, got '1_0'"),
        (annotation(xmax="<a>3</a>"), "<bndbox><xmax> must be a finite number, got ''"),
        ("<a>" * 100_000, "not valid XML"),
    ],
)  # fmt: skip
def test_odd_xml_is_refused(voc: pathlib.Path, text: str, message: str) -> None:
    (voc / "xml" / "bad.xml").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        io.read_voc_ground_truths(voc / "xml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_xml_in_an_encoding_that_it_declares_is_read(tmp_path: pathlib.Path, encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?>' + annotation("caf\u00e9")
    (tmp_path / "1.xml").write_bytes(text.encode(encoding))
    assert io.read_voc_ground_truths(tmp_path).class_names == ("caf\u00e9",)


def test_a_bomb_of_entities_in_another_encoding_is_refused(tmp_path: pathlib.Path) -> None:
    names = "abcdefghi"
    entities = "".join(f'<!ENTITY {one} "{f"&{inner};" * 10}">' for inner, one in itertools.pairwise(names))
    text = f'<?xml version="1.0" encoding="utf-16"?><!DOCTYPE z [<!ENTITY a "{"car" * 99}">{entities}]>'
    (tmp_path / "1.xml").write_bytes((text + annotation("&i;")).encode("utf-16"))
    with pytest.raises(ValueError, match=r"1\.xml: "):
        io.read_voc_ground_truths(tmp_path)


def test_boxes_that_end_before_they_start_are_said_once(voc: pathlib.Path) -> None:
    (voc / "xml" / "a.xml").write_text(annotation(xmax=0))
    (voc / "xml" / "b.xml").write_text(annotation(xmax=-5))
    with pytest.warns(UserWarning, match=r"2 of 4 boxes end before they start.*from \(1, 2\) to \(0, 40\)") as caught:
        truth = io.read_voc_ground_truths(voc / "xml")
    assert len(caught) == 1
    assert truth.boxes[1].tolist() == [0, 1, 0, 39]


# ---- quadrilaterals ----


def test_flat_and_crossed_quadrilaterals_are_said_once_each(tmp_path: pathlib.Path) -> None:
    flat, crossed = "1 1 5 5 9 9 3 3", "10 20 40 30 40 20 10 30"
    (tmp_path / "a.txt").write_text(f"{QUAD} ship 0\n{flat} ship 0\n{crossed} ship 0\n{crossed} ship 0\n")
    with pytest.warns(UserWarning, match="quadrilaterals") as caught:
        table = io.read_dota_ground_truths(tmp_path)
    messages = [str(one.message) for one in caught]
    assert len(messages) == 2
    assert "1 of 4 quadrilaterals have no area" in messages[0]
    assert "corners 1 1 5 5 9 9 3 3" in messages[0]
    assert "2 of 4 quadrilaterals cross themselves; the rectangle around all four corners is used" in messages[1]
    assert table.oriented is not None
    np.testing.assert_allclose(table.oriented[2], [25, 25, 10, 30, -np.pi / 2])
    assert table.area[1] == pytest.approx(0, abs=1e-12)


def test_yolo_labels_of_oriented_boxes_are_no_dota(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.txt").write_text("0 0.1 0.2 0.3 0.2 0.3 0.4 0.1 0.4\n")
    with pytest.raises(
        ValueError, match=r"line 1: expected `x1 .* class difficult`, got .*; it looks like YOLO's labels"
    ):
        io.read_dota_ground_truths(tmp_path)
