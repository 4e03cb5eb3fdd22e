"""VOC's files to tables: pixels to boxes, difficult objects, image lists, archives; and what is said of bad files."""

from __future__ import annotations

import gzip
import io as bytes_io
import pathlib
import tarfile
import warnings

import numpy as np
import pytest

from jaxmap import io
from jaxmap.types import GroundTruthTable

CAR, DOG = ("car", 0, (1, 11, 20, 30)), ("dog", 1, (5, 5, 5, 5))


def xml(*objects: tuple[str, object, tuple[object, ...]], extra: str = "") -> str:
    """Returns an annotation with (class, difficult, corners) objects; a difficult of None is left out."""
    corners = "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"
    texts = [
        f"<object><name>{name}</name>"
        + ("" if difficult is None else f"<difficult>{difficult}</difficult>")
        + corners.format(*box)
        + extra
        + "</object>"
        for name, difficult, box in objects
    ]
    return f"<annotation><folder>VOC2007</folder>{''.join(texts)}</annotation>"


@pytest.fixture
def voc(tmp_path: pathlib.Path) -> pathlib.Path:
    """Two images of two classes with three detections, as VOCdevkit lays them out."""
    files = {
        "Annotations/000002.xml": xml(CAR),
        "Annotations/000001.xml": xml(CAR, DOG),
        "Annotations/._000001.xml": "left by a file manager",
        "ImageSets/test.txt": "000002\n\n000001\n",
        "results/comp4_det_test_car.txt": "000002 0.5 1 11 20 30\n\n000001 0.25 1.5 2 3.5 4\n",
        "results/comp4_det_test_dog.txt": "000001 1e-3 -1 0 10 10\r\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def truth(voc: pathlib.Path) -> GroundTruthTable:
    return io.read_voc_ground_truths(voc / "Annotations")


def archive(folder: pathlib.Path, path: pathlib.Path) -> pathlib.Path:
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    return path


# ---- what is read ----


def test_ground_truths_are_pixels_counted_from_one(truth: GroundTruthTable) -> None:
    assert truth.image_ids.tolist() == ["000001", "000002"]
    assert truth.class_names == ("car", "dog")
    assert truth.image_index.tolist() == [0, 0, 1]
    assert truth.labels.tolist() == [0, 1, 0]
    assert truth.ignore.tolist() == [False, True, False]
    assert not truth.crowd.any()
    assert truth.ids.tolist() == [0, 1, 0]
    # Pixels 1 to 20 start at 0 and are 20 wide; a single pixel has area 1.
    assert truth.boxes.tolist() == [[0, 10, 20, 20], [4, 4, 1, 1], [0, 10, 20, 20]]
    assert truth.area.tolist() == [400, 1, 400]


def test_detections_are_read_in_the_order_of_files_and_lines(voc: pathlib.Path, truth: GroundTruthTable) -> None:
    found = io.read_voc_detections(voc / "results", truth)
    assert found.image_index.tolist() == [1, 0, 0]
    assert found.labels.tolist() == [0, 0, 1]
    assert found.scores.tolist() == [0.5, 0.25, 0.001]
    assert found.boxes.tolist() == [[0, 10, 20, 20], [0.5, 1, 3, 3], [-2, -1, 12, 11]]
    assert found.ids.tolist() == [0, 1, 2]


def test_plain_corners_are_taken_as_they_are(voc: pathlib.Path) -> None:
    truth = io.read_voc_ground_truths(voc / "Annotations", inclusive=False)
    assert truth.boxes.tolist() == [[1, 11, 19, 19], [5, 5, 0, 0], [1, 11, 19, 19]]
    found = io.read_voc_detections(voc / "results", truth, inclusive=False)
    assert found.boxes[1].tolist() == [1.5, 2, 2, 2]


@pytest.mark.parametrize("packed", [False, True])
def test_image_list_decides_which_images_count(voc: pathlib.Path, packed: bool) -> None:
    path = voc / "list.txt"
    path.write_bytes(gzip.compress(b"000002\n") if packed else b"000002\n")
    truth = io.read_voc_ground_truths(voc / "Annotations", image_list=path)
    assert truth.image_ids.tolist() == ["000002"]
    assert truth.image_index.tolist() == [0]
    assert truth.class_names == ("car", "dog")  # dogs of other images keep their class
    ids = io.read_voc_ground_truths(voc / "Annotations", image_list=["000002", "000001"]).image_ids
    assert ids.tolist() == ["000001", "000002"]


def test_archives_patterns_and_single_files_read_alike(voc: pathlib.Path, truth: GroundTruthTable) -> None:
    packed = io.read_voc_ground_truths(archive(voc / "Annotations", voc / "annotations.tar.gz"))
    for name, column in vars(truth).items():
        assert np.array_equal(getattr(packed, name), column), name
    expected = io.read_voc_detections(voc / "results", truth)
    for source in (archive(voc / "results", voc / "results.tgz"), voc / "results" / "comp4_det_*_*.txt"):
        found = io.read_voc_detections(source, truth)
        for name, column in vars(expected).items():
            assert np.array_equal(getattr(found, name), column), name
    with pytest.warns(UserWarning, match="no file for 1 of 2 classes, which count as never detected: 'dog'"):
        alone = io.read_voc_detections(voc / "results" / "comp4_det_test_car.txt", truth)
    assert alone.scores.tolist() == [0.5, 0.25]


def test_annotations_are_found_below_a_folder(voc: pathlib.Path, truth: GroundTruthTable) -> None:
    assert io.read_voc_ground_truths(voc).boxes.tolist() == truth.boxes.tolist()


def test_difficult_may_be_missing_and_parts_are_no_objects(tmp_path: pathlib.Path) -> None:
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    (tmp_path / "7.xml").write_text(xml(("person", None, ("1.5", " 2 ", 3, 4)), extra=part))
    truth = io.read_voc_ground_truths(tmp_path)
    assert truth.class_names == ("person",)
    assert truth.ignore.tolist() == [False]
    assert truth.boxes.tolist() == [[0.5, 1, 2.5, 3]]


def test_images_without_objects_or_detections_count(voc: pathlib.Path) -> None:
    (voc / "Annotations" / "000003.xml").write_text(xml())
    truth = io.read_voc_ground_truths(voc / "Annotations")
    assert len(truth.image_ids) == 3
    for file in (voc / "results").iterdir():
        file.write_text("")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = io.read_voc_detections(voc / "results", truth)
    assert found.boxes.shape == (0, 4)
    assert found.image_index.dtype == np.int64


def test_files_named_after_the_class_alone_are_read(voc: pathlib.Path, truth: GroundTruthTable) -> None:
    for file in (voc / "results").iterdir():
        file.rename(file.with_name(file.name.removeprefix("comp4_det_test_")))
    assert io.read_voc_detections(voc / "results", truth).labels.tolist() == [0, 0, 1]


def test_kind_is_told_by_folder_or_archive(voc: pathlib.Path) -> None:
    assert io.is_voc(voc / "Annotations")
    assert io.is_voc(archive(voc / "Annotations", voc / "a.tar.gz"))
    (voc / "gt.json.gz").write_bytes(gzip.compress(b"{}"))
    assert not io.is_voc(voc / "gt.json.gz")
    assert not io.is_voc(voc / "missing")


# ---- what is refused ----


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation><object>", r"bad\.xml: not valid XML \(.*line 1, column"),
        ("<html></html>", r"bad\.xml: expected a VOC <annotation>, got <html>"),
        (xml(CAR, ("", 0, (1, 2, 3, 4))), r"bad\.xml: object 2: <name> must be the class of the object, got none"),
        (xml(CAR, ("car", 2, (1, 2, 3, 4))), r"object 2: <difficult> must be 0 or 1, got '2'"),
        (xml(("car", 0, (1, "two", 3, 4))), r"object 1: <bndbox><ymin> must be a finite number, got 'two'"),
        (xml(("car", 0, (1, 2, "nan", 4))), r"object 1: <bndbox><xmax> must be a finite number, got 'nan'"),
        (
            "<annotation><object><name>car</name></object></annotation>",
            r"object 1: expected one <bndbox>, got 0 and <name>",
        ),
    ],
)
def test_bad_annotation_names_file_object_and_field(voc: pathlib.Path, text: str, message: str) -> None:
    (voc / "Annotations" / "bad.xml").write_text(text)
    with pytest.raises(ValueError, match=message):
        io.read_voc_ground_truths(voc / "Annotations")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("000001 0.5 1 2 3 4\n000001 0.5 1 2 3", r"car\.txt, line 2: expected `image score x1 y1 x2 y2`, got '000001"),
        ("\n000009 0.5 1 2 3 4", r"car\.txt, line 2: image '000009' is not among the 2 of the ground truths"),
        ("000001 high 1 2 3 4", r"car\.txt, line 1: `score` must be a finite number, got 'high'"),
        ("000001 0.5 1 2 3 inf", r"car\.txt, line 1: `y2` must be a finite number, got 'inf'"),
    ],
)
def test_bad_line_names_file_line_and_field(
    voc: pathlib.Path, truth: GroundTruthTable, text: str, message: str
) -> None:
    (voc / "results" / "comp4_det_test_car.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        io.read_voc_detections(voc / "results", truth)


def test_unknown_and_repeated_classes_are_named(voc: pathlib.Path, truth: GroundTruthTable) -> None:
    (voc / "results" / "car.txt").write_text("")
    with pytest.raises(ValueError, match=r"car\.txt and .*comp4_det_test_car\.txt have detections of the same class"):
        io.read_voc_detections(voc / "results", truth)
    (voc / "results" / "car.txt").rename(voc / "results" / "comp4_det_test_toy_car.txt")
    with pytest.raises(ValueError, match="'toy_car' is not among the 2 classes of the ground truths, 'car', 'dog'"):
        io.read_voc_detections(voc / "results", truth)


def test_one_image_annotated_twice_is_refused(voc: pathlib.Path) -> None:
    (voc / "Annotations" / "again").mkdir()
    (voc / "Annotations" / "again" / "000001.xml").write_text(xml(CAR))
    with pytest.raises(ValueError, match=r"000001\.xml and .*000001\.xml annotate the same image, '000001'"):
        io.read_voc_ground_truths(voc / "Annotations")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("000001\n000004\n", "no annotation for 1 of 2 images of the list: '000004'; expected '000004.xml'"),
        ("000001 1\n", "expected '000001 1.xml'; its second column marks the images of one class"),
        ("000001\n000001\n", "images listed more than once: '000001'"),
        ("\n", "expected the ids of images, got none"),
    ],
)
def test_bad_image_list_is_explained(voc: pathlib.Path, text: str, message: str) -> None:
    (voc / "list.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        io.read_voc_ground_truths(voc / "Annotations", image_list=voc / "list.txt")


def test_missing_empty_and_broken_sources_are_named(voc: pathlib.Path, truth: GroundTruthTable) -> None:
    for path in (voc / "nowhere", voc / "results" / "*.csv"):
        with pytest.raises(FileNotFoundError, match=path.name.replace("*", r"\*")):
            io.read_voc_detections(path, truth)
    with pytest.raises(
        ValueError, match=r"results: no \*\.xml file in it, it has 2 of \.txt; it looks like VOC's detections"
    ):
        io.read_voc_ground_truths(voc / "results")
    (voc / "Annotations" / "000001.xml").write_text(xml())
    (voc / "Annotations" / "000002.xml").write_text(xml())
    with pytest.raises(ValueError, match="none of the 2 annotations has an object"):
        io.read_voc_ground_truths(voc / "Annotations")
    content = bytes_io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        member = tarfile.TarInfo("1.xml")
        member.size = 1 << 16
        tar.addfile(member, bytes_io.BytesIO(np.random.default_rng(0).bytes(1 << 16)))
    (voc / "cut.tar.gz").write_bytes(content.getvalue()[: 1 << 15])
    with pytest.raises(ValueError, match=r"cut\.tar\.gz: broken gzip data"):
        io.read_voc_ground_truths(voc / "cut.tar.gz")
    (voc / "results" / "comp4_det_test_car.txt").write_bytes(b"\xff\xff")
    with pytest.raises(ValueError, match=r"car\.txt: not a text file in UTF-8"):
        io.read_voc_detections(voc / "results", truth)
