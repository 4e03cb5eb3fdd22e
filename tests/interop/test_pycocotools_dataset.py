"""The `COCO` class of the pycocotools shell, and what both of its classes refuse."""

from __future__ import annotations

import contextlib
import copy
import gzip
import io
import json
import pathlib
from typing import Any

import numpy as np
import pytest

from jaxmap.interop import pycocotools as shell
from support.both_cocos import OURS, THEIRS, load, tiny


def test_lookups() -> None:
    answers = []
    for classes in (OURS, THEIRS):
        with contextlib.redirect_stdout(io.StringIO()):
            truth, found = load(classes, *tiny())
        answers.append(
            [
                truth.getImgIds(),
                truth.getImgIds(imgIds=7),
                truth.getImgIds(imgIds=[7, 9], catIds=3),
                sorted(truth.getImgIds(catIds=[18])),
                truth.getImgIds(catIds=[18, 3]),
                truth.getCatIds(),
                truth.getCatIds(catNms=["car"]),
                truth.getCatIds(catNms="car"),
                truth.getCatIds(supNms=["animal", "vehicle"], catIds=[18]),
                truth.getAnnIds(),
                truth.getAnnIds(imgIds=9),
                truth.getAnnIds(imgIds=np.array([7, 9]), catIds=[18], iscrowd=False),
                truth.getAnnIds(catIds=18, areaRng=[81, 1000]),
                truth.getAnnIds(imgIds=[5]),
                truth.loadAnns(102),
                truth.loadAnns([101, 104]),
                truth.loadCats(truth.getCatIds()),
                truth.loadImgs([9, 7]),
                {**truth.imgToAnns},
                {**truth.catToImgs},
                truth.anns[103],
                truth.cats[3]["name"],
                truth.imgs[7],
                found.getAnnIds(),
                [(row["area"], row["iscrowd"], row["bbox"]) for row in found.loadAnns([1, 2, 3, 4])],
                found.dataset["info"],
            ]
        )
    assert answers[0] == answers[1]


def test_files_plain_and_compressed(tmp_path: pathlib.Path) -> None:
    dataset, _ = tiny()
    plain, packed = tmp_path / "truth.json", tmp_path / "truth.json.gz"
    plain.write_text(json.dumps(dataset))
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    with contextlib.redirect_stdout(io.StringIO()):
        assert shell.COCO(str(plain)).dataset == shell.COCO(packed).dataset == dataset
        packed.write_text("[]")
        with pytest.raises(AssertionError, match="annotation file format <class 'list'> not supported"):
            shell.COCO(packed)


def test_results_are_not_written_to() -> None:
    dataset, results = tiny()
    before = copy.deepcopy(results)
    with contextlib.redirect_stdout(io.StringIO()):
        truth, _ = load(OURS, dataset, [])
        truth.loadRes(results)
    assert results == before


# Refusals.


@pytest.mark.parametrize(
    ("results", "error", "message"),
    [
        ({}, AssertionError, "results in not an array of objects"),
        (
            [{"image_id": 8, "category_id": 3, "bbox": [0, 0, 1, 1], "score": 1.0}],
            AssertionError,
            "Results do not correspond to current coco set.*8",
        ),
        ([{"image_id": 7, "category_id": 3, "bbox": [0, 0, 1], "score": 1.0}], ValueError, r"results\[0\]\.bbox"),
        (
            [{"image_id": 7, "category_id": 3, "segmentation": [], "score": 1.0}],
            ValueError,
            r"`images\[0\]` has no `height`",
        ),
        (
            [{"image_id": 7, "category_id": 3, "keypoints": [1, 2, 2, 4], "score": 1.0}],
            ValueError,
            "must be three numbers per keypoint",
        ),
        (
            [{"image_id": 7, "category_id": 3, "text": "a dog", "score": 1.0}],
            ValueError,
            r"`results\[0\]` must have a `bbox`, a `segmentation`, `keypoints` or a `caption`, got only \['cat",
        ),
        (np.zeros((2, 6)), AssertionError, r"\[N, 7\], got \[2, 6\]"),
    ],
)
def test_results_that_cannot_be_loaded(results: Any, error: type[Exception], message: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        truth, _ = load(OURS, tiny()[0], [])
        with pytest.raises(error, match=message):
            truth.loadRes(results)


def test_steps_out_of_order() -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        run = shell.COCOeval(*load(OURS, *tiny()), "bbox")
        assert (len(run.evalImgs), run.ious, run.eval, run.stats) == (0, {}, {}, [])
        with pytest.raises(Exception, match=r"Please run evaluate\(\) first"):
            run.accumulate()
        with pytest.raises(Exception, match=r"Please run accumulate\(\) first"):
            run.summarize()


def test_what_is_not_supported_is_said() -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        truth, found = load(OURS, *tiny())
        with pytest.raises(ValueError, match=r"must be one of \['segm', 'bbox', 'keypoints'\], got 'captions'"):
            shell.COCOeval(truth, found, "captions")
        run = shell.COCOeval(truth, found, "bbox")
        run.params.iouThrs = [0.0, 0.5]
        with pytest.raises(ValueError, match="above 0"):
            run.evaluate()
        run.params.iouThrs, run.params.maxDets = [0.5], [100]
        run.evaluate()
        run.accumulate()
        with pytest.raises(IndexError, match="three limits"):
            run.summarize()


def test_entries_that_cannot_be_scored_are_named() -> None:
    dataset, results = tiny()
    with contextlib.redirect_stdout(io.StringIO()):
        truth, found = load(OURS, dataset, results)
        run = shell.COCOeval(truth, found, "bbox")
        found.anns[1]["score"] = float("nan")
        with pytest.raises(ValueError, match=r"cocoDt: `annotations\[0\]\.score` must be a finite number, got nan"):
            run.evaluate()
        found.anns[1]["score"] = 0.5
        del truth.anns[103]["area"]
        with pytest.raises(ValueError, match=r"cocoGt: `annotations\[2\]` has no `area`"):
            run.evaluate()
