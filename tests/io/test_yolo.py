"""YOLO's files to tables: fractions to pixels, datasets as Ultralytics lays them out; and what is said of bad files.

The files are written as Ultralytics 8.4 writes them (engine/results.py, `save_txt`): numbers by `%g`, the confidence
last, and no file for an image without detections.
"""

from __future__ import annotations

import pathlib
import sys
import tarfile
import warnings
from collections.abc import Mapping

import numpy as np
import pytest
from PIL import Image

import jaxmap
from jaxmap import io
from jaxmap.types import GroundTruthTable

SIZES = {"a": (100, 200), "b.1": (64, 48), "c": (10, 30)}  # height and width
YAML = "path: .\ntrain: images/train\nval: images/val\n\n# Classes\nnames:\n  0: cat\n  1: dog\n  2: tree\n"
LABELS = {
    "a": "0 0.5 0.25 0.25 0.5\n2 0.125 0.5 0.25 0.0625\n",
    "b.1": "1 0.25 0.25 0.75 0.5 0.5 0.75\n",  # a triangle
}


def write(folder: pathlib.Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def yolo(tmp_path: pathlib.Path) -> pathlib.Path:
    """Three images, one of them without labels, and detections in two of them."""
    folder = tmp_path / "data"
    write(folder, {"data.yaml": YAML} | {f"labels/val/{name}.txt": text for name, text in LABELS.items()})
    write(folder, {"runs/labels/a.txt": "0 0.5 0.25 0.25 0.5 0.875\n", "runs/labels/c.txt": "2 0.5 0.5 1 1 0.25\n"})
    (folder / "images/val").mkdir(parents=True)
    for name, (height, width) in SIZES.items():
        Image.new("RGB", (width, height)).save(folder / f"images/val/{name}.png")
    return folder


@pytest.fixture
def truth(yolo: pathlib.Path) -> GroundTruthTable:
    return io.read_yolo_ground_truths(yolo / "data.yaml")


def same(one: object, other: object) -> bool:
    def column(value: object) -> list[object]:
        return [str(each) for each in np.asarray(value).ravel().tolist()]

    skipped = {"image_files"}
    return all(column(value) == column(vars(other)[name]) for name, value in vars(one).items() if name not in skipped)


# ---- what is read ----


def test_ground_truths_are_pixels_and_images_without_labels_count(truth: GroundTruthTable) -> None:
    assert truth.image_ids.tolist() == ["a", "b.1", "c"]
    assert truth.class_names == ("cat", "dog", "tree")
    assert truth.class_ids.tolist() == [0, 1, 2]
    assert truth.image_sizes.tolist() == [list(size) for size in SIZES.values()]
    assert truth.image_index.tolist() == [0, 0, 1]
    assert truth.labels.tolist() == [0, 2, 1]
    assert truth.ids.tolist() == [0, 1, 0]
    assert truth.boxes.tolist() == [[75, 0, 50, 50], [0, 46.875, 50, 6.25], [12, 16, 24, 32]]
    assert truth.area.tolist() == [2500, 312.5, 768]
    assert not truth.crowd.any()
    assert not truth.ignore.any()


def test_detections_have_the_confidence_last_and_images_without_a_file_have_none(
    yolo: pathlib.Path, truth: GroundTruthTable
) -> None:
    found = io.read_yolo_detections(yolo / "runs" / "labels", truth)
    assert found.image_index.tolist() == [0, 2]
    assert found.labels.tolist() == [0, 2]
    assert found.scores.tolist() == [0.875, 0.25]
    assert found.boxes.tolist() == [[75, 0, 50, 50], [0, 0, 30, 10]]
    # One of three classes is found.
    assert jaxmap.evaluate(found, truth).summary["AP"] == pytest.approx(1 / 3)


def test_arithmetic_is_that_of_the_documentation_in_float64(yolo: pathlib.Path) -> None:
    write(yolo, {"labels/val/a.txt": "0 0.3333333 0.7 0.1 0.123457\n"})
    box = io.read_yolo_ground_truths(yolo).boxes[0].tolist()
    assert box == [(0.3333333 - 0.1 / 2) * 200, (0.7 - 0.123457 / 2) * 100, 0.1 * 200, 0.123457 * 100]


def test_detections_without_any_confidence_have_score_1(yolo: pathlib.Path, truth: GroundTruthTable) -> None:
    write(yolo, {"runs/labels/a.txt": "0 0.5 0.25 0.25 0.5\n", "runs/labels/c.txt": "\n"})
    assert io.read_yolo_detections(yolo / "runs/labels", truth).scores.tolist() == [1.0]
    write(yolo, {"runs/labels/c.txt": "0 0.5 0.25 0.25 0.5 0.5\n"})
    with pytest.raises(ValueError, match=r"a\.txt: lines without a confidence, which others have"):
        io.read_yolo_detections(yolo / "runs/labels", truth)


def test_one_split_in_many_layouts(yolo: pathlib.Path, truth: GroundTruthTable) -> None:
    listed = "".join(f"./images/val/{name}.png\n" for name in reversed(SIZES))
    write(yolo, {"val.txt": listed, "other/val.txt": listed.replace("./", "") + "\n"})
    for number, text in enumerate(
        [
            "nc: 3\nnames: [cat, dog, tree]\nval: images/val\n",
            f"path: {yolo}\nnames: [cat, dog, tree]\nval: images/val/\n",
            "names: ['cat', 'dog', 'tree']\nval: ../images/val\n",  # as Roboflow writes
            "names: ['cat', 'dog', 'tree']\nvalidation: val.txt\n",
            "names: ['cat', 'dog', 'tree']\nval: [val.txt, images/val]\n",
            "names: ['cat', 'dog', 'tree']\nval: other/val.txt\n",
        ]
    ):
        (yolo / "one.yml").write_text(text)
        assert same(io.read_yolo_ground_truths(yolo / "one.yml"), truth), number
    (yolo / "one.yml").unlink()
    for source in (yolo, str(yolo)):  # the folder has one data.yaml
        assert same(io.read_yolo_ground_truths(source), truth)
    for source in (yolo / "labels", yolo / "labels/val"):  # images beside them
        assert same(io.read_yolo_ground_truths(source, class_names=yolo / "data.yaml"), truth)
    (yolo / "names.txt").write_text("cat\ndog\ntree\n\n")
    assert same(io.read_yolo_ground_truths(yolo / "labels/val", class_names=yolo / "names.txt"), truth)
    assert io.read_yolo_ground_truths(yolo / "labels/val").class_names == ("0", "1", "2")
    (yolo / "labels/val/classes.txt").write_text("cat\ndog\ntree\n")  # as labelImg writes
    assert same(io.read_yolo_ground_truths(yolo / "labels/val"), truth)
    for name in SIZES:  # labels in the folder of images
        (yolo / f"images/val/{name}.png").rename(yolo / f"labels/val/{name}.png")
    assert same(io.read_yolo_ground_truths(yolo / "labels/val"), truth)


def test_another_split_and_numbered_classes(yolo: pathlib.Path) -> None:
    (yolo / "data.yaml").write_text("nc: 3\nval: nothing\ntest: images/val\n")
    truth = io.read_yolo_ground_truths(yolo, split="test")
    assert truth.class_names == ("class_0", "class_1", "class_2")
    with pytest.raises(ValueError, match=r"`train` must be a folder, .* got NoneType; the splits in it: test, val\."):
        io.read_yolo_ground_truths(yolo, split="train")


@pytest.mark.parametrize("column", ["file_name", "image", "image_id"])
def test_a_table_of_sizes_stands_for_images(yolo: pathlib.Path, truth: GroundTruthTable, column: str) -> None:
    rows = "".join(f"val/{name}.jpg,{width},{height},day\n" for name, (height, width) in SIZES.items())
    (yolo / "sizes.csv").write_text(f"{column},width,height,hour\n{rows}")
    for file in (yolo / "images/val").iterdir():
        file.write_text("not opened")
    table = {"image_sizes": yolo / "sizes.csv"}
    assert same(io.read_yolo_ground_truths(yolo, **table), truth)
    with tarfile.open(yolo / "labels.tgz", "w:gz") as archive:
        archive.add(yolo / "labels", "labels")
    packed = io.read_yolo_ground_truths(yolo / "labels.tgz", class_names=yolo / "data.yaml", **table)
    assert same(packed, truth)
    for file in (yolo / "images/val").iterdir():
        file.unlink()
    (yolo / "images/val").rmdir()
    assert same(io.read_yolo_ground_truths(yolo, **table), truth)


def test_images_turned_by_their_exif_data_have_the_size_that_is_shown(yolo: pathlib.Path) -> None:
    image, exif = Image.new("RGB", (200, 100)), Image.Exif()
    (yolo / "images/val/a.png").unlink()
    for orientation in range(1, 9):
        exif[274] = orientation
        image.save(yolo / "images/val/a.jpg", exif=exif)
        size = io.read_yolo_ground_truths(yolo).image_sizes[0].tolist()
        assert size == ([200, 100] if orientation > 4 else [100, 200]), orientation


def test_headers_alone_are_read(yolo: pathlib.Path, truth: GroundTruthTable) -> None:
    path = yolo / "images/val/a.png"
    path.write_bytes(path.read_bytes()[:64])  # the pixels are cut off
    assert same(io.read_yolo_ground_truths(yolo), truth)


def test_polygons_are_masks_and_four_corners_are_oriented_boxes(yolo: pathlib.Path) -> None:
    square, conf = "1 0.1 0.2 0.1 0.6 0.3 0.6 0.3 0.2", " 0.5"
    write(yolo, {"labels/val/a.txt": square + "\n", "labels/val/b.1.txt": "\n", "runs/labels/a.txt": square + conf})
    (yolo / "runs/labels/c.txt").unlink()
    truth = io.read_yolo_ground_truths(yolo, iou_type="segm")
    assert truth.masks is not None
    assert truth.area.tolist() == [40 * 40]
    assert truth.boxes.tolist() == [[20, 20, 40, 40]]
    found = io.read_yolo_detections(yolo / "runs/labels", truth, iou_type="segm")
    assert found.scores.tolist() == [0.5]
    assert jaxmap.evaluate(found, truth, iou_type="segm").summary["AP"] == pytest.approx(1)
    truth = io.read_yolo_ground_truths(yolo, iou_type="obb")
    assert truth.oriented is not None
    np.testing.assert_allclose(sorted(truth.oriented[0, 2:4]), [40, 40], atol=1e-12)
    found = io.read_yolo_detections(yolo / "runs/labels", truth, iou_type="obb")
    assert found.scores.tolist() == [0.5]
    assert found.oriented is not None
    assert found.oriented.tolist() == truth.oriented.tolist()


def test_repeated_lines_and_mixed_files_are_told(yolo: pathlib.Path, truth: GroundTruthTable) -> None:
    write(yolo, {"labels/val/a.txt": LABELS["a"] + LABELS["a"]})
    with pytest.warns(UserWarning, match="dropped 2 lines that repeat another line of their file"):
        assert same(io.read_yolo_ground_truths(yolo), truth)
    write(yolo, {"labels/val/a.txt": LABELS["b.1"] + LABELS["a"]})
    with pytest.warns(UserWarning, match=r"1 files have boxes and polygons, such as .*a\.txt; each line is read as"):
        mixed = io.read_yolo_ground_truths(yolo)
    assert mixed.boxes[:3].tolist() == [[50, 25, 100, 50], [75, 0, 50, 50], [0, 46.875, 50, 6.25]]


def test_numbers_slightly_outside_are_read(yolo: pathlib.Path) -> None:
    write(yolo, {"labels/val/a.txt": "0 1.01 -0.01 0.5 0.5\n"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert io.read_yolo_ground_truths(yolo).boxes[0].tolist() == [(1.01 - 0.25) * 200, -26, 100, 50]


# ---- what is refused ----


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "0 0.5 0.5 0.1",
            r"a\.txt, line 2: expected `class x y width height` or `class x1 .*, got '0 0.5 0.5 0.1'",
        ),
        ("0 0.5 0.5 0.1 0.1 0.9", "line 2: expected `class x y width height`"),
        ("0 0.5 0.5 0.1 0.1 0.9 0.8 0.7", "line 2: expected"),
        ("0 0.5 nan 0.1 0.1", "line 2: every number must be a finite number, got 'nan'"),
        ("cat 0.5 0.5 0.1 0.1", "line 2: every class must be a finite number, got 'cat'"),
        ("3 0.5 0.5 0.1 0.1", "line 2: `class` must be one of the 3 classes, 0, 1, 2, got '3'; give other names"),
        ("-1 0.5 0.5 0.1 0.1", "line 2: `class` must be one of"),
        ("0.5 0.5 0.5 0.1 0.1", "line 2: `class` must be one of"),
        ("0 0.5 0.5 12 0.1", r"line 2: coordinates must be fractions of the image, -0.01 to 1.01, got '12'; divide"),
        ("0 0.5 -0.02 0.1 0.1", "got '-0.02'"),
    ],
)
def test_invalid_lines_are_named(yolo: pathlib.Path, line: str, message: str) -> None:
    write(yolo, {"labels/val/a.txt": f"0 0.5 0.5 0.1 0.1\n{line}\n"})
    with pytest.raises(ValueError, match=message):
        io.read_yolo_ground_truths(yolo)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0.5 0.5 0.1 0.1 0.9 7", r"a\.txt, line 1: expected `class x y width height \[confidence\]`"),  # a track
        ("0 0.5 0.5 0.1 0.1 inf", "line 1: every number must be a finite number, got 'inf'"),
        ("0 50 50 10 10 0.5", "line 1: coordinates must be fractions of the image, -1 to 2, got '50'"),
        ("9 0.5 0.5 0.1 0.1 0.5", "line 1: `class` must be one of the 3 classes"),
    ],
)
def test_invalid_detections_are_named(yolo: pathlib.Path, truth: GroundTruthTable, text: str, message: str) -> None:
    write(yolo, {"runs/labels/a.txt": text})
    with pytest.raises(ValueError, match=message):
        io.read_yolo_detections(yolo / "runs/labels", truth)


