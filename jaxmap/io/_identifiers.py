"""Ids of images, categories and annotations: reading and lookup.

An id is an integer or a text. A text that spells an integer is that integer, whatever the other values of its column
are, because some writers quote all or some ids. Ids are never converted to floats.

A column is int64 if all its ids are integers of 64 bits, and text otherwise. In a text column, integers are written in
decimal, so that 7 and "7" are the same id in both kinds of column.

>>> column([7, "9", 9223372036854775807])
array([                  7,                   9, 9223372036854775807])
>>> column([7, "9", "front"]).tolist()
['7', '9', 'front']
>>> index_of(column(["9", "front", "007"]), column([7, 9]))
(array([1, 0, 0]), array([ True, False,  True]))
"""

from __future__ import annotations

import collections
import numbers
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..types import Bools, HostArray, Ints

__all__ = ["LONGEST", "column", "doubtful", "identifier", "index_of", "integer"]

LONGEST = 1024  # characters of a text
_LONGEST_TABLE = 1 << 20  # of ids in place of a search, which takes ten times as long; COCO's end at 581,929
_EXACT_FLOATS = 2**53  # up to here every integer is exact as a double
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_OTHERWISE = re.compile(r"(-?)0*(0|[1-9][0-9]*)(?:\.0+)?")


def integer(value: Any) -> int | None:
    """Returns the integer value of a number, also of one written as 7.0; None if it is not an integer.

    A float beyond 2^53 is not accepted, because several integers round to it.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        return None
    if isinstance(value, numbers.Integral):
        return int(value)
    number = float(value)
    return int(number) if abs(number) <= _EXACT_FLOATS and number.is_integer() else None


def identifier(value: Any) -> int | str | None:
    """Returns the id of a value, as text if it does not fit 64 bits; None if it is not an id."""
    if isinstance(value, str):
        if len(value) > LONGEST or "\0" in value:  # text arrays pad all rows, and drop a trailing NUL
            return None
        number = int(value) if _INTEGER.fullmatch(value) else None
        return str(value) if number is None or not _fits(number) else number
    number = integer(value)
    return number if number is None or _fits(number) else str(number)


def column(values: Sequence[Any]) -> HostArray | None:
    """Returns `[N]` ids, int64 or text; None if one of the values is not an id."""
    read = list(map(identifier, values))
    if None in read:
        return None
    if all(isinstance(one, int) for one in read):
        return np.array(read, np.int64)
    return np.array([str(one) for one in read])


def index_of(ids: HostArray, known: HostArray, files: NDArray[np.object_] | None = None) -> tuple[Ints, Bools]:
    """Returns the index of every id in known ids, and whether it was found.

    A text such as "000000000139" or "139.0" stands for the integer 139, and a file name, with or without its suffix,
    stands for the id of that file, if the text is not itself an id and the meaning is unique. So does an integer that
    is the name of a file without suffix and leading zeros, as in Ultralytics' `predictions.json`.

    Args:
      ids: `[N]`, as returned by `column`.
      known: `[M]` likewise, distinct; ascending if they are integers.
      files: `[M]` file names; None for ids without a file.
    """
    if not len(known):
        return np.zeros(len(ids), np.int64), np.zeros(len(ids), bool)
    if ids.dtype.kind != "U" and known.dtype.kind != "U":
        index = _place(ids, known)  # of an unknown id any index is valid, because the comparison finds it unknown
        found = known.take(index) == ids
        if files is None or found.all():
            return index, found
    listed = known.astype(str).tolist()
    place = dict(zip(listed, range(len(listed)), strict=True))
    spelled = ids.astype(str).tolist()
    index = np.fromiter((place.get(one, -1) for one in spelled), np.int64, len(spelled))
    if (index < 0).any():
        meant = _meant({*spelled} - place.keys(), listed, files)
        place |= {one: place[others[0]] for one, others in meant.items() if len(others) == 1}
        index = np.fromiter((place.get(one, -1) for one in spelled), np.int64, len(spelled))
    found = index >= 0
    index[~found] = 0
    return index, found


def _place(ids: HostArray, known: HostArray) -> Ints:
    """Returns the index of every id in ascending integers, any index for those that are not among them."""
    low, span = known[0], int(known[-1]) - int(known[0])
    if span >= _LONGEST_TABLE:
        return np.minimum(np.searchsorted(known, ids), len(known) - 1)
    table = np.zeros(span + 1, np.int64)
    table[known - low] = np.arange(len(known))
    places: Ints = table.take(ids - low, mode="clip")
    return places


def doubtful(unknown: HostArray, known: HostArray, files: NDArray[np.object_] | None = None) -> list[str]:
    """Returns the known ids that the first ambiguous text may stand for ("07" for "007" or "7"); usually empty."""
    meant = _meant(unknown.astype(str).tolist(), known.astype(str).tolist(), files)
    return next((others for others in meant.values() if len(others) > 1), [])


def _fits(number: int) -> bool:
    return -(2**63) <= number < 2**63


def _meant(texts: Iterable[str], listed: Sequence[str], files: NDArray[np.object_] | None) -> dict[str, list[str]]:
    """Returns the known ids that each text may stand for: an id in another spelling, or the id of a file."""
    of_number, of_file = collections.defaultdict(list), collections.defaultdict(list)
    for one in listed:
        of_number[_plain(one)].append(one)
    for one, file in zip(listed, [] if files is None else files.tolist(), strict=False):
        for name in _names(file) if file else ():
            of_file[name].append(one)
    # If the file name of one image is the id of another image, file names are ambiguous and are not used.
    confused = any(of_number.get(_plain(name), ids) != ids for name, ids in of_file.items())
    meant = {}
    for text in texts:
        numbers = of_number.get(_plain(text), [])
        meant[text] = list(dict.fromkeys([*numbers, *([] if confused and not numbers else of_file.get(text, []))]))
    return meant


def _names(file: str) -> set[str]:
    """Returns a path and its last part, each with and without its suffix, and the number that the last part spells."""
    path = pathlib.PureWindowsPath(file)  # in which both kinds of slash separate folders
    return {file, file.removesuffix(path.suffix), path.name, path.stem, _plain(path.stem)} - {""}


def _plain(text: str) -> str:
    match = _OTHERWISE.fullmatch(text)
    return match[1] + match[2] if match else text
