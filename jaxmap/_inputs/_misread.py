"""Detects likely mistakes in the interpretation of input: a wrong box format, a wrong unit, labels off by one.

Such mistakes give low numbers and no error. A few images are enough to see whether boxes overlap: if detections overlap
the ground truths, nothing else is checked. If they do not, the same numbers are converted from every other box format,
and if they overlap in one of these, a warning names it.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .._geometry import geometry_of
from .._geometry._boxes_host import box_iou_pairs, to_xywh
from .._geometry._record import Geometry
from .._ordering import columns_of, take_rows
from ..types import BOX_FORMATS, DetectionTable, Floats, GroundTruthTable, Ints

__all__ = ["misread", "misread_images", "warn_of_misread"]

_ROWS = 4096  # rows that are checked first
_IMAGES = 16  # images that are checked, of those with objects, spread over the dataset
_DETECTIONS, _TRUTHS = 128, 64  # rows of an image that are checked
_FITS = 0.3  # a mean best IoU from which on the boxes are right
_FEW, _TOO_FEW = 20, 3  # ground truths: few overlap in another format by chance, and fewer are not conclusive
# The mean best IoU that another format must reach, with many and with few ground truths, and its least ratio to that of
# the given format:
_FITS_THEN, _FEW_FIT_THEN = 0.4, 0.6
_TIMES = 2.0
_MANY = 0.2  # a share of boxes that no detector produces by chance
_SAME_OBJECT = 0.5  # IoU
_FEWEST_PAIRS, _FEW_PAIRS = 3, 10  # so many detections with another class than their object may be a coincidence
_UNIT, _PIXELS = 2.0, 8.0  # nothing beyond the first: normalised; something beyond the second: pixels
_RADIANS = 4 * np.pi  # more than two turns

Table = TypeVar("Table", DetectionTable, GroundTruthTable)


class _Image(NamedTuple):
    """The first rows of one image: boxes as xywh, and labels."""

    found: Floats  # [D, 4]
    found_labels: Ints  # [D]
    truth: Floats  # [G, 4]
    truth_labels: Ints  # [G]


def warn_of_misread(
    found: DetectionTable,
    truth: GroundTruthTable,
    *,
    iou_type: str = "bbox",
    box_format: str = "xywh",
    were_tables: bool = True,
) -> None:
    """Warns once with what `misread` returns, which takes the same arguments."""
    warning = misread(found, truth, iou_type=iou_type, box_format=box_format, were_tables=were_tables)
    if warning is not None:
        warnings.warn(warning, UserWarning, stacklevel=3)


def misread(
    found: DetectionTable,
    truth: GroundTruthTable,
    *,
    iou_type: str = "bbox",
    box_format: str = "xywh",
    were_tables: bool = True,
) -> str | None:
    """Returns a sentence if detections or ground truths seem to be in another format or unit than given; or None.

    Args:
      found: the detections.
      truth: the ground truths.
      iou_type: what is compared.
      box_format: the format in which the user gave the boxes.
      were_tables: True if the reader of the file has already checked the sizes of ground truths.
    """
    if not len(found.labels) or not len(truth.labels):
        return None
    geometry = geometry_of(iou_type)
    some = _some_rows(found), _some_rows(truth)
    warning = None
    of_sizes = partial(_warning_of_sizes, geometry=geometry, box_format=box_format, were_tables=were_tables)
    looks = (of_sizes, _warning_of_unit) if geometry.sides else (of_sizes,)  # boxes of masks are always in pixels
    for look in looks:
        warning = warning or (look(*some) and look(found, truth))
    if warning is None and geometry.boxes_fit:
        warning = _warning_of_fit(found, truth, box_format if geometry.shape.column == "boxes" else "")
    return warning


def misread_images(found: DetectionTable, truth: GroundTruthTable) -> str | None:
    """Returns a sentence if boxes only overlap with the ids of images of one side moved by one; or None.

    The boxes must be those that are compared, or enclose it (`Geometry.boxes_fit`).
    """
    num_images = len(truth.image_ids)
    if num_images < _FEW or len(truth.labels) < _FEW or truth.image_ids.dtype.kind != "i":
        return None
    fit = _fit(list(_some_images(found, truth)))[0]
    if fit >= _FITS:
        return None
    fits = {}
    for shift in (1, -1):
        moved = found.image_index + shift
        rows = np.flatnonzero((moved >= 0) & (moved < num_images))
        neighbours = take_rows(dataclasses.replace(found, image_index=moved), rows)
        images = list(_some_images(neighbours, truth))
        fits[shift] = _fit(images)[0] if images else 0.0
    shift = max(fits, key=lambda one: fits[one])
    if fits[shift] < max(_FITS_THEN, _TIMES * fit):
        return None
    which = "next" if shift > 0 else "previous"
    return (
        f"`detections` hardly overlap the ground truths of their image, but do those of the {which} one: the mean IoU "
        f"of ground truths with the most similar detection is {fit:.2f}, and {fits[shift]:.2f} there. Are the ids of "
        "images off by one? Use the same numbering for both."
    )


def _some_rows(table: Table) -> Table:
    """Returns rows spread over the table, which show quickly whether anything is wrong."""
    step = -(-len(table.labels) // _ROWS)
    changes: dict[str, Any] = {name: column[::step] for name, column in columns_of(table).items()}
    return dataclasses.replace(table, **changes)


def _from_xywh(boxes: Floats, box_format: str) -> Floats:
    """Returns boxes in their original format: the inverse of `to_xywh`."""
    first, size = boxes[:, :2], boxes[:, 2:]
    if box_format == "cxcywh":
        return np.concatenate([first + size / 2, size], axis=1)
    corners = np.concatenate([first, first + size], axis=1)
    return {"xywh": boxes, "xyxy": corners, "yxyx": corners[:, [1, 0, 3, 2]]}[box_format]


def _warning_of_sizes(
    found: DetectionTable, truth: GroundTruthTable, geometry: Geometry, box_format: str, were_tables: bool
) -> str | None:
    """Returns a warning about many boxes without area, or about angles that are not radians; None if all is well."""
    if geometry.sides is None:  # boxes of masks are computed, or the masks are empty
        return None
    for side, table in (("detections", found), ("ground_truths", truth)):
        if table is truth and were_tables and geometry.sides == "boxes":
            return None
        shapes = getattr(table, geometry.sides)
        if shapes is None:
            continue
        if geometry.sides == "oriented" and (turns := _share(np.abs(shapes[:, 4]) > _RADIANS)) >= _MANY:
            return (
                f"`{side}`: {turns:.0%} of {len(shapes)} oriented boxes have an angle beyond 4 pi: are they degrees? "
                "Angles are radians: give `np.deg2rad(angle)`."
            )
        flipped = np.any(shapes[:, 2:4] < 0, axis=1)
        negative = _share(flipped)
        if np.sum(flipped) > 1 and negative > (_MANY if len(shapes) > _FEW else 0.5):
            hint = {
                "xyxy": "are they `xywh`, or `yxyx`? Say so by `box_format`.",
                "yxyx": "are they `xyxy`, or `xywh`? Say so by `box_format`.",
            }.get(box_format, "are they `[x, y, width, height]`, with sizes from last minus first corner?")
            return (
                f"`{side}`: {negative:.0%} of {len(shapes)} boxes have a negative width or height, so that they "
                f"overlap nothing: {hint}"
            )
    counted = ~(truth.crowd | truth.ignore)
    flat = np.any(truth.boxes[:, 2:] <= 0, axis=1)
    if not geometry.scaled_by_area and (share := _share(flat[counted])) > 0.5:
        return (
            f"`ground_truths`: {share:.0%} of {int(counted.sum())} objects have a width or height of 0, so that "
            f"nothing can match them, and each is a miss: drop them, or mark them as not valid."
        )
    return None


def _share(flags: Any) -> float:
    return np.count_nonzero(flags) / max(len(flags), 1)


def _warning_of_unit(found: DetectionTable, truth: GroundTruthTable) -> str | None:
    """Returns a warning if one side is normalised and the other in pixels; None otherwise."""
    extents = {"detections": np.abs(found.boxes).max(), "ground_truths": np.abs(truth.boxes).max()}
    small, large = sorted(extents, key=lambda side: extents[side])
    if extents[small] > _UNIT or extents[large] < _PIXELS:
        return None
    return (
        f"`{small}` lie within the unit square, while `{large}` reach to {extents[large]:.6g}: are they normalised? "
        "Multiply x and width by the image's width, y and height by its height."
    )


def _warning_of_fit(found: DetectionTable, truth: GroundTruthTable, box_format: str) -> str | None:
    """Returns a warning if boxes or labels only fit in another format or with shifted labels; None otherwise."""
    images = list(_some_images(found, truth))
    fit, equal, shifted, num_classes = _fit(images)
    if fit < _FITS:
        return _better_format(images, fit, box_format) if box_format else None
    pairs = equal + sum(shifted.values())
    shift = max(shifted, key=lambda one: shifted[one])
    if pairs < _FEWEST_PAIRS or equal > 0.1 * pairs or shifted[shift] < 0.8 * pairs:
        return None
    if (pairs < _FEW_PAIRS or num_classes < 3) and np.isin(found.labels, truth.labels).any():
        return None
    return (
        f"{shifted[shift]} of {pairs} detections that overlap an object have its label {'+-'[shift < 0]} 1, and "
        f"{equal} have its label: do the labels of `detections` count from {int(shift > 0)} and those of "
        f"`ground_truths` from {int(shift < 0)}? Use the same numbering for both."
    )


def _better_format(images: list[_Image], fit: float, box_format: str) -> str | None:
    """Returns a warning that names the format in which the boxes would overlap; None if there is none."""
    boxes_as = {}
    for one in set(BOX_FORMATS) - {box_format}:
        read = [
            image._replace(
                found=to_xywh(_from_xywh(image.found, box_format), one),
                truth=to_xywh(_from_xywh(image.truth, box_format), one),
            )
            for image in images
        ]
        pairs = list(zip(images, read, strict=True))
        boxes_as["detections", one] = [given._replace(found=other.found) for given, other in pairs]
        boxes_as["ground_truths", one] = [given._replace(truth=other.truth) for given, other in pairs]
    fits = {key: _fit(boxes)[0] for key, boxes in boxes_as.items()}
    side, one = max(fits, key=lambda key: fits[key])
    num_truths = sum(len(image.truth) for image in images)
    then = _FITS_THEN if num_truths >= _FEW else _FEW_FIT_THEN
    if num_truths < _TOO_FEW or fits[side, one] < max(then, _TIMES * fit):
        return None
    return (
        f"`{side}` hardly overlap the other side as {box_format}, but do as {one}: the mean IoU of ground truths with "
        f"the most similar detection is {fit:.2f} as {box_format}, and {fits[side, one]:.2f} as {one}. Convert their "
        f"boxes from {one}."
    )


def _some_images(found: DetectionTable, truth: GroundTruthTable) -> Iterator[_Image]:
    """Yields images with both detections and ground truths, spread over the dataset."""
    num_images = len(truth.image_ids)
    has_objects = np.zeros(num_images, bool)
    has_objects[truth.image_index] = True
    both = np.unique(_some_rows(found).image_index)
    both = both[has_objects[both]]
    chosen = both[np.linspace(0, len(both) - 1, min(_IMAGES, len(both))).astype(np.int64)]
    wanted = np.zeros(num_images, bool)
    wanted[chosen] = True
    found_rows, truth_rows = (np.flatnonzero(wanted.take(table.image_index)) for table in (found, truth))
    for image in chosen:
        mine = found_rows[found.image_index[found_rows] == image][:_DETECTIONS]
        its = truth_rows[truth.image_index[truth_rows] == image][:_TRUTHS]
        yield _Image(found.boxes[mine], found.labels[mine], truth.boxes[its], truth.labels[its])


def _fit(images: list[_Image]) -> tuple[float, int, dict[int, int], int]:
    """Returns the mean best IoU of ground truths, and how many pairs have labels that are equal or off by one."""
    best, differences, labels = [], [], set()
    for image in images:
        num, num_truths = len(image.found), len(image.truth)
        pairs = image.found.repeat(num_truths, axis=0), np.tile(image.truth, (num, 1))
        iou = box_iou_pairs(*pairs, np.zeros(num * num_truths, bool)).reshape(num, num_truths)
        nearest = iou.argmax(0)
        best.append(iou[nearest, np.arange(len(nearest))])
        same = best[-1] >= _SAME_OBJECT
        differences.append((image.found_labels[nearest] - image.truth_labels)[same])
        labels |= set(image.truth_labels.tolist())
    if not best:
        return 1.0, 0, {1: 0, -1: 0}, 0
    difference = np.concatenate(differences)
    counts = {one: int(np.count_nonzero(difference == one)) for one in (0, 1, -1)}
    return float(np.concatenate(best).mean()), counts.pop(0), counts, len(labels)
