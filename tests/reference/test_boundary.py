"""Boundary IoU: against an independent implementation, the published number, and by hand."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from scipy import ndimage

import jaxmap
from jaxmap import io
from jaxmap._geometry._rle import boundary_masks, coco_masks, encode_masks
from support.panoptic_scenes import mask_boundary

PROTOCOL = jaxmap.COCO.customize(iou_type="boundary")


def random_masks(rng: np.random.Generator, count: int, height: int, width: int) -> np.ndarray:
    noise = ndimage.gaussian_filter(rng.normal(size=(count, height, width)), (0, 4, 4))
    return noise > np.quantile(noise, rng.uniform(0.3, 0.9))


def test_boundaries_equal_repeated_erosion() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        masks = random_masks(rng, 5, *rng.integers(20, 150, 2))
        masks[0] = seed % 2 == 0  # nothing, or all of the image
        for ratio in (0.001, 0.02, 0.1):
            expected = encode_masks(np.stack([mask_boundary(mask, ratio) for mask in masks]))
            got = boundary_masks(encode_masks(masks), ratio)
            assert coco_masks(got) == coco_masks(expected)


def test_similarity_is_the_lesser_of_both_and_that_of_masks_for_crowds() -> None:
    rng = np.random.default_rng(0)
    shape = (6, 80, 100)
    masks, others = random_masks(rng, *shape), random_masks(rng, *shape)
    others |= masks & (rng.random(shape) < 0.7)
    crowd = np.array([False, False, False, False, True, True])
    low = PROTOCOL.customize(iou_thresholds=[1e-9])
    for index in range(len(masks)):
        evaluation = jaxmap.evaluate(
            [{"masks": masks[index : index + 1], "scores": [0.5], "labels": [0]}],
            [{"masks": others[index : index + 1], "labels": [0], "crowd": crowd[index : index + 1]}],
            protocol=low,
        )
        one, other = masks[index], others[index]
        if crowd[index]:
            expected = (one & other).sum() / one.sum()
        else:
            pairs = [(one, other), (mask_boundary(one, 0.02), mask_boundary(other, 0.02))]
            expected = min((a & b).sum() / (a | b).sum() for a, b in pairs)
        assert evaluation.matches(1e-9)["iou"][0] == pytest.approx(expected, abs=1e-15)


def test_published_number(shared_data: pathlib.Path) -> None:
    truth = io.read_coco_ground_truths(shared_data / "small/gt_dataset.json.gz", iou_type="boundary")
    found = io.read_coco_detections(shared_data / "small/dt_dataset.json.gz", truth, iou_type="boundary")
    # faster-coco-eval's test_boundary.py
    assert jaxmap.evaluate(found, truth, protocol=PROTOCOL).summary["AP"] == pytest.approx(0.6947194719, abs=1e-10)


def test_boundary_of_a_square_by_hand() -> None:
    # A square of 10 in an image of diagonal 50: 0.02 of it is one pixel, and the boundary is its outermost ring.
    mask = np.zeros((1, 30, 40), bool)
    mask[0, 5:15, 5:15] = True
    assert boundary_masks(encode_masks(mask), 0.02).area.tolist() == [100 - 64]
    mask[0] = False
    mask[0, :10, :10] = True  # at the edge of the image too, outside of which nothing is set
    assert boundary_masks(encode_masks(mask), 0.02).area.tolist() == [100 - 64]
