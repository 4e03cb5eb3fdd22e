"""Inputs for the tests of the torchmetrics shell, among them those of torchmetrics' own tests."""

from __future__ import annotations

from typing import Any

import numpy as np

NAMES = [
    "map", "map_50", "map_75", "map_small", "map_medium", "map_large",
    "mar_1", "mar_10", "mar_100", "mar_small", "mar_medium", "mar_large",
]  # fmt: skip
CLASS_NAMES = ["map_per_class", "mar_100_per_class"]


def image(boxes: Any, labels: Any, scores: Any = None, **more: Any) -> dict[str, np.ndarray]:
    """One image's dictionary in float32, as tensors are by default."""
    fields = {"boxes": np.array(boxes, np.float32), "labels": np.array(labels, np.int32)}
    if scores is not None:
        fields["scores"] = np.array(scores, np.float32)
    return fields | more


def scores_of(result: dict[str, Any], names: list[str] = NAMES) -> np.ndarray:
    return np.array([result[name] for name in names])


# The inputs of torchmetrics' own tests (tests/unittests/detection/test_map.py): COCO images 42, 73, 74 and 987.
FOUR_IMAGES = (
    [
        image([[258.15, 41.29, 606.41, 285.07]], [4], [0.236]),
        image([[61.00, 22.75, 565.00, 632.42], [12.66, 3.32, 281.26, 275.23]], [3, 2], [0.318, 0.726]),
        image(
            [
                [87.87, 276.25, 384.29, 379.43], [0.00, 3.66, 142.15, 316.06], [296.55, 93.96, 314.97, 152.79],
                [328.94, 97.05, 342.49, 122.98], [356.62, 95.47, 372.33, 147.55], [464.08, 105.09, 495.74, 146.99],
                [276.11, 103.84, 291.44, 150.72],
            ],
            [4, 1, 0, 0, 0, 0, 0],
            [0.546, 0.3, 0.407, 0.611, 0.335, 0.805, 0.953],
        ),
        image(
            [
                [72.92, 45.96, 91.23, 80.57], [45.17, 45.34, 66.28, 79.83], [82.28, 47.04, 99.66, 78.50],
                [59.96, 46.17, 80.35, 80.48], [75.29, 23.01, 91.85, 50.85], [71.14, 1.10, 96.96, 28.33],
                [61.34, 55.23, 77.14, 79.57], [41.17, 45.78, 60.99, 78.48], [56.18, 44.80, 64.42, 56.25],
            ],
            [49] * 9,
            [0.532, 0.204, 0.782, 0.202, 0.883, 0.271, 0.561, 0.204, 0.349],
        ),
    ],
    [
        image([[214.15, 41.29, 562.41, 285.07]], [4]),
        image([[13.00, 22.75, 548.98, 632.42], [1.66, 3.32, 270.26, 275.23]], [2, 2]),
        image(
            [
                [61.87, 276.25, 358.29, 379.43], [2.75, 3.66, 162.15, 316.06], [295.55, 93.96, 313.97, 152.79],
                [326.94, 97.05, 340.49, 122.98], [356.62, 95.47, 372.33, 147.55], [462.08, 105.09, 493.74, 146.99],
                [277.11, 103.84, 292.44, 150.72],
            ],
            [4, 1, 0, 0, 0, 0, 0],
        ),
        image(
            [
                [72.92, 45.96, 91.23, 80.57], [50.17, 45.34, 71.28, 79.83], [81.28, 47.04, 98.66, 78.50],
                [63.96, 46.17, 84.35, 80.48], [75.29, 23.01, 91.85, 50.85], [56.39, 21.65, 75.66, 45.54],
                [73.14, 1.10, 98.96, 28.33], [62.34, 55.23, 78.14, 79.57], [44.17, 45.78, 63.99, 78.48],
                [58.18, 44.80, 66.42, 56.25],
            ],
            [49] * 10,
        ),
    ],
)  # fmt: skip
DOGS = image([[258, 41, 606, 285]], [0], [0.536]), image([[214, 41, 562, 285]], [0])
FALSE_POSITIVE_ON_AN_EMPTY_IMAGE = [DOGS[0], DOGS[0]], [DOGS[1], image([], [])]
CLASS_WITHOUT_DETECTIONS = [DOGS[0], image([], [], [])], [DOGS[1], image([[1, 2, 3, 4]], [1], scores=[0.8])]
