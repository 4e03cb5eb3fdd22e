"""Matching of the segments of an image on the host, from the numbers of pixels that they share.

>>> truth = {"segments": np.array([[5, 5, 5, 0]]), "ids": np.array([5]), "labels": np.array([1])}
>>> found = {"segments": np.array([[0, 0, 0, 0]]), "labels": np.array([1])}  # also covers void, which is excluded
>>> count_segments(found, truth, num_classes=2).iou
array([1.])
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..types import Bools, Floats, Ints

__all__ = ["SegmentCounts", "check_things", "class_groups", "count_segments"]


class SegmentCounts(NamedTuple):
    """The outcomes of the segments of an image, one entry per segment.

    Attributes:
      iou: the IoU of each match, float64.
      matches: the class of each match, in the same order.
      false_positives: the class of each unmatched predicted segment that is not excused.
      false_negatives: the class of each true segment that is missed.
    """

    iou: Floats
    matches: Ints
    false_positives: Ints
    false_negatives: Ints


class _Segments(NamedTuple):
    """The map of an image and its segments in ascending order of their ids, checked."""

    pixels: NDArray[np.integer[Any]]  # [H, W]
    ids: Ints  # [S]
    labels: Ints  # [S]
    crowd: Bools  # [S] bool


def check_things(things: Collection[int] | None, num_classes: int) -> None:
    """Refuses things that are not classes.

    Raises:
      ValueError: if there are any; the message names them.
    """
    if things is None:
        return
    are_listed = isinstance(things, Collection) and not isinstance(things, str | bytes | Mapping)
    if not are_listed or not all(isinstance(one, int | np.integer) for one in things):
        raise ValueError(f"`things` must be classes, integers from 0 to {num_classes - 1}, got {things!r:.80}.")
    if outside := [thing for thing in things if not 0 <= thing < num_classes]:
        raise ValueError(f"`things` must be classes from 0 to {num_classes - 1}, got {outside[0]}.")


def class_groups(things: Collection[int] | None, num_classes: int) -> dict[str, Bools]:
    """Returns `[K]` flags of the classes of all numbers, of things and of stuff, by the suffix of their names.

    Args:
      things: the classes of things; None if not known, and then neither things nor stuff have classes.
      num_classes: K.

    Raises:
      ValueError: if a thing is not a class.
    """
    check_things(things, num_classes)
    is_thing = np.isin(np.arange(num_classes), np.array(list(things or ()), int))
    return {"": np.ones(num_classes, bool), "_th": is_thing, "_st": ~is_thing & (things is not None)}


def count_segments(prediction: Mapping[str, Any], truth: Mapping[str, Any], *, num_classes: int) -> SegmentCounts:
    """Matches the segments of an image by the rules of panopticapi, in integers.

    Args:
      prediction: `segments` `[H, W]` int, `labels` `[S]` int and optionally `ids` `[S]` int, as in `panoptic_quality`.
      truth: likewise, and optionally `crowd` `[S]`.
      num_classes: K.

    Raises:
      ValueError: if a field is missing, shapes do not agree, a label is K or more, or a pixel has an unknown segment.
      TypeError: if a field does not hold integers.
    """
    found, true = _checked("prediction", prediction, num_classes), _checked("ground truth", truth, num_classes)
    if found.pixels.shape != true.pixels.shape:
        raise ValueError(
            f"the prediction must have the size of the ground truth, {list(true.pixels.shape)}, got "
            f"{list(found.pixels.shape)}."
        )
    joint = _joint_histogram(found, true)
    # The last row and column are pixels of no segment; those with a negative label are added to them.
    labels, true_labels = np.append(found.labels, -1), np.append(true.labels, -1)
    crowd = np.append(true.crowd, False)
    area, true_area = joint.sum(1), joint.sum(0)
    on_void = joint[:, true_labels < 0].sum(1)
    union = (area - on_void)[:, None] + true_area - joint
    same = (labels[:, None] == true_labels) & (true_labels >= 0)
    match = same & ~crowd & (2 * joint > union)
    excused = on_void + np.where(same & crowd, joint, 0).sum(1)
    extra = (labels >= 0) & (area > 0) & ~match.any(1) & (2 * excused <= area)
    missed = (true_labels >= 0) & ~crowd & (true_area > 0) & ~match.any(0)
    return SegmentCounts(
        iou=joint[match] / union[match],
        matches=labels[np.nonzero(match)[0]],
        false_positives=labels[extra],
        false_negatives=true_labels[missed],
    )


def _joint_histogram(found: _Segments, true: _Segments) -> Ints:
    """Returns `[S + 1, S' + 1]` int64, the pixels that segments share; the last of each side stands for no segment."""
    pixels, true_pixels = found.pixels.ravel(), true.pixels.ravel()
    # Neighbours are usually in the same segment: looking up runs of equal pixels takes an eighth of the time.
    is_start = np.ones(pixels.size, bool)
    is_start[1:] = (pixels[1:] != pixels[:-1]) | (true_pixels[1:] != true_pixels[:-1])
    starts = np.flatnonzero(is_start)
    lengths = np.diff(starts, append=pixels.size)
    rows = _index("prediction", pixels[starts], found.ids)
    columns = _index("ground truth", true_pixels[starts], true.ids)
    shape = len(found.ids) + 1, len(true.ids) + 1
    counts = np.bincount(rows * shape[1] + columns, lengths, shape[0] * shape[1])  # in float64, exact up to 2^53
    return counts.astype(np.int64).reshape(shape)


def _index(side: str, values: NDArray[np.integer[Any]], ids: Ints) -> Ints:
    """Returns the index of the segment of each id, and the number of segments for void, which is 0 or less."""
    values = values.astype(np.int64)  # unsigned integers have no common integer type with `ids`
    index = np.searchsorted(ids, values)
    known = np.append(ids, -1)[index] == values
    if len(unknown := values[~known & (values > 0)]):
        raise ValueError(
            f"the {side} has pixels of segment {unknown[0]}, which its segments do not list; pixels of no segment must "
            "be 0 or less."
        )
    return np.where(known, index, len(ids))


def _checked(side: str, image: Mapping[str, Any], num_classes: int) -> _Segments:
    for field in ("segments", "labels"):
        if field not in image:
            raise ValueError(f"the {side} must have `segments` and `labels`, got {sorted(map(str, image))}.")
    pixels, labels = np.asarray(image["segments"]), np.asarray(image["labels"])
    labels = labels.astype(int) if not labels.size else labels  # an empty list becomes floats
    ids = np.asarray(image.get("ids", np.arange(len(labels))))
    crowd = np.asarray(image.get("crowd", np.zeros(len(labels), bool))).astype(bool)
    for field, values, num_axes in (("segments", pixels, 2), ("labels", labels, 1), ("ids", ids, 1)):
        if values.ndim != num_axes:
            raise ValueError(f"the {side}'s `{field}` must have {num_axes} axes, got shape {list(values.shape)}.")
        if values.dtype.kind not in "iu" and values.size:
            raise TypeError(f"the {side}'s `{field}` must hold integers, got dtype {values.dtype}.")
    if not len(labels) == len(ids) == len(crowd):
        raise ValueError(
            f"the {side}'s `labels`, `ids` and `crowd` must have equal lengths, got {len(labels)}, {len(ids)} and "
            f"{len(crowd)}."
        )
    if len(labels) and labels.max() >= num_classes:
        raise ValueError(
            f"the {side}'s `labels` must be below {num_classes}, the number of classes, got {labels.max()}."
        )
    order = np.argsort(ids, kind="stable")
    ids = ids[order].astype(np.int64)
    if (ids < 0).any():
        raise ValueError(f"the {side}'s `ids` must be 0 or more, got {ids[0]}.")
    if len(repeated := ids[1:][ids[1:] == ids[:-1]]):
        raise ValueError(f"the {side}'s `ids` must be distinct, got {repeated[0]} more than once.")
    return _Segments(pixels, ids, labels[order].astype(np.int64), crowd[order])
