"""VOC's definition of AP, written down plainly: loops over detections and boxes, nothing of jaxmap's.

Follows VOCevaldet.m and VOCap.m of the devkit, and for 11 points VOC 2007's VOCevaldet.m. On the VOC 2007 test set with
87,765 detections (reference/test_voc2007.py) its APs equal those of chainercv 0.13.1, `eval_detection_voc`, to 5e-15.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

Corners = Sequence[float]


class Found(NamedTuple):
    """A detection of the class; equal scores rank in the order of the list."""

    image: int
    score: float
    corners: Corners


class Real(NamedTuple):
    """A ground truth of the class."""

    corners: Corners
    difficult: bool


def outcomes(
    found: Sequence[Found], real: Mapping[int, Sequence[Real]], *, threshold: float, pixel: float
) -> list[str]:
    """Returns for each detection `true`, `false` or `dropped`.

    Args:
      found: detections of one class.
      real: ground truths of the class by image.
      threshold: the overlap that is enough.
      pixel: 1 where the last pixel is inside, as the devkit has it; 0 for plain corners.
    """
    result = [""] * len(found)
    taken: set[tuple[int, int]] = set()
    for row in sorted(range(len(found)), key=lambda row: -found[row].score):  # stable
        image, _, box = found[row]
        most, most_similar = -math.inf, -1
        for index, one in enumerate(real.get(image, ())):
            width = min(box[2], one.corners[2]) - max(box[0], one.corners[0]) + pixel
            height = min(box[3], one.corners[3]) - max(box[1], one.corners[1]) + pixel
            if width > 0 and height > 0:
                areas = [(c[2] - c[0] + pixel) * (c[3] - c[1] + pixel) for c in (box, one.corners)]
                overlap = width * height / (sum(areas) - width * height)
                if overlap > most:
                    most, most_similar = overlap, index
        if most < threshold:
            result[row] = "false"
        elif real[image][most_similar].difficult:
            result[row] = "dropped"
        elif (image, most_similar) in taken:
            result[row] = "false"
        else:
            result[row] = "true"
            taken.add((image, most_similar))
    return result


def average_precision(
    found: Sequence[Found],
    real: Mapping[int, Sequence[Real]],
    *,
    threshold: float = 0.5,
    pixel: float = 0.0,
    eleven_points: bool = False,
) -> float:
    """Returns AP of one class; NaN where no ground truth counts."""
    num_positives = sum(not one.difficult for image in real.values() for one in image)
    if not num_positives:
        return math.nan
    order = sorted(range(len(found)), key=lambda row: -found[row].score)
    words = np.array(outcomes(found, real, threshold=threshold, pixel=pixel), dtype=object)[order]
    true, false = np.cumsum(words == "true"), np.cumsum(words == "false")
    recall = true / num_positives
    precision = np.array([t / (t + f) if t + f else 0.0 for t, f in zip(true, false, strict=True)])
    if eleven_points:
        return sum(max(precision[recall >= point], default=0.0) for point in np.arange(0.0, 1.1, 0.1)) / 11
    recall = np.concatenate([[0.0], recall, [1.0]])
    precision = np.concatenate([[0.0], precision, [0.0]])
    for place in range(len(precision) - 2, -1, -1):
        precision[place] = max(precision[place], precision[place + 1])
    return float(np.sum(np.diff(recall) * precision[1:]))
