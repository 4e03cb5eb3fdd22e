"""The fast way from JSON to columns: msgspec, an optional extra, decodes a file directly into rows of known types.

In: the bytes of a file and its layout, which names the reader of `Entries` for each field. Out: the same columns that
those readers return, bit for bit, or None if msgspec is not installed or anything differs from the layout. In that case
the readers of `Entries` are used: they know the rarer forms, such as quoted ids, and report errors.

>>> columns = typed_list(b'[{"bbox": [0, 0, 2, 1], "score": 0.5, "segmentation": []}]', {"score": Entries.numbers})
>>> columns is None or columns["score"].tolist() == [0.5]
True
"""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

import numpy as np

from .._geometry._rle import Encodings, encodings_of, join_encodings
from ..types import Floats
from ._json import Entries, keypoints

__all__ = ["Columns", "Layout", "typed_list", "typed_lists"]

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

# The objects of a chunk stay in the processor's cache, and each chunk reuses the memory of the one before.
CHUNK = 1 << 18  # bytes
_BETWEEN_OBJECTS = re.compile(rb"\}[ \t\n\r]*,[ \t\n\r]*\{")


def typed_list(data: bytes, layout: Layout) -> Columns | None:
    """Returns the columns of a list of objects.

    Args:
      data: JSON.
      layout: the fields to read, each with the reader for its type; others are skipped.
    """
    return _regular(data, lambda msgspec: _list(msgspec, memoryview(data), layout))


def typed_lists(data: bytes, layouts: Mapping[str, Layout]) -> dict[str, Columns] | None:
    """Returns the columns of several lists in one object.

    Args:
      data: JSON.
      layouts: the lists to read, by name; others are skipped.
    """
    return _regular(data, lambda msgspec: _lists(msgspec, data, layouts))


def _regular(data: bytes, read: Callable[[Any], Result]) -> Result | None:
    """Returns the result of reading with msgspec; None if it is not installed or the data differs from the layout."""
    try:
        import msgspec
    except ImportError:
        return None
    try:
        if not data.isascii():
            data.decode()  # msgspec does not check that skipped strings are UTF-8
        return read(msgspec)
    except (msgspec.MsgspecError, ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        return None


def _lists(msgspec: Any, data: bytes, layouts: Mapping[str, Layout]) -> dict[str, Columns]:
    lists = msgspec.json.decode(data, type=msgspec.defstruct("Lists", [(name, msgspec.Raw) for name in layouts]))
    return {name: _list(msgspec, memoryview(getattr(lists, name)), layout) for name, layout in layouts.items()}


def _list(msgspec: Any, data: memoryview, layout: Layout) -> Columns:
    decoder = msgspec.json.Decoder(_list_type(msgspec, layout))
    chunks = [_columns(decoder.decode(chunk), layout) for chunk in _chunks(data)]
    joined = {field: _joined([columns[field] for columns in chunks]) for field in layout}
    return joined | {
        field: _ones_if_missing(joined[field]) for field, read in layout.items() if read is Entries.numbers_or_ones
    }


def _chunks(data: memoryview) -> Iterator[bytes]:
    """Splits a list of objects into shorter lists.

    What looks like a gap between two objects may be inside a text or a nested value. Then the chunk that ends there is
    not valid JSON: the bracket that is added closes the list only if the parser is between two of its objects.
    """
    opening, start = b"", 0
    while cut := _BETWEEN_OBJECTS.search(data, start + CHUNK):
        yield opening + data[start : cut.start() + 1] + b"]"
        opening, start = b"[", cut.end() - 1
    yield opening + data[start:]


def _list_type(msgspec: Any, layout: Layout) -> Any:
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
    row = msgspec.defstruct("Row", fields, gc=False)
    return list[row]  # type: ignore[valid-type]


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
