"""Checks of data: a clean scene has no finding, and each mistake that is put into it is found alone."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap import DetectionTable, GroundTruthTable, check_data, io
from jaxmap._checks._findings import KINDS
from jaxmap._inputs._misread import _from_xywh
from jaxmap._ordering import take_rows

Tables = tuple[DetectionTable, GroundTruthTable]


@pytest.fixture(scope="module")
def clean() -> Tables:
    """40 images of 640 x 480 with 5 objects of 4 classes, and as many detections, moved by a pixel."""
    rng = np.random.default_rng(0)
    image = np.repeat(np.arange(40), 5)
    corner = rng.integers(5, 300, (200, 2))
    boxes = np.concatenate([corner, rng.integers(20, 100, (200, 2))], axis=1).astype(float)
    labels = np.tile(np.arange(5) % 4, 40)
    truth = GroundTruthTable(
        image_index=image,
        labels=labels,
        boxes=boxes,
        area=boxes[:, 2] * boxes[:, 3] * 0.7,
        crowd=np.zeros(200, bool),
        ignore=np.zeros(200, bool),
        ids=np.arange(1, 201),
        image_ids=np.arange(100, 140),
        class_ids=np.arange(1, 5),
        class_names=("cat", "dog", "cow", "elk"),
        image_sizes=np.full((40, 2), [480, 640]),
    )
    found = DetectionTable(
        image_index=image,
        labels=labels,
        boxes=boxes + np.array([1, 1, 0, 0]),
        scores=rng.random(200),
        ids=np.arange(200),
    )
    return found, truth


def changed(table: Any, name: str, rows: Any, value: Any) -> Any:
    column = np.array(getattr(table, name))
    column[rows] = value
    return dataclasses.replace(table, **{name: column})


def kinds(found: DetectionTable | None, truth: GroundTruthTable) -> list[str]:
    return [one.kind for one in check_data(truth, found).findings]


def only_finding(found: DetectionTable | None, truth: GroundTruthTable, kind: str) -> Any:
    check = check_data(truth, found)
    [finding] = check.findings
    assert finding.kind == kind
    assert check.clean == (not KINDS[kind])
    return finding


def test_clean_scene_has_no_finding(clean: Tables) -> None:
    found, truth = clean
    check = check_data(truth, found)
    assert check.clean
    assert check.findings == ()
    assert str(check) == "0 warnings and 0 notes about 200 ground truths and 200 detections of 40 images"
    assert str(check_data(truth)) == "0 warnings and 0 notes about 200 ground truths of 40 images"
    assert check_data(truth).to_dict() == {
        "findings": [],
        "num_images": 40,
        "num_ground_truths": 200,
        "num_detections": None,
        "clean": True,
    }


ROW_FAULTS: dict[str, tuple[str, Callable[[Any], Any], list[int]]] = {
    # of both sides: the table with the fault, and the rows that have it
    "no width": ("no-area", lambda table: changed(table, "boxes", ([3, 7], 2), [0, -5]), [3, 7]),
    "left of the image": ("outside-image", lambda table: changed(table, "boxes", (2, 0), -30), [2]),
    "below the image": ("outside-image", lambda table: changed(table, "boxes", (2, 1), 479), [2]),
}


@pytest.mark.parametrize("side", ["ground_truths", "detections"])
@pytest.mark.parametrize("name", ROW_FAULTS)
def test_faults_of_rows_are_found_on_both_sides(clean: Tables, side: str, name: str) -> None:
    kind, change, rows = ROW_FAULTS[name]
    found, truth = clean
    found, truth = (found, change(truth)) if side == "ground_truths" else (change(found), truth)
    finding = only_finding(found, truth, kind)
    table = truth if side == "ground_truths" else found
    assert (finding.side, finding.count) == (side, len(rows))
    expected = [{"image_id": 100 + row // 5, "id": int(table.ids[row])} for row in rows]
    assert list(finding.examples) == expected
    assert str(check_data(truth, found)).startswith(f"warning: {side.replace('_', ' ')}: {len(rows)} of 200 boxes ")


def test_box_may_reach_over_the_border_by_a_pixel(clean: Tables) -> None:
    _, truth = clean
    truth = changed(changed(truth, "boxes", 2, [600, 20, 41, 50]), "area", 2, 2000)
    assert kinds(None, truth) == []
    truth = changed(truth, "boxes", (2, 2), 41.5)
    assert kinds(None, truth) == ["outside-image"]
    assert kinds(None, dataclasses.replace(truth, image_sizes=None)) == []


def test_repeated_ids(clean: Tables) -> None:
    _, truth = clean
    finding = only_finding(None, changed(truth, "ids", [9, 50], 4), "repeated-id")
    assert finding.examples == ({"image_id": 101, "id": 4}, {"image_id": 110, "id": 4})
    rows_of_images = dataclasses.replace(truth, ids=np.tile(np.arange(5), 40))  # as of VOC's files, which have no ids
    assert kinds(None, rows_of_images) == []


def test_boxes_of_parents_have_the_id_of_their_child(clean: Tables) -> None:
    _, truth = clean
    twice = take_rows(truth, np.arange(200).repeat(2))
    assert kinds(None, twice) == ["repeated-id", "annotated-twice"]
    parents = np.where(np.arange(400) % 2, (twice.labels + 1) % 4, twice.labels)
    assert kinds(None, dataclasses.replace(twice, labels=parents)) == []


@pytest.mark.parametrize(("moved", "again"), [(0, True), (1.0, True), (6.0, False)])
def test_objects_annotated_twice(clean: Tables, moved: float, again: bool) -> None:
    _, truth = clean
    box = np.array([50.0, 60, 100, 100])
    near = changed(changed(truth, "boxes", [5, 9], [box, box + np.array([moved, 0, 0, 0])]), "area", [5, 9], 9000)
    near = changed(near, "labels", 9, near.labels[5])
    assert kinds(None, near) == ["annotated-twice"] * again
    assert kinds(None, changed(near, "labels", 9, 3)) == []
    assert kinds(None, changed(near, "image_index", 9, 2)) == []
    assert kinds(None, changed(near, "crowd", 9, True)) == []


def test_pairs_are_those_of_all_boxes() -> None:
    rng = np.random.default_rng(1)
    boxes = np.concatenate([rng.integers(0, 4, (300, 2)), 40 + rng.integers(0, 3, (300, 2))], axis=1).astype(float)
    image, labels = rng.integers(0, 6, 300), rng.integers(0, 2, 300)
    _, demo = io.demo_scene(6)
    nothing = np.zeros(300, bool)
    truth = dataclasses.replace(
        demo, image_index=image, labels=labels, boxes=boxes, area=boxes[:, 2] * boxes[:, 3], crowd=nothing
    )
    truth = dataclasses.replace(truth, ignore=nothing, ids=np.arange(1, 301))
    corners = _from_xywh(boxes, "xyxy")
    alike = np.array(jaxmap.box_iou(corners, corners)) > 0.95
    alike &= (image[:, None] == image) & (labels[:, None] == labels)
    expected = np.flatnonzero(np.tril(alike, -1).any(axis=1))
    [finding] = [one for one in check_data(truth).findings if one.kind == "annotated-twice"]
    assert finding.count == len(expected) > 50
    assert [one["id"] - 1 for one in finding.examples] == expected[:3].tolist()


def test_equal_detections(clean: Tables) -> None:
    found, truth = clean
    twice = changed(changed(found, "boxes", 14, found.boxes[10]), "labels", 14, found.labels[10])
    assert only_finding(twice, truth, "detected-twice").examples == ({"image_id": 102, "id": 14},)
    assert kinds(changed(twice, "boxes", (14, 3), 3.0), truth) == []


@pytest.mark.parametrize("known", [True, False])
def test_corners_in_place_of_sizes(clean: Tables, known: bool) -> None:
    found, truth = clean
    corners = dataclasses.replace(truth, boxes=_from_xywh(truth.boxes, "xyxy"))
    if not known:
        corners = dataclasses.replace(corners, image_sizes=None)
    finding = only_finding(None, corners, "box-format")
    assert ("reach beyond" in finding.message) == known
    wrong = dataclasses.replace(found, boxes=_from_xywh(found.boxes, "xyxy"))
    assert {"box-format", "misread"} <= {
        *kinds(wrong, truth if known else dataclasses.replace(truth, image_sizes=None))
    }


def test_boxes_that_fill_their_images_are_no_corners(clean: Tables) -> None:
    _, truth = clean
    full = np.tile([10.0, 12, 600, 440], (200, 1))
    filled = dataclasses.replace(truth, boxes=full, area=full[:, 2] * full[:, 3], labels=np.arange(200) % 4)
    for table in (filled, dataclasses.replace(filled, image_sizes=None)):
        assert "box-format" not in kinds(None, table)


def test_fractions(clean: Tables) -> None:
    found, truth = clean
    sizes = np.array([640, 480, 640, 480])
    small = dataclasses.replace(truth, boxes=truth.boxes / sizes, area=truth.area / 640 / 480)
    assert only_finding(None, small, "fractions").side == "ground_truths"
    assert kinds(None, dataclasses.replace(small, image_sizes=None)) == []  # as Open Images' boxes are
    assert kinds(dataclasses.replace(found, boxes=found.boxes / sizes), truth) == ["fractions", "misread"]


@pytest.mark.parametrize(("factor", "wrong"), [(1.0, False), (1.2, True), (1e-4, True)])
def test_areas_that_do_not_fit_the_box(clean: Tables, factor: float, wrong: bool) -> None:
    _, truth = clean
    area = truth.boxes[8, 2] * truth.boxes[8, 3] * factor
    assert kinds(None, changed(truth, "area", 8, area)) == ["area"] * wrong
    assert kinds(None, changed(changed(truth, "area", 8, area), "crowd", 8, True)) == []


def test_masks() -> None:
    square = [[10, 10, 40, 10, 40, 40, 10, 40]]
    rows = [
        {"id": 1, "image_id": 7, "category_id": 1, "area": 900, "segmentation": square, "bbox": [10, 10, 30, 30]},
        {"id": 2, "image_id": 8, "category_id": 1, "area": 90, "segmentation": square, "bbox": [10, 10, 30, 30]},
        {"id": 3, "image_id": 8, "category_id": 1, "area": 0, "segmentation": {"size": [50, 60], "counts": [3000]}},
    ]
    data = {
        "images": [{"id": one, "height": 50, "width": 60} for one in (7, 8)],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": rows,
    }
    truth = io.coco_ground_truths(data, iou_type="segm")
    assert [(one.kind, one.examples[0]["id"]) for one in check_data(truth).findings] == [("empty-mask", 3), ("area", 2)]
    results = [
        {"image_id": 7, "category_id": 1, "segmentation": rows[0]["segmentation"], "score": 0.5 + i / 9} for i in (1, 2)
    ]
    found = io.coco_detections(results, truth, iou_type="segm")
    assert "detected-twice" in kinds(found, truth)


@pytest.mark.parametrize(
    ("scores", "kind"), [(1.0, "equal-scores"), (-0.1, "score-range"), (1.5, "score-range"), (97.0, "score-range")]
)
def test_scores(clean: Tables, scores: float, kind: str) -> None:
    found, truth = clean
    rows = slice(None) if kind == "equal-scores" else [4, 5]
    finding = only_finding(changed(found, "scores", rows, scores), truth, kind)
    assert finding.count == (0 if kind == "equal-scores" else 2)


@pytest.mark.parametrize("shift", [1, -1])
def test_ids_that_are_off_by_one(clean: Tables, shift: int) -> None:
    found, truth = clean
    rows = np.flatnonzero((found.image_index >= max(shift, 0)) & (found.image_index < 40 + min(shift, 0)))
    moved = dataclasses.replace(take_rows(found, rows), image_index=found.image_index[rows] - shift)
    names = kinds(moved, truth)
    assert names[0] == "shifted-images"
    [finding] = [one for one in check_data(truth, moved).findings if one.kind == "shifted-images"]
    assert f"those of the {'next' if shift > 0 else 'previous'} one" in finding.message
    rows = np.flatnonzero((found.labels + shift >= 0) & (found.labels + shift < 4))
    moved = dataclasses.replace(take_rows(found, rows), labels=found.labels[rows] + shift)
    assert "misread" in kinds(moved, truth)


def test_what_is_often_as_it_should_be_is_a_note(clean: Tables) -> None:
    found, truth = clean
    more = dataclasses.replace(
        truth, class_ids=np.arange(1, 6), class_names=(*truth.class_names, "a\nb"), image_ids=np.arange(100, 141)
    )
    more = dataclasses.replace(more, image_sizes=np.full((41, 2), [480, 640]))
    check = check_data(more, changed(found, "labels", 3, 4))
    assert check.clean
    assert [(one.kind, one.examples) for one in check.findings] == [
        ("unused-class", ("a\nb",)),
        ("image-without-ground-truths", (140,)),
        ("class-only-detected", ("a\nb",)),
        ("image-without-detections", (140,)),
    ]
    lines = str(check).splitlines()
    assert lines[0] == r"note: ground truths: 1 of 5 classes are not used ('a\nb') [unused-class]"
    assert len(lines) == 5


def test_many_examples_are_cut(clean: Tables) -> None:
    _, truth = clean
    finding = only_finding(None, changed(truth, "boxes", (slice(0, 12), 2), 0), "no-area")
    assert (finding.count, len(finding.examples)) == (12, 3)
    assert "(1 in image 100, 2 in image 100, 3 in image 100, and 9 more) [no-area]" in str(finding)
    assert json.loads(json.dumps(check_data(changed(truth, "boxes", (0, 2), 0)).to_dict()))["findings"][0] == {
        "kind": "no-area",
        "side": "ground_truths",
        "message": "1 of 200 boxes have a width or height of 0 or less",
        "count": 1,
        "examples": [{"image_id": 100, "id": 1}],
        "level": "warning",
    }


def test_other_geometries_and_empty_tables() -> None:
    found, truth = io.demo_scene(5)
    for table in (take_rows(found, np.arange(0)), None):
        assert check_data(truth, table).clean
    no_truth = take_rows(truth, np.arange(0))
    assert {one.kind for one in check_data(no_truth, found).findings} >= {"unused-class", "class-only-detected"}
    oriented = np.concatenate(
        [truth.boxes[:, :2] + truth.boxes[:, 2:] / 2, truth.boxes[:, 2:], truth.boxes[:, :1] * 0 + 0.1], 1
    )
    turned = dataclasses.replace(truth, oriented=oriented, image_sizes=np.full((5, 2), [480, 640]))
    assert "outside-image" not in kinds(None, turned)
    assert "outside-image" in kinds(None, changed(turned, "oriented", (0, 0), -20))


def test_tables_come_in_order(clean: Tables) -> None:
    found, truth = clean
    with pytest.raises(TypeError, match=r"`ground_truths` must be a GroundTruthTable .* got DetectionTable and Ground"):
        check_data(found, truth)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="got list"):
        check_data([])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("truth", "found", "options", "expected"),
    [
        ("cocoapi_val2014_100/ground_truth.json.gz", "cocoapi_val2014_100/fake_boxes.json.gz", {}, set()),
        (
            "cocoapi_val2014_100/ground_truth.json.gz",
            "cocoapi_val2014_100/fake_masks.json.gz",
            {"iou_type": "segm"},
            set(),
        ),
        (
            "coco_val2017/ground_truth_integer_boxes.json.gz",
            "coco_val2017/ssd_resnet50_fpn.json.gz",
            {},
            {"no-area", "annotated-twice"},  # one box, and two objects, of 36,781
        ),
    ],
)
def test_real_data_has_few_warnings(
    shared_data: pathlib.Path, truth: str, found: str, options: dict[str, Any], expected: set[str]
) -> None:
    ground_truths = io.read_coco_ground_truths(shared_data / truth, **options)
    check = check_data(ground_truths, io.read_coco_detections(shared_data / found, ground_truths, **options))
    warnings = [one for one in check.findings if one.level == "warning"]
    assert {one.kind for one in warnings} == expected
    assert sum(one.count for one in warnings) <= 3
