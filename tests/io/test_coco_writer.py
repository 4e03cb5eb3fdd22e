"""Tables written as COCO's files and read again: the same tables and curves, bit for bit, or a refusal."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap import DetectionTable, GroundTruthTable, io
from jaxmap._geometry._rle._masks import dense_mask
from jaxmap._ordering import columns_of
from support.lvis_scenes import federated_scene, jittered_results
from support.scenes import odd_scenes, random_scene
from support.shape_scenes import shape_scene

Tables = tuple[DetectionTable, GroundTruthTable]
pytestmark = odd_scenes


def written(found: DetectionTable, truth: GroundTruthTable, iou_type: str = "bbox", lvis: bool = False) -> Tables:
    """Returns tables after they were written as JSON and read."""
    content = json.loads(json.dumps(io.to_coco_ground_truths(truth)))
    results = json.loads(json.dumps(io.to_coco_results(found, truth)))
    again = (io.lvis_ground_truths if lvis else io.coco_ground_truths)(content, iou_type=iou_type)
    return io.coco_detections(results, again, iou_type=iou_type), again


def assert_same_rows(one: Any, other: Any) -> None:
    columns, others = columns_of(one), columns_of(other)
    assert columns.keys() == others.keys()
    for name in columns.keys() - {"ids", "masks"}:
        np.testing.assert_array_equal(columns[name], others[name], err_msg=name, strict=True)
    if one.masks is not None:
        for row in range(len(one.masks)):
            np.testing.assert_array_equal(dense_mask(one.masks, row), dense_mask(other.masks, row))
        np.testing.assert_array_equal(one.masks.split, other.masks.split)


def assert_same_curves(tables: Tables, others: Tables, **options: Any) -> None:
    one, other = (jaxmap.evaluate(*pair, **options) for pair in (tables, others))
    for name in ("precision", "recall", "scores"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.to_json() == other.to_json()


@pytest.mark.parametrize("iou_type", ["bbox", "segm", "keypoints"])
@pytest.mark.parametrize("seed", range(6))
def test_scenes_are_the_same_after_a_round_trip(seed: int, iou_type: str) -> None:
    rng = np.random.default_rng(seed)
    scene = random_scene(rng) if iou_type == "bbox" else shape_scene(rng, iou_type)
    results = [{name: value for name, value in row.items() if name != "bbox"} for row in scene.results]
    results = scene.results if iou_type == "bbox" else results
    truth = io.coco_ground_truths(scene.ground_truths, iou_type=iou_type)
    found = io.coco_detections(results, truth, iou_type=iou_type)
    again = written(found, truth, iou_type)
    assert_same_rows(found, again[0])
    assert_same_rows(truth, again[1])
    for name in ("image_ids", "class_ids", "image_sizes"):
        np.testing.assert_array_equal(getattr(truth, name), getattr(again[1], name))
    assert truth.class_names == again[1].class_names
    assert_same_curves((found, truth), again, **scene.options)


def lvis_files(seed: int | None, iou_type: str, shared: pathlib.Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns a random scene, or without a seed real annotations and made-up results."""
    if seed is not None:
        return federated_scene(np.random.default_rng(seed))
    data = io.load_json(shared / "lvis_val_100" / "ground_truth.json.gz")
    return data, jittered_results(data, np.random.default_rng(0), masks=iou_type == "segm")


@pytest.mark.parametrize(("seed", "iou_type"), [*((seed, "bbox") for seed in range(4)), (None, "bbox"), (None, "segm")])
def test_lvis_keeps_its_additions(seed: int | None, iou_type: str, shared_data: pathlib.Path) -> None:
    data, results = lvis_files(seed, iou_type, shared_data)
    truth = io.lvis_ground_truths(data, iou_type=iou_type)
    found = io.coco_detections(results, truth, iou_type=iou_type)
    again = written(found, truth, iou_type, lvis=True)
    assert_same_rows(truth, again[1])
    for name in ("verified", "not_exhaustive", "class_group"):
        np.testing.assert_array_equal(getattr(truth, name), getattr(again[1], name))
    assert_same_curves((found, truth), again, protocol="lvis", iou_type=iou_type)


