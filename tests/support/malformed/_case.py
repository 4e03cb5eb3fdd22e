"""A malformed input, what came of it, and what would have been right."""

from __future__ import annotations

import dataclasses
import math
import pathlib
import re
from collections.abc import Callable, Mapping

__all__ = ["Case", "Expected", "Numbers", "Outcome", "judge"]

Numbers = Mapping[str, float | None]

_TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True, kw_only=True)
class Expected:
    """What is right; of several things each one is. Words are regular expressions, all of which must be found.

    Attributes:
      numbers: accepted with these; a function makes them when they are needed. A warning may come with them.
      refused: refused in one line with these words; None if it must not be refused.
      warned: accepted, whatever the number, with one warning that has these words.
      silent: accepted without a warning, if at all.
    """

    numbers: Numbers | Callable[[], Numbers] | None = None
    refused: tuple[str, ...] | None = None
    warned: tuple[str, ...] | None = None
    silent: bool = False


@dataclasses.dataclass(frozen=True)
class Case:
    """One input: `run` makes it in an empty folder, hands it over, and returns the numbers.

    Attributes:
      name: door, place and value, with slashes.
      run: raises what the door raises.
      expected: of it.
    """

    name: str
    run: Callable[[pathlib.Path], Numbers]
    expected: Expected

    @property
    def door(self) -> str:
        return self.name.split("/")[0]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a case.

    Attributes:
      kind: `accepted`, `refused`, `traceback`, `crash`, `hang` or `memory`.
      message: of a refusal or a traceback.
      numbers: of an acceptance.
      warnings: their texts.
    """

    kind: str
    message: str = ""
    numbers: Numbers = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def judge(outcome: Outcome, expected: Expected) -> str | None:
    """Returns what is wrong; None if nothing is."""
    noise = [text for text in outcome.warnings if re.search(r"encountered in|invalid value|\w+Warning: ", text)]
    if noise:
        return f"noise: {noise[0][:200]}"
    if outcome.kind == "refused":
        return _judge_refusal(outcome.message, expected)
    if outcome.kind != "accepted":
        return f"{outcome.kind}: {outcome.message[:300]}"
    if len(set(outcome.warnings)) > 3:
        return f"{len(outcome.warnings)} warnings: {outcome.warnings[0][:200]}"
    if expected.silent and outcome.warnings:
        return f"false alarm: {outcome.warnings[0][:300]}"
    if expected.warned is not None and any(_has(text, expected.warned) for text in outcome.warnings):
        return None
    if expected.numbers is not None:
        right = expected.numbers() if callable(expected.numbers) else expected.numbers
        if _equal(outcome.numbers, right):
            return None
        wrong = f"accepted with {_short(outcome.numbers)}, right is {_short(right)}"
    else:
        wrong = f"accepted with {_short(outcome.numbers)}, should be refused"
    return f"{wrong}; warnings: {[text[:200] for text in outcome.warnings]}"


def _judge_refusal(message: str, expected: Expected) -> str | None:
    if "\n" in message.strip() or len(message) > 1500:
        return f"refusal of {len(message.splitlines())} lines, {len(message)} characters: {message[:300]!r}"
    if expected.refused is None:
        return f"refused, should be accepted: {message[:300]}"
    if not _has(message, expected.refused):
        return f"refusal without {expected.refused}: {message[:300]}"
    return None


def _has(text: str, words: tuple[str, ...]) -> bool:
    return all(re.search(word, text) for word in words)


def _equal(numbers: Numbers, right: Numbers) -> bool:
    return all(name in numbers and _same(numbers[name], value) for name, value in right.items())


def _same(one: float | None, other: float | None) -> bool:
    one, other = (math.nan if value is None or value == -1 else float(value) for value in (one, other))
    return abs(one - other) <= _TOLERANCE or (math.isnan(one) and math.isnan(other))


def _short(numbers: Numbers) -> str:
    return ", ".join(f"{name} {value if value is None else round(float(value), 6)}" for name, value in numbers.items())
