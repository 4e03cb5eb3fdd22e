"""JSON files to validated NumPy columns: what the readers of all annotation formats share.

A results file may hold half a million objects, so no Python code runs per object while the data is good: columns are
pulled out by `map` and `itemgetter`, and checked by the *set* of their types. Only a column that fails is walked, to
name the entry that is at fault.

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
import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..collector import collector_paused
from ._files import PathLike, read_bytes

__all__ = ["Entries", "first_few", "load_json", "parse_json", "vectors"]

_MISSING = object()


def load_json(path: PathLike) -> Any:
    """Returns the content of a JSON file, plain or gzip-compressed, whatever its name ends with.

    Raises:
      FileNotFoundError: if there is no such file; other trouble of the file system is an OSError as well.
      ValueError: if the content is empty, cut off, or not JSON.
    """
    return parse_json(read_bytes(path), path)


@collector_paused()
def parse_json(data: bytes, path: PathLike) -> Any:
    """Returns what the content of a file says."""
    if not data.strip():
        raise ValueError(f"{path}: the file is empty; JSON was expected.")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise ValueError(
            f"{path}: not valid JSON ({error}); the file is damaged or cut off, write it again."
        ) from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entries:
    """A list of JSON objects, read one column at a time.

    Numbers may be Python's or NumPy's, so that parsed data made by a program passes as well as a file's.

    Attributes:
      items: the objects.
      name: what messages call the list, for example `annotations`.
      source: what messages call its origin: a file, or a word for data that was passed in.
    """

    items: list[Any]
    name: str
    source: str

    def __len__(self) -> int:
        return len(self.items)

    def values(self, field: str, default: Any = _MISSING) -> list[Any]:
        """Returns one field of every entry, unchecked; without `default` it must be there.

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

    def integers(self, field: str) -> np.ndarray:
        """Returns `[N]` int64; refuses 1.0, "1" and true.

        Raises:
          ValueError: if an entry lacks the field or holds anything but an integer of 64 bits.
        """
        return self._integers(field, self.values(field))

    def identifiers(self, field: str) -> np.ndarray:
        """Returns `[N]` ids: int64, or strings where one of them is no number.

        A string that spells an integer is that integer, because some writers quote all ids, or some of them.

        Raises:
          ValueError: if an entry lacks the field, holds anything else, or an integer beside a string that is none.
        """
        values = self.values(field)
        kinds = set(map(type, values))
        if str not in kinds:
            return self._integers(field, values)
        read = [_integer_or_text(value) for value in values]
        texts = [index for index, value in enumerate(read) if isinstance(value, str)]
        if not texts:
            return self._integers(field, read)
        if kinds == {str}:
            return np.array(values)
        raise ValueError(
            f"{self.source}: `{self.name}[{texts[0]}].{field}` is {_shown(values[texts[0]])} beside ids that are no "
            "strings; write all of them as integers or all as strings."
        )

    def numbers(self, field: str) -> np.ndarray:
        """Returns `[N]` float64.

        Raises:
          ValueError: if an entry lacks the field or holds anything but a finite number.
        """
        values = self.values(field)
        result = _finite(values)
        if result is None:
            raise self._error(field, values, _is_number, "a finite number", "correct or drop the entry")
        return result

    def boxes(self, field: str) -> np.ndarray:
        """Returns `[N, 4]` float64.

        Raises:
          ValueError: if an entry lacks the field or holds anything but four finite numbers.
        """
        values = self.values(field)
        with contextlib.suppress(TypeError):  # a value without a length
            if set(map(len, values)) <= {4}:
                result = _finite(list(itertools.chain.from_iterable(values)))
                if result is not None:
                    return result.reshape(-1, 4)
        expected = "four finite numbers [x, y, width, height]"
        raise self._error(field, values, _is_box, expected, "correct or drop the entry")

    def flags(self, field: str) -> np.ndarray:
        """Returns `[N]` bool from 0, 1, false or true; False where an entry lacks the field.

        Raises:
          ValueError: if an entry holds anything else.
        """
        values = self.values(field, default=0)
        with contextlib.suppress(TypeError):  # a value that cannot be hashed
            if set(values) <= {0, 1}:  # False and True equal these
                return np.fromiter(values, np.bool_, len(values))
        raise self._error(field, values, _is_flag, "0 or 1", "correct the entry")

    def names(self, field: str) -> list[Any]:
        """Returns the field of every entry as it is; None where an entry lacks it."""
        return self.values(field, default=None)

    def objects(self, field: str) -> list[Any]:
        """Returns the field of every entry, unchecked.

        Raises:
          ValueError: if an entry lacks the field.
        """
        return self.values(field)

    def vectors(self, field: str) -> np.ndarray:
        """Returns `[N, L]` float64: a list of L numbers in every entry, L the same in all.

        Raises:
          ValueError: if an entry lacks the field or holds anything but as many finite numbers as the first.
        """
        values = self.values(field)
        with contextlib.suppress(TypeError, ValueError):
            return vectors(values)
        length = len(values[0]) if isinstance(values[0], list) else 0

        def is_good(value: Any) -> bool:
            return isinstance(value, list) and len(value) == length and all(map(_is_number, value))

        raise self._error(field, values, is_good, "as many finite numbers as in the first entry", "correct the entry")

    def _integers(self, field: str, values: list[Any]) -> np.ndarray:
        if all(map(_is_integer_type, set(map(type, values)))):
            with contextlib.suppress(OverflowError):
                return np.fromiter(values, np.int64, len(values))
        raise self._error(field, values, _is_integer, "an integer", 'write it as 1, not as 1.0 or "1"')

    def _error(
        self, field: str, values: list[Any], is_good: Callable[[Any], bool], expected: str, advice: str
    ) -> ValueError:
        bad = (index for index, value in enumerate(values) if not is_good(value))
        index = next(bad)
        return ValueError(
            f"{self.source}: `{self.name}[{index}].{field}` must be {expected}, got {_shown(values[index])}; {advice}."
        )


