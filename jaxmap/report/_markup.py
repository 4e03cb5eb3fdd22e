"""HTML from values: elements with escaped content, numbers that keep all their digits, and tables.

>>> element("p", "a < b", element("b", "bold"), class_="note")
'<p class="note">a &lt; b<b>bold</b></p>'
"""

from __future__ import annotations

import base64
import hashlib
import html
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._outputs import printable

__all__ = [
    "Column",
    "Markup",
    "classes",
    "counted",
    "element",
    "joined",
    "linked",
    "number",
    "numbers",
    "one_line",
    "policy",
    "scrolling",
    "table",
    "without_dead_links",
    "words",
]

_VOID = {"img", "meta"}  # elements without content, which have no end tag
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
    end = "" if tag in _VOID else f"</{tag}>"
    return Markup(f"<{tag}{named}>{joined(children)}{end}")


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


def linked(title: str, values: Iterable[Any], targets: Iterable[str]) -> Column:
    """Returns a column of text, each a link to an element of the page; see `without_dead_links`."""
    pairs = zip(values, targets, strict=True)
    return Column(title, [element("a", printable(one), href=f"#{target}") for one, target in pairs], numeric=False)


def classes(names: Iterable[Any], labels: Iterable[int] | None = None) -> Column:
    """Returns a column of classes, each a link to its row in the table of all classes.

    Args:
      names: of the classes.
      labels: their indices; None for 0, 1, ...
    """
    names = list(names)
    return linked("class", names, [f"class-{label}" for label in (range(len(names)) if labels is None else labels)])


def table(
    columns: Sequence[Column],
    *,
    sorted_by: str | None = None,
    wrapped: bool = False,
    rows: Sequence[dict[str, str]] = (),
) -> Markup:
    """Returns a table inside a box that scrolls sideways; the first column names the rows.

    The script of the page makes every table sortable by any column.

    Args:
      columns: of equal length.
      sorted_by: the heading of the column by which the rows are sorted, descending.
      wrapped: whether long cells are broken into lines.
      rows: the attributes of each row, such as the id to which links lead; none if empty.
    """
    sides = ["number" if column.numeric else "words" for column in columns]
    head = [
        element("th", column.title, scope="col", class_=side, **_if(column.title == sorted_by, aria_sort="descending"))
        for column, side in zip(columns, sides, strict=True)
    ]
    attributes = rows or [{}] * len(columns[0].cells)
    lines = [  # a cell of numbers has no class, which would be half of the bytes of a long table
        element(
            "tr",
            element("th", element("span", row[0]), scope="row"),
            *(
                element("td", cell, **_if(side == "words", class_=side))
                for cell, side in zip(row[1:], sides[1:], strict=True)
            ),
            **of_row,
        )
        for of_row, row in zip(attributes, zip(*(column.cells for column in columns), strict=True), strict=True)
    ]
    parts = element("thead", element("tr", *head)), element("tbody", *lines)
    return scrolling(element("table", *parts, **_if(wrapped, class_="wrapped")))


def scrolling(content: Markup) -> Markup:
    """Returns the content in a box that scrolls sideways, also by keyboard."""
    return element("div", content, class_="scroll", tabindex="0")


def without_dead_links(page: str) -> str:
    """Returns a page whose links lead to the first of their ids that it has, and are plain text where it has none.

    So sections may link to parts that the page may lack, such as `#picture-3 image-3`.
    """
    ids = set(re.findall(r'\sid="([^"]*)"', page))

    def resolved(link: re.Match[str]) -> str:
        target = next((one for one in link[1].split() if one in ids), None)
        return link[2] if target is None else f'<a href="#{target}">{link[2]}</a>'

    return re.sub(r'<a href="#([^"]*)">(.*?)</a>', resolved, page)


def policy(script: str, style: str) -> Markup:
    """Returns the content security policy of a page: its own script and style, embedded images, and nothing else.

    Attributes named `style` are allowed, because matplotlib writes them; they cannot load anything.
    """
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in (script, style)
    ]
    content = (
        f"default-src 'none'; script-src {hashes[0]}; style-src {hashes[1]}; style-src-attr 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    return element("meta", http_equiv="Content-Security-Policy", content=content)


def _if(condition: bool, **attributes: str) -> dict[str, str]:
    return attributes if condition else {}
