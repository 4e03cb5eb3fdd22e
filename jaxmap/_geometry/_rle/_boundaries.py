"""The part of masks near their contours.

References: Cheng et al., Boundary IoU, 2021: the mask minus its erosion by a square, applied once per pixel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...types import Masks
from ._masks import dense_mask, encode_masks, join_masks

__all__ = ["boundary_distance", "boundary_masks", "distance_of_square"]


def boundary_masks(masks: Masks, ratio: float) -> Masks:
    """Returns the part of each mask within a distance from its contour, or from the edge of the image.

    Args:
      masks: `[N]`.
      ratio: the distance, as a share of the image's diagonal; at least one pixel.
    """
    return join_masks([_boundary(masks, row, ratio) for row in range(len(masks))])


def boundary_distance(height: int, width: int, ratio: float) -> int:
    """Returns the width in pixels of the boundaries in an image: a share of its diagonal, at least 1."""
    return distance_of_square(height**2 + width**2, ratio)


def distance_of_square(square: int, ratio: float) -> int:
    """Returns the width of the boundaries, given the square of the diagonal."""
    return max(round(ratio * float(np.sqrt(square))), 1)


def _boundary(masks: Masks, row: int, ratio: float) -> Masks:
    height, width = masks.sizes[row].tolist()
    distance = boundary_distance(height, width, ratio)
    dense = dense_mask(masks, row)
    rows, columns = np.flatnonzero(dense.any(axis=1)), np.flatnonzero(dense.any(axis=0))
    if not len(rows):
        return masks[row : row + 1]
    inside = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    dense[inside] &= 1 - _eroded(dense[inside], distance)  # pixels outside cannot change it
    return encode_masks(dense[None])


def _eroded(mask: NDArray[np.uint8], distance: int) -> NDArray[np.uint8]:
    """Returns `[H, W]` uint8, the pixels whose square neighbourhood is set; outside the image nothing is."""
    window = 2 * distance + 1
    for axis in (0, 1):
        padding = [(distance + 1, distance) if one == axis else (0, 0) for one in (0, 1)]
        running = np.cumsum(np.pad(mask, padding), axis=axis, dtype=np.int32)
        length = mask.shape[axis]
        full = np.take(running, np.arange(window, window + length), axis=axis)
        full -= np.take(running, np.arange(length), axis=axis)
        mask = (full == window).astype(np.uint8)
    return mask
