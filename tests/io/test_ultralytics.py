"""Ultralytics' `predictions.json`: images by the names of their files, and classes counted from 0, 1, or as COCO's 91.

The files are as Ultralytics 8.4 writes them (models/yolo/detect/val.py, `pred_to_json`), and earlier versions, which
wrote no `file_name` and counted classes from 0.
"""

from __future__ import annotations

import gzip
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap import io
from jaxmap.types import GroundTruthTable
from support.command import error_of, numbers

FILES = ("000000000139.jpg", "7.jpg", "street 1.png")


def prediction(file: str, class_index: int, first: int | None = 1, *, with_file: bool = True) -> dict[str, Any]:
    """Returns an entry as `pred_to_json` makes it."""
    path = pathlib.Path(file)
    stem = path.stem
    entry = {"image_id": int(stem) if stem.isnumeric() else stem, "category_id": class_index + (first or 0)}
    return entry | ({"file_name": path.name} if with_file else {}) | {"bbox": [8.0, 4.0, 16.0, 8.0], "score": 0.5}


def yolo(folder: pathlib.Path, files: Sequence[str] = FILES, num_classes: int = 3) -> GroundTruthTable:
    (folder / "labels").mkdir(exist_ok=True)
    for number, file in enumerate(files):
        (folder / "labels" / f"{pathlib.Path(file).stem}.txt").write_text(f"{number % num_classes} 0.5 0.5 0.5 0.5\n")
    rows = "".join(f"{pathlib.Path(file).stem},32,16\n" for file in files)
    (folder / "sizes.csv").write_text(f"file_name,width,height\n{rows}")
    names = [f"class {number}" for number in range(num_classes)]
    return io.read_yolo_ground_truths(folder / "labels", class_names=names, image_sizes=folder / "sizes.csv")


def coco(files: Sequence[str] = FILES, class_ids: Sequence[int] = (1, 2, 3), first_image: int = 1) -> dict[str, Any]:
    """Returns ground truths whose image ids are not in the names of their files."""
    return {
        "images": [{"id": first_image + number, "file_name": file} for number, file in enumerate(files)],
        "categories": [{"id": one, "name": f"class {one}"} for one in class_ids],
        "annotations": [
            {
                "id": number + 1,
                "image_id": first_image + number,
                "category_id": class_ids[number],
                "bbox": [8, 4, 16, 8],
                "area": 128,
            }
            for number in range(len(files))
        ],
    }


def read(folder: pathlib.Path, truth: GroundTruthTable, entries: list[dict[str, Any]], **options: Any) -> Any:
    (folder / "predictions.json").write_text(json.dumps(entries))
    return io.read_ultralytics_detections(folder / "predictions.json", truth, **options)


@pytest.mark.parametrize("with_file", [False, True])
def test_images_are_found_by_the_names_of_their_files(tmp_path: pathlib.Path, with_file: bool) -> None:
    entries = [prediction(file, number, with_file=with_file) for number, file in enumerate(FILES)]
    for truth in (yolo(tmp_path), io.coco_ground_truths(coco())):
        found = read(tmp_path, truth, entries)
        assert jaxmap.evaluate(found, truth).summary["AP"] == pytest.approx(1)
        assert found.labels.tolist() == [0, 1, 2]
        assert found.boxes.tolist() == [[8, 4, 16, 8]] * 3
    (tmp_path / "packed.json.gz").write_bytes(gzip.compress(json.dumps(entries).encode()))
    assert len(io.read_ultralytics_detections(tmp_path / "packed.json.gz", truth).labels) == 3


def test_classes_are_counted_from_0_or_1_as_the_ids_show(tmp_path: pathlib.Path) -> None:
    truth = yolo(tmp_path)
    older = [prediction(FILES[0], one, first=0, with_file=False) for one in (0, 1)]
    assert read(tmp_path, truth, older).labels.tolist() == [0, 1]
    newer = [prediction(FILES[0], one, with_file=False) for one in (1, 2)]  # 3 is not counted from 0
    assert read(tmp_path, truth, newer).labels.tolist() == [1, 2]
    unclear = [prediction(FILES[0], 0, with_file=False)]
    with pytest.raises(ValueError, match="the category ids 1 can mean same or from-0 or from-1; say which by"):
        read(tmp_path, truth, unclear)
    assert read(tmp_path, truth, unclear, category_ids="from-0").labels.tolist() == [1]
    assert read(tmp_path, truth, unclear, category_ids="from-1").labels.tolist() == [0]
    assert read(tmp_path, truth, [prediction(FILES[0], 0)]).labels.tolist() == [0]  # with a `file_name`, from 1
    assert read(tmp_path, truth, []).labels.tolist() == []
    with pytest.raises(ValueError, match=r"the category ids 4 are not those of the 3 classes .* \(tried from-1\); use"):
        read(tmp_path, truth, [prediction(FILES[0], 3)])
    with pytest.raises(ValueError, match=r"`category_ids` must be one of .*'from-1'\] for 3 classes, got 'coco91'"):
        read(tmp_path, truth, unclear, category_ids="coco91")


def test_classes_of_coco_have_its_91_numbers(tmp_path: pathlib.Path) -> None:
    truth = yolo(tmp_path, num_classes=80)
    entries = [prediction(FILES[0], 0) | {"category_id": number} for number in (1, 13, 90)]
    assert read(tmp_path, truth, entries).labels.tolist() == [0, 11, 79]
    with pytest.raises(ValueError, match="can mean from-1 or coco91"):
        read(tmp_path, truth, entries[:2])
    assert read(tmp_path, truth, entries[:1]).labels.tolist() == [0]  # the same class either way


