"""Numbers as loggers take them: one flat dictionary of Python floats, under names that are safe as tags and keys."""

from __future__ import annotations

import collections
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["to_scalars"]


def to_scalars(
    numbers: Mapping[str, Any], prefix: str = "", *, per_class: Mapping[str, Sequence[Any]] | None = None
) -> dict[str, float]:
    """Returns numbers by name as one flat dictionary of Python floats, for loggers and for JSON.

    A number that is NaN or infinite is undefined and is left out: a logger then draws nothing for this step, whereas
    strict JSON and some loggers refuse NaN.

    Args:
      numbers: what `summarize` of a metric returns, or the `summary` of an evaluation.
      prefix: the start of all names, for example `val/`.
      per_class: the table `per_class()` of an evaluation; adds each of `numbers` that it has for each class, as
        `AP/person`. In names of classes, everything but letters, digits, `_`, `-` and `.` becomes `_`; classes whose
        names are then equal are told apart by their ids, as `person_1`.

    Returns:
      The numbers, in their order.

    Raises:
      TypeError: if a value is not one number.

    Example:
      >>> to_scalars({"AP": 0.5, "APs": math.nan, "num_images": 3}, prefix="val/")
      {'val/AP': 0.5, 'val/num_images': 3.0}
      >>> columns = {"class_id": [1, 2], "class_name": ["person", "traffic light"], "AP": [0.25, 0.75]}
      >>> to_scalars({"AP": 0.5}, per_class=columns)
      {'AP': 0.5, 'AP/person': 0.25, 'AP/traffic_light': 0.75}
    """
    named = dict(numbers)
    if per_class is not None:
        labels = _labels(per_class["class_name"], per_class["class_id"])
        for name in numbers:
            values = zip(labels, per_class[name], strict=True) if name in per_class else ()
            named |= {f"{name}/{label}": value for label, value in values}
    floats = {f"{prefix}{name}": _as_float(name, value) for name, value in named.items()}
    return {name: value for name, value in floats.items() if math.isfinite(value)}


def _labels(class_names: Sequence[str], class_ids: Sequence[Any]) -> list[str]:
    """Returns a different and safe name for each class."""
    labels = [re.sub(r"[^\w.-]", "_", name) for name in class_names]
    unclear = {label for label, count in collections.Counter(labels).items() if count > 1 or not label.strip(".")}
    while unclear:  # an id at the end may make the name of another class, but no two classes meet twice
        labels = [
            f"{label}_{class_id}" if label in unclear else label
            for label, class_id in zip(labels, class_ids, strict=True)
        ]
        unclear = {label for label, count in collections.Counter(labels).items() if count > 1}
    return labels


def _as_float(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"`{name}` must be one number, got {type(value).__name__}; pass the numbers of one metric."
        ) from None