def test_files_that_do_not_belong_are_named(yolo: pathlib.Path, truth: GroundTruthTable) -> None:
    write(yolo, {"runs/labels/A.txt": "0 0.5 0.5 0.1 0.1 0.5\n"})
    with pytest.raises(ValueError, match=r"image 'A' is not among the 3 .* does 'A' stand for 'a'\?"):
        io.read_yolo_detections(yolo / "runs/labels", truth)
    with pytest.raises(ValueError, match=r"no \*\.txt file in it, it has 3 of \.png"):
        io.read_yolo_detections(yolo / "images", truth)
    write(yolo, {"labels/val/d.txt": LABELS["a"]})
    with pytest.raises(ValueError, match="no image for 1 of 4 label files, 'd'; sizes of images are needed"):
        io.read_yolo_ground_truths(yolo / "labels")
    assert io.read_yolo_ground_truths(yolo).image_ids.tolist() == ["a", "b.1", "c"]  # data.yaml names images
    write(yolo, {"images/val/more/a.png": "x"})
    with pytest.raises(ValueError, match="have the same name, 'a', which is the id of the image; rename one"):
        io.read_yolo_ground_truths(yolo)


def test_damaged_images_are_named(yolo: pathlib.Path) -> None:
    (yolo / "images/val/a.png").write_text("no image")
    with pytest.raises(ValueError, match=r"a\.png: not an image whose size can be read \(Pillow knows no such"):
        io.read_yolo_ground_truths(yolo)
    (yolo / "images/val/a.png").rename(yolo / "images/val/a.dng")
    with pytest.raises(ValueError, match=r"a\.dng: the size of a raw image is not in its header; .* table"):
        io.read_yolo_ground_truths(yolo)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [a", "not valid YAML"),
        ("- a\n- b\n", "expected the YAML file of a dataset, with `names` and `val`, got a list"),
        ("names: [a, b]\n", r"`val` must be a folder, .* the splits in it: none\."),
        ("names: [a, b]\nval: nowhere\n", "no images for 'nowhere', looked in"),
        ("names: [a, b]\nnc: 3\nval: images/val\n", "`nc` is 3, but `names` has 2 names"),
        (
            "names: a\nval: images/val\n",
            "the names of classes must be a list, or a mapping .*, got a str",
        ),
        ("names: {a: 0}\nval: images/val\n", "the number of a class must be 0 to 65535, got 'a'"),
        ("names: [[a]]\nval: images/val\n", "the name of class 0 must be a text, got a list"),
        ("nc: 100000000\nval: images/val\n", "`nc` must be the number of classes, 1 to 65536, got 100000000"),
        ("names: [a]\nkpt_shape: [17, 3]\nval: images/val\n", "`kpt_shape` says that the labels have keypoints"),
        ("names: [a]\npath: [1]\nval: images/val\n", "`path` must be the folder of the dataset, got list"),
        ("names: [a]\nval: data.yaml\n", "data.yaml, line 1: expected the path of an image"),
        ("[" * 10_000, "not valid YAML"),
    ],
)
def test_faults_of_the_yaml_file_are_named(yolo: pathlib.Path, text: str, message: str) -> None:
    (yolo / "data.yaml").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        io.read_yolo_ground_truths(yolo)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file_name,width\na,200\n", "expected the column `height` in line 1"),
        ("name,width,height\na,200,100\n", "expected a column `file_name` in line 1"),
        ("file_name,width,height\na,200,100\nb.1,48,64\nc,0,10\n", "line 4: `width` must be a whole number of pixels"),
        ("file_name,width,height\na,200,100\nb.1,48,64\n", "no line for 1 of 3 images, 'c'"),
        (
            "file_name,width,height\na,200,100\nb.1,48,64\nc,1,1\nval/a.jpg,3,3\n",
            "line 5: the image 'a' has a line",
        ),
    ],
)
def test_faults_of_the_table_of_sizes_are_named(yolo: pathlib.Path, text: str, message: str) -> None:
    (yolo / "sizes.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        io.read_yolo_ground_truths(yolo, image_sizes=yolo / "sizes.csv")


def test_links_are_followed_and_broken_ones_named(yolo: pathlib.Path, truth: GroundTruthTable) -> None:
    (yolo / "labels/val/c.txt").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError):
        io.read_yolo_ground_truths(yolo)
    (yolo / "labels/val/c.txt").unlink()
    (yolo / "images/val/loop").symlink_to(".")
    (yolo / "elsewhere").symlink_to(yolo / "images")
    (yolo / "data.yaml").write_text(YAML.replace("images/val", "elsewhere/val"))
    with pytest.raises(ValueError, match="none of the 0 label files has an object"):  # its path has no `images`
        io.read_yolo_ground_truths(yolo)


def test_keypoints_are_refused(yolo: pathlib.Path) -> None:
    with pytest.raises(ValueError, match=r"`iou_type` must be one of .* for YOLO's files, got 'keypoints'"):
        io.read_yolo_ground_truths(yolo, iou_type="keypoints")


@pytest.mark.parametrize(("package", "what"), [("PIL", "sizes of images need Pillow"), ("yaml", "files need PyYAML")])
def test_missing_packages_are_named_with_what_installs_them(
    yolo: pathlib.Path, monkeypatch: pytest.MonkeyPatch, package: str, what: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf'{what}, which is not installed: pip install "jaxmap\[yolo\]"'):
        io.read_yolo_ground_truths(yolo)