def test_names_in_place_of_ids_are_numbered_in_their_order(tmp_path: pathlib.Path) -> None:
    corners = "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"
    rng = np.random.default_rng(3)
    (tmp_path / "xml").mkdir()
    lines: dict[str, list[str]] = {"cat": [], "dog": []}
    for name in ("000010", "2", "img 1"):
        objects = []
        for label in ("dog", "cat", "dog"):
            x, y, w, h = rng.integers(1, 60, 4)
            objects.append(f"<object><name>{label}</name>{corners.format(x, y, x + w, y + h)}</object>")
            if " " not in name:
                lines[label].append(f"{name} {rng.random():.6f} {x + 0.1:.3f} {y} {x + w} {y + h}")
        (tmp_path / "xml" / f"{name}.xml").write_text(f"<annotation>{''.join(objects)}</annotation>")
    for label, rows in lines.items():
        (tmp_path / f"comp4_det_test_{label}.txt").write_text("\n".join(rows) + "\n")
    truth = io.read_voc_ground_truths(tmp_path / "xml")
    found = io.read_voc_detections(f"{tmp_path}/comp4_det_test_*.txt", truth)
    content = io.to_coco_ground_truths(truth)
    assert [image["file_name"] for image in content["images"]] == truth.image_ids.tolist()
    assert content["categories"] == [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]
    assert [row["id"] for row in content["annotations"]] == list(range(1, 10))
    again = written(found, truth)
    assert again[1].image_ids.tolist() == [1, 2, 3]
    assert_same_rows(truth, again[1])
    assert_same_rows(found, again[0])
    for protocol in ("coco", "voc2007", "voc2012"):
        assert_same_curves((found, truth), again, protocol=protocol)


def test_ids_of_annotations_are_kept_if_they_are_ids() -> None:
    _, truth = io.demo_scene(3)
    kept = dataclasses.replace(truth, ids=truth.ids + 7)
    assert [row["id"] for row in io.to_coco_ground_truths(kept)["annotations"]] == (truth.ids + 7).tolist()
    for ids in (truth.ids - 1, np.ones_like(truth.ids), truth.ids.astype(str), truth.ids + 2**53):
        rows = io.to_coco_ground_truths(dataclasses.replace(truth, ids=ids))["annotations"]
        assert [row["id"] for row in rows] == list(range(1, len(truth.ids) + 1))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"oriented": np.ones((1, 5))}, "have oriented boxes, which COCO's files cannot hold"),
        ({"ignore": np.array([True])}, "1 of 1 objects are ignored.*jaxmap convert --ignored"),
        ({"verified": np.array([[True, False]])}, "not all classes are verified in all images.*own format"),
        ({"not_exhaustive": np.array([[False, True]])}, "not all objects may be annotated"),
        ({"class_group": np.array(["easy", ""])}, "classes have groups"),
        (
            {
                "verified": np.array([[True, False]]),
                "not_exhaustive": np.array([[False, True]]),
                "class_group": np.array(["r", "f"]),
                "crowd": np.array([True]),  # which LVIS's files cannot hold
            },
            "not all classes are verified",
        ),
    ],
)
def test_what_the_files_cannot_hold_is_refused(changes: dict[str, Any], words: str) -> None:
    nothing = np.zeros(1, bool)
    table = GroundTruthTable(
        image_index=np.zeros(1, int),
        labels=np.zeros(1, int),
        boxes=np.array([[1.0, 2, 3, 4]]),
        area=np.array([12.0]),
        crowd=nothing,
        ignore=nothing,
        ids=np.ones(1, int),
        image_ids=np.array([5]),
        class_ids=np.array([1, 2]),
        class_names=("a", "b"),
    )
    assert io.to_coco_ground_truths(table)["annotations"][0]["bbox"] == [1, 2, 3, 4]
    harmless = {"verified": np.ones((1, 2), bool), "not_exhaustive": np.zeros((1, 2), bool)}
    io.to_coco_ground_truths(dataclasses.replace(table, **harmless))
    with pytest.raises(ValueError, match=words):
        io.to_coco_ground_truths(dataclasses.replace(table, **changes))


def test_areas_of_detections_that_are_not_those_of_their_shapes_are_refused() -> None:
    found, truth = io.demo_scene(2)
    area = found.boxes[:, 2] * found.boxes[:, 3]
    io.to_coco_results(dataclasses.replace(found, area=area), truth)
    with pytest.raises(ValueError, match=r"1 of .* have another area than their shape"):
        io.to_coco_results(dataclasses.replace(found, area=np.append(area[:-1], 1.5)), truth)
    oriented = np.ones((len(area), 5))
    with pytest.raises(ValueError, match="`detections` have oriented boxes"):
        io.to_coco_results(dataclasses.replace(found, oriented=oriented), truth)


def test_pycocotools_reads_the_files(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    found, truth = io.demo_scene(30)
    for name, content in (("gt", io.to_coco_ground_truths(truth)), ("dt", io.to_coco_results(found, truth))):
        (tmp_path / name).write_text(json.dumps(content))
    reference = coco.COCO(str(tmp_path / "gt"))
    evaluator = cocoeval.COCOeval(reference, reference.loadRes(str(tmp_path / "dt")), "bbox")
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    capsys.readouterr()
    assert list(jaxmap.evaluate(found, truth).summary.values()) == pytest.approx(evaluator.stats.tolist(), abs=1e-12)
