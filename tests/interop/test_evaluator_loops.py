"""Evaluation loops of public trainers give the same numbers under pycocotools and under its replacement."""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import json
import pathlib
from typing import Any

import numpy as np
import pytest

from support.both_cocos import OURS, load
from support.evaluator_files import RESULTS, TRUTH
from support.evaluators import load_loop

HEIGHT, WIDTH, NUM_KEYPOINTS, BATCH = 48, 64, 17, 3
IMAGE_IDS = list(range(11, 23))
CLASS_IDS = [7, 3, 18]
NAMES = {7: "truck", 3: "car", 18: "dog"}
IOU_TYPES = ("bbox", "segm", "keypoints")
LOOPS = pytest.mark.parametrize("iou_type", IOU_TYPES)
PREDICTED = IMAGE_IDS[BATCH:]  # the first batch has no detections


@functools.cache
def dataset() -> dict[str, Any]:
    rng = np.random.default_rng(5)
    annotations = []
    for image_id in IMAGE_IDS:
        for _ in range(int(rng.integers(0, 5))):
            corner, size = rng.integers(0, 30, 2), rng.integers(4, 30, 2)
            box = [*corner.tolist(), *size.tolist()]
            points = np.concatenate([corner + rng.random((NUM_KEYPOINTS, 2)) * size, rng.integers(0, 3, (17, 1))], 1)
            row = {"id": len(annotations) + 1, "image_id": image_id, "category_id": int(rng.choice(CLASS_IDS))}
            row |= {"bbox": box, "area": box[2] * box[3] * 0.7, "iscrowd": int(rng.random() < 0.1)}
            row |= {"segmentation": polygons(box), "keypoints": points.round(1).ravel().tolist()}
            annotations.append(row | {"num_keypoints": int((points[:, 2] > 0).sum())})
    images = [{"id": image_id, "height": HEIGHT, "width": WIDTH} for image_id in IMAGE_IDS]
    categories = [{"id": class_id, "name": NAMES[class_id]} for class_id in CLASS_IDS]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def polygons(box: list[float]) -> list[list[float]]:
    x, y, width, height = box
    return [[x, y, x, y + height, x + width, y + height, x + width, y + height / 3]]


@functools.cache
def predictions() -> dict[int, dict[str, Any]]:
    """Returns a detector's outputs by image: `boxes` xyxy, `scores`, `labels`, `masks` `[D, H, W]`, `keypoints`."""
    rng, outputs = np.random.default_rng(6), {}
    for image_id in PREDICTED:
        rows = [row for row in dataset()["annotations"] if row["image_id"] == image_id and rng.random() < 0.9] * 2
        boxes = np.array([row["bbox"] for row in rows], float).reshape(-1, 4) + rng.integers(-1, 2, (len(rows), 4))
        boxes[:, 2:] = boxes[:, :2] + np.maximum(boxes[:, 2:], 1)
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        inside = [(x >= left) & (x < right) & (y >= top) & (y < bottom) for left, top, right, bottom in boxes]
        points = np.array([row["keypoints"] for row in rows], float).reshape(-1, NUM_KEYPOINTS, 3)
        outputs[image_id] = {
            "boxes": boxes,
            "scores": rng.random(len(rows)).round(1),
            "labels": np.array([row["category_id"] for row in rows], int),
            "masks": np.array(inside).reshape(-1, 1, HEIGHT, WIDTH) * 0.9,
            "keypoints": points + rng.integers(-1, 2, (len(rows), 1, 3)) * [1, 1, 0],
        }
    return outputs


def results(loop: Any, iou_type: str) -> list[dict[str, Any]]:
    """Returns COCO results with boxes, and masks or keypoints beside them."""
    rows = []
    for image_id, output in predictions().items():
        masks = loop.encode(output["masks"][:, 0] > 0.5) if iou_type == "segm" else None
        for k, (left, top, right, bottom) in enumerate(output["boxes"].tolist()):
            row = {"image_id": image_id, "category_id": int(output["labels"][k]), "score": float(output["scores"][k])}
            row["bbox"] = [left, top, right - left, bottom - top]
            if masks is not None:
                row["segmentation"] = masks[k]
            if iou_type == "keypoints":
                row["keypoints"] = output["keypoints"][k].ravel().tolist()
            rows.append(row)
    return rows


