"""COCO's `segmentation`, in all its forms, to masks, for a whole column at once and with every value checked.

References: pycocotools coco.py, `COCO.annToRLE`.
"""

from __future__ import annotations

import itertools
import operator
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._expected import given
from ..._numbers import finite, is_real
from ...types import Bools, Floats, Ints, Masks
from ._counts import Name, fault_of_text, masks_of_encodings, masks_of_runs, texts_of_masks
from ._encodings import Encodings, encodings_of
from ._masks import dense_mask, join_masks, united
from ._polygons import LARGEST, fill_polygons

__all__ = [
    "box_polygon",
    "coco_masks",
    "decode_mask",
    "mask_of_segmentation",
    "masks_of_segmentations",
]

LARGEST_SIDE = 1 << 16
TOO_MANY_PIXELS = 1 << 31
POLYGON = "a list [x1, y1, x2, y2, ...] of at least three corners"


def masks_of_segmentations(segmentations: Sequence[Any], size: Ints | None, name: Name) -> Masks:
    """Returns the masks of N COCO `segmentation`s: polygons, or run-length encodings, compressed or not.

    Args:
      segmentations: lists of polygons, each `[x1, y1, x2, y2, ...]`; or `{"size": [h, w], "counts": ...}`; or a column
        of compressed ones.
      size: `[N, 2]` int64, the heights and widths of the images, for polygons; None if not known.
      name: returns the name of a segmentation by its index, for messages.

    Raises:
      ValueError: if one is neither; the message names it and what is wrong.
    """
    if isinstance(segmentations, Encodings):
        return masks_of_encodings(segmentations, name)
    fields = _compressed(segmentations)
    if fields is not None:
        return _of_texts(*fields, name)
    by_kind: dict[str, list[int]] = {"polygons": [], "text": [], "runs": []}
    for row, one in enumerate(segmentations):
        by_kind[_kind(one, row, name)].append(row)
    parts, rows = [], []
    for kind, of_kind in by_kind.items():
        if of_kind:
            chosen = [segmentations[row] for row in of_kind] if len(of_kind) < len(segmentations) else segmentations
            places = np.array(of_kind)
            named = _named(name, of_kind)
            if kind == "polygons":
                parts.append(_of_polygons(chosen, None if size is None else size[places], named))
            else:
                parts.append((_of_texts if kind == "text" else _of_runs)(*_fields(chosen), named))
            rows.append(places)
    return _in_order(parts, rows)


