"""The fast way from JSON to columns: msgspec, an optional extra, decodes a file straight into rows of known types.

In: the bytes of a file and its layout, which names the reader of `Entries` for each field. Out: the columns that those
readers return, bit for bit, or None where msgspec is not installed or anything at all is not as the layout says. Then
the readers get the file: they know the rarer forms, such as quoted ids, and what to say of a fault.

>>> columns = typed_list(b'[{"bbox": [0, 0, 2, 1], "score": 0.5, "segmentation": []}]', {"score": Entries.numbers})
>>> columns is None or columns["score"].tolist() == [0.5]
True
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np

from ._json import Entries

__all__ = ["Columns", "Layout", "typed_list", "typed_lists"]

Columns = dict[str, Any]
Reader = Callable[[Entries, str], Any]
Layout = Mapping[str, Reader]

_COLUMN_TYPES: dict[Reader, type[np.generic]] = {
    Entries.identifiers: np.int64,
    Entries.integers: np.int64,
    Entries.numbers: np.float64,
    Entries.flags: np.bool_,
}


def typed_list(data: bytes, layout: Layout) -> Columns | None:
    """Returns the columns of a list of objects.

    Args:
      data: JSON.
      layout: the fields to read, each with the reader that says what it holds; others are skipped.
    """
    rows = _decode(data, lambda msgspec: _list_type(msgspec, layout))
    return None if rows is None else _columns(rows, layout)


def typed_lists(data: bytes, layouts: Mapping[str, Layout]) -> dict[str, Columns] | None:
    """Returns the columns of several lists that stand in one object.

    Args:
      data: JSON.
      layouts: the lists to read, by name; others are skipped.
    """
    lists = _decode(
        data,
        lambda msgspec: msgspec.defstruct(
            "Lists", [(name, _list_type(msgspec, layout)) for name, layout in layouts.items()]
        ),
    )
    return None if lists is None else {name: _columns(getattr(lists, name), one) for name, one in layouts.items()}


def _decode(data: bytes, type_by: Callable[[Any], Any]) -> Any:
    try:
        import msgspec
    except ImportError:
        return None
    try:
        if not data.isascii():
            data.decode()  # msgspec does not look whether a string that it skips is UTF-8
        return msgspec.json.decode(data, type=type_by(msgspec))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _list_type(msgspec: Any, layout: Layout) -> Any:
    integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
    types: dict[Reader, Any] = {
        Entries.identifiers: (integer,),
        Entries.integers: (integer,),
        Entries.numbers: (float,),
        Entries.boxes: (tuple[float, float, float, float],),
        Entries.flags: (Literal[0, 1] | bool, 0),  # 0 where it is missing
        Entries.names: (Any, None),
    }
    row = msgspec.defstruct("Row", [(field, *types[reader]) for field, reader in layout.items()], gc=False)
    return list[row]  # type: ignore[valid-type]


def _columns(rows: Sequence[Any], layout: Layout) -> Columns:
    return {field: _column(rows, field, reader) for field, reader in layout.items()}


def _column(rows: Sequence[Any], field: str, reader: Reader) -> Any:
    values = map(operator.attrgetter(field), rows)
    if reader is Entries.names:
        return list(values)
    if reader is Entries.boxes:
        return np.fromiter(itertools.chain.from_iterable(values), np.float64, 4 * len(rows)).reshape(-1, 4)
    return np.fromiter(values, _COLUMN_TYPES[reader], len(rows))
