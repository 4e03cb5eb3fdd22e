"""What the fields of a protocol may hold; each check returns the value in the type that the field promises."""

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

UNLIMITED = 2**31 - 1  # the max-detections limit that no image reaches, since ranks are int32; tables show `all`
# More of them are a mistake, like a step of 1e-12: each threshold is a bit of every pair, each point a cell of a curve.
MAX_THRESHOLDS = 1000
MAX_RECALL_POINTS = 100_001
MAX_LIMITS = 1000
_LONGEST_TUPLE = 100  # characters
_SHOWN = 12  # values of a list that a message holds
_ROW_FIELDS = ("area", "limit", "group")  # what the name of a number may stand for


def number(value: Any) -> float:
    """Returns a real number as a float.

    Raises:
      TypeError: if it is none: a text, a flag, a complex number.
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
        raise ValueError(f"`{name}` must be at most {UNLIMITED}, which stands for all, got {shown(result)}.")
    return tuple(map(int, result))


def one_of(name: str, value: Any, known: Sequence[Any]) -> None:
    """Refuses a misspelt rule, which would silently be another one."""
    if value not in known:
        raise ValueError(f"`{name}` must be one of {list(known)}, got {value!r}.")


def text(name: str, value: Any) -> None:
    """Refuses what is no text."""
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
    """Refuses names that stand for two things."""
    if repeated := [value for value, count in Counter(values).items() if count > 1]:
        raise ValueError(f"`{name}` must have distinct names, got {repeated[0]!r} more than once.")


def put(value: Any, **fields: Any) -> None:
    """Puts checked fields into a frozen dataclass while it is made."""
    for name, field in fields.items():
        object.__setattr__(value, name, field)


def row_name(name: Any, each: str | None) -> None:
    """Refuses the name of a row that `str.format` could not fill in."""
    known = [f"{{{field}}}" for field in _ROW_FIELDS if field != "group" or each == "class_group"]
    try:
        parts = [part[1:3] for part in string.Formatter().parse(name) if part[1] is not None]
    except (TypeError, ValueError) as error:
        raise ValueError(f"the `name` of a SummaryRow must be a text with pairs of braces, got {name!r}.") from error
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
    """Returns a value as Python writes it, a long tuple shortened."""
    text = repr(value)
    if not isinstance(value, tuple) or len(text) <= _LONGEST_TUPLE:
        return text
    first = value[:3] if isinstance(value[0], float) else value[:1]
    return f"({', '.join(map(repr, first))}, ..., {value[-1]!r})"


def _ascending(name: str, values: Any, at_most: int) -> tuple[float, ...]:
    try:
        if isinstance(values, (str, bytes, Mapping, Set)):
            raise TypeError  # they have no order, or hold no numbers
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