def vectors(values: list[Any]) -> np.ndarray:
    """Returns lists of numbers as `[N, L]` float64.

    Raises:
      ValueError: if they differ in length, or hold anything but finite numbers.
    """
    lengths = set(map(len, values))
    numbers = _finite(list(itertools.chain.from_iterable(values)))
    if len(lengths) > 1 or numbers is None:
        raise ValueError("lists of as many finite numbers each were expected")
    return numbers.reshape(len(values), lengths.pop() if lengths else 0)


def first_few(values: np.ndarray, limit: int = 5) -> str:
    """Returns the first values and how many more there are, for messages.

    >>> first_few(np.arange(7))
    '0, 1, 2, 3, 4 and 2 more'
    """
    text = ", ".join(repr(value) for value in values[:limit].tolist())
    return text if len(values) <= limit else f"{text} and {len(values) - limit} more"


def _finite(values: list[Any]) -> np.ndarray | None:
    """Returns float64, or None if anything is not a finite number."""
    if not all(map(_is_number_type, set(map(type, values)))):
        return None
    try:
        result = np.fromiter(values, np.float64, len(values))
    except OverflowError:  # an integer beyond the range of a double
        return None
    return result if np.isfinite(result).all() else None


def _is_number_type(kind: type) -> bool:
    return issubclass(kind, numbers.Real) and not issubclass(kind, bool)  # a bool is an int, but `true` is no number


def _is_integer_type(kind: type) -> bool:
    return issubclass(kind, numbers.Integral) and not issubclass(kind, bool)


def _integer_or_text(value: Any) -> Any:
    return int(value) if isinstance(value, str) and re.fullmatch(r"0|-?[1-9][0-9]{0,17}", value) else value


def _is_number(value: Any) -> bool:
    try:
        return _is_number_type(type(value)) and math.isfinite(value)
    except OverflowError:
        return False


def _is_integer(value: Any) -> bool:
    return _is_integer_type(type(value)) and -(2**63) <= value < 2**63


def _is_box(value: Any) -> bool:
    try:
        return len(value) == 4 and all(map(_is_number, value))
    except TypeError:
        return False


def _is_flag(value: Any) -> bool:
    return isinstance(value, numbers.Real) and value in (0, 1)


def _shown(value: Any) -> str:
    return f"{reprlib.repr(value)} ({type(value).__name__})"
