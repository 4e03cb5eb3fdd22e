"""What the tests of the pycocotools shell share: both libraries side by side, and a small dataset."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pycocotools.coco
import pycocotools.cocoeval

from jaxmap.interop import pycocotools as shell

ATOL = 1e-12
THEIRS = (pycocotools.coco.COCO, pycocotools.cocoeval.COCOeval)
OURS = (shell.COCO, shell.COCOeval)
Classes = tuple[Any, Any]
Change = Callable[[Any], None]


def load(classes: Classes, dataset: dict[str, Any], results: Any) -> tuple[Any, Any]:
    """Builds both datasets; each library gets its own copies, since pycocotools writes into them."""
    truth = classes[0]()
    truth.dataset = copy.deepcopy(dataset)
    truth.createIndex()
    if len(results):
        return truth, truth.loadRes(copy.deepcopy(results))
    found = classes[0]()
    found.dataset = {**truth.dataset, "annotations": []}
    found.createIndex()
    return truth, found


def script(
    classes: Classes, dataset: dict[str, Any], results: Any, change: Change | None = None, iou_type: str = "bbox"
) -> tuple[Any, str]:
    """Runs the three steps; returns the evaluation and what `summarize` printed."""
    text = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()):
        run = classes[1](*load(classes, dataset, results), iou_type)
        if change is not None:
            change(run.params)
        run.evaluate()
        run.accumulate()
        if len(run.params.maxDets) == 3 or iou_type == "keypoints":
            with contextlib.redirect_stdout(text):
                run.summarize()
    return run, text.getvalue()


def assert_same(dataset: dict[str, Any], results: Any, change: Change | None = None, iou_type: str = "bbox") -> Any:
    """Asserts that both libraries agree on everything; returns our evaluation."""
    ours, our_text = script(OURS, dataset, results, change, iou_type)
    theirs, their_text = script(THEIRS, dataset, results, change, iou_type)
    assert our_text == their_text
    assert_same_eval(ours, theirs)
    assert len(ours.evalImgs) == len(theirs.evalImgs)
    for mine, other in zip(ours.evalImgs, theirs.evalImgs, strict=True):
        assert_same_entry(mine, other)
    assert ours.ious.keys() == theirs.ious.keys()
    atol = ATOL if iou_type == "keypoints" else 0  # sums of exponentials; the IoU of boxes and masks is the same ratio
    for key, values in theirs.ious.items():
        np.testing.assert_allclose(ours.ious[key], values, rtol=0, atol=atol)
    return ours


def assert_same_eval(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(ours.stats, theirs.stats, rtol=0, atol=ATOL)
    assert ours.eval.keys() == theirs.eval.keys()
    assert ours.eval["counts"] == theirs.eval["counts"]
    for name in ("precision", "recall", "scores"):
        assert ours.eval[name].shape == theirs.eval[name].shape
        np.testing.assert_allclose(ours.eval[name], theirs.eval[name], rtol=0, atol=ATOL)


def assert_same_entry(mine: Any, other: Any) -> None:
    assert (mine is None) == (other is None)
    if mine is None:
        return
    assert mine.keys() == other.keys()
    for name, value in other.items():
        if isinstance(value, np.ndarray):
            assert np.shape(mine[name]) == value.shape, name
        np.testing.assert_array_equal(mine[name], value, err_msg=name)


def tiny() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Two images, two categories, a crowd, and a result of no category."""
    boxes = [
        (7, 18, [0, 0, 20, 10], 0),
        (7, 18, [30, 30, 40, 40], 1),
        (9, 3, [5, 5, 50, 50], 0),
        (9, 18, [0, 0, 9, 9], 0),
    ]
    annotations = [
        {"id": i, "image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": crowd}
        for i, (image, category, box, crowd) in enumerate(boxes, start=101)
    ]
    dataset = {
        "info": {"description": "tiny"},
        "images": [{"id": 9, "width": 100}, {"id": 7, "width": 90}],
        "categories": [
            {"id": 18, "name": "dog", "supercategory": "animal"},
            {"id": 3, "name": "car", "supercategory": "vehicle"},
        ],
        "annotations": annotations,
    }
    rows = [
        (7, 18, [0, 0, 20, 8], 0.9),
        (7, 18, [31, 31, 10, 10], 0.8),
        (9, 3, [6, 5, 50, 50], 0.7),
        (9, 18, [0, 0, 9, 9], 0.7),
    ]
    results = [{"image_id": i, "category_id": k, "bbox": box, "score": s} for i, k, box, s in rows]
    return dataset, results
