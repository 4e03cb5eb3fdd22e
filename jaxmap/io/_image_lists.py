"""Lists of images, such as VOC's `test.txt` and Ultralytics' `val.txt`, and the tables of only these images."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from .._ordering import Table, take_rows
from ..types import Bools, DetectionTable, GroundTruthTable, Ints
from ._files import PathLike, read_bytes
from ._identifiers import column, index_of
from ._json import first_few
from ._lines import image_name, known_names, lines_of, shown

__all__ = ["listed_how", "read_image_list", "select_images", "select_images_of_all"]

Found = TypeVar("Found", DetectionTable, None)
_LONGEST_NAME = 1024  # of a path


def read_image_list(image_list: PathLike | Iterable[Any]) -> list[str]:
    """Returns the ids in a text file, plain or packed, with one per line, or those of an iterable.

    Raises:
      FileNotFoundError: if there is no such file.
      TypeError: if it is neither.
      ValueError: if there is no id in it, or one is repeated.
    """
    if isinstance(image_list, str | os.PathLike):
        source = str(image_list)
        ids = list(filter(None, map(str.strip, lines_of(source, read_bytes(image_list)))))
        if too_long := [one for one in ids if len(one) > _LONGEST_NAME]:
            raise ValueError(f"{source}: expected one image per line, got {shown(too_long[0])}.")
    elif isinstance(image_list, Iterable):
        source, ids = "image_list", [str(one) for one in image_list]
    else:
        raise TypeError(f"`image_list` must be a file or the ids of images, got {image_list!r}.")
    if not ids:
        raise ValueError(f"{source}: expected the ids of images, got none.")
    repeated = [one for one, count in Counter(ids).items() if count > 1]
    if repeated:
        raise ValueError(f"{source}: images listed more than once: {first_few(np.array(repeated))}; keep one of each.")
    return ids


def listed_how(missing: Sequence[str], known: Sequence[str]) -> str:
    """Returns the likely mistake in a list of images."""
    name, _, flag = missing[0].rpartition(" ")
    if name.strip() in known and flag in ("-1", "0", "1"):
        return "its second column marks the images of one class; use the list without that column, such as test.txt"
    return known_names(missing, known)


def select_images(
    detections: Found, ground_truths: GroundTruthTable, image_list: PathLike | Iterable[Any]
) -> tuple[Found, GroundTruthTable]:
    """Returns the tables of some images; objects and detections of the others are left out, and classes stay.

    Args:
      detections: the detections; None if there are none to select.
      ground_truths: the ground truths.
      image_list: the images: a text file, plain or gzip, with one id or file name per line, or the ids. Names may have
        their folder and suffix, as in Ultralytics' `val.txt`.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the ground truths do not have an image of the list, or one is listed twice.

    Example:
      >>> from jaxmap import io
      >>> detections, ground_truths = io.demo_scene(num_images=3)
      >>> len(io.select_images(detections, ground_truths, [3, 1])[1].image_ids)
      2
    """
    tables, truth = select_images_of_all([] if detections is None else [detections], ground_truths, image_list)
    return (None if detections is None else tables[0]), truth


def select_images_of_all(
    tables: Sequence[DetectionTable], ground_truths: GroundTruthTable, image_list: PathLike | Iterable[Any]
) -> tuple[list[DetectionTable], GroundTruthTable]:
    """Returns `select_images` of several tables of detections, for which the list is read once."""
    listed = read_image_list(image_list)
    places, found = _places(listed, ground_truths)
    if not found.all():
        without = [image_name(one) for one in listed]
        by_name, found_by_name = _places(without, ground_truths)
        places, found = np.where(found, places, by_name), found | found_by_name
    source = str(image_list) if isinstance(image_list, str | os.PathLike) else "image_list"
    missing = [one for one, is_there in zip(listed, found.tolist(), strict=True) if not is_there]
    known = ground_truths.image_ids.astype(str).tolist()
    if missing:
        raise ValueError(
            f"{source}: {len(missing)} of {len(listed)} images are not in the ground truths: "
            f"{first_few(np.array(missing))}; {listed_how(missing, known)}."
        )
    chosen, counts = np.unique(places, return_counts=True)
    if (counts > 1).any():
        twice = [one for one, place in zip(listed, places.tolist(), strict=True) if place in chosen[counts > 1]]
        raise ValueError(f"{source}: lines for the same image: {first_few(np.array(twice))}; keep one of each.")
    index_among = np.full(len(known), -1)
    index_among[chosen] = np.arange(len(chosen))
    of_images = ("image_ids", "image_sizes", "image_files", "crowd_index", "verified", "not_exhaustive")
    columns = {name: getattr(ground_truths, name) for name in of_images}
    changes: dict[str, Any] = {name: column[chosen] for name, column in columns.items() if column is not None}
    truth = dataclasses.replace(_rows_of(ground_truths, index_among), **changes)
    return [_rows_of(table, index_among) for table in tables], truth


def _places(listed: Sequence[str], ground_truths: GroundTruthTable) -> tuple[Ints, Bools]:
    """Returns the index of each listed image, and whether the ground truths have it."""
    ids = column(listed)
    if ids is None:  # no id has zero bytes
        return np.zeros(len(listed), np.int64), np.zeros(len(listed), bool)
    return index_of(ids, ground_truths.image_ids, ground_truths.image_files)


def _rows_of(table: Table, index_among: Ints) -> Table:
    """Returns the rows of the chosen images, with their index among these."""
    index = index_among[table.image_index]
    rows = np.flatnonzero(index >= 0)
    return dataclasses.replace(take_rows(table, rows), image_index=index[rows])
