"""Object keypoint similarity, for NumPy and JAX arrays alike: both routes share the arithmetic.

References: pycocotools cocoeval.py, `COCOeval.computeOks`.
"""

from __future__ import annotations

from ..types import Array

__all__ = ["keypoint_similarity", "keypoints_extent", "num_labelled"]

EPSILON = 2.0**-52  # np.spacing(1), which pycocotools adds to areas


def keypoint_similarity(
    keypoints: Array, other_keypoints: Array, other_boxes: Array, other_area: Array, sigmas: Array
) -> Array:
    """OKS: the mean over labelled keypoints of exp(-d^2 / (2 s^2 (2 sigma)^2)), d the distance, s^2 the object's area.

    Where no keypoint of the object is labelled, distances are those to its box, doubled on each side, over all of them.

    Args:
      keypoints: `[..., P, 3]`, detections: x, y and a value that plays no part.
      other_keypoints: `[..., P, 3]`, ground truths: x, y, visibility; the leading axes equal the detections' or are 1.
      other_boxes: `[..., 4]` xywh.
      other_area: `[...]`.
      sigmas: `[P]`, of one dtype with all others.

    Returns:
      `[...]` in [0, 1].
    """
    xp = keypoints.__array_namespace__()
    labelled = other_keypoints[..., 2] > 0
    any_labelled = labelled.any(axis=-1)[..., None]
    squared = xp.zeros_like(keypoints[..., 0] - other_keypoints[..., 0])
    for axis in (0, 1):
        place = keypoints[..., axis]
        low = (other_boxes[..., axis] - other_boxes[..., 2 + axis])[..., None]
        high = (other_boxes[..., axis] + other_boxes[..., 2 + axis] * 2)[..., None]
        outside = xp.maximum(low - place, 0) + xp.maximum(place - high, 0)
        squared = squared + xp.where(any_labelled, place - other_keypoints[..., axis], outside) ** 2
    scale = ((sigmas * 2) ** 2).reshape((1,) * (squared.ndim - 1) + (-1,))
    exponent = squared / scale / (other_area[..., None] + EPSILON) / 2
    counts = labelled | ~any_labelled
    total = xp.where(counts, xp.exp(-exponent), xp.zeros_like(exponent)).sum(axis=-1)
    return total / counts.sum(axis=-1).astype(total.dtype)


def keypoints_extent(keypoints: Array) -> Array:
    """Returns `[..., 4]` xywh of what encloses all `[..., P, 3]` keypoints, labelled or not."""
    xp = keypoints.__array_namespace__()
    places = keypoints[..., :2]
    low, high = places.min(axis=-2), places.max(axis=-2)
    return xp.concatenate([low, high - low], axis=-1)


def num_labelled(keypoints: Array) -> Array:
    """Returns `[...]` int: how many of `[..., P, 3]` keypoints have a visibility above 0."""
    return (keypoints[..., 2] > 0).sum(axis=-1)
