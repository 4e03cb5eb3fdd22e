"""What is drawn in a resample: images, or groups of images such as videos and patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..types import HostArray, Ints

__all__ = ["check_count", "check_seed", "units_of"]

LARGEST_SEED = 2**32 - 1


def units_of(unit: Any, image_ids: HostArray) -> tuple[Ints, int]:
    """Returns the unit of each image, `[I]` int64, and how many units there are.

    Args:
      unit: `image`, or the group of each image: I names in the order of `image_ids`, or a mapping from image id.
      image_ids: `[I]`.

    Raises:
      ValueError: if it is none of these, or there are fewer than two units.
    """
    if isinstance(unit, str):
        if unit != "image":
            raise ValueError(f"`unit` must be 'image', or the group of each image (such as its video), got {unit!r}.")
        index, number = np.arange(len(image_ids)), len(image_ids)
    else:
        names, index = np.unique(_names(unit, image_ids), return_inverse=True)
        number = len(names)
    if number < 2:
        what = "images" if isinstance(unit, str) else "groups of images"
        raise ValueError(f"resampling needs at least two {what}, got {number}.")
    return index, number


def check_count(name: str, value: Any, least: int) -> int:
    """Returns a whole number of at least `least`; else a `ValueError` names the argument."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"`{name}` must be a whole number of at least {least}, got {value!r}.")
    return int(value)


def check_seed(seed: Any) -> int:
    """Returns a seed; a `ValueError` unless it is a whole number from 0 to 2^32 - 1."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"`seed` must be a whole number from 0 to {LARGEST_SEED}, got {seed!r}.")
    return int(seed)


def _names(unit: Any, image_ids: HostArray) -> HostArray:
    if isinstance(unit, Mapping):
        ids = image_ids.tolist()
        missing = [one for one in ids if one not in unit]
        if missing:
            raise ValueError(f"`unit` must name the group of every image, got none for {missing[:5]}.")
        return np.array([str(unit[one]) for one in ids])
    if not isinstance(unit, Sequence | np.ndarray) or len(unit) != len(image_ids):
        got = f"{len(unit)}" if hasattr(unit, "__len__") else repr(unit)
        raise ValueError(f"`unit` must name the group of each of {len(image_ids)} images, got {got}.")
    return np.array([str(one) for one in np.asarray(unit).tolist()])