def under_both(name: str, run: Any) -> tuple[Any, Any]:
    """Returns what a function of a loop returns under the replacement and under pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        return tuple(run(load_loop(name, installed=installed)) for installed in (True, False))  # type: ignore[return-value]


def assert_same_run(ours: Any, theirs: Any, places: str = "precision recall scores") -> None:
    assert type(ours).__mro__[-2].__module__ == "jaxmap.interop.pycocotools.cocoeval"
    assert type(theirs).__mro__[-2].__module__ == "pycocotools.cocoeval"
    assert theirs.stats[0] > 0.1
    np.testing.assert_allclose(ours.stats, theirs.stats, rtol=0, atol=1e-12)
    for place in places.split():
        np.testing.assert_allclose(ours.eval[place], theirs.eval[place], rtol=0, atol=1e-12)


def dataset_in(loop: Any) -> Any:
    truth = loop.COCO()
    truth.dataset = copy.deepcopy(dataset())
    truth.createIndex()
    return truth


def batches(image_ids: list[int]) -> list[list[int]]:
    return [image_ids[start : start + BATCH] for start in range(0, len(image_ids), BATCH)]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_detr_in_batches_and_processes() -> None:
    def evaluators(loop: Any, shares: list[list[int]]) -> Any:
        made = [loop.CocoEvaluator(dataset_in(loop), IOU_TYPES) for _ in shares]
        for evaluator, share in zip(made, shares, strict=True):
            for batch in batches(share):
                evaluator.update({image_id: predictions().get(image_id, {}) for image_id in batch})
        first, *others = made
        first.synchronize_between_processes(tuple(others))
        first.accumulate()
        first.summarize()
        return first.coco_eval

    shares = [IMAGE_IDS[:7], IMAGE_IDS[6:]]  # both processes hold one image, as a sampler pads them
    ours, theirs = under_both("detr", lambda loop: evaluators(loop, shares))
    whole, _ = under_both("detr", lambda loop: evaluators(loop, [IMAGE_IDS]))
    for iou_type in IOU_TYPES:
        assert_same_run(ours[iou_type], theirs[iou_type])
        np.testing.assert_array_equal(ours[iou_type].stats, whole[iou_type].stats)


def test_torchvision_in_batches() -> None:
    def coco_eval(loop: Any) -> Any:
        evaluator = loop.CocoEvaluator(dataset_in(loop), IOU_TYPES)
        coder = load_loop("detectron2", installed=loop.COCO is OURS[0])
        rows = {iou_type: results(coder, iou_type) for iou_type in IOU_TYPES}
        for row in (*rows["segm"], *rows["keypoints"]):
            row.pop("bbox")
        for batch in batches(IMAGE_IDS):
            evaluator.update(
                {name: [row for row in some if row["image_id"] in batch] for name, some in rows.items()}, batch
            )
        evaluator.synchronize_between_processes()
        evaluator.accumulate()
        evaluator.summarize()
        return evaluator.coco_eval

    ours, theirs = under_both("torchvision", coco_eval)
    for iou_type in IOU_TYPES:
        assert_same_run(ours[iou_type], theirs[iou_type])


@LOOPS
@pytest.mark.parametrize("limits", [None, [1, 10, 50]])
def test_detectron2(tmp_path: pathlib.Path, iou_type: str, limits: list[int] | None) -> None:
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(dataset()))
    sigmas = np.linspace(0.02, 0.1, NUM_KEYPOINTS).tolist()

    def run(loop: Any) -> Any:
        truth = loop.load(str(path))
        options = {"kpt_oks_sigmas": sigmas, "img_ids": IMAGE_IDS[2:], "max_dets_per_image": limits}
        options["max_dets_per_image"] = None if iou_type == "keypoints" else limits
        done = loop.evaluate_predictions_on_coco(truth, results(loop, iou_type), iou_type, **options)
        return done, loop.derive_coco_results(done, iou_type, truth.class_names)

    (ours, our_numbers), (theirs, their_numbers) = under_both("detectron2", run)
    assert_same_run(ours, theirs)
    assert our_numbers == pytest.approx(their_numbers, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("metric", ["bbox", "segm", "proposal"])
def test_mmdetection(tmp_path: pathlib.Path, metric: str) -> None:
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(dataset()))
    classes = [NAMES[class_id] for class_id in CLASS_IDS]

    def run(loop: Any) -> Any:
        outputs = [
            {"img_id": image_id, "bboxes": one["boxes"], "scores": one["scores"]}
            | {"labels": [CLASS_IDS.index(label) for label in one["labels"]]}
            | {"masks": loop.encode_mask_results(one["masks"][:, 0] > 0.5)}
            for image_id, one in predictions().items()
        ]
        return loop.compute_metrics(path, classes, outputs, metric, tmp_path)

    ours, theirs = under_both("mmdetection", run)
    assert ours == pytest.approx(theirs, abs=1e-12, nan_ok=True)
    assert next(iter(theirs.values())) > 0.1


def test_entry_that_was_not_evaluated_is_refused() -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        run = OURS[1](*load(OURS, TRUTH, RESULTS), "bbox")
        place = run.params.imgIds[0], run.params.catIds[0], run.params.areaRng[0]
        for prepared in (False, True):
            if prepared:
                run._prepare()
                assert run.evaluateImg(*place, 100) is run.evalImgs[0]
            with pytest.raises(ValueError, match="must be asked for a category, area range and image"):
                run.evaluateImg(*place, 10)


@pytest.mark.parametrize("change", ["fewer thresholds", "no scores", "fewer images"])
def test_entries_that_do_not_fit_the_parameters_are_refused(change: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        run = OURS[1](*load(OURS, TRUTH, RESULTS), "bbox")
        run.evaluate()
        run.evalImgs = copy.deepcopy(run.evalImgs)
        message = r"`evalImgs\[\d+\]` must hold .* a row for each of `params.iouThrs`"
        if change == "fewer thresholds":
            run.params.iouThrs = run.params.iouThrs[5:6]  # not the first rows of the entries
        elif change == "no scores":
            del next(entry for entry in run.evalImgs if entry is not None)["dtScores"]
        else:
            run.params.imgIds, message = run.params.imgIds[1:], "must have one entry for each of `params.catIds`"
        with pytest.raises(ValueError, match=message):
            run.accumulate()
