"""Boxes that are a product inside the same program: XLA must not fuse it into the arithmetic that decides matches."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import jaxmap
from jaxmap._geometry._boxes import box_iou

pytestmark = pytest.mark.slow


def test_update_decides_the_same_on_boxes_scaled_inside_the_program():
    # IoUs lie exactly on k / 20, so that a product taken unrounded falls on the wrong side of a threshold. Shapes are
    # large enough for the compiler to vectorise; at 8 x 8 x 4 the fault does not show.
    rng = np.random.default_rng(0)
    num_images, num_boxes, width = 32, 16, np.float32(640)
    corner = rng.integers(0, 300, (num_images, num_boxes, 2))
    side = rng.choice([10, 20, 40, 100], (num_images, num_boxes, 2))
    truth = np.concatenate([corner, corner + side], -1).astype(np.float32)
    found = truth.copy()
    found[..., 2] = truth[..., 0] + side[..., 0] * rng.integers(10, 21, (num_images, num_boxes)) / 20
    normalized = truth / width
    assert (normalized * width == truth).all()  # so that rounded products are the boxes themselves

    labels = np.zeros((num_images, num_boxes), np.int32)
    scores = rng.random((num_images, num_boxes)).astype(np.float32)
    metric = jaxmap.AveragePrecision(
        num_classes=1,
        max_images=num_images,
        max_detections_per_image=num_boxes,
        max_ground_truths_per_image=num_boxes,
    )

    def update(boxes):
        detections = jaxmap.Detections(boxes=found, scores=scores, labels=labels)
        ground_truths = jaxmap.GroundTruths(boxes=boxes, labels=labels)
        return metric.update(metric.init(), detections, ground_truths, image_id=np.arange(num_images, dtype=np.int32))

    scaled = jax.jit(lambda boxes, factor: update(boxes * factor))(normalized, width)
    plain = jax.jit(update)(truth)
    np.testing.assert_array_equal(scaled.images.matched, plain.images.matched)


def test_box_iou_is_the_same_on_boxes_scaled_inside_the_program():
    rng = np.random.default_rng(1)
    boxes = rng.random((2, 64, 4)).astype(np.float32)
    scaled = jax.jit(lambda a, b, factor: box_iou(a * factor, b * factor, box_format="xywh"))
    factor = np.float32(333.3)
    np.testing.assert_array_equal(scaled(*boxes, factor), box_iou(*(boxes * factor), box_format="xywh"))
