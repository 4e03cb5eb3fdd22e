"""CSV files in blocks of lines, with the number of the line for messages."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from ._files import PathLike
from ._lines import check_encoding

__all__ = ["Block", "blocks"]

_LINES_AT_ONCE = 1 << 16


class Block(NamedTuple):
    """Some lines of a CSV file: the values of lines that are not empty, and all raw lines."""

    path: PathLike
    first: int
    rows: list[list[str]]
    lines: list[list[str]]

    def error(self, row: list[str], fault: str) -> ValueError:
        number = next(number for number, line in enumerate(self.lines, start=self.first) if line is row)
        return ValueError(f"{self.path}, line {number}: {fault}.")


def blocks(path: PathLike, data: bytes) -> Iterator[Block]:
    """Yields a CSV file in blocks, because all strings of a large file would fill the memory."""
    check_encoding(str(path), data)
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")
    reader = csv.reader(text, strict=True)  # if not strict, an unclosed quote would include all that follows
    first = 1
    try:
        while lines := list(islice(reader, _LINES_AT_ONCE)):
            yield Block(path, first, list(filter(None, lines)), lines)
            first = reader.line_num + 1
    except (UnicodeDecodeError, csv.Error) as error:
        line = f", line {reader.line_num}" if isinstance(error, csv.Error) else ""
        raise ValueError(f"{path}{line}: not a CSV file in UTF-8 ({error}).") from error
