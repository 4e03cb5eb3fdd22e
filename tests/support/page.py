"""What an HTML page of `jaxmap.report` holds, read by a parser that knows nothing of how it was made."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np

DASH = "\N{EN DASH}"
VOID = {"meta", "img"}
Cell = tuple[str, float | None]  # what it reads, and the number behind it


class Page(HTMLParser):
    """What a page holds: its elements, and the tables and the text of each section."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[list[Cell]]]] = {}
        self.text: dict[str, str] = {"": ""}
        self.open: list[str] = []
        self._section, self._value = "", None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self._section = str(attributes["id"])
            self.tables[self._section], self.text[self._section] = [], ""
        elif tag == "table":
            self.tables[self._section].append([])
        elif tag == "tr":
            self.tables[self._section][-1].append([])
        elif tag in ("th", "td"):
            self.tables[self._section][-1][-1].append(("", None))
        elif tag == "data":
            self._value = float(str(attributes["value"]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} ends, but another is open"
        self._value = None if tag == "data" else self._value

    def handle_data(self, data: str) -> None:
        self.text[self._section] += data
        if "th" in self.open or "td" in self.open:
            row = self.tables[self._section][-1][-1]
            row[-1] = (row[-1][0] + data, self._value)

    def columns(self, section: str, index: int) -> dict[str, list[Cell]]:
        """Returns a table of a section by its headings."""
        head, *rows = self.tables[section][index]
        assert all(len(row) == len(head) for row in rows)
        return {title: [row[place] for row in rows] for place, (title, _) in enumerate(head)}


def assert_shown(cells: list[Cell], values: Any, form: str) -> None:
    """Checks that cells hold exactly these values, and show them so; a dash for those that are not finite."""
    expected = [(format(v, form), float(v)) if np.isfinite(v) else (DASH, None) for v in np.asarray(values).tolist()]
    assert cells == expected


def words(cells: list[Cell]) -> list[str]:
    return [text for text, _ in cells]


def assert_self_contained(text: str) -> Page:
    """Checks that a page is well formed, refers only to itself, and loads nothing."""
    page = Page(text)
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [
        str(value)
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name.rpartition(":")[2] in ("src", "href", "srcset", "action", "data", "poster")
    ]
    links = [link for link in links if not re.match(r"data:image/(webp|jpeg);base64,", link)]
    links += re.findall(r"url\(([^)]*)\)", text)
    assert links
    assert [link for link in links if link[0] != "#" or link[1:] not in ids] == []
    assert not re.search(r"https?:", text)
    assert "@import" not in text
    assert not {tag for tag, _ in page.elements} & {"link", "iframe", "object", "embed", "base"}
    assert_policy(text, page)
    return page


def assert_policy(text: str, page: Page) -> None:
    """Checks that the content security policy allows exactly the one script and the one style of a page."""
    policies = [one["content"] for _, one in page.elements if one.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in str(policies[0]).split(";"))
    assert len(policies) == 1
    assert rules.pop("default-src") == rules.pop("base-uri") == rules.pop("form-action") == "'none'"
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules.pop(rule) == f"'sha256-{digest}'"
    assert rules == {"style-src-attr": "'unsafe-inline'", "img-src": "data:"}
    assert not [name for _, one in page.elements for name in one if name.startswith("on")]
