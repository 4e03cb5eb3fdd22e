"""Checks of single rows, and of pairs of rows of one table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .._geometry._boxes_host import box_iou_pairs
from .._geometry._record import Geometry
from ..types import Bools, DetectionTable, Floats, GroundTruthTable, Ints
from ._findings import Finding

__all__ = ["equal_detections", "equal_ground_truths", "of_areas", "of_ids", "of_scores", "of_shapes"]

MOST_EXAMPLES = 3
_NEAR = 0.95  # IoU of two annotations of one object
_PIXEL = 1.0  # by which boxes of real datasets reach over the border
_MOST_NEIGHBOURS = 500  # boxes with nearly the same left side, of one class and image, that a box is compared with
_FEWEST = 20  # boxes that show a wrong format
_MOST = 0.99  # of them
_BETWEEN = 0.25  # the least median of x / width for corners; boxes that fill their images have less
_LARGER, _SMALLER = 1.05, 1e-3  # of an area and that of its box
_TIMES, _FEW_PIXELS = 2.0, 16  # of an area and that of its mask: ratio and difference

Table = DetectionTable | GroundTruthTable


def of_shapes(table: Table, truth: GroundTruthTable, side: str, geometry: Geometry) -> Iterator[Finding]:
    """Finds boxes without area or outside their image, empty masks, and boxes in another format or unit."""

    def found(kind: str, flags: Any, what: str) -> Iterator[Finding]:
        yield from of_rows(table, truth, side, kind, np.flatnonzero(flags), f"{{}} {what}")

    boxes, num_rows = table.boxes, len(table.labels)
    sides = None if geometry.sides is None else getattr(table, geometry.sides)
    if sides is not None:
        yield from found("no-area", (sides[:, 2:4] <= 0).any(axis=1), "boxes have a width or height of 0 or less")
    if table.masks is not None:
        yield from found("empty-mask", table.masks.area == 0, "masks have no pixel")
    if truth.image_sizes is None or not num_rows:
        if geometry.sides == "boxes" and _are_corners(boxes):
            yield _format(side, "their x and y are less than their width and height")
        return
    height, width = truth.image_sizes[table.image_index].T
    if np.abs(boxes).max() <= 1 and truth.image_sizes.min() > 1:
        message = "all boxes lie in the unit square, but images are measured in pixels: are they fractions?"
        yield Finding(kind="fractions", side=side, message=message)
        return
    first, last = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    if table.oriented is not None:  # the border may cut the corners of a rotated box
        first = last = table.oriented[:, :2]
    size = np.stack([width, height], axis=1)
    outside = np.any((first < -_PIXEL) | (last > size + _PIXEL), axis=1)
    fit_as_corners = (boxes[:, 2:] <= size + _PIXEL).all(axis=1)
    if geometry.sides == "boxes" and _are_corners(boxes) and outside.any() and fit_as_corners.all():
        count = np.count_nonzero(outside)
        yield _format(side, f"{count:,} of {num_rows:,} reach beyond their image, and none would as corners")
        return
    yield from found("outside-image", outside, "boxes reach beyond their image by more than a pixel")


def of_areas(truth: GroundTruthTable) -> Iterator[Finding]:
    """Finds areas that do not fit the mask or the box."""
    if truth.masks is not None:
        low, high = np.sort([truth.area, truth.masks.area], axis=0)
        wrong = (high > _TIMES * low) & (high - low > _FEW_PIXELS)
        what = "areas are more than twice or less than half of the mask"
    else:
        area = truth.boxes[:, 2] * truth.boxes[:, 3]
        wrong = (area > 0) & ((truth.area > _LARGER * area + 1) | (truth.area < _SMALLER * area))
        what = "areas are larger than the box, or less than a thousandth of it"
    yield from of_rows(truth, truth, "ground_truths", "area", np.flatnonzero(wrong & ~truth.crowd), f"{{}} {what}")


def of_ids(truth: GroundTruthTable) -> Iterator[Finding]:
    """Finds ids that several annotations have."""
    order = np.lexsort((truth.ids, truth.image_index))
    image = truth.image_index[order]
    numbers = np.arange(len(order)) - np.searchsorted(image, image)
    if np.array_equal(truth.ids[order], numbers):
        return  # rows of the image, as in formats without ids
    order = np.argsort(truth.ids, kind="stable")
    ids, image, label, boxes = truth.ids[order], truth.image_index, truth.labels, truth.boxes
    first = order[np.searchsorted(ids, ids)]
    # Open Images' boxes also count for the parents of their class, with the same id.
    parents = (image[order] == image[first]) & (label[order] != label[first])
    parents &= (boxes[order] == boxes[first]).all(axis=1)
    again = np.sort(order[(order != first) & ~parents])
    what = "{} annotations have the id of an earlier one; pycocotools scores only the last one of each id"
    yield from of_rows(truth, truth, "ground_truths", "repeated-id", again, what)


def equal_ground_truths(truth: GroundTruthTable) -> Iterator[Finding]:
    """Finds objects that are annotated twice: nearly the same box and class."""
    rows = np.flatnonzero(~truth.crowd)
    pairs = _neighbours(truth, rows, 1 - _NEAR)
    one, other = (np.concatenate(side) for side in zip(*pairs, strict=True)) if pairs else (rows[:0], rows[:0])
    iou = box_iou_pairs(truth.boxes[one], truth.boxes[other], np.zeros(len(one), bool))
    again = np.unique(np.maximum(one, other)[iou > _NEAR])
    what = f"{{}} annotations have an IoU above {_NEAR} with an earlier one of their class"
    yield from of_rows(truth, truth, "ground_truths", "annotated-twice", again, what)


def equal_detections(found: DetectionTable, truth: GroundTruthTable) -> Iterator[Finding]:
    """Finds detections with the same box and class as an earlier one."""
    pairs = _neighbours(found, np.arange(len(found.labels)), 0.0)
    again = [np.maximum(one, other)[_same_shape(found, one, other)] for one, other in pairs]
    rows = np.unique(np.concatenate(again)) if again else np.empty(0, np.int64)
    what = "{} detections have the class and shape of an earlier one; are results of two runs in one file?"
    yield from of_rows(found, truth, "detections", "detected-twice", rows, what)


def of_scores(found: DetectionTable, truth: GroundTruthTable) -> Iterator[Finding]:
    """Finds scores that are all equal, or no probabilities."""
    scores = found.scores
    if len(scores) > 1 and scores.min() == scores.max():
        message = f"all {len(scores):,} scores are {scores[0]:g}, so that AP depends on the order of the rows"
        yield Finding(kind="equal-scores", side="detections", message=message)
    rows = np.flatnonzero((scores < 0) | (scores > 1))
    yield from of_rows(found, truth, "detections", "score-range", rows, "{} scores are less than 0 or more than 1")


def of_rows(table: Table, truth: GroundTruthTable, side: str, kind: str, rows: Ints, message: str) -> Iterator[Finding]:
    """Yields a finding about some rows of a table, if there are any; the message has a place for their number."""
    if not len(rows):
        return
    shown = rows[:MOST_EXAMPLES]
    pairs = zip(truth.image_ids[table.image_index[shown]].tolist(), table.ids[shown].tolist(), strict=True)
    examples = tuple({"image_id": image, "id": one} for image, one in pairs)
    text = message.format(f"{len(rows):,} of {len(table.labels):,}")
    yield Finding(kind=kind, side=side, message=text, count=len(rows), examples=examples)


def _format(side: str, why: str) -> Finding:
    message = f"boxes look like [x0, y0, x1, y1] where [x, y, width, height] is expected: {why}"
    return Finding(kind="box-format", side=side, message=message)


def _are_corners(boxes: Floats) -> bool:
    """Whether boxes that are read as xywh look like corners: nearly all have x < w and y < h, and not at the border."""
    boxes = boxes[(boxes[:, :2] != 0).any(axis=1)]  # the same either way
    if len(boxes) < _FEWEST:
        return False
    first, last = boxes[:, :2], boxes[:, 2:]
    ordered = (first < last).all(axis=1)
    if np.count_nonzero(ordered) < _MOST * len(boxes):
        return False
    return bool(np.median(first[ordered] / last[ordered]) > _BETWEEN)


def _neighbours(table: Table, rows: Ints, share: float) -> list[tuple[Ints, Ints]]:
    """Returns all pairs of rows of one image and class whose left sides differ by at most a share of the width.

    The IoU of other pairs is at most 1 - share. Rows are sorted by image, class and x, and compared with the next one,
    the one after it, and so on, as long as any is near enough.
    """
    group = table.image_index[rows] * (1 + np.max(table.labels, initial=0)) + table.labels[rows]
    x, width = table.boxes[rows, 0], np.abs(table.boxes[rows, 2])
    order = np.lexsort((x, group))
    group, x, reach, rows = group[order], x[order], (x + share * width * (1 + 1e-9))[order], rows[order]
    pairs = []
    left = np.arange(len(rows))
    for step in range(1, _MOST_NEIGHBOURS + 1):
        left = left[: np.searchsorted(left, len(rows) - step)]
        left = left[(group[left + step] == group[left]) & (x[left + step] <= reach[left])]
        if not len(left):
            break
        pairs.append((rows[left], rows[left + step]))
    return pairs


def _same_shape(table: Table, one: Ints, other: Ints) -> Bools:
    same: Bools = (table.boxes[one] == table.boxes[other]).all(axis=1)
    for shapes in (table.keypoints, table.oriented):
        if shapes is not None:
            values: Any = shapes.reshape(len(shapes), -1)
            same &= (values[one] == values[other]).all(axis=1)
    if table.masks is not None:
        area = table.masks.area
        same &= (area[one] == area[other]) & (area[one] > 0)
    return same
