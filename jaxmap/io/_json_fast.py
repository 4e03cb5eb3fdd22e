"""The fast way from JSON to columns: msgspec, an optional extra, decodes a file directly into rows of known types.

In: an opened file or its bytes, and its layout, which names the reader of `Entries` for each field. Out: the same
columns that those readers return, bit for bit, or None if msgspec is not installed or anything differs from the layout.
In that case the readers of `Entries` are used: they know the rarer forms, such as quoted ids, and report errors.

>>> import io
>>> file = io.BytesIO(b'[{"bbox": [0, 0, 2, 1], "score": 0.5, "segmentation": []}]')
>>> columns = typed_list(file, {"score": Entries.numbers})
>>> columns is None or columns["score"].tolist() == [0.5]
True
"""

from __future__ import annotations

import functools
import itertools
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, BinaryIO, Literal, TypeVar

import numpy as np

from .._geometry._rle import Encodings, encodings_of, join_encodings
from ..types import Floats
from ._json import Entries, keypoints

__all__ = ["Columns", "Layout", "Reader", "typed_lines", "typed_list", "typed_lists"]

Result = TypeVar("Result")
Columns = dict[str, Any]
Reader = Callable[[Entries, str], Any]
Layout = dict[str, Reader]

_COLUMN_TYPES: dict[Reader, type[np.generic]] = {
    Entries.identifiers: np.int64,
    Entries.integers: np.int64,
    Entries.numbers: np.float64,
    Entries.flags: np.bool_,
}

# The objects of a chunk stay in the processor's cache, and each chunk reuses the memory of the one before. Results are
# read in such chunks too, so that the file is never in memory as a whole.
CHUNK = 1 << 18  # bytes
_OVERLAP = 8  # bytes that are searched again: a gap may begin in one piece and end in the next
_BETWEEN_OBJECTS = re.compile(rb"\}[ \t\n\r]*,[ \t\n\r]*\{")


def typed_list(file: BinaryIO, layout: Layout) -> Columns | None:
    """Returns the columns of a list of objects.

    Args:
      file: JSON, which is read to its end.
      layout: the fields to read, each with the reader for its type; others are skipped.
    """
    return _regular(lambda msgspec: _list(msgspec, iter(functools.partial(file.read, CHUNK), b""), layout))


def typed_lines(file: BinaryIO, layout: Layout) -> Columns | None:
    """Returns the columns of objects that are written one per line, as `typed_list` does."""

    def read(msgspec: Any) -> Columns:
        decoder = msgspec.json.Decoder(_row_type(msgspec, layout))
        return _table(map(decoder.decode_lines, map(_checked_text, _whole_lines(file))), layout)

    return _regular(read)


def typed_lists(data: bytes, layouts: Mapping[str, Layout]) -> dict[str, Columns] | None:
    """Returns the columns of several lists in one object.

    Args:
      data: JSON.
      layouts: the lists to read, by name; others are skipped.
    """
    return _regular(lambda msgspec: _lists(msgspec, data, layouts))