def mask_of_segmentation(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """Returns the mask of one COCO `segmentation` as `{"size": [h, w], "counts": ...}` with compressed counts.

    Raises:
      ValueError: if it is not valid.
    """
    size = np.array([[height, width]])
    return coco_masks(masks_of_segmentations([segmentation], size, lambda _: "`segmentation`"))[0]


def coco_masks(masks: Masks) -> list[dict[str, Any]]:
    """Returns each mask as COCO's object `{"size": [h, w], "counts": ...}` with compressed counts."""
    pairs = zip(masks.sizes.tolist(), texts_of_masks(masks), strict=True)
    return [{"size": size, "counts": text} for size, text in pairs]


def decode_mask(mask: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Returns the mask of a run-length encoding as `[H, W]` uint8, 0 and 1."""
    return dense_mask(masks_of_segmentations([mask], None, lambda _: "`mask`"), 0)


def box_polygon(box: Sequence[float]) -> list[list[float]]:
    """Returns an xywh box as a `segmentation` of all pixels inside it."""
    x, y, width, height = box
    return [[x, y, x, y + height, x + width, y + height, x + width, y]]


def checked_sizes(values: Iterable[Any], name: Name, field: str = "size") -> Ints:
    """Returns heights and widths, `[N, 2]` int64.

    Raises:
      ValueError: if one is not two integers from 1 to 2^16, with fewer than 2^31 pixels.
    """
    values = list(values)
    try:
        flat = finite(list(itertools.chain.from_iterable(values))) if set(map(len, values)) <= {2} else None
    except TypeError:
        flat = None
    size = None if flat is None else flat.reshape(-1, 2)
    if size is None or not _sizes_are_good(size).all():
        for row, value in enumerate(values):
            if not _is_size(value):
                raise ValueError(
                    f"{name(row)}.{field} must be [height, width], integers from 1 to {LARGEST_SIDE} with fewer than "
                    f"2^31 pixels, got {reprlib.repr(value)}."
                )
    return given(field, size).astype(np.int64)


def _sizes_are_good(size: Floats) -> Bools:
    inside = (size >= 1) & (size <= LARGEST_SIDE)
    whole = np.floor(size) == size  # NaN is not
    good: Bools = (inside & whole).all(axis=1) & (np.clip(size, 0, LARGEST_SIDE).prod(axis=1) < TOO_MANY_PIXELS)
    return good


def _is_size(value: Any) -> bool:
    if not isinstance(value, Sequence | np.ndarray) or len(value) != 2 or not all(is_real(type(one)) for one in value):
        return False
    return all(-1e9 < one < 1e9 for one in value) and bool(_sizes_are_good(np.array([value], np.float64))[0])


def _compressed(segmentations: Sequence[Any]) -> tuple[list[Any], list[Any]] | None:
    """Returns all `counts` and `size`s if all are encodings with compressed counts, as in most results."""
    if set(map(type, segmentations)) != {dict}:
        return None
    try:
        counts, sizes = _fields(segmentations)
    except KeyError:
        return None
    return (counts, sizes) if set(map(type, counts)) <= {str, bytes} else None


def _fields(encodings: Sequence[Mapping[str, Any]]) -> tuple[list[Any], list[Any]]:
    counts, sizes = (list(map(operator.itemgetter(field), encodings)) for field in ("counts", "size"))
    return counts, sizes


def _kind(one: Any, row: int, name: Name) -> str:
    if isinstance(one, list | tuple):
        return "polygons"
    if isinstance(one, Mapping) and "counts" in one and "size" in one:
        counts = one["counts"]
        if isinstance(counts, str | bytes):
            return "text"
        if isinstance(counts, list | tuple | np.ndarray):
            return "runs"
        raise ValueError(
            f"{name(row)}.counts must be COCO's compressed run lengths or a list of run lengths, got "
            f"{reprlib.repr(counts)}."
        )
    raise ValueError(
        f"{name(row)} must be a list of polygons, or an object with `size` and `counts`, got {reprlib.repr(one)}."
    )


def _of_texts(counts: list[Any], sizes: list[Any], name: Name) -> Masks:
    size = checked_sizes(sizes, name)
    try:
        encodings = encodings_of(counts, size)
    except UnicodeEncodeError:
        row = next(row for row, text in enumerate(counts) if not text.isascii())
        raise ValueError(f"{name(row)}.counts {fault_of_text(counts[row], *size[row].tolist())}.") from None
    return masks_of_encodings(encodings, name)


def _of_runs(counts: list[Any], sizes: list[Any], name: Name) -> Masks:
    size = checked_sizes(sizes, name)
    flat = list(itertools.chain.from_iterable(counts))
    values = finite(flat)
    if values is None or not (values == np.floor(values)).all() or (np.abs(values) >= TOO_MANY_PIXELS).any():
        for row, one in enumerate(counts):
            for place, run in enumerate(one):
                if not is_real(type(run)) or not 0 <= run < TOO_MANY_PIXELS or run != int(run):
                    raise ValueError(
                        f"{name(row)}.counts[{place}] must be a run length, an integer from 0, got {reprlib.repr(run)}."
                    )
    return masks_of_runs(given("counts", values).astype(np.int32), np.array([len(one) for one in counts]), size, name)


def _of_polygons(drawings: Sequence[Sequence[Any]], size: Ints | None, name: Name) -> Masks:
    if size is None:
        raise ValueError(
            f"{name(0)} is a list of polygons, which need the size of the image: give its `height` and `width`."
        )
    size = checked_sizes(size.tolist(), name, "size of the image")
    num_polygons = np.array([len(one) for one in drawings])
    polygons = list(itertools.chain.from_iterable(drawings))
    corners = _corners(polygons)
    if corners is None:
        places = ((row, place) for row, one in enumerate(drawings) for place in range(len(one)))
        for (row, place), polygon in zip(places, polygons, strict=True):
            if fault := _fault_of_polygon(polygon, drawings[row]):
                where = f"{name(row)}[{place}]" if isinstance(polygon, list | tuple) else name(row)
                raise ValueError(f"{where} {fault}.")
    of_drawing = np.repeat(np.arange(len(drawings)), num_polygons)
    counts = np.array([len(polygon) for polygon in polygons], np.int64) // 2
    masks = fill_polygons(given("polygons", corners), counts, size[of_drawing])
    several = num_polygons != 1
    if not several.any():
        return masks
    parts = several[of_drawing]
    unions = united(masks[parts], (np.cumsum(several) - 1)[of_drawing[parts]], size[several])
    return _in_order([masks[~parts], unions], [np.flatnonzero(~several), np.flatnonzero(several)])


def _corners(polygons: list[Any]) -> Floats | None:
    """Returns the corners of all polygons, `[C, 2]` float64; None if anything is invalid."""
    try:
        lengths = np.fromiter(map(len, polygons), np.int64, len(polygons))
        values = finite(list(itertools.chain.from_iterable(polygons)))
    except TypeError:
        return None
    if values is None or (lengths < 6).any() or (lengths % 2).any() or (np.abs(values) > LARGEST).any():
        return None
    return values.reshape(-1, 2)


def _fault_of_polygon(polygon: Any, drawing: Sequence[Any]) -> str | None:
    if not isinstance(polygon, list | tuple | np.ndarray):
        nested = "; wrap it in one more list" if is_real(type(polygon)) and len(drawing) >= 6 else ""
        return f"must be a list of polygons, each {POLYGON}, got {reprlib.repr(polygon)} in place of one{nested}"
    for place, value in enumerate(polygon):
        if not is_real(type(value)) or not abs(value) <= LARGEST:
            return f"must hold finite numbers up to {LARGEST:.0e}, got {reprlib.repr(value)} at place {place}"
    if len(polygon) == 4:
        return f"must be {POLYGON}, got 4 numbers; a box is written [x, y, x, y + h, x + w, y + h, x + w, y]"
    if len(polygon) < 6 or len(polygon) % 2:
        return f"must be {POLYGON}, got {len(polygon)} numbers"
    return None


def _in_order(parts: list[Masks], rows: list[Ints]) -> Masks:
    """Returns the masks of all parts in the order of their rows."""
    if len(parts) == 1:
        return parts[0]
    return join_masks(parts).take(np.argsort(np.concatenate([np.zeros(0, np.int64), *rows])))


def _named(name: Name, rows: list[int]) -> Name:
    return lambda place: name(rows[place])
