"""Lists of Python values that must be numbers, as files and users write them."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .types import Floats

__all__ = ["finite", "is_real"]


def is_real(kind: type) -> bool:
    """Returns whether values of a type are real numbers; `True` is not a number."""
    return issubclass(kind, numbers.Real) and not issubclass(kind, bool | np.bool_)


def finite(values: Sequence[Any]) -> Floats | None:
    """Returns finite numbers as `[N]` float64; None if anything is not a finite number.

    >>> finite([1, 2.5])
    array([1. , 2.5])
    >>> finite([1, True]) is finite([1, float("nan")]) is finite([1, "2"]) is finite([10**400]) is None
    True
    """
    if not all(map(is_real, set(map(type, values)))):
        return None
    try:
        result = np.fromiter(values, np.float64, len(values))
    except OverflowError:  # an integer beyond the range of doubles
        return None
    return result if np.isfinite(result).all() else None
