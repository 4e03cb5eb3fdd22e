"""Conversion of masks in arrays and lists to columns `Masks`: dense, run-length encoded, or polygons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._geometry._rle import checked_sizes, encode_masks, masks_of_segmentations
from ..types import HostArray, Masks

__all__ = ["dense_masks", "with_masks"]

SIZE = "size"  # the size of an image, with polygons


def dense_masks(where: str, array: HostArray) -> Masks:
    """Returns the masks of a dense array `[N, H, W]`.

    Raises:
      ValueError: if it has values other than 0 and 1.
    """
    if not array.dtype == bool and not ((array == 0) | (array == 1)).all():
        raise ValueError(f"`{where}` must be boolean, or 0 and 1, got {array[(array != 0) & (array != 1)][0]!r}.")
    return encode_masks(array)


def with_masks(where: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the mapping of one image with its `masks` as a column, and without `size`, which only polygons need.

    Args:
      where: the name of the mapping in messages.
      entry: `masks` are dense, `[N, H, W]`, or a list of COCO's objects with `size` and `counts`, or of lists of
        polygons. `size` is the height and width of the image.

    Raises:
      ValueError: if the masks are none of these; the message names the mask.
    """
    others = {name: value for name, value in entry.items() if name != SIZE}
    if entry.get("masks") is None:
        return others
    size = entry.get(SIZE)
    if size is not None:
        [size] = checked_sizes([size], lambda _: f"`{where}`").tolist()
    return others | {"masks": _of_image(f"{where}['masks']", entry["masks"], size)}


def _of_image(where: str, value: Any, size: list[int] | None) -> Masks:
    if isinstance(value, Masks):
        return value
    dense = _dense(value, size)
    if dense is not None:
        return dense_masks(where, dense)
    if not isinstance(value, list | tuple | np.ndarray):
        raise ValueError(f"`{where}` must have shape [masks, height, width], got {np.shape(value)}.")
    if size is None and not all(isinstance(one, Mapping) for one in value):
        shape = f", got {list(value.shape)}" if isinstance(value, np.ndarray) and value.dtype != object else ""
        raise ValueError(
            f"`{where}` must have shape [masks, height, width]{shape}; or be a list of run-length encodings with "
            f"`size` and `counts`, or of polygons, which need the `{SIZE}` of the image, [height, width]."
        )
    sizes = None if size is None else np.tile(size, (len(value), 1))
    return masks_of_segmentations(list(value), sizes, lambda row: f"`{where}[{row}]`")


def _dense(value: Any, size: list[int] | None) -> HostArray | None:
    """Returns dense masks as an array; None if they are encodings or polygons.

    Nested lists of numbers are dense masks if each has the size of the image, or if the size is not given.
    """
    is_list = isinstance(value, list | tuple)
    if is_list and any(isinstance(one, Mapping) for one in value):
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        return None
    if array.ndim and not len(array):
        return array if array.ndim == 3 else np.zeros((0, 1, 1), bool)
    if array.ndim != 3 or array.dtype == object:
        return None
    nested = is_list and not any(hasattr(one, "__array__") for one in value)
    if nested and (list(array.shape[1:]) != size if size is not None else not np.isin(array, (0, 1)).all()):
        return None
    return array
