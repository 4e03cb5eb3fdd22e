"""CrowdHuman's AP and log-average miss rate, written down plainly: loops over boxes, nothing of jaxmap's.

Follows CrowdDet's evaluate/APMRToolkits: Image.compare_caltech, Database.eval_MR and eval_AP. Boxes are xywh, and
already clipped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

POINTS = (0.0100, 0.0178, 0.0316, 0.0562, 0.1000, 0.1778, 0.3162, 0.5623, 1.0)
SMALL = 1e-6  # added to every denominator
Image = Mapping[str, np.ndarray]


class Numbers(NamedTuple):
    """The toolkit's AP and MR, and the area under the precision envelope of the same curve."""

    ap: float
    mr: float
    envelope: float


def crowdhuman(found: Sequence[Image], real: Sequence[Image], threshold: float = 0.5) -> Numbers:
    """Scores images of `boxes`, for detections `scores`, for ground truths `ignore`."""
    ranked: list[tuple[float, bool]] = []
    for dt, gt in zip(found, real, strict=True):
        order = sorted(range(len(dt["scores"])), key=lambda row, dt=dt: -dt["scores"][row])  # type: ignore[misc]
        outcomes = matched(dt["boxes"][order].tolist(), gt["boxes"].tolist(), gt["ignore"].tolist(), threshold)
        ranked += [(dt["scores"][row], one) for row, one in zip(order, outcomes, strict=True) if one is not None]
    ranked.sort(key=lambda one: -one[0])
    objects = sum(int((~gt["ignore"]).sum()) for gt in real)
    hits = np.cumsum([hit for _, hit in ranked]).astype(float)
    false = np.arange(1, len(ranked) + 1) - hits
    recall, precision, per_image = hits / objects, hits / (hits + false), false / len(real)
    missed = [1 - recall[next((row for row, value in enumerate(per_image) if value >= point), -1)] for point in POINTS]
    mr = math.exp(sum(map(math.log, missed)) / len(missed)) if min(missed) > 0 else 0.0
    ap = sum(
        (precision[row - 1] + precision[row]) / 2 * (recall[row] - recall[row - 1]) for row in range(1, len(recall))
    )
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return Numbers(float(ap), mr, float(np.sum(np.diff(recall, prepend=0.0) * best)))


def matched(
    found: Sequence[Sequence[float]], real: Sequence[Sequence[float]], ignore: Sequence[bool], threshold: float
) -> list[bool | None]:
    """Returns for each detection, best first, whether it is true or false; None for one in an ignore region."""
    taken = [False] * len(real)
    result: list[bool | None] = []
    for box in found:
        most, best = threshold, -1
        for index, other in enumerate(real):
            if not ignore[index] and not taken[index] and (overlap := share(box, other, union=True)) > most:
                most, best = overlap, index
        if best >= 0:
            taken[best] = True
            result.append(True)
        else:
            inside = any(
                flag and share(box, other, union=False) > threshold for other, flag in zip(real, ignore, strict=True)
            )
            result.append(None if inside else False)
    return result


def share(box: Sequence[float], other: Sequence[float], *, union: bool) -> float:
    """The intersection, divided by the union or by the area of the first box."""
    width = max(min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0]), 0.0)
    height = max(min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1]), 0.0)
    whole = box[2] * box[3] + (other[2] * other[3] - width * height if union else 0.0)
    return width * height / (whole + SMALL)
