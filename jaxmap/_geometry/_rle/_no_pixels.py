"""Warning about masks without pixels, which nothing can match although their box or area is not empty."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...types import Floats, Masks

__all__ = ["warn_of_no_pixels"]

SHOWN = 5
EMPTY = "their `segmentation` is []; compare boxes by `iou_type='bbox'`, or give their masks"
FRACTIONS = "their polygons lie between 0 and 1: they are fractions of the image, but pixels are expected"
OUTSIDE = "their polygons lie outside their images, as if x and y were swapped or images had another size"
ENCODED = "their run-length encodings are empty"
SMALL = "their outlines enclose no pixel of their image"


def warn_of_no_pixels(
    masks: Masks,
    segmentations: Sequence[Any],
    area: Floats | None,
    box_area: Floats | None,
    ids: Sequence[Any],
    where: str,
) -> None:
    """Warns once about masks without pixels whose area or box is not empty, or whose polygons are out of place.

    Args:
      masks: `[N]`.
      segmentations: the source of each mask.
      area: `[N]` float64, the given area of each; None if not given.
      box_area: `[N]` float64, the area of the box of each; None if there are no boxes. Empty encodings with a box are
        not reported, because networks produce them.
      ids: `[N]`, their ids in messages.
      where: the name of all of them in messages.
    """
    causes = {}
    for row in np.flatnonzero(masks.area == 0).tolist():
        cause = _cause(segmentations[row], masks.sizes[row].tolist())
        said = 0.0 if area is None else float(area[row])
        if box_area is not None and cause != ENCODED:
            said = max(said, float(box_area[row]))
        if said >= 1 or cause in (FRACTIONS, OUTSIDE, EMPTY):
            causes[row] = cause
    if not causes:
        return
    rows = list(causes)
    shown = ", ".join(str(ids[row]) for row in rows[:SHOWN])
    more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    found = list(causes.values())
    warnings.warn(
        f"{where}: {len(rows)} of {len(masks)} have no pixel although their box or area is not empty: ids {shown}"
        f"{more}; {max(set(found), key=found.count)}. Nothing can match them.",
        UserWarning,
        stacklevel=5,
    )


def _cause(segmentation: Any, size: list[int]) -> str:
    if not isinstance(segmentation, list | tuple):
        return ENCODED
    if not segmentation:
        return EMPTY
    corners = np.concatenate([np.asarray(polygon, np.float64) for polygon in segmentation]).reshape(-1, 2)
    if corners.min() >= 0 and corners.max() <= 1:
        return FRACTIONS
    height, width = size
    outside = (corners.max(axis=0) <= 0) | (corners.min(axis=0) >= [width, height])
    return OUTSIDE if outside.any() else SMALL
