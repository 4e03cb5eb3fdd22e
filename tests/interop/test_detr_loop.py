"""DETR's evaluation loop through the pycocotools shell: images in batches, shares of processes, entries gathered.

The steps are those of `CocoEvaluator` in facebookresearch/detr and of torchvision's references: pycocotools' inner
steps are called one by one, the entries become an array [K, A, I], arrays of all processes are joined along images, and
of an image that two processes hold the first entry stays.
"""

from __future__ import annotations

import contextlib
import copy
import io
from typing import Any

import numpy as np
import pytest

from support.both_cocos import OURS, THEIRS, Classes, load, script
from support.evaluator_files import IMAGE_IDS, RESULTS, TRUTH

BATCH = 4


def evaluate_inner(run: Any) -> np.ndarray:
    """DETR's way: every inner step by its name."""
    params = run.params
    params.imgIds, params.catIds = list(np.unique(params.imgIds)), list(np.unique(params.catIds))
    params.maxDets = sorted(params.maxDets)
    run.params = params
    run._prepare()
    run.ious = {(image, label): run.computeIoU(image, label) for image in params.imgIds for label in params.catIds}
    entries = [
        run.evaluateImg(image, category, area, params.maxDets[-1])
        for category in params.catIds
        for area in params.areaRng
        for image in params.imgIds
    ]
    run._paramsEval = copy.deepcopy(params)
    return np.asarray(entries).reshape(len(params.catIds), len(params.areaRng), len(params.imgIds))


def evaluate_whole(run: Any) -> np.ndarray:
    """torchvision's way: `evaluate`, and then its entries."""
    run.evaluate()
    params = run.params
    return np.asarray(run.evalImgs).reshape(-1, len(params.areaRng), len(params.imgIds))


def process(classes: Classes, truth: Any, results: list[Any], images: list[int], evaluate: Any) -> tuple[Any, Any, Any]:
    """Returns one process's evaluation, image ids and entries."""
    run = classes[1](truth, iouType="bbox")
    seen, entries = [], []
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        rows = [row for row in results if row["image_id"] in batch]
        run.cocoDt = classes[0].loadRes(truth, copy.deepcopy(rows)) if rows else classes[0]()
        run.params.imgIds = batch
        entries.append(evaluate(run))
        seen += run.params.imgIds
    return run, seen, np.concatenate(entries, 2)


def loop(classes: Classes, dataset: Any, results: list[Any], shares: list[list[int]], evaluate: Any) -> Any:
    truth, _ = load(classes, dataset, [])
    parts = [process(classes, truth, results, share, evaluate) for share in shares]
    run = parts[0][0]
    images, first = np.unique(np.concatenate([seen for _, seen, _ in parts]), return_index=True)
    run.evalImgs = list(np.concatenate([entries for _, _, entries in parts], 2)[..., first].flatten())
    run.params.imgIds = list(images)
    run._paramsEval = copy.deepcopy(run.params)
    run.accumulate()
    run.summarize()
    return run


@pytest.mark.parametrize("evaluate", [evaluate_inner, evaluate_whole])
def test_batches_and_processes_give_the_numbers_of_one_call(evaluate: Any) -> None:
    images = IMAGE_IDS[:22]
    shares = [images[:12], images[10:]]  # two images pad a share: both processes hold them
    dataset = {**TRUTH, "images": [row for row in TRUTH["images"] if row["id"] in images]}
    results = [row for row in RESULTS if row["image_id"] in images[BATCH:]]  # one batch has no detections
    with contextlib.redirect_stdout(io.StringIO()):
        ours, theirs = (loop(classes, dataset, results, shares, evaluate) for classes in (OURS, THEIRS))
    whole, _ = script(OURS, dataset, results)
    assert whole.stats[0] > 0
    for run in (theirs, whole):
        np.testing.assert_array_equal(ours.stats, run.stats)
        for name in ("precision", "recall", "scores"):
            np.testing.assert_array_equal(ours.eval[name], run.eval[name])


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
