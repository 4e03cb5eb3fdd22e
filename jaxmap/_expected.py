"""Type checks of arguments that are easily swapped, such as states, results, detections and ground truths."""

from __future__ import annotations

from typing import Any, TypeVar

__all__ = ["expect", "given"]

Value = TypeVar("Value")

_CALLS = "the calls are `update(state, ...)`, `merge(state, other)`, `compute(state)` and `summarize(result)`"


def expect(name: str, value: Any, kind: type, origin: str = "") -> None:
    """Checks the type of an argument, and says what to pass if it is that of another argument or a mapping.

    Args:
      name: of the argument.
      value: the argument as passed.
      kind: the type that it must have.
      origin: the calls that return such a value; empty for types that users construct.

    Raises:
      TypeError: if it has another type; the message says what to pass.
    """
    if isinstance(value, kind):
        return
    if origin:
        came = f"{origin} of this metric, as {kind.__name__}"
        raise TypeError(f"`{name}` must come from {came}, got {type(value).__name__}; {_CALLS}.")
    advice = "`update` takes the state, the detections, then the ground truths"
    if isinstance(value, dict):
        advice = f"wrap it: `jaxmap.{kind.__name__}(**{name})`"
    raise TypeError(f"`{name}` must be a jaxmap.{kind.__name__}, got {type(value).__name__}; {advice}.")


def given(name: str, value: Value | None) -> Value:
    """Returns an optional value that an earlier stage has filled in.

    Raises:
      ValueError: if it is None.
    """
    if value is None:
        raise ValueError(f"`{name}` must be given here, got None.")
    return value
