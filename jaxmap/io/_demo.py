"""A made-up scene with a made-up detector, to try everything without files.

>>> detections, ground_truths = demo_scene(num_images=20)
>>> len(ground_truths.image_ids), ground_truths.class_names[:3]
(20, ('person', 'car', 'chair'))
"""

from __future__ import annotations

import numpy as np

from ..types import DetectionTable, Floats, GroundTruthTable, Ints

__all__ = ["demo_scene"]

_IMAGE_SIZE = np.array([640.0, 480.0])
_CLASS_NAMES = ("person", "car", "chair", "book", "bottle", "dog", "bicycle", "clock", "zebra", "kite")
_CLASS_FREQUENCY = np.array([0.30, 0.15, 0.12, 0.10, 0.08, 0.07, 0.06, 0.05, 0.04, 0.03])
_SIDES = (10.0, 400.0)  # pixels; log-uniform between these, each size gets a third of the objects


def demo_scene(num_images: int = 300, seed: int = 0) -> tuple[DetectionTable, GroundTruthTable]:
    """Returns the output of a mediocre made-up detector on random images, and their ground truths.

    The detector misses small objects more often, places boxes inaccurately, scores them by their fit (with noise),
    detects some objects twice, confuses classes, and detects objects in the background and in crowds. Coordinates and
    scores are rounded, so that some scores are equal.

    Args:
      num_images: at least 1; with about 50 or more, all twelve COCO numbers are defined.
      seed: the same seed gives the same scene.

    Raises:
      ValueError: if `num_images` is less than 1.
    """
    if num_images < 1:
        raise ValueError(f"`num_images` must be at least 1, got {num_images}.")
    rng = np.random.default_rng(seed)
    ground_truths = _ground_truths(rng, num_images)
    return _detections(rng, ground_truths), ground_truths


def _ground_truths(rng: np.random.Generator, num_images: int) -> GroundTruthTable:
    counts = rng.integers(0, 12, num_images)
    counts += 35 * (rng.random(num_images) < 0.05)  # a few busy images, so that the limits on detections matter
    image_index = np.repeat(np.arange(num_images), counts)
    num = len(image_index)
    boxes = _random_boxes(rng, num)
    fill = 0.55 + 0.4 * rng.random(num)  # the share of the box that the mask covers
    return GroundTruthTable(
        image_index=image_index,
        labels=_random_labels(rng, num),
        boxes=boxes,
        area=np.round(boxes[:, 2] * boxes[:, 3] * fill, 2),
        crowd=(rng.random(num) < 0.1) & (boxes[:, 2:] > 60.0).all(axis=1),
        ignore=np.zeros(num, dtype=bool),
        ids=np.arange(1, num + 1),
        image_ids=np.arange(1, num_images + 1),
        class_ids=np.arange(1, len(_CLASS_NAMES) + 1),
        class_names=_CLASS_NAMES,
        image_sizes=np.tile(_IMAGE_SIZE[::-1].astype(np.int64), (num_images, 1)),
    )


def _detections(rng: np.random.Generator, ground_truths: GroundTruthTable) -> DetectionTable:
    image_index, labels, boxes = ground_truths.image_index, ground_truths.labels, ground_truths.boxes
    ease = np.log(np.sqrt(boxes[:, 2] * boxes[:, 3]) / _SIDES[0]) / np.log(_SIDES[1] / _SIDES[0])

    found = np.flatnonzero(~ground_truths.crowd & (rng.random(len(boxes)) < 0.6 + 0.38 * ease))
    hits = _around(rng, boxes[found], 0.02 + 0.12 * rng.random(len(found)) ** 2)
    confused = np.where(rng.random(len(found)) < 0.06, _random_labels(rng, len(found)), labels[found])
    hit_scores = 0.15 + 0.7 * _paired_iou(hits, boxes[found]) + 0.12 * rng.normal(size=len(found))

    doubled = found[rng.random(len(found)) < 0.25]
    doubles = _around(rng, boxes[doubled], np.full(len(doubled), 0.15))
    double_scores = 0.05 + 0.4 * rng.random(len(doubled))

    crowds = np.repeat(np.flatnonzero(ground_truths.crowd), 3)
    members = boxes[crowds] * [1.0, 1.0, 0.3, 0.5]
    members[:, :2] += boxes[crowds, 2:] * rng.random((len(crowds), 2)) * [0.7, 0.5]
    member_scores = 0.2 + 0.6 * rng.random(len(crowds))

    num_images = len(ground_truths.image_ids)
    ghosts = _random_boxes(rng, 3 * num_images)
    ghost_images = rng.integers(0, num_images, len(ghosts))
    ghost_labels = _random_labels(rng, len(ghosts))
    ghost_scores = 0.05 + 0.75 * rng.random(len(ghosts)) ** 2

    images = np.concatenate([image_index[found], image_index[doubled], image_index[crowds], ghost_images])
    scores = np.concatenate([hit_scores, double_scores, member_scores, ghost_scores]).clip(0.01, 0.999).round(3)
    order = np.lexsort((-scores, images))  # image by image, best first, as detectors write them
    return DetectionTable(
        image_index=images[order],
        labels=np.concatenate([confused, labels[doubled], labels[crowds], ghost_labels])[order],
        boxes=np.concatenate([hits, doubles, members, ghosts])[order].round(2),
        scores=scores[order],
        ids=np.arange(len(order)),
    )


def _random_labels(rng: np.random.Generator, num: int) -> Ints:
    last = len(_CLASS_NAMES) - 1  # the sum of the frequencies may be rounded below a drawn number
    return np.searchsorted(np.cumsum(_CLASS_FREQUENCY), rng.random(num)).clip(max=last)


def _random_boxes(rng: np.random.Generator, num: int) -> Floats:
    """Returns `[num, 4]` xywh inside the image, of all sizes."""
    side = _SIDES[0] * (_SIDES[1] / _SIDES[0]) ** rng.random(num)
    stretch = np.exp(0.2 * rng.normal(size=num))
    size = np.minimum(np.stack([side * stretch, side / stretch], axis=1), 0.95 * _IMAGE_SIZE)
    corner = rng.random((num, 2)) * (_IMAGE_SIZE - size)
    return np.round(np.concatenate([corner, size], axis=1), 2)


def _around(rng: np.random.Generator, boxes: Floats, spread: Floats) -> Floats:
    """Returns boxes that are moved and scaled by `spread`, a share of their size."""
    noise = spread[:, None] * rng.normal(size=boxes.shape)
    size = boxes[:, 2:] * np.exp(noise[:, 2:])
    corner = boxes[:, :2] + boxes[:, 2:] * noise[:, :2]
    return np.concatenate([corner, size], axis=1)


def _paired_iou(first: Floats, second: Floats) -> Floats:
    low = np.maximum(first[:, :2], second[:, :2])
    high = np.minimum(first[:, :2] + first[:, 2:], second[:, :2] + second[:, 2:])
    inter = (high - low).clip(min=0.0).prod(axis=1)
    return np.asarray(inter / (first[:, 2:].prod(axis=1) + second[:, 2:].prod(axis=1) - inter))
