"""Files that stand beside ground truths: what is known of each image, and the groups of classes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..types import GroundTruthTable, HostArray
from ._csv import Block, blocks
from ._files import PathLike, read_bytes
from ._identifiers import column, index_of
from ._json import first_few, load_json
from ._lines import known_names, shown

__all__ = ["places_of_images", "read_class_groups", "read_image_groups", "read_image_table", "read_table"]

_IMAGE_COLUMNS = ("image_id", "file_name")  # the first that a file has names its images
_GROUP, _CLASS = "group", "class"


def read_image_table(path: PathLike, ground_truths: GroundTruthTable) -> dict[str, list[str]]:
    r"""Reads a CSV file with a header and a line for each image, such as its weather and hour.

    Args:
      path: the file, plain or compressed. Its images are named by the column `image_id`, or else by `file_name`; other
        columns hold anything. Values lose the blanks around them.
      ground_truths: the ground truths, which define the images. Lines of other images are ignored, with a warning.

    Returns:
      The other columns by name, each with one text for each image, in the order of `ground_truths.image_ids`; as
      `Evaluation.slices` takes them.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if a column or the line of an image is missing or repeated, or a line has another length than the
        header; the message says where.

    Example:
      >>> import pathlib, tempfile
      >>> from jaxmap import io
      >>> _, ground_truths = io.demo_scene(num_images=3)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder, "images.csv")
      ...     _ = path.write_text("image_id,weather\n2,rain\n1,sun\n3,\n")
      ...     io.read_image_table(path, ground_truths)
      {'weather': ['sun', 'rain', '']}
    """
    header, rows = read_table(path, [])
    names = [name for name in _IMAGE_COLUMNS if name in header]
    if not names:
        raise ValueError(
            f"{path}: expected a column `image_id` or `file_name` in line 1, got {shown(', '.join(header))}."
        )
    lines = [(row[header.index(names[0])], block, row) for block, row in rows]
    place = places_of_images(path, names[0], lines, ground_truths.image_ids, ground_truths.image_files)
    others = [number for number, name in enumerate(header) if name not in _IMAGE_COLUMNS]
    return {header[number]: [rows[row][1][number] for row in place] for number in others}


def read_image_groups(path: PathLike, ground_truths: GroundTruthTable) -> list[str]:
    """Reads the group of each image, such as its video, from a CSV file with the column `group`.

    Args:
      path: as `read_image_table` takes it.
      ground_truths: likewise.

    Returns:
      One name for each image, in the order of `ground_truths.image_ids`; as `unit` of `Evaluation.bootstrap` takes it.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: as `read_image_table`, or if an image has no group.
    """
    columns = read_image_table(path, ground_truths)
    if _GROUP not in columns:
        raise ValueError(f"{path}: expected the column `{_GROUP}` in line 1, got {shown(', '.join(columns))}.")
    groups = columns[_GROUP]
    without = [one for one, group in zip(ground_truths.image_ids.tolist(), groups, strict=True) if not group]
    if without:
        raise ValueError(f"{path}: `{_GROUP}` is empty for {len(without)} images: {first_few(np.array(without))}.")
    return groups


def read_class_groups(path: PathLike) -> dict[str, list[str | int]]:
    """Reads groups of classes, as `evaluate` takes them.

    Args:
      path: a JSON object from the name of a group to a list of class names or ids; or, if its name ends with `.csv`, a
        CSV file with the columns `class` and `group`.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if its content is not as described; the message says where.
    """
    if os.fspath(path).lower().endswith((".csv", ".csv.gz")):
        header, rows = read_table(path, [_CLASS, _GROUP])
        groups: dict[str, list[str | int]] = {}
        for block, row in rows:
            one, group = row[header.index(_CLASS)], row[header.index(_GROUP)]
            if not one or not group:
                raise block.error(row, f"`{_GROUP if one else _CLASS}` is empty; every line needs one")
            groups.setdefault(group, []).append(one)
        return groups
    content = load_json(path)
    if not isinstance(content, dict):
        raise ValueError(
            f"{path}: expected an object from the name of a group to a list of classes, got a {type(content).__name__}."
        )
    for group, classes in content.items():
        if not isinstance(classes, list) or {type(one) for one in classes} - {str, int}:
            raise ValueError(
                f"{path}: {shown(group)} must be a list of class names or ids, got {shown(repr(classes))}."
            )
    return content


def read_table(path: PathLike, required: Sequence[str]) -> tuple[list[str], list[tuple[Block, list[str]]]]:
    """Returns the header of a CSV file, and its lines with their blocks; values without the blanks around them."""
    header: list[str] = []
    rows: list[tuple[Block, list[str]]] = []
    for block in blocks(path, read_bytes(path)):
        for row in block.rows:
            row[:] = map(str.strip, row)  # in place: a block finds the line of a row by its identity
            if not header:
                header = row
            elif len(row) != len(header):
                raise block.error(row, f"expected {len(header)} values, as in line 1, got {len(row)}")
            else:
                rows.append((block, row))
    if not header:
        raise ValueError(f"{path}: the file is empty; a CSV file with a header was expected.")
    if missing := [name for name in required if name not in header]:
        raise ValueError(f"{path}: expected the column `{missing[0]}` in line 1, got {shown(', '.join(header))}.")
    if repeated := [name for name in header if header.count(name) > 1]:
        raise ValueError(f"{path}: line 1 names the column {shown(repeated[0])} more than once; keep one of them.")
    return header, rows


def places_of_images(
    path: PathLike,
    field: str,
    lines: Sequence[tuple[str, Block, list[str]]],
    image_ids: HostArray,
    image_files: NDArray[np.object_] | None,
) -> list[int]:
    """Returns the line of each image of the ground truths; each must have one."""
    ids = column([name for name, _, _ in lines])
    if ids is None:
        name, block, row = next(line for line in lines if column([line[0]]) is None)
        raise block.error(row, f"`{field}` must be an id or a file name, got {shown(name)}")
    index, known = index_of(ids, image_ids, image_files)
    line_of: dict[int, int] = {}
    for line in np.flatnonzero(known).tolist():
        if line_of.setdefault(int(index[line]), line) != line:
            name, block, row = lines[line]
            raise block.error(row, f"the image {shown(name)} has a line above already; keep one of them")
    missing = [one for number, one in enumerate(image_ids.tolist()) if number not in line_of]
    others = [lines[line][0] for line in np.flatnonzero(~known).tolist()]
    if missing:
        hint = f"; {known_names([str(missing[0])], others)}" if others else ""
        raise ValueError(
            f"{path}: no line for {len(missing)} of {len(image_ids)} images, {first_few(np.array(missing))}{hint}."
        )
    if others:
        warnings.warn(
            f"{path}: ignored {len(others)} of {len(lines)} lines, whose images the ground truths do not list: "
            f"{first_few(np.array(others))}.",
            UserWarning,
            stacklevel=3,
        )
    return [line_of[number] for number in range(len(image_ids))]
