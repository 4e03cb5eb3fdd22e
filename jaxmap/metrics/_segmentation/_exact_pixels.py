"""Exact average precision of the pixels of each class, on the host, where all scores are kept and sorted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jax.typing import ArrayLike

from ..._integers import as_flags, as_labels
from ..._matching._data_checks import warn_once
from ...types import Array, HostArray
from ._label_maps import BAD, IGNORED, NUM_ROWS, PADDING, LabelRule, advise_on_maps
from ._pixel_average_precision import PixelAveragePrecisionResult

__all__ = ["pixel_average_precision"]


def pixel_average_precision(
    scores: Iterable[Array],
    truth: Iterable[Array],
    *,
    ignore_index: int | None = 255,
    reduce_zero_label: bool = False,
    valid: Iterable[Array] | None = None,
) -> PixelAveragePrecisionResult:
    """Returns the exact average precision of each class over the pixels of all images, from score maps.

    AP = sum over distinct scores, best first, of the gain in recall times the precision. Pixels of equal score are one
    step, and nothing is interpolated. All scores are kept in memory and sorted.

    Args:
      scores: `[I, H, W, K]` float, or one `[H, W, K]` per image, whose sizes may differ; larger is more confident.
      truth: `[I, H, W]` int, or one `[H, W]` per image; classes or `ignore_index`.
      ignore_index: the true label of pixels that are not scored; None if there is no such label.
      reduce_zero_label: True if true labels are 0 for pixels that are not scored and 1 to K for the classes.
      valid: `[I]` or `[I, H, W]` bool, or one `[H, W]` per image, False for padding.

    Returns:
      Float64 numbers with NaN for classes without pixels; `lowest` and `highest` equal `average_precision`.

    Raises:
      ValueError: if shapes do not agree, a label is neither a class nor `ignore_index`, or a score is not finite.
      TypeError: if labels are not integers, or scores are not real numbers.

    Example:
      >>> scores = np.array([[[[0.9, 0.1], [0.6, 0.4], [0.7, 0.3]]]])
      >>> pixel_average_precision(scores, np.array([[[0, 0, 1]]])).average_precision.round(4)
      array([0.8333, 0.5   ])

    References: sklearn.metrics.average_precision_score, for each class against all others.
    """
    maps, labels = [np.asarray(image) for image in scores], [np.asarray(image) for image in truth]
    real: Sequence[ArrayLike] = [True] * len(labels) if valid is None else list(valid)
    num_classes = _check(maps, labels, real)
    rule = LabelRule(num_classes=num_classes, ignore_index=ignore_index, reduce_zero_label=reduce_zero_label)
    rule.check()
    flags = [
        np.broadcast_to(as_flags("valid", flag), image.shape).ravel() for flag, image in zip(real, labels, strict=True)
    ]
    narrow = [np.asarray(as_labels("truth", image)) for image in labels]
    rows = np.asarray(rule.truth_rows(_joined(narrow), _joined(flags)))
    rows_of_image = np.split(rows, np.cumsum([image.size for image in labels])[:-1])
    bad = [(rows == num_classes + BAD).reshape(image.shape) for rows, image in zip(rows_of_image, labels, strict=True)]
    rule.refuse("truth", labels, bad)
    scored = [rows < num_classes for rows in rows_of_image]

    def of_class(label: int) -> float:
        columns = [image.reshape(-1, num_classes)[kept, label] for image, kept in zip(maps, scored, strict=True)]
        for image, column in enumerate(columns):
            if not np.isfinite(column).all():
                raise ValueError(
                    f"`scores` must be finite on scored pixels, got {column[~np.isfinite(column)][0]} for class "
                    f"{label} in image {image}."
                )
        column = _joined(columns)
        # Only scores of positives are steps; all scores that reach each step are counted by binary search.
        steps, gained = np.unique(column[own == label], return_counts=True)
        reached = len(column) - np.searchsorted(np.sort(column), steps)
        found = np.cumsum(gained[::-1])[::-1]
        return float((gained * found / reached).sum() / found[0]) if len(found) else np.nan

    own = rows[rows < num_classes]
    with ThreadPoolExecutor() as pool:  # NumPy releases the GIL while it sorts
        numbers = np.array(list(pool.map(of_class, range(num_classes))))
    mean = np.float64(np.nan) if np.isnan(numbers).all() else np.nanmean(numbers)
    kinds = np.bincount(rows, minlength=num_classes + NUM_ROWS)
    counters = {
        "num_pixels": kinds[:num_classes].sum(),
        "num_ignored_pixels": kinds[num_classes + IGNORED],
        "num_padded_pixels": kinds[num_classes + PADDING],
    }
    warn_once(advise_on_maps(kinds[:num_classes], counters, rule))
    return PixelAveragePrecisionResult(
        *3 * (numbers,),
        *3 * (mean,),
        num_positives=kinds[:num_classes],
        counters=counters,
    )


def _check(maps: list[HostArray], labels: list[HostArray], real: Sequence[object]) -> int:
    """Checks that all maps fit their labels, and returns the number of classes."""
    if not len(maps) == len(labels) == len(real) or not maps:
        raise ValueError(
            f"`scores`, `truth` and `valid` must hold the same images, at least one, got {len(maps)}, {len(labels)} "
            f"and {len(real)}."
        )
    num_classes = maps[0].shape[-1] if maps[0].ndim else 0
    for index, (image, truth) in enumerate(zip(maps, labels, strict=True)):
        if truth.ndim != 2 or image.shape != (*truth.shape, num_classes):
            raise ValueError(
                f"`scores` of an image must have shape [height, width, {num_classes}] and `truth` [height, width], got "
                f"{list(image.shape)} and {list(truth.shape)} in image {index}."
            )
        if image.dtype.kind not in "fiub":
            raise TypeError(f"`scores` must be real numbers, got dtype {image.dtype} in image {index}.")
        if truth.dtype.kind not in "iu":
            raise TypeError(f"`truth` must hold integers, got dtype {truth.dtype} in image {index}.")
    return num_classes


def _joined(columns: list[HostArray]) -> HostArray:
    return np.concatenate([column.ravel() for column in columns])
