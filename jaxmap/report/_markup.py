"""HTML from values: elements with escaped content, numbers that keep all their digits, and tables.

>>> element("p", "a < b", element("b", "bold"), class_="note")
'<p class="note">a &lt; b<b>bold</b></p>'
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._outputs import printable

__all__ = [
    "Column",
    "Markup",
    "counted",
    "element",
    "joined",
    "number",
    "numbers",
    "one_line",
    "scrolling",
    "table",
    "words",
]

UNDEFINED = "\N{EN DASH}"


class Markup(str):
    """Text that is already HTML; any other string is escaped."""


class Column(NamedTuple):
    """A column of a table: its heading, its entries, and whether they are numbers."""

    title: str
    cells: Sequence[str]
    numeric: bool


def element(tag: str, *children: str, **attributes: str) -> Markup:
    """Returns an element. Attributes that are Python keywords end in `_`, and other `_` become `-`."""
    named = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(value)}"' for name, value in attributes.items()
    )
    return Markup(f"<{tag}{named}>{joined(children)}</{tag}>")


def joined(parts: Iterable[str]) -> Markup:
    """Returns the parts one after the other, escaped unless they are markup."""
    return Markup("".join(part if isinstance(part, Markup) else html.escape(part) for part in parts))


def one_line(text: str) -> str:
    """Joins the lines of a text, so that the page wraps it."""
    return " ".join(text.split())


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Returns a count with its noun."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def number(value: Any, form: str | Callable[[float], str] = ".3f") -> Markup:
    """Returns a formatted number with its full value as data; a dash if it is undefined or infinite."""
    plain = np.asarray(value).item()
    if not math.isfinite(plain):
        return Markup(UNDEFINED)
    return element("data", format(plain, form) if isinstance(form, str) else form(plain), value=repr(plain))


def numbers(title: str, values: Iterable[Any], form: str | Callable[[float], str] = ".3f") -> Column:
    """Returns a column of numbers."""
    return Column(title, [number(value, form) for value in values], numeric=True)


def words(title: str, values: Iterable[Any]) -> Column:
    """Returns a column of text."""
    return Column(title, [printable(value) for value in values], numeric=False)


def table(columns: Sequence[Column], *, sorted_by: str | None = None, wrapped: bool = False) -> Markup:
    """Returns a table inside a box that scrolls sideways; the first column names the rows.

    Args:
      columns: of equal length.
      sorted_by: the heading of the column by which the rows are sorted, descending; makes the table sortable by any
        column.
      wrapped: whether long cells are broken into lines.
    """
    sides = ["number" if column.numeric else "words" for column in columns]
    head = [
        element("th", column.title, scope="col", class_=side, **_if(column.title == sorted_by, aria_sort="descending"))
        for column, side in zip(columns, sides, strict=True)
    ]
    rows = [
        element(
            "tr",
            element("th", element("span", row[0]), scope="row", class_=sides[0]),
            *(element("td", cell, class_=side) for cell, side in zip(row[1:], sides[1:], strict=True)),
        )
        for row in zip(*(column.cells for column in columns), strict=True)
    ]
    parts = element("thead", element("tr", *head)), element("tbody", *rows)
    return scrolling(
        element("table", *parts, **_if(sorted_by is not None, class_="sortable"), **_if(wrapped, class_="wrapped"))
    )


def scrolling(content: Markup) -> Markup:
    """Returns the content in a box that scrolls sideways, also by keyboard."""
    return element("div", content, class_="scroll", tabindex="0")


def _if(condition: bool, **attributes: str) -> dict[str, str]:
    return attributes if condition else {}