def _regular(read: Callable[[Any], Result]) -> Result | None:
    """Returns the result of reading with msgspec; None if it is not installed or the data differs from the layout."""
    try:
        import msgspec
    except ImportError:
        return None
    try:
        return read(msgspec)
    except (msgspec.MsgspecError, ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        return None


def _lists(msgspec: Any, data: bytes, layouts: Mapping[str, Layout]) -> dict[str, Columns]:
    raw = msgspec.json.decode(
        _checked_text(data), type=msgspec.defstruct("Lists", [(name, msgspec.Raw) for name in layouts])
    )
    return {name: _list(msgspec, _pieces(memoryview(getattr(raw, name))), layout) for name, layout in layouts.items()}


def _pieces(data: memoryview) -> Iterator[memoryview]:
    return (data[start : start + CHUNK] for start in range(0, len(data), CHUNK))


def _list(msgspec: Any, pieces: Iterable[bytes | memoryview], layout: Layout) -> Columns:
    decoder = msgspec.json.Decoder(list[_row_type(msgspec, layout)])  # type: ignore[misc]
    return _table(map(decoder.decode, map(_checked_text, _chunks(pieces))), layout)


def _table(chunks_of_rows: Iterable[Sequence[Any]], layout: Layout) -> Columns:
    chunks = [_columns(rows, layout) for rows in chunks_of_rows]
    joined = {field: _joined([columns.pop(field) for columns in chunks]) for field in layout}  # and frees each at once
    return joined | {
        field: _ones_if_missing(joined[field]) for field, read in layout.items() if read is Entries.numbers_or_ones
    }


def _checked_text(data: bytes) -> bytes:
    """Returns data unchanged if it is UTF-8, which msgspec does not check in strings that are skipped."""
    if not data.isascii():
        data.decode()
    return data


def _chunks(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """Joins pieces of the text of a list of objects, and splits it into shorter lists, of whole objects.

    What looks like a gap between two objects may be inside a text or a nested value. Then the chunk that ends there is
    not valid JSON: the bracket that is added closes the list only if the parser is between two of its objects.
    """
    opening, text = b"", bytearray()
    for piece in pieces:
        seen = len(text)
        text += piece
        if seen and (cut := _BETWEEN_OBJECTS.search(text, max(seen - _OVERLAP, 0))):
            yield opening + text[: cut.start() + 1] + b"]"
            opening = b"["
            del text[: cut.end() - 1]
    yield opening + text


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yields pieces of a file that end where a line ends; the last may be empty."""
    while piece := file.read(CHUNK):
        yield piece + file.readline()
    yield b""


def _row_type(msgspec: Any, layout: Layout) -> Any:
    integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
    side = Annotated[int, msgspec.Meta(ge=1, le=1 << 15)]  # of larger masks, the readers of `Entries` count the pixels
    encoding = msgspec.defstruct("Encoding", [("size", tuple[side, side]), ("counts", str | list[Any])], gc=False)
    types: dict[Reader, Any] = {
        Entries.identifiers: (integer,),
        Entries.integers: (integer,),
        Entries.numbers: (float,),
        Entries.boxes: (tuple[float, float, float, float],),
        Entries.numbers_or_nan: (float | None, None),
        Entries.numbers_or_ones: (float, None),  # None where it is missing, but null is refused
        Entries.flags: (Literal[0, 1, None] | bool, 0),  # 0 where it is missing
        Entries.names: (Any, None),
        Entries.objects: (Any,),
        Entries.segmentations: (encoding | list[Any],),
        Entries.segmentations_or_none: (encoding | list[Any] | None, None),
        Entries.keypoints: (list[float],),
    }
    fields = sorted(((field, *types[reader]) for field, reader in layout.items()), key=len)  # optional ones last
    return msgspec.defstruct("Row", fields, gc=False)


def _columns(rows: Sequence[Any], layout: Layout) -> Columns:
    return {field: _column(rows, field, reader) for field, reader in layout.items()}


def _column(rows: Sequence[Any], field: str, reader: Reader) -> Any:
    values = map(operator.attrgetter(field), rows)
    if reader in (Entries.names, Entries.objects):
        return list(values)
    if reader in (Entries.segmentations, Entries.segmentations_or_none):
        return _segmentations(list(values))
    if reader is Entries.keypoints:
        return keypoints(list(values))
    if reader in (Entries.numbers_or_nan, Entries.numbers_or_ones):
        return _numbers_or_nan(list(values))
    if reader is Entries.boxes:
        return np.fromiter(itertools.chain.from_iterable(values), np.float64, 4 * len(rows)).reshape(-1, 4)
    return np.fromiter(values, _COLUMN_TYPES[reader], len(rows))


def _numbers_or_nan(values: list[float | None]) -> Floats:
    try:
        return np.fromiter(values, np.float64, len(values))
    except TypeError:  # None is among them, which becomes NaN in an array
        return np.array(values, np.float64)


def _ones_if_missing(values: Floats) -> Floats:
    """Returns numbers unchanged, or ones in place of only NaN."""
    missing = np.isnan(values)
    if not missing.any():
        return values
    if not missing.all():
        raise ValueError("all or none must be missing; the readers of `Entries` say where one is")
    return np.ones(len(values))


def _segmentations(values: list[Any]) -> Sequence[Any]:
    """Returns masks as one column if all are compressed, otherwise each as JSON has it."""
    if set(map(type, values)).isdisjoint((list, type(None))):
        counts = list(map(operator.attrgetter("counts"), values))
        if set(map(type, counts)) <= {str}:
            sides = itertools.chain.from_iterable(map(operator.attrgetter("size"), values))
            return encodings_of(counts, np.fromiter(sides, np.int64, 2 * len(values)).reshape(-1, 2))
    return [
        one if one is None or isinstance(one, list) else {"size": list(one.size), "counts": one.counts}
        for one in values
    ]


def _joined(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    if all(isinstance(part, Encodings) for part in parts):
        return join_encodings(parts)
    return list(itertools.chain.from_iterable(parts))
