"""Every cell, match and number on real detections equals live pycocotools', and the numbers published for them."""

from __future__ import annotations

import dataclasses
import gzip
import json
import pathlib
from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap import io
from jaxmap._ordering import take_rows
from jaxmap.analysis._replicates import WeightedSummary
from support.oracle import assert_same_cells, assert_same_matches, run_pycocotools
from support.scenes import cut

pytestmark = pytest.mark.slow

INTEGER_BOXES = "coco_val2017/ground_truth_integer_boxes"
EXACT = "coco_val2017/ground_truth_exact_188_images"


@dataclasses.dataclass(frozen=True)
class Pair:
    """A ground-truth file and a results file, both cut to the images that they share.

    Attributes:
      ground_truths, results: paths below the data folder, without .json.gz.
      published: the first numbers of the summary, as their source prints them.
      cut_ground_truths: True where only the images of the results are meant, False where all of the ground truths' are.
    """

    ground_truths: str
    results: str
    published: str = ""
    cut_ground_truths: bool = False

    def __str__(self) -> str:
        return f"{self.ground_truths.split('/')[-1]}-{self.results.split('/')[-1]}"

    def load(self, folder: pathlib.Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        ground_truths, results = (
            json.loads(gzip.decompress((folder / f"{path}.json.gz").read_bytes()))
            for path in (self.ground_truths, self.results)
        )
        for row in (*results, *ground_truths["annotations"]):
            row["image_id"] = int(row["image_id"])  # a few of them are strings in the ignore test
            row.pop("segmentation", None)
        for image in ground_truths["images"]:
            image["id"] = int(image["id"])
        keep = {image["id"] for image in ground_truths["images"]}
        if self.cut_ground_truths:
            keep &= {row["image_id"] for row in results}
        return cut(ground_truths, results, sorted(keep))


PAIRS = [
    Pair(
        INTEGER_BOXES,
        "coco_val2017/ssd_resnet50_fpn",
        ".3762 .5469 .4194 .1025 .3559 .5474 .3058 .4424 .4533 .1398 .4484 .6348",
    ),
    Pair(
        INTEGER_BOXES,
        "coco_val2017/ssd_inception_v2",
        ".2754 .3989 .3032 .0156 .1089 .5454 .2398 .3067 .3076 .0239 .1395 .5922",
    ),
    Pair(
        INTEGER_BOXES,
        "coco_val2017/ssdlite_mobilenet_v2",
        ".2407 .3568 .2666 .0083 .0877 .4816 .2167 .2708 .2715 .0136 .1124 .5339",
    ),
    Pair(
        EXACT,
        "coco_val2017/ssd_resnet50_fpn",
        ".4068 .5779 .4436 .1525 .4799 .6392 .3381 .4569 .4637 .1621 .5338 .7077",
    ),
    Pair(EXACT, "coco_val2017/ssd_inception_v2"),
    Pair(EXACT, "coco_val2017/ssdlite_mobilenet_v2"),
    Pair(
        INTEGER_BOXES,
        "coco_val2017/yolact_150_images",
        ".2868 .4480 .3218 .0906 .3208 .4607 .2669 .3573 .3652 .1538 .4051 .5218",
        cut_ground_truths=True,
    ),
    Pair(INTEGER_BOXES, "coco_val2017/yolact_base_masks_100_images", ".4001 .6403", cut_ground_truths=True),
    Pair(INTEGER_BOXES, "coco_val2017/yolact_darknet53_masks_100_images", ".3775 .5833", cut_ground_truths=True),
    Pair(
        "cocoapi_val2014_100/ground_truth",
        "cocoapi_val2014_100/fake_boxes",
        ".504581 .696973 .572982 .585626 .519400 .501398 .386813 .593680 .595353 .639811 .566421 .564291",
    ),
    Pair("small/gt_dataset", "small/dt_dataset", ".69472"),
    Pair("small/gt_ignore_test", "small/dt_ignore_test", ".70990"),
]


@pytest.mark.parametrize("pair", PAIRS[:2] + PAIRS[3:], ids=str)  # each of 5,000 images takes pycocotools 20 s
def test_real_detections_equal_pycocotools_and_the_published_numbers(pair: Pair, shared_data: pathlib.Path) -> None:
    dataset, results = pair.load(shared_data)
    oracle = run_pycocotools(dataset, results)
    ground_truths = io.coco_ground_truths(dataset)
    evaluation = jaxmap.evaluate(io.coco_detections(results, ground_truths), ground_truths)
    assert_same_cells(evaluation, oracle)
    assert_same_matches(evaluation, oracle)
    numbers = np.array(list(evaluation.summary.values()))
    for name, number, published in zip(evaluation.summary, numbers, pair.published.split(), strict=False):
        digits = len(published.lstrip("."))
        assert abs(number - float(published)) <= 0.5 * 10**-digits + 1e-12, (name, number, published)


@pytest.mark.parametrize("pair", PAIRS[:2] + PAIRS[3:4], ids=str)
def test_weights_of_images_equal_repeated_images(pair: Pair, shared_data: pathlib.Path) -> None:
    dataset, results = pair.load(shared_data)
    truth = io.coco_ground_truths(dataset)
    found = io.coco_detections(results, truth)
    # Copies of an image stay together, which is the order of repeated images only if no scores tie.
    ranks = np.empty(len(found.scores))
    ranks[np.argsort(found.scores, kind="stable")] = np.linspace(0.1, 0.9, len(ranks))
    found = dataclasses.replace(found, scores=ranks)
    evaluation = jaxmap.evaluate(found, truth)
    counts = np.random.default_rng(0).poisson(1, (2, len(truth.image_ids)))
    weighted = WeightedSummary(evaluation.dataset, evaluation.protocol)(lambda first, last: counts[first:last], 2)
    ones = WeightedSummary(evaluation.dataset, evaluation.protocol).of_dataset()
    np.testing.assert_allclose(ones.summary[:, 0], list(evaluation.summary.values()), rtol=0, atol=1e-12)
    for index, row in enumerate(counts):
        expected = jaxmap.evaluate(*(repeated(table, row) for table in (found, truth)))
        np.testing.assert_allclose(weighted.summary[:, index], list(expected.summary.values()), rtol=0, atol=1e-12)
        np.testing.assert_allclose(weighted.of_class[:, index], expected.per_class()["AP"], rtol=0, atol=1e-12)


def repeated(table: Any, counts: np.ndarray) -> Any:
    """Returns a table in which each image occurs as often as it counts."""
    times = counts[table.image_index]
    rows = np.repeat(np.arange(len(times)), times)
    copy = np.arange(len(rows)) - np.repeat(np.cumsum(times) - times, times)
    index = (np.cumsum(counts) - counts)[table.image_index[rows]] + copy
    changes = {"image_index": index, "ids": np.arange(len(rows)) + 1}
    if hasattr(table, "image_ids"):
        changes |= {"image_ids": np.arange(counts.sum()), "image_sizes": None, "image_files": None}
    return dataclasses.replace(take_rows(table, rows), **changes)
