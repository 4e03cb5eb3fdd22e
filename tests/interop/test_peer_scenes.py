"""The scenes of the peers' own tests through the pycocotools shell, made anew: hotcoco's and faster-coco-eval's.

Not here are tests of what those add to pycocotools: Open Images' style, hierarchies, `extended_metrics` and the like.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest

from jaxmap.interop.pycocotools import COCO, COCOeval
from support.both_cocos import assert_same

POINTS = [value for point in range(17) for value in (100 + 10 * point, 100 + 5 * point, 2)]
SQUARES = ([10, 10, 100, 100], [200, 200, 50, 50])


def truth(*boxes: list[float], **fields: Any) -> list[dict[str, Any]]:
    return [{"bbox": box, "area": box[2] * box[3], "iscrowd": 0} | fields for box in boxes]


def found(*boxes: list[float], **fields: Any) -> list[dict[str, Any]]:
    scores = np.linspace(0.9, 0.1, len(boxes)).round(4).tolist()
    return [{"bbox": box, "score": score} | fields for box, score in zip(boxes, scores, strict=True)]


def corners(box: list[float]) -> list[list[float]]:
    x, y, w, h = box
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


SCENES: dict[str, tuple[str, list[dict[str, Any]], list[dict[str, Any]]]] = {
    "no ground truth": ("bbox", [], found(SQUARES[0])),
    "no ground truth, masks": ("segm", [], found(SQUARES[0])),
    "crowds alone": ("bbox", truth(*SQUARES, iscrowd=1), found(*SQUARES)),
    "one box, three times": ("bbox", truth(*[[50, 50, 200, 150]] * 3), found(*[[50, 50, 200, 150]] * 3)),
    "areas on the limits": (
        "bbox",
        truth([10, 10, 32, 32], [100, 100, 96, 96]),
        found([10, 10, 32, 32], [100, 100, 96, 96]),
    ),
    "one of each": ("bbox", truth(SQUARES[1]), found(SQUARES[1])),
    "boxes without width or height": (
        "bbox",
        truth([10, 10, 0, 50], [50, 50, 50, 0], [100, 100, 80, 80]),
        found([10, 10, 0, 50], [50, 50, 50, 0], [100, 100, 80, 80]),
    ),
    "200 detections of one object": (
        "bbox",
        truth([100, 100, 50, 50]),
        found(*([100 + 2 * step, 100, 50, 50] for step in range(200))),
    ),
    "keypoints of which none is labelled": (
        "keypoints",
        [
            *truth([50, 50, 200, 200], keypoints=[0] * 51, num_keypoints=0),
            *truth([50, 50, 200, 200], keypoints=POINTS, num_keypoints=17),
        ],
        found([50, 50, 200, 200], keypoints=POINTS),
    ),
    "polygons against boxes": (
        "segm",
        [truth(box, segmentation=corners(box))[0] for box in SQUARES],
        found(*SQUARES),
    ),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # some of them are no scenes that a user means
@pytest.mark.parametrize("name", SCENES)
def test_scene_scores_as_in_pycocotools(name: str) -> None:
    iou_type, annotations, results = SCENES[name]
    dataset = {
        "images": [{"id": 1, "width": 640, "height": 480}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": i, "image_id": 1, "category_id": 1} | row for i, row in enumerate(annotations, 1)],
    }
    assert_same(dataset, [{"image_id": 1, "category_id": 1} | row for row in results], iou_type=iou_type)


# Published by faster-coco-eval (tests/test_ranges.py): AP and AR of all, nano, micro, small, medium and large.
RANGES = {
    "all": [0, 1e10], "nano": [0, 8**2], "micro": [8**2, 16**2], "small": [16**2, 32**2], "medium": [32**2, 96**2],
    "large": [96**2, 1e10],
}  # fmt: skip
PUBLISHED = {
    "fake_boxes": (
        [0.504580698725, 0.511335364306, 0.614061763274, 0.592232459418, 0.519399694804, 0.501397898635],
        [0.595352982878, 0.527564102564, 0.635780455280, 0.624455828123, 0.566420597899, 0.564290598291],
    ),
    "fake_masks": (
        [0.319545275858, 0.321928154354, 0.423566304937, 0.417772207148, 0.310182724034, 0.326933907101],
        [0.416839499220, 0.377564102564, 0.485837144837, 0.464264229598, 0.376759226662, 0.381471509972],
    ),
}


@pytest.mark.parametrize(("name", "iou_type"), [("fake_boxes", "bbox"), ("fake_masks", "segm")])
def test_six_area_ranges_score_as_published(shared_data: Any, name: str, iou_type: str) -> None:
    folder = shared_data / "cocoapi_val2014_100"
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truths = COCO(folder / "ground_truth.json.gz")
        run = COCOeval(ground_truths, ground_truths.loadRes(folder / f"{name}.json.gz"), iou_type)
        run.params.areaRng, run.params.areaRngLbl = list(RANGES.values()), list(RANGES)
        run.evaluate()
        run.accumulate()
    for quantity, expected in zip(("precision", "recall"), PUBLISHED[name], strict=True):
        cells = [run.eval[quantity][..., area, -1] for area in range(len(RANGES))]
        assert [values[values > -1].mean() for values in cells] == pytest.approx(expected, abs=1e-11)
