"""Standard errors and confidence intervals of numbers from their bootstrap replicates.

References: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 14 (percentile and BCa).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from .._pytrees import register_container
from ..types import Floats, HostArray

__all__ = ["SAME", "Interval", "check_confidence", "columns_of", "intervals"]

SAME = 1e-12  # numbers that differ by less are equal but for the rounding of their sums
_NORMAL = NormalDist()


@register_container
class Interval(NamedTuple):
    """A number, how far it may be off, and a confidence interval; NaN where undefined.

    Attributes:
      value: the number of the dataset itself.
      standard_error: the standard deviation of its replicates.
      low: the lower end of the BCa interval (bias-corrected and accelerated).
      high: the upper end.
      percentile_low: the lower end of the percentile interval.
      percentile_high: the upper end.
      num_undefined: in how many replicates the number is undefined, because no ground truth was drawn; they are
        excluded.
    """

    value: float
    standard_error: float
    low: float
    high: float
    percentile_low: float
    percentile_high: float
    num_undefined: int


def check_confidence(confidence: float) -> None:
    """Raises a `ValueError` unless the confidence is between 0 and 1."""
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 < confidence < 1:
        raise ValueError(f"`confidence` must be a number between 0 and 1, such as 0.95, got {confidence!r}.")


def intervals(values: Floats, replicates: Floats, left_out: Floats, confidence: float) -> list[Interval]:
    """Returns the interval of each number.

    Args:
      values: `[N]`, the numbers of the dataset itself.
      replicates: `[N, W]`, those of its bootstrap replicates.
      left_out: `[N, G]`, those of the dataset without each of G groups of images; how skewed they are sets the
        acceleration of the BCa interval.
      confidence: the share of datasets whose interval should contain the true number.
    """
    return [_interval(*row, confidence) for row in zip(values.tolist(), replicates, left_out, strict=True)]


def _interval(value: float, replicates: Floats, left_out: Floats, confidence: float) -> Interval:
    defined = np.sort(replicates[~np.isnan(replicates)])
    num_undefined = len(replicates) - len(defined)
    if len(defined) < 2 or math.isnan(value):
        nan = math.nan
        return Interval(value, nan, nan, nan, nan, nan, num_undefined)
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    adjusted = _bca_levels(value, defined, left_out[~np.isnan(left_out)], tails)
    low, high, plain_low, plain_high = np.quantile(defined, np.concatenate([adjusted, tails])).tolist()
    return Interval(value, float(defined.std(ddof=1)), low, high, plain_low, plain_high, num_undefined)


def _bca_levels(value: float, ascending: Floats, left_out: Floats, tails: Floats) -> Floats:
    """Returns the two levels of the replicates that bound the BCa interval."""
    below = np.searchsorted(ascending, value - SAME, "left"), np.searchsorted(ascending, value + SAME, "right")
    share = (below[0] + below[1]) / 2 / len(ascending)
    half = 0.5 / len(ascending)
    bias = _NORMAL.inv_cdf(min(max(share, half), 1 - half))
    deviation = left_out.mean() - left_out if len(left_out) else left_out
    spread = (deviation**2).sum() ** 1.5
    acceleration = (deviation**3).sum() / (6 * spread) if spread else 0.0
    levels = []
    for tail in tails.tolist():
        shifted = bias + _NORMAL.inv_cdf(tail)
        levels.append(_NORMAL.cdf(bias + shifted / (1 - acceleration * shifted)))
    return np.array(levels)


def columns_of(estimates: Iterable[Interval]) -> dict[str, HostArray]:
    """Returns the fields of intervals as columns."""
    rows = list(estimates)
    return {name: np.array([getattr(row, name) for row in rows]) for name in Interval._fields}
