"""Random small scenes of whole-number boxes that overlap equally well, some difficult or crowds, most scores tied."""

from __future__ import annotations

from typing import Any

import numpy as np

from support.voc_devkit import Found, Real, average_precision

NUM_IMAGES, D, G, K = 6, 24, 8, 3
Images = list[dict[str, np.ndarray]]


def random_scene(seed: int) -> tuple[Images, Images]:
    """Returns (detections, ground truths), one dictionary an image, boxes xyxy; `ignore` and `crowd` are difficult."""
    rng = np.random.default_rng(seed)
    found, real = [], []
    for _ in range(NUM_IMAGES):
        boxes = _boxes(rng, int(rng.integers(0, G)))
        labels = rng.integers(0, K, len(boxes))
        again = rng.random(len(boxes)) < 0.3  # twins: only the order tells them apart
        source = rng.integers(0, max(len(boxes), 1), len(boxes))
        boxes, labels = np.where(again[:, None], boxes[source], boxes), np.where(again, labels[source], labels)
        kind = rng.integers(0, 6, len(boxes))
        real.append({"boxes": boxes, "labels": labels, "ignore": kind == 0, "crowd": kind == 1})
        pick = rng.integers(0, max(len(boxes), 1), int(rng.integers(0, D)) if len(boxes) else 0)
        shift = rng.integers(-2, 3, (len(pick), 4)) * (rng.random((len(pick), 1)) < 0.7)
        swapped = rng.random(len(pick)) < 0.05  # such a box overlaps nothing and is a false positive
        boxes = boxes[pick] + shift
        found.append(
            {
                "boxes": np.where(swapped[:, None], boxes[:, [2, 1, 0, 3]], boxes),
                "labels": np.where(rng.random(len(pick)) < 0.9, labels[pick], rng.integers(0, K, len(pick))),
                "scores": rng.integers(0, 8, len(pick)) / 8,
            }
        )
    return found, real


def expected(found: Images, real: Images, label: int, **options: Any) -> float:
    """Returns the AP of a class by the plain definition."""
    rows = [
        Found(image, score, box)
        for image, one in enumerate(found)
        for box, score, its in zip(one["boxes"].tolist(), one["scores"].tolist(), one["labels"], strict=True)
        if its == label
    ]
    truth = {
        image: [
            Real(box, bool(difficult))
            for box, difficult, its in zip(
                one["boxes"].tolist(), one["ignore"] | one["crowd"], one["labels"], strict=True
            )
            if its == label
        ]
        for image, one in enumerate(real)
    }
    return average_precision(rows, truth, **options)


def _boxes(rng: np.random.Generator, num_boxes: int) -> np.ndarray:
    corner, size = rng.integers(0, 9, (num_boxes, 2)), rng.integers(6, 11, (num_boxes, 2))
    return np.concatenate([corner, corner + size], axis=1).astype(np.float64)
