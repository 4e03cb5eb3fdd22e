"""Checks of the fields of a protocol; each check returns the value in the type of the field."""

from __future__ import annotations

import math
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import islice, pairwise
from typing import Any

import numpy as np

__all__ = [
    "MAX_RECALL_POINTS",
    "MAX_THRESHOLDS",
    "UNLIMITED",
    "distinct",
    "grid",
    "limits",
    "number",
    "one_of",
    "put",
    "row_name",
    "shown",
    "shown_tuple",
    "text",
    "texts",
]

UNLIMITED = 2**31 - 1  # a max-detections limit that no image reaches, because ranks are int32; tables show `all`
# More values are a mistake, such as a step of 1e-12: each threshold costs a bit per pair, each point an entry per
# curve.
MAX_THRESHOLDS = 1000
MAX_RECALL_POINTS = 100_001
MAX_LIMITS = 1000
_LONGEST_TUPLE = 100  # characters
_SHOWN = 12  # the most values of a list in a message
_ROW_FIELDS = ("area", "limit", "group")  # the fields that the name of a row may contain


def number(value: Any) -> float:
    """Returns a real number as a float.

    Raises:
      TypeError: if it is not a real number, but for example a text, a bool or a complex number.
    """
    if isinstance(value, (str, bytes, bool, np.bool_, complex, np.complexfloating)):
        raise TypeError(f"must be a real number, got {value!r}")
    return float(value)


def grid(name: str, values: Any, *, low: float, high: float, above_low: bool, at_most: int) -> tuple[float, ...]:
    """Returns strictly ascending numbers in [low, high], or (low, high]."""
    result = _ascending(name, values, at_most)
    if result[0] < low or (above_low and result[0] == low) or result[-1] > high:
        bracket = "(" if above_low else "["
        raise ValueError(f"`{name}` must lie in {bracket}{low:g}, {high:g}], got {shown(result)}.")
    return result


def limits(name: str, values: Any) -> tuple[int, ...]:
    """Returns strictly ascending limits of detections."""
    result = [int(value) if value.is_integer() else value for value in _ascending(name, values, MAX_LIMITS)]
    if result[0] < 1 or not all(isinstance(value, int) for value in result):
        raise ValueError(f"`{name}` must be whole numbers of at least 1, got {shown(result)}.")
    if result[-1] > UNLIMITED:
        raise ValueError(f"`{name}` must be at most {UNLIMITED}, which means no limit, got {shown(result)}.")
    return tuple(map(int, result))


def one_of(name: str, value: Any, known: Sequence[Any]) -> None:
    """Refuses a misspelt rule, which would otherwise silently be read as another one."""
    if value not in known:
        raise ValueError(f"`{name}` must be one of {list(known)}, got {value!r}.")


def text(name: str, value: Any) -> None:
    """Refuses a value that is not a text."""
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a text, got {value!r}.")


def texts(name: str, values: Any) -> tuple[str, ...]:
    """Returns distinct texts."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(f"`{name}` must be a sequence of texts, got {values!r}.")
    result = tuple(values)
    for value in result:
        text(f"every value of `{name}`", value)
    distinct(name, result)
    return result


def distinct(name: str, values: Sequence[str]) -> None:
    """Refuses repeated names."""
    if repeated := [value for value, count in Counter(values).items() if count > 1]:
        raise ValueError(f"`{name}` must have distinct names, got {repeated[0]!r} more than once.")


def put(value: Any, **fields: Any) -> None:
    """Sets checked fields of a frozen dataclass during its construction."""
    for name, field in fields.items():
        object.__setattr__(value, name, field)


def row_name(name: Any, each: str | None) -> None:
    """Refuses a row name that `str.format` could not fill in."""
    known = [f"{{{field}}}" for field in _ROW_FIELDS if field != "group" or each == "class_group"]
    try:
        parts = [part[1:3] for part in string.Formatter().parse(name) if part[1] is not None]
    except (TypeError, ValueError) as error:
        raise ValueError(f"the `name` of a SummaryRow must be a text with matching braces, got {name!r}.") from error
    fields = [f"{{{field}{':' if spec else ''}{spec}}}" for field, spec in parts]
    if strange := [field for field in fields if field not in known]:
        raise ValueError(
            f"the `name` of a SummaryRow may hold {', '.join(known)}, which stand for values, got {strange[0]} in "
            f"{name!r}."
        )


def shown(values: Sequence[Any]) -> str:
    """Returns a list as text, a long one shortened."""
    if len(values) <= _SHOWN:
        return str(list(values))
    return f"{str(list(values[:3]))[:-1]}, ..., {values[-1]}], {len(values)} values"


def shown_tuple(value: Any) -> str:
    """Returns the `repr` of a value, a long tuple shortened."""
    text = repr(value)
    if not isinstance(value, tuple) or len(text) <= _LONGEST_TUPLE:
        return text
    first = value[:3] if isinstance(value[0], float) else value[:1]
    return f"({', '.join(map(repr, first))}, ..., {value[-1]!r})"


def _ascending(name: str, values: Any, at_most: int) -> tuple[float, ...]:
    try:
        if isinstance(values, (str, bytes, Mapping, Set)):
            raise TypeError  # they have no order, or are not numbers
        result = tuple(number(value) for value in islice(values, at_most + 1))
    except (TypeError, ValueError, OverflowError) as error:
        text = shown(values) if isinstance(values, Sequence) and not isinstance(values, (str, bytes)) else repr(values)
        raise ValueError(f"`{name}` must be a sequence of numbers, got {text}.") from error
    if not result:
        raise ValueError(f"`{name}` must hold at least one value, got none.")
    if len(result) > at_most:
        raise ValueError(f"`{name}` must hold at most {at_most} values, got more; they begin with {shown(result[:3])}.")
    if not all(math.isfinite(value) for value in result):
        raise ValueError(f"`{name}` must be finite numbers, got {shown(result)}.")
    if any(b <= a for a, b in pairwise(result)):
        raise ValueError(f"`{name}` must be strictly ascending, got {shown(result)}; sort them and drop repeats.")
    return result
