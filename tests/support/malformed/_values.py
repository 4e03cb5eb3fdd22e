"""Odd values of JSON fields, and what each means in the place of a good one."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

__all__ = ["DEEP", "JSON_VALUES", "Meaning", "json_mutants", "read_as"]

MISSING = "missing"
REPEATED = "repeated"
DEEP = "deep nesting"
_MARK = "\x1f"

# Raw text by name: much of it no library would write.
JSON_VALUES = {
    "null": "null",
    "true": "true",
    "false": "false",
    "0": "0",
    "-0.0": "-0.0",
    "1": "1",
    "1.0": "1.0",
    "1.5": "1.5",
    "-1": "-1",
    "1e-320": "1e-320",
    "1e20": "1e20",
    "1e308": "1e308",
    "1e400": "1e400",
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "2^31": str(2**31),
    "2^32+1": str(2**32 + 1),
    "2^53+1": str(2**53 + 1),
    "2^63-1": str(2**63 - 1),
    "2^63": str(2**63),
    "-2^63-1": str(-(2**63) - 1),
    "2^64+1": str(2**64 + 1),
    "400 digits": "9" * 400,
    "5000 digits": "9" * 5000,
    "empty text": '""',
    "blank": '" "',
    "text 1": '"1"',
    "text 1.0": '"1.0"',
    "text 001": '"001"',
    "text": '"background"',
    "text nan": '"nan"',
    "text é": '"é"',
    "text nul": '"\\u0000"',
    "text surrogate": '"\\ud800"',
    "text newline": '"a\\nb"',
    "text escape": '"\\u001b[31m"',
    "long text": json.dumps("x" * 100_000),
    "list": "[]",
    "list of null": "[null]",
    "list of 1": "[1]",
    "list of 3": "[1, 2, 3]",
    "list of 4": "[1, 2, 3, 4]",
    "list of lists": "[[1]]",
    "object": "{}",
    "object of id": '{"id": 1}',
    DEEP: "[" * 5000 + "]" * 5000,
}

Meaning = tuple[str, Any]  # "same"; "value" with the value that it stands for; "odd"


def json_mutants(data: Any, path: Sequence[str | int]) -> Iterator[tuple[str, str]]:
    """Yields the name of an odd value and the JSON of the data with that value in a place."""
    original = data
    for key in path:
        original = original[key]
    marked = _text(data, path, _MARK)
    mark = json.dumps(_MARK)
    for name, raw in JSON_VALUES.items():
        yield name, marked.replace(mark, raw)
    if isinstance(path[-1], str):
        yield MISSING, _text(data, path, None)
        yield REPEATED, marked.replace(mark, f"{{}}, {json.dumps(path[-1])}: {json.dumps(original)}")


def read_as(kind: str, name: str, original: Any) -> Meaning:
    """Returns what an odd value means in a field of some kind."""
    if name == REPEATED:
        return "same", None  # the last one counts, as in every reader of JSON
    return _READ[kind](name, original)


def _text(data: Any, path: Sequence[str | int], value: Any) -> str:
    """Returns JSON with a value in a place; without the place if the value is None."""
    changed = copy.deepcopy(data)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return json.dumps(changed)


def number_of(name: str) -> Any:
    """Returns what the text says; None if it is no number."""
    raw = JSON_VALUES.get(name, "null")
    if name in (DEEP, "400 digits", "5000 digits") or raw[0] not in "-0123456789" or raw == "-Infinity":
        return None
    value = json.loads(raw)
    return value if math.isfinite(value) else None


def _identifier(name: str, original: Any) -> Meaning:
    same = original == 1 and name in ("1", "1.0", "text 1", "text 001", "text 1.0")
    return ("same", None) if same else ("odd", None)


def _row_id(name: str, original: Any) -> Meaning:
    """Any integer or text may name an annotation, whatever it says; it only has to be read as one thing."""
    if "text" in name or name in ("blank", "2^63", "-2^63-1", "2^64+1", "400 digits"):
        return "either", None
    value = number_of(name)
    whole = value is not None and value == int(value) and -(2**63) <= value < 2**63
    return ("same", None) if whole or _identifier(name, 1)[0] == "same" else ("odd", None)


def _number(name: str, original: Any) -> Meaning:
    value = number_of(name)
    return ("odd", None) if value is None else ("value", float(value))


def _flag(name: str, original: Any) -> Meaning:
    meant = {"0": 0, "-0.0": 0, "false": 0, "1": 1, "1.0": 1, "true": 1, "null": 0, MISSING: 0}
    return ("value", meant[name]) if name in meant else ("odd", None)


def _side(name: str, original: Any) -> Meaning:
    """Height or width of an image: no masks have 1 pixel here, so all others are odd."""
    return "odd", None


def _name(name: str, original: Any) -> Meaning:
    return ("either", None)


def _unread(name: str, original: Any) -> Meaning:
    return "same", None


_READ: dict[str, Callable[[str, Any], Meaning]] = {
    "identifier": _identifier,
    "row id": _row_id,
    "number": _number,
    "area": lambda name, original: ("same", None) if name in ("null", MISSING) else _number(name, original),
    "flag": _flag,
    "side": _side,
    "name": _name,
    "shape": lambda name, original: ("odd", None),
    "optional": lambda name, original: ("same", None) if name in ("null", MISSING) else ("odd", None),
    "unread": _unread,
}
