"""Reads one side of an evaluation, padded arrays or one mapping per image, into flat columns; errors name the image."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._geometry._record import SHAPE_FIELDS, Shape
from .._geometry._rle import join_masks
from ..types import Bools, HostArray, Ints, Masks
from ._foreign import fields_of, to_numpy
from ._mask_columns import dense_masks, with_masks

__all__ = ["Columns", "check_finite", "read_columns", "reject"]

ALIASES = {"iscrowd": "crowd"}
OF_IMAGE = ("verified", "not_exhaustive")
OPTIONAL_FIELDS = ("scores", "crowd", "area", "ignore", "valid", *OF_IMAGE)
TRAILING = {"boxes": (4,)}  # the column of boxes next to another geometry


class Columns(NamedTuple):
    """The rows of one side: `image` and `row` say where each came from, and `fields` has the given arrays."""

    side: str
    num_images: int
    image: HostArray
    row: Ints
    fields: dict[str, Any]
    of_images: dict[str, Any]


def read_columns(side: str, value: Any, kind: type, shape: Shape, fields: tuple[str, ...]) -> Columns:
    """Reads one side into flat, checked columns; `fields` are those other than the geometry, required and optional."""
    if isinstance(value, kind):
        columns = _from_padded(side, vars(value), shape, fields)
    elif isinstance(value, Mapping):
        columns = _from_padded(side, value, shape, fields)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        columns = _from_list(side, value, shape, fields)
    else:
        advice = ""
        if isinstance(value, str | os.PathLike):
            read = f"read_coco_{side}" if side == "ground_truths" else "read_coco_detections"
            advice = f"; read the file first, with `jaxmap.io.{read}` or another reader of `jaxmap.io`"
        raise TypeError(
            f"`{side}` must be a {kind.__name__}, a mapping of padded arrays, or a sequence of one mapping per image, "
            f"got {type(value).__name__}{advice}."
        )
    check_finite(columns)
    reject(columns, "labels", columns.fields["labels"] < 0, "must be class indices from 0")
    return columns


def _from_padded(side: str, value: Mapping[str, Any], shape: Shape, fields: tuple[str, ...]) -> Columns:
    given = _given(side, value, (shape.field, *fields, "valid"))
    shapes = given[shape.field]
    if not shape.fits(shapes.shape[2:]) or shapes.ndim < 2:
        of_one = shapes.ndim >= 1 and shape.fits(shapes.shape[1:])
        advice = "; wrap the mapping of one image in a list" if of_one else ""
        raise ValueError(f"`{side}.{shape.field}` must have shape [images, {shape}], got {list(shapes.shape)}{advice}.")
    if not len(shapes):
        raise ValueError(f"`{side}` must hold at least one image, got arrays without images.")
    of_images = {name: _of_images(side, name, given.pop(name), len(shapes)) for name in OF_IMAGE if name in given}
    for name, array in given.items():
        expected = (*shapes.shape[:2], *TRAILING.get(name, ()))
        if name != shape.field and array.shape != expected:
            raise ValueError(
                f"`{side}.{name}` must have shape {list(expected)}, the first two axes of `{shape.field}`, got "
                f"{list(array.shape)}."
            )
    rows = shapes.shape[:2]
    valid = _typed(f"{side}.valid", "valid", given.pop("valid")) if "valid" in given else np.ones(rows, bool)
    image = np.repeat(np.arange(len(valid)), np.count_nonzero(valid, axis=1))
    row, slots = np.tile(np.arange(valid.shape[1]), len(valid)), None
    if len(image) < valid.size:
        slots = np.flatnonzero(valid)  # far faster than indexing by flags
        row = row.take(slots)
    flat = {}
    for name, array in given.items():
        column = array.reshape(valid.size, *array.shape[2:])  # without a copy
        column = column if slots is None else column.take(slots, axis=0)
        flat[name] = _typed(f"{side}.{name}", name, column)
    return Columns(side, len(shapes), image, row, flat, of_images)


def _from_list(side: str, value: Sequence[Any], shape: Shape, fields: tuple[str, ...]) -> Columns:
    columns: dict[str, list[Any]] = {}
    of_images: dict[str, list[Bools]] = {}
    counts = []
    for image, entry in enumerate(value):
        where, entry = f"{side}[{image}]", fields_of(entry)
        if not isinstance(entry, Mapping):
            raise TypeError(f"`{where}` must be a mapping with {[shape.field, *fields]}, got {type(entry).__name__}.")
        given = _given(where, with_masks(where, entry) if shape.field == "masks" else entry, (shape.field, *fields))
        for name in OF_IMAGE:
            if name in given:
                of_images.setdefault(name, []).append(_of_images(where, name, given.pop(name)[None], 1))
        shapes = given[shape.field]
        if not isinstance(shapes, Masks):
            if shapes.size == 0 and not shape.fits(shapes.shape[1:]):
                shapes = given[shape.field] = shapes.reshape(0, *shape.empty())
            if not shape.fits(shapes.shape[1:]):
                raise ValueError(f"`{where}['{shape.field}']` must have shape [{shape}], got {list(shapes.shape)}.")
        for name, array in given.items():
            expected = (len(shapes), *TRAILING.get(name, ()))
            if name != shape.field and array.size == 0 and not len(shapes):
                array = given[name] = array.reshape(expected)
            if name != shape.field and array.shape != expected:
                raise ValueError(
                    f"`{where}['{name}']` must have shape {list(expected)}, one value for each of `{shape.field}`, got "
                    f"{list(array.shape)}."
                )
            if image == 0:
                columns[name] = []
        if given.keys() != columns.keys():
            raise ValueError(f"`{where}` must have the fields of `{side}[0]`, {sorted(columns)}, got {sorted(given)}.")
        for name, array in given.items():
            columns[name].append(_typed(f"{where}['{name}']", name, array))
        counts.append(len(shapes))
    if not counts:
        raise ValueError(f"`{side}` must hold at least one image, got an empty sequence.")
    for name, rows in of_images.items():
        if len(rows) != len(counts):
            raise ValueError(f"`{side}` must have `{name}` in all images or in none, got it in {len(rows)}.")
    image_of_row = np.repeat(np.arange(len(counts)), counts)
    row = np.arange(len(image_of_row)) - np.repeat(np.cumsum(counts) - counts, counts)
    joined = {name: _joined(side, name, parts) for name, parts in columns.items()}
    joined_of_images = {name: np.concatenate(parts) for name, parts in of_images.items()}
    return Columns(side, len(counts), image_of_row, row, joined, joined_of_images)


def _joined(side: str, name: str, parts: list[Any]) -> Any:
    """Concatenates the arrays of all images; the other axes of empty ones do not matter."""
    if name == "masks":
        return join_masks(parts)
    filled = [image for image, part in enumerate(parts) if len(part)]
    for image in filled:
        if parts[image].shape[1:] != parts[filled[0]].shape[1:]:
            raise ValueError(
                f"`{side}[{image}]['{name}']` must have the last axes of `{side}[{filled[0]}]`, "
                f"{list(parts[filled[0]].shape[1:])}, got {list(parts[image].shape[1:])}."
            )
    return np.concatenate([parts[image] for image in filled]) if filled else parts[0]


def _of_images(where: str, name: str, array: HostArray, num_images: int) -> Bools:
    """Checks flags per image and class."""
    if array.ndim != 2 or len(array) != num_images:
        raise ValueError(f"`{where}.{name}` must hold a flag for every class of an image, got {list(array.shape)}.")
    flags: Bools = _typed(f"{where}.{name}", name, array)
    return flags


def _given(where: str, value: Mapping[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    """Returns the given fields as arrays; unknown ones are errors, because a typo would change the numbers."""
    for alias, name in ALIASES.items():
        if value.get(alias) is not None and value.get(name) is not None:
            raise ValueError(f"`{where}` has both `{name}` and `{alias}`, which mean the same; keep one.")
    named = {ALIASES.get(name, name): array for name, array in value.items() if array is not None}
    unknown = sorted(set(named) - set(fields) - SHAPE_FIELDS, key=str)  # a geometry that is not compared is not read
    if unknown:
        advice = "; give the images as a list" if all(isinstance(named[name], Mapping) for name in unknown) else ""
        if set(unknown) <= set(OPTIONAL_FIELDS):
            advice = "; detections come first, then ground truths"
        raise ValueError(f"`{where}` has unknown fields {unknown}; expected some of {list(fields)}{advice}.")
    missing = [name for name in fields if name not in named and name not in OPTIONAL_FIELDS]
    if missing:
        others = sorted(SHAPE_FIELDS & named.keys() - set(fields))
        advice = f"; `iou_type` says what is compared, if that should be {others}" if others else ""
        raise ValueError(f"`{where}` must have the fields {missing}, got {sorted(named)}{advice}.")
    arrays = {}
    for name in fields:
        if name in named:
            arrays[name] = _array(f"{where}['{name}']", named[name])
    return arrays


def _array(where: str, value: Any) -> Any:
    """Returns a field as an array; errors of NumPy, PyTorch or JAX are raised with its name."""
    if isinstance(value, Masks):
        return value
    if np.ma.is_masked(value):
        raise ValueError(f"`{where}` is a masked array; mark padding by `valid`.")
    try:
        return to_numpy(value)
    except ValueError as error:
        raise ValueError(f"`{where}` must be a rectangular array: {error}.") from error
    except (TypeError, RuntimeError) as error:  # a list of tensors with a gradient, or a traced array
        reason = str(error).splitlines()[0].rstrip(".")
        advice = (
            "inside `jit` use `jaxmap.AveragePrecision`" if "Tracer" in type(error).__name__ else "convert it first"
        )
        raise TypeError(f"`{where}` cannot be read as a NumPy array ({reason}); {advice}.") from error


def _typed(where: str, name: str, array: HostArray) -> Any:
    """Returns a column in the dtype of the table."""
    if name == "labels":
        if array.size and not np.issubdtype(array.dtype, np.integer):
            raise TypeError(f"`{where}` must be integers, class indices from 0, got dtype {array.dtype}.")
        if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
            raise ValueError(f"`{where}` must be integers of at most 63 bits, got {array.max()}.")
        return array.astype(np.int64, copy=False)
    if name == "masks":
        return array if isinstance(array, Masks) else dense_masks(where, array)
    if name in ("crowd", "ignore", "valid", *OF_IMAGE):
        if not ((array == 0) | (array == 1)).all():
            raise ValueError(f"`{where}` must be boolean, or 0 and 1, got {array[(array != 0) & (array != 1)][0]!r}.")
        return array.astype(bool)
    if array.size and not (array.dtype.kind in "iuf" or array.dtype.name == "bfloat16"):
        raise TypeError(f"`{where}` must be real numbers, got dtype {array.dtype}.")
    return array.astype(np.float64, copy=False)


def reject(columns: Columns, name: str, bad: Bools, expected: str) -> None:
    """Raises for the first bad row, and names its image and row."""
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"`{columns.side}.{name}` {expected}, got {columns.fields[name][first].tolist()} in image "
            f"{columns.image[first]}, row {columns.row[first]} ({int(bad.sum())} such rows in all); mark padding as "
            "not valid."
        )


def check_finite(columns: Columns) -> None:
    for name in ("boxes", "scores", "area", "keypoints", "oriented"):
        if name in columns.fields and not np.isfinite(columns.fields[name]).all():
            bad = ~np.isfinite(columns.fields[name])
            reject(columns, name, bad.reshape(len(bad), -1).any(-1), "must be finite")
