"""Tables as text, Markdown and LaTeX: the one place of the program that formats them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .._outputs import printable

__all__ = ["FORMS", "Part", "Table", "formatted", "signed"]

_COLUMN_TITLES = {"class_id": "id", "class_name": "class", "num_ground_truths": "objects"}
_TEXT_COLUMNS = (
    *("class_name", "protocol", "model", "slice", "number", "error", "meaning"),
    *("level", "side", "kind", "message", "where"),
)
_IN_MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\|*_`<>"})
_IN_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)


class Table(NamedTuple):
    """A table, and the words above it.

    Attributes:
      columns: from title to values, all of one length.
      lead: what stands above it.
      text: what plain text shows in place of both; None for the columns.
    """

    columns: dict[str, Any]
    lead: str = ""
    text: str | None = None


Part = Table | str  # of an output; text has no other form


def formatted(parts: Sequence[Part], form: str = "text") -> str:
    """Returns the parts of an output in one of `FORMS`, with an empty line between them."""
    return "\n\n".join(map(FORMS[form], parts))


def signed(value: float, digits: int = 4) -> str:
    """Returns a difference with its sign, `-` for NaN."""
    return "-" if math.isnan(value) else f"{value:+.{digits}f}"


def _as_text(part: Part) -> str:
    """Returns columns as aligned text, words to the left and numbers to the right, with `-` for NaN."""
    if isinstance(part, str):
        return part
    if part.text is not None:
        return part.text
    lines: list[str] = []
    for name, values in part.columns.items():
        cells = [_title(name), *map(_cell, values)]
        width = max(map(len, cells))
        cells = [cell.ljust(width) if name in _TEXT_COLUMNS else cell.rjust(width) for cell in cells]
        lines = [f"{line}  {cell}" for line, cell in zip(lines, cells, strict=True)] if lines else cells
    lead = [part.lead] if part.lead else []
    return "\n".join(lead + [line.rstrip() for line in lines])


def _as_markdown(part: Part) -> str:
    if isinstance(part, str):
        return f"```text\n{part}\n```"
    head, *body = _rows(part, _IN_MARKDOWN)
    rule = [":---" if name in _TEXT_COLUMNS else "---:" for name in part.columns]
    lead = [part.lead.translate(_IN_MARKDOWN), ""] if part.lead else []
    return "\n".join(lead + [f"| {' | '.join(row)} |" for row in (head, rule, *body)])


def _as_latex(part: Part) -> str:
    if isinstance(part, str):
        return "\n".join(f"% {line}".rstrip() for line in part.splitlines())
    head, *body = (f"{' & '.join(row)} \\\\" for row in _rows(part, _IN_LATEX))
    columns = "".join("l" if name in _TEXT_COLUMNS else "r" for name in part.columns)
    lead = [f"% {part.lead}"] if part.lead else []
    start = f"\\begin{{tabular}}{{{columns}}}"
    return "\n".join([*lead, start, r"\hline", head, r"\hline", *body, r"\hline", r"\end{tabular}"])


FORMS: dict[str, Callable[[Part], str]] = {"text": _as_text, "markdown": _as_markdown, "latex": _as_latex}


def _rows(table: Table, escapes: dict[int, str]) -> list[list[str]]:
    """Returns the title of every column, and the cells of every row, escaped."""
    columns = [[_title(name), *map(_cell, values)] for name, values in table.columns.items()]
    return [[cell.translate(escapes) for cell in row] for row in zip(*columns, strict=True)]


def _title(name: str) -> str:
    return _COLUMN_TITLES.get(name, name)


def _cell(value: Any) -> str:
    if isinstance(value, float):  # includes np.float64
        return "-" if math.isnan(value) else f"{value:.3f}"
    return printable(value)
