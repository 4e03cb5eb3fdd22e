"""The precision envelope at every true positive, and the area under it, by two rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._ragged import sums

if TYPE_CHECKING:
    from ..types import Floats, Ints

__all__ = ["FIRST_SHARE", "best_onwards", "envelope_sums", "trapezoids"]

FIRST_SHARE = 0.5  # of the first recall point in the trapezoid rule, where the others have 1


def envelope_sums(found: Ints, total: Ints) -> Floats:
    """Returns `[T, S]`, the sum over the true positives of each run of the best precision from it to the end.

    Each true positive raises recall by the same step, so this sum divided by the number of ground truths is the area
    under the envelope, where recall beyond the last true positive has precision 0.

    Args:
      found: `[T, S]`, the length of each run of true positives, one run per (threshold, curve).
      total: `[n]`, the number of counted detections of the curve up to and including each true positive.

    References: VOCdevkit VOCap.m.
    """
    lengths = found.ravel()
    number = np.arange(1, len(total) + 1) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    precision = number / (total + np.spacing(1))  # as in `interpolate`
    run = np.repeat(np.arange(len(lengths)), lengths)
    return sums(run, best_onwards(precision, found), len(lengths)).reshape(found.shape)


def best_onwards(values: Floats, found: Ints) -> Floats:
    """Returns `[n]`, the largest value from each position to the end of its run; `found` has the lengths of runs."""
    lengths = found.ravel()
    following = np.repeat(np.cumsum(lengths), lengths) - np.arange(1, len(values) + 1)  # that follow in its run
    best = values.copy()
    step = 1
    while step < lengths.max(initial=0):  # after each step, `best` covers twice as many positions
        later = np.where(following[:-step] >= step, best[step:], -np.inf)
        np.maximum(best[:-step], later, out=best[:-step])
        step *= 2
    return best


def trapezoids(precision: Any) -> Any:
    """Returns `[T, ...]`, the area under curves `[T, R, ...]` by the trapezoid rule; arrays of NumPy or JAX.

    The recall points are 0, 1/R, ..., (R - 1)/R, and at recall 1 the precision is 0.

    References: Ultralytics metrics.py, compute_ap.
    """
    return precision.mean(1) - (1 - FIRST_SHARE) / precision.shape[1] * precision[:, 0]
