"""The precision envelope at every true positive, and with it the area under a curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._ragged import sums

if TYPE_CHECKING:
    from ..types import Floats, Ints

__all__ = ["best_onwards", "envelope_sums"]


def envelope_sums(found: Ints, total: Ints) -> Floats:
    """Returns `[T, S]`: the sum over the true positives of each run of the best precision from it to the end.

    Each true positive raises recall by the same step, so this over the number of ground truths is the area under the
    envelope, all recall beyond the last true positive having precision 0.

    Args:
      found: `[T, S]`, the length of each run of true positives, one a (threshold, curve).
      total: `[n]`, how many detections of the curve count up to and with each true positive.

    References: VOCdevkit VOCap.m.
    """
    lengths = found.ravel()
    number = np.arange(1, len(total) + 1) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    precision = number / (total + np.spacing(1))  # as `interpolate` has it
    run = np.repeat(np.arange(len(lengths)), lengths)
    return sums(run, best_onwards(precision, found), len(lengths)).reshape(found.shape)


def best_onwards(values: Floats, found: Ints) -> Floats:
    """Returns `[n]`: the largest value from each place to the end of its run, whose lengths are `found`."""
    lengths = found.ravel()
    following = np.repeat(np.cumsum(lengths), lengths) - np.arange(1, len(values) + 1)  # places behind, in its run
    best = values.copy()
    step = 1
    while step < lengths.max(initial=0):  # after it, `best` covers twice as many places
        later = np.where(following[:-step] >= step, best[step:], -np.inf)
        np.maximum(best[:-step], later, out=best[:-step])
        step *= 2
    return best
