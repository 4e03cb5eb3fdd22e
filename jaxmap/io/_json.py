"""JSON files to validated NumPy columns, shared by the readers of all JSON formats.

A results file may have half a million objects, so no Python code runs per object while the data is valid: columns are
extracted with `map` and `itemgetter`, and checked by the *set* of their types. Only a column that fails is searched for
the invalid entry.

>>> Entries(items=[{"id": 3, "bbox": [0, 0, 2, 1]}], name="annotations", source="gt.json").integers("id")
array([3])
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import numbers
import operator
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .._garbage_collection import collector_paused
from .._numbers import finite, is_real
from ..types import Bools, Floats, HostArray, Ints
from ._files import PathLike, read_bytes
from ._identifiers import LONGEST, column, identifier, integer

__all__ = ["Entries", "first_few", "keypoints", "load_json", "parse_json", "parse_json_lines"]

_MISSING = object()
_DIGITS = 4000  # Python refuses integers of more than 4,300 digits
# Content that is often given in place of JSON.
_BEGINNINGS = {
    b"<": "it looks like XML or a web page",
    b"version https://git-lfs": "it is a Git LFS pointer; get the file with `git lfs pull`",
    b"{'": "it looks like a printed Python object; write it with `json.dump`",
    b"[{'": "it looks like a printed Python object; write it with `json.dump`",
}
_NUMBER_ADVICE = "write finite numbers without quotes, or drop the entry"


def load_json(path: PathLike) -> Any:
    """Returns the content of a JSON file, plain or gzip-compressed, whatever its suffix.

    Raises:
      FileNotFoundError: if there is no such file; other errors of the file system are OSErrors too.
      ValueError: if the content is empty, cut off, or not JSON.
    """
    return parse_json(read_bytes(path), path)


@collector_paused()
def parse_json(data: bytes, path: PathLike) -> Any:
    """Returns the parsed content of a file."""
    if not data.strip():
        raise ValueError(f"{path}: the file is empty; JSON was expected.")
    try:
        return _loads(data)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise ValueError(f"{path}: not valid JSON ({error}); {_advice(data)}.") from error


@collector_paused()
def parse_json_lines(data: bytes, path: PathLike) -> list[Any]:
    """Returns the parsed lines of a file with one value per line; empty lines are skipped."""
    values = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            try:
                values.append(_loads(line))
            except (ValueError, RecursionError) as error:
                raise ValueError(
                    f"{path}:{number}: not valid JSON ({error}); one value per line was expected, as in JSON lines."
                ) from error
    return values


def _loads(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        if "integer string conversion" not in str(error):
            raise
    return json.loads(data, parse_int=_int_or_inf)


def _int_or_inf(text: str) -> float:
    return int(text) if len(text) <= _DIGITS else math.copysign(math.inf, -1 if text.startswith("-") else 1)


def _advice(data: bytes) -> str:
    """Returns advice about content that is not JSON, by its first bytes."""
    start = data.lstrip()[:64]
    for beginning, advice in _BEGINNINGS.items():
        if start.startswith(beginning):
            return advice
    try:
        _, _ = map(json.loads, data.strip().split(b"\n", 2)[:2])
    except (ValueError, RecursionError):
        return "the file is damaged or cut off; write it again"
    return (
        "it has JSON lines, one value per line, where one JSON value is expected: name a file of results *.jsonl, and "
        "of another file `jq -s . FILE` makes one list"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entries:
    """A list of JSON objects that is read one column at a time.

    Numbers may be Python's or NumPy's, so that data made by a program is accepted as well as parsed files.

    Attributes:
      items: the objects.
      name: the name of the list in messages, for example `annotations`.
      source: the name of its origin in messages: a file, or a word for data that was passed in.
    """

    items: list[Any]
    name: str
    source: str

    def __len__(self) -> int:
        return len(self.items)

    def values(self, field: str, default: Any = _MISSING) -> list[Any]:
        """Returns one field of every entry, unchecked; it is required if there is no `default`.

        Raises:
          ValueError: if an entry is not an object or lacks the field.
        """
        try:
            if default is _MISSING:
                return list(map(operator.itemgetter(field), self.items))
            return [item.get(field, default) for item in self.items]
        except (KeyError, TypeError, IndexError, AttributeError):
            for index, item in enumerate(self.items):
                place = f"{self.source}: `{self.name}[{index}]`"
                if not isinstance(item, Mapping):
                    raise ValueError(f"{place} must be an object, got {_shown(item)}.") from None
                if default is _MISSING and field not in item:
                    fields = reprlib.repr(sorted(map(str, item)))
                    raise ValueError(f"{place} has no `{field}`; every entry needs one, got only {fields}.") from None
            raise

    def integers(self, field: str) -> Ints:
        """Returns `[N]` int64 from integers, also if written as 1.0; refuses "1" and true.

        Raises:
          ValueError: if an entry lacks the field or has anything but an integer of 64 bits.
        """
        values = self.values(field)
        result = _plain_integers(values)
        if result is None:
            try:
                result = np.array(list(map(integer, values)), np.int64)
            except (TypeError, OverflowError):  # None, or beyond 64 bits
                expected, advice = "an integer", "write a whole number below 2^63, without quotes"
                raise self._error(field, values, _is_integer, expected, advice) from None
        return result

    def identifiers(self, field: str) -> HostArray:
        """Returns `[N]` ids, like `_identifiers.column`: int64, or text if one of them is not an integer.

        Raises:
          ValueError: if an entry lacks the field or has anything but an integer or a text.
        """
        values = self.values(field)
        result = _plain_integers(values)
        if result is None:
            result = column(values)
        if result is None:
            expected, advice = (
                "an integer or a text",
                f"write a whole number, or a text of at most {LONGEST:,} characters",
            )
            raise self._error(field, values, lambda value: identifier(value) is not None, expected, advice)
        return result

    def numbers(self, field: str) -> Floats:
        """Returns `[N]` float64.

        Raises:
          ValueError: if an entry lacks the field or has anything but a finite number.
        """
        values = self.values(field)
        result = finite(values)
        if result is None:
            raise self._error(field, values, _is_number, "a finite number", _NUMBER_ADVICE)
        return result

    def numbers_or_nan(self, field: str) -> Floats:
        """Returns `[N]` float64, NaN where an entry lacks the field or has null.

        Raises:
          ValueError: if an entry has anything but a finite number.
        """
        values = self.values(field, default=None)
        given = np.array([value is not None for value in values], bool)
        found = finite(list(itertools.compress(values, given)))
        if found is None:

            def is_good(value: Any) -> bool:
                return value is None or _is_number(value)

            raise self._error(field, values, is_good, "a finite number", _NUMBER_ADVICE)
        result = np.full(len(values), np.nan)
        result[given] = found
        return result

    def numbers_or_ones(self, field: str) -> Floats:
        """Returns `[N]` float64; 1 for every entry if none has the field.

        Raises:
          ValueError: if only some entries lack the field, or one has anything but a finite number.
        """
        nothing = object()
        given = [value is not nothing for value in self.values(field, default=nothing)]
        if not any(given):
            return np.ones(len(given))
        if not all(given):
            raise ValueError(
                f"{self.source}: `{self.name}[{given.index(False)}]` has no `{field}`, but {sum(given)} of "
                f"{len(given)} `{self.name}` have one; give every entry a `{field}`, or none."
            )
        return self.numbers(field)

    def boxes(self, field: str) -> Floats:
        """Returns `[N, 4]` float64.

        Raises:
          ValueError: if an entry lacks the field or has anything but four finite numbers.
        """
        values = self.values(field)
        with contextlib.suppress(TypeError):  # a value without a length
            if set(map(len, values)) <= {4}:
                result = finite(list(itertools.chain.from_iterable(values)))
                if result is not None:
                    return result.reshape(-1, 4)
        expected = "four finite numbers [x, y, width, height]"
        raise self._error(field, values, _is_box, expected, _NUMBER_ADVICE)

    def flags(self, field: str) -> Bools:
        """Returns `[N]` bool from 0, 1, false or true; False where an entry lacks the field or has null.

        Raises:
          ValueError: if an entry has anything else.
        """
        values = self.values(field, default=0)
        with contextlib.suppress(TypeError):  # a value that is not hashable
            if set(values) <= {0, 1, None}:  # False and True equal these
                return np.fromiter(values, np.bool_, len(values))
        raise self._error(field, values, _is_flag, "0 or 1", "write one of them, without quotes")

    def names(self, field: str) -> list[Any]:
        """Returns the field of every entry, unchecked; None where an entry lacks it."""
        return self.values(field, default=None)

    def objects(self, field: str) -> list[Any]:
        """Returns the field of every entry, unchecked.

        Raises:
          ValueError: if an entry lacks the field.
        """
        return self.values(field)

    def segmentations(self, field: str) -> list[Any]:
        """Returns the `segmentation` of every entry, unchecked.

        Raises:
          ValueError: if an entry lacks the field.
        """
        return self.values(field)

    def segmentations_or_none(self, field: str) -> list[Any]:
        """Returns the `segmentation` of every entry, unchecked; None where an entry lacks it."""
        return self.values(field, default=None)

    def keypoints(self, field: str) -> Floats:
        """Returns `[N, P, 3]` float64: x, y and visibility of P keypoints, as `[x, y, v, ...]` or `[[x, y, v], ...]`.

        Raises:
          ValueError: if an entry lacks the field or has anything but finite numbers, three per keypoint, with as many
            keypoints as in the first entry.
        """
        values = self.values(field)
        with contextlib.suppress(TypeError, ValueError):
            return keypoints(values)
        flat = list(map(_flat, values))
        with contextlib.suppress(TypeError, ValueError):
            return keypoints(flat)
        expected = "three numbers per keypoint, [x, y, visibility, ...]"
        if _are_keypoints(flat[0]):
            length = len(flat[0])
            expected += f", {length} of them as in the first entry"
            raise self._error(field, values, lambda one: _are_keypoints(_flat(one), length), expected, _NUMBER_ADVICE)
        raise self._error(field, values, lambda one: _are_keypoints(_flat(one)), expected, _NUMBER_ADVICE)

    def _error(
        self, field: str, values: list[Any], is_good: Callable[[Any], bool], expected: str, advice: str
    ) -> ValueError:
        bad = (index for index, value in enumerate(values) if not is_good(value))
        index = next(bad)
        return ValueError(
            f"{self.source}: `{self.name}[{index}].{field}` must be {expected}, got {_shown(values[index])}; {advice}."
        )


def keypoints(values: list[Any]) -> Floats:
    """Returns lists `[x, y, v, ...]` as `[N, P, 3]` float64.

    Raises:
      ValueError: if they differ in length, or have anything but finite numbers, three per keypoint.
    """
    if not values:
        return np.zeros((0, 1, 3))
    length, *others = set(map(len, values))
    flat = finite(list(itertools.chain.from_iterable(values)))
    if others or flat is None or length % 3 or not length:
        raise ValueError("lists of three finite numbers per keypoint were expected, all as long as the first")
    return flat.reshape(len(values), -1, 3)


def first_few(values: HostArray, limit: int = 5) -> str:
    """Returns the first values and the number of the others, for messages.

    >>> first_few(np.arange(7))
    '0, 1, 2, 3, 4 and 2 more'
    """
    text = ", ".join(repr(value) for value in values[:limit].tolist())
    return text if len(values) <= limit else f"{text} and {len(values) - limit} more"


def _is_integer_type(kind: type) -> bool:
    return issubclass(kind, numbers.Integral) and not issubclass(kind, bool)


def _plain_integers(values: list[Any]) -> Ints | None:
    """Returns int64, or None if any value is not an integer of 64 bits."""
    if not all(map(_is_integer_type, set(map(type, values)))):
        return None
    try:
        return np.fromiter(values, np.int64, len(values))
    except OverflowError:
        return None


def _is_number(value: Any) -> bool:
    try:
        return is_real(type(value)) and math.isfinite(value)
    except OverflowError:
        return False


def _is_integer(value: Any) -> bool:
    number = integer(value)
    return number is not None and -(2**63) <= number < 2**63


def _is_box(value: Any) -> bool:
    try:
        return len(value) == 4 and all(map(_is_number, value))
    except TypeError:
        return False


def _flat(value: Any) -> Any:
    """Returns `[[x, y, v], ...]` as `[x, y, v, ...]`; anything else unchanged."""
    nested = isinstance(value, list | tuple) and all(isinstance(one, list | tuple) and len(one) == 3 for one in value)
    return list(itertools.chain.from_iterable(value)) if nested else value


def _are_keypoints(value: Any, length: int | None = None) -> bool:
    try:
        return len(value) == (length or len(value) // 3 * 3 or 3) and all(map(_is_number, value))
    except TypeError:
        return False


def _is_flag(value: Any) -> bool:
    return value is None or (isinstance(value, numbers.Real) and value in (0, 1))


def _shown(value: Any) -> str:
    try:
        return f"{reprlib.repr(value)} ({type(value).__name__})"
    except ValueError:  # an integer with more digits than Python prints
        return f"a huge number ({type(value).__name__})"
