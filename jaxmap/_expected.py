"""Arguments in their places: what came where something else belongs."""

from __future__ import annotations

from typing import Any, TypeVar

__all__ = ["expect", "given"]

Value = TypeVar("Value")

_CALLS = "the calls are `update(state, ...)`, `merge(state, other)`, `compute(state)` and `summarize(result)`"


def expect(name: str, value: Any, kind: type, origin: str = "") -> None:
    """Refuses an argument in the place of another, and a mapping in the place of its fields.

    Args:
      name: of the argument.
      value: what came.
      kind: what it must be.
      origin: which calls give such a value; none for what users make.

    Raises:
      TypeError: saying what to pass.
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
