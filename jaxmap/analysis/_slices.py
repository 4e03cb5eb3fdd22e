"""Parts of a dataset by what is known of its images: weather, camera, hour."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..types import Bools, HostArray

__all__ = ["masks_of"]

IMAGE_ID = "image_id"
MOST_VALUES = 100  # of a column, beyond which it is no set of slices


def masks_of(table: Any, by: str | Sequence[str] | None, image_ids: HostArray) -> dict[str, Bools]:
    """Returns the images of each slice by its name, `[I]` bool.

    Args:
      table: columns by name: a mapping or a data frame, as `Evaluation.slices` takes it.
      by: the columns to slice by; None for all.
      image_ids: `[I]`.

    Raises:
      ValueError: if a column is unknown or has another length, an image is missing or repeated, or a column has too
        many values.
      TypeError: if the table has no columns.
    """
    columns = _columns(table)
    order = _order(columns.pop(IMAGE_ID, None), image_ids)
    wanted = list(columns) if by is None else [by] if isinstance(by, str) else [str(name) for name in by]
    if unknown := [name for name in wanted if name not in columns]:
        raise ValueError(f"`by` must name columns of the table, {list(columns)}, got {unknown}.")
    masks: dict[str, Bools] = {}
    for name in wanted:
        values = columns[name]
        if order is None and len(values) != len(image_ids):
            raise ValueError(
                f"the column {name!r} must have one value for each of {len(image_ids)} images, in the order of "
                f"`image_ids`, got {len(values)}; or give the ids in a column {IMAGE_ID!r}."
            )
        values = values if order is None else [values[row] for row in order]
        masks |= _masks(name, values)
    if not masks:
        raise ValueError("the table has no column to slice by.")
    return masks


def _columns(table: Any) -> dict[str, list[Any]]:
    names: Iterable[Any] | None = table.keys() if isinstance(table, Mapping) else getattr(table, "columns", None)
    if names is None or callable(names):
        raise TypeError(f"slices must be columns by name (a mapping or a data frame), got {type(table).__name__}.")
    return {str(name): np.asarray(table[name]).tolist() for name in names}


def _order(ids: list[Any] | None, image_ids: HostArray) -> list[int] | None:
    """Returns the row of each image; None if the table has no ids. Rows of other images are not used."""
    if ids is None:
        return None
    rows = {str(one): row for row, one in enumerate(ids)}
    if len(rows) < len(ids):
        repeated = next(one for row, one in enumerate(ids) if rows[str(one)] != row)
        raise ValueError(f"the column {IMAGE_ID!r} must name each image once, got {repeated!r} more than once.")
    missing = [one for one in image_ids.tolist() if str(one) not in rows]
    if missing:
        raise ValueError(f"the table has no row for {len(missing)} images, such as {missing[:3]}.")
    return [rows[str(one)] for one in image_ids.tolist()]


def _masks(name: str, values: list[Any]) -> dict[str, Bools]:
    """Returns the slices of a column: its true rows, or one for each of its values; missing values are in none."""
    if all(isinstance(value, bool) for value in values):
        return {name: np.array(values, bool)}
    texts = np.array(["" if _is_missing(value) else f"{name}={value}" for value in values])
    kinds = [text for text in np.unique(texts).tolist() if text]
    if len(kinds) > MOST_VALUES:
        raise ValueError(
            f"the column {name!r} has {len(kinds)} values, which is too many for slices (at most {MOST_VALUES}); group "
            "them first."
        )
    return {kind: texts == kind for kind in kinds}


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))
