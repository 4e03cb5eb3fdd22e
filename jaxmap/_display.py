"""How objects are displayed at a prompt (one short line) and in a notebook (tables).

>>> import numpy as np
>>> Columns(AP=np.array([0.5, 1.0]), class_name=["cat", "dog"])
Columns(2 rows: AP, class_name)
"""

from __future__ import annotations

import dataclasses
import html
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ._outputs import printable

__all__ = ["Columns", "described", "html_table", "html_text", "plain", "short_repr"]

_LONGEST_LINE = 220  # characters between the brackets
_LONGEST = 48  # characters of a value that is shown in full
_MOST_ROWS, _MOST_COLUMNS = 50, 30  # of a table in a notebook


class Columns(dict[str, Any]):
    """A table as a dictionary of columns of equal length: arrays, or lists of text."""

    def __repr__(self) -> str:
        rows = len(next(iter(self.values()), ()))
        return f"{type(self).__name__}({rows} row{'' if rows == 1 else 's'}: {', '.join(self)})"

    def _repr_html_(self) -> str:
        return html_table(self.items())

    def as_lists(self) -> Columns:
        """Returns the table with lists of plain Python values, which `json.dumps` and data frames take; NaN stays."""
        return Columns(
            {name: values.tolist() if hasattr(values, "tolist") else list(values) for name, values in self.items()}
        )

    def rows(self) -> list[dict[str, Any]]:
        """Returns one dictionary per row, of plain Python values as `plain` gives them."""
        return [dict(zip(self, map(plain, row), strict=True)) for row in zip(*self.values(), strict=True)]


def plain(value: Any) -> Any:
    """Returns a value for JSON: a NumPy number as Python's, and None for one that is NaN or infinite."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def short_repr(value: Any) -> str:
    """Returns one line about a dataclass or a named tuple: its name and the fields that differ from their defaults.

    An array is shown by its dtype and shape, a nested container by the shape of its first array. Counters that are 0
    are left out.
    """
    return described(value, **dict(_fields(value)))


def described(value: Any, **fields: Any) -> str:
    """Returns one line: the name of the value's type and as many fields as fit."""
    parts = _listed(fields)
    lengths = itertools.accumulate(len(part) + 2 for part in parts)
    fitting = [part for part, length in zip(parts, lengths, strict=True) if length <= _LONGEST_LINE]
    return f"{type(value).__name__}({', '.join(fitting + ['...'] * (len(fitting) < len(parts)))})"


def html_table(columns: Iterable[tuple[str, Sequence[Any]]]) -> str:
    """Returns columns as an HTML table of at most 50 rows and 30 columns, and the number of the rest."""
    columns = list(columns)
    num_rows = len(columns[0][1]) if columns else 0
    shown = [(title, [_cell(value) for value in values[:_MOST_ROWS]]) for title, values in columns[:_MOST_COLUMNS]]
    head = "".join(f"<th>{html.escape(printable(title))}</th>" for title, _ in shown)
    rows = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>"
        for row in zip(*(cells for _, cells in shown), strict=True)
    )
    left_out = {"row": num_rows - _MOST_ROWS, "column": len(columns) - _MOST_COLUMNS}
    more = [f"{count:,} more {name}{'' if count == 1 else 's'}" for name, count in left_out.items() if count > 0]
    note = f"<p>and {' and '.join(more)}</p>" if more else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{note}"


def html_text(text: str) -> str:
    """Returns text as HTML that keeps its line breaks and blanks."""
    return f"<pre>{html.escape(text)}</pre>"


def _fields(value: Any) -> Iterable[tuple[str, Any]]:
    """Yields the fields of a dataclass or a named tuple that differ from their defaults."""
    if dataclasses.is_dataclass(value):
        defaults = {field.name: getattr(type(value), field.name, field.default) for field in dataclasses.fields(value)}
    else:
        defaults = {name: value._field_defaults.get(name, dataclasses.MISSING) for name in value._fields}
    for name, default in defaults.items():
        field = getattr(value, name)
        if _has_shape(field) or not (field is default or (type(field) is type(default) and field == default)):
            yield name, field


def _listed(fields: Mapping[Any, Any]) -> list[str]:
    return [f"{name}={_short(value)}" for name, value in fields.items() if not _is_nothing(value)]


def _is_nothing(value: Any) -> bool:
    """Whether a value has nothing to show: None, a counter that is 0, an empty container."""
    if value is None or (isinstance(value, tuple | list) and not value):
        return True
    if isinstance(value, Mapping):
        return all(map(_is_nothing, value.values()))
    return _has_shape(value) and _scalar(value) == 0


def _short(value: Any) -> str:
    if _has_shape(value):
        scalar = _scalar(value)
        return f"{value.dtype}{list(value.shape)}" if scalar is None else _short(scalar)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        text = f"{{{', '.join(_listed(value))}}}"
        return text if len(text) <= 4 * _LONGEST else f"<{len(value)} values>"
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        text = repr(value)
        return text if len(text) <= _LONGEST else f"<{len(value)} values>"
    if isinstance(value, tuple) or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
        shape = getattr(value if hasattr(value, "shape") else _first_array(value), "shape", None)
        if shape is not None:
            return f"{type(value).__name__}{list(shape)}"
        text = repr(value)
        return text if len(text) <= 4 * _LONGEST else f"{text.partition(',')[0]}, ...)"
    text = repr(value)
    return text if len(text) <= 4 * _LONGEST else f"{text[: _LONGEST - 3]}..."


def _first_array(value: Any) -> Any | None:
    """Returns the first array in a container, searched recursively; None if there is none."""
    if _has_shape(value):
        return value
    if isinstance(value, tuple | list):
        parts: Iterable[Any] = value
    elif dataclasses.is_dataclass(value):
        parts = (getattr(value, field.name) for field in dataclasses.fields(value))
    else:
        return None
    return next((array for part in parts if (array := _first_array(part)) is not None), None)


def _has_shape(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _scalar(value: Any) -> Any | None:
    """Returns the number in an array without axes; None for other arrays, and if it cannot be read, as inside `jit`."""
    try:
        return value.item() if value.shape == () else None
    except Exception:  # a tracer, a ShapeDtypeStruct or a donated array: `repr` must not fail
        return None


def _cell(value: Any) -> str:
    scalar = _scalar(value) if _has_shape(value) else value
    if isinstance(scalar, float):
        return "\N{EN DASH}" if math.isnan(scalar) else f"{scalar:.3f}"
    if isinstance(scalar, list):
        return ", ".join(map(printable, scalar))
    return printable(scalar)