def test_ids_of_coco_files_are_kept_where_they_are_meant(tmp_path: pathlib.Path) -> None:
    truth = io.coco_ground_truths(coco(class_ids=(5, 7, 9)))
    entries = [prediction(FILES[0], 0) | {"category_id": one} for one in (5, 9)]
    assert read(tmp_path, truth, entries).labels.tolist() == [0, 2]
    assert read(tmp_path, truth, [prediction(FILES[0], 1)]).labels.tolist() == [1]


def test_names_of_several_images_are_refused(tmp_path: pathlib.Path) -> None:
    truth = yolo(tmp_path, ("7.jpg", "007.jpg"), num_classes=2)
    with pytest.raises(ValueError, match="the image '7' can be '007' or '7' of the ground truths; give their files"):
        read(tmp_path, truth, [prediction("7.jpg", 1, with_file=False)])
    assert read(tmp_path, truth, [prediction("007.jpg", 1)]).image_index.tolist() == [0]
    both = io.coco_ground_truths(coco(("a/1.jpg", "b/1.jpg")))
    with pytest.raises(ValueError, match="the image '1' can be '1' or '2'"):
        read(tmp_path, both, [prediction("1.jpg", 0)])
    with pytest.raises(ValueError, match="1 of 1 images are not in the ground truths: '8'; known are '007', '7'"):
        read(tmp_path, truth, [prediction("8.jpg", 1)])


def test_numbers_that_are_names_of_files_stand_for_them_in_coco_results(tmp_path: pathlib.Path) -> None:
    truth = io.coco_ground_truths(coco())
    entries = [prediction(file, number, with_file=False) for number, file in enumerate(FILES)]
    assert io.coco_detections(entries[:1], truth).image_index.tolist() == [0]  # 139 is no id, but a file
    assert io.coco_detections(entries, truth).image_index.tolist() == [0, 1, 2]
    # The file of one image has the id of another as its name: such a number is not read as a name.
    confused = io.coco_ground_truths(coco(("2.jpg", "9.jpg", "c.jpg")))
    with pytest.raises(ValueError, match="image ids that the ground truths do not list: 9"):
        io.coco_detections([prediction("9.jpg", 0, with_file=False)], confused)


def test_masks_of_a_segmentation_model_are_read(tmp_path: pathlib.Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/7.txt").write_text("0 0.25 0.25 0.25 0.75 0.75 0.75 0.75 0.25\n")
    (tmp_path / "sizes.csv").write_text("file_name,width,height\n7.jpg,8,4\n")
    table = {"image_sizes": tmp_path / "sizes.csv", "iou_type": "segm"}
    truth = io.read_yolo_ground_truths(tmp_path / "labels", **table)
    mask = np.zeros((4, 8), np.uint8)
    mask[1:3, 2:6] = 1
    pycocotools = pytest.importorskip("pycocotools.mask", reason="encodes the mask")
    encoded = pycocotools.encode(np.asfortranarray(mask))
    encoded["counts"] = encoded["counts"].decode()
    found = read(tmp_path, truth, [prediction("7.jpg", 0) | {"segmentation": encoded}], iou_type="segm")
    assert jaxmap.evaluate(found, truth, iou_type="segm").summary["AP"] == pytest.approx(1)


def test_the_command_reads_predictions_against_both(capsys: Any, tmp_path: pathlib.Path) -> None:
    yolo(tmp_path)
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    (tmp_path / "gt.json").write_text(json.dumps(coco()))
    entries = [prediction(file, number) for number, file in enumerate(FILES)]
    (tmp_path / "predictions.json").write_text(json.dumps(entries))
    found = str(tmp_path / "predictions.json")
    options = ("--image-sizes", str(tmp_path / "sizes.csv"), "--class-names", str(tmp_path / "names.txt"))
    assert numbers(capsys, str(tmp_path / "labels"), found, *options)["AP"] == pytest.approx(1)
    assert numbers(capsys, str(tmp_path / "gt.json"), found)["AP"] == pytest.approx(1)
    # Image 1 is 000000000139.jpg. As results of COCO, 1 would be its id; as a name of a file, it is unknown.
    (tmp_path / "predictions.json").write_text(json.dumps([prediction("1.jpg", 0)]))
    assert "images are not in the ground truths: '1'" in error_of(capsys, "eval", str(tmp_path / "gt.json"), found)
    (tmp_path / "predictions.json").write_text(json.dumps([prediction(FILES[0], 0, with_file=False)]))
    command = (str(tmp_path / "labels"), found, *options)
    assert "say which by `category_ids` or --category-ids" in error_of(capsys, "eval", *command)
    assert numbers(capsys, *command, "--category-ids", "from-1")["AP"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "results must be a list of objects"),
        ('[{"image_id": 7}]', r"`results\[0\]\.category_id`|has no `category_id`|category_id"),
        ('[{"image_id": 7, "category_id": 1, "bbox": [0, 0, NaN, 1], "score": 1}]', "bbox"),
        ('[{"image_id": 7, "category_id": 1, "bbox": [0, 0, 1], "score": 1}]', "bbox"),
        ("[", "predictions.json"),
    ],
)
def test_damaged_predictions_are_named(tmp_path: pathlib.Path, text: str, message: str) -> None:
    (tmp_path / "predictions.json").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        io.read_ultralytics_detections(tmp_path / "predictions.json", yolo(tmp_path))
    assert "predictions.json" in str(caught.value)
