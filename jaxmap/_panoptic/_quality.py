"""Panoptic quality of segment maps in one call, in float64 on the host, image by image."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from .._display import Columns, html_text, short_repr
from .._ragged import sums
from .._scalars import to_scalars
from .._threads import in_threads
from ..io import CocoPanoptic
from ..types import Floats, HostArray, Ints
from ._host import SegmentCounts, check_options, class_groups, count_segments, stuff_at_any_iou

__all__ = ["PanopticEvaluation", "panoptic_quality"]

_ROWS = {"All": "", "Things": "_th", "Stuff": "_st"}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PanopticEvaluation:
    """The panoptic quality of each class, and its counts; undefined numbers are NaN.

    Attributes:
      class_ids: `[K]`, the label or category id of each index.
      class_names: K names.
      things: the indices of the classes of countable objects; None if not known.
      iou_sum: `[K]` float64, the sum of the IoUs of the matches.
      true_positives: `[K]` int64, the number of matches; of stuff in modified PQ, of true segments.
      false_positives: `[K]` int64, predicted segments without a match.
      false_negatives: `[K]` int64, true segments without a match.
    """

    class_ids: HostArray  # [K]
    class_names: tuple[str, ...]
    things: tuple[int, ...] | None
    iou_sum: Floats  # [K]
    true_positives: Ints  # [K]
    false_positives: Ints  # [K]
    false_negatives: Ints  # [K]

    __repr__ = short_repr

    @functools.cached_property
    def pq(self) -> Floats:
        """`[K]`, the sum of IoUs / (TP + FP / 2 + FN / 2); NaN for a class without segments."""
        return _ratio(self.iou_sum, self._whole)

    @functools.cached_property
    def sq(self) -> Floats:
        """`[K]`, the mean IoU of the matches; 0 if there are none, NaN for a class without segments."""
        return np.where(self._whole > 0, np.nan_to_num(_ratio(self.iou_sum, self.true_positives)), np.nan)

    @functools.cached_property
    def rq(self) -> Floats:
        """`[K]`, TP / (TP + FP / 2 + FN / 2); NaN for a class without segments."""
        return _ratio(self.true_positives, self._whole)

    @functools.cached_property
    def summary(self) -> dict[str, float]:
        """`PQ`, `SQ`, `RQ`, means over classes where defined; `PQ_th` ... for things, `PQ_st` ... for stuff."""
        numbers = {"PQ": self.pq, "SQ": self.sq, "RQ": self.rq}
        groups = class_groups(self.things, len(self.class_ids))
        return {
            name + suffix: _mean_of_defined(values[flags])
            for suffix, flags in groups.items()
            for name, values in numbers.items()
        }

    def per_class(self) -> dict[str, list[Any]]:
        """Returns columns, each a list of K values: `class_id`, `class_name`, `PQ`, `SQ`, `RQ` and the three counts."""
        columns = {
            "class_id": self.class_ids,
            "class_name": list(self.class_names),
            "PQ": self.pq,
            "SQ": self.sq,
            "RQ": self.rq,
            "true_positives": self.true_positives,
            "false_positives": self.false_positives,
            "false_negatives": self.false_negatives,
        }
        return Columns(columns).as_lists()

    def __str__(self) -> str:
        groups = class_groups(self.things, len(self.class_ids))
        lines = [f"{'':10s}| {'PQ':>5s}  {'SQ':>5s}  {'RQ':>5s} {'N':>5s}", "-" * 38]  # in per cent, as in panopticapi
        for title, suffix in _ROWS.items():
            numbers = [f"{100 * self.summary[name + suffix]:5.1f}" for name in ("PQ", "SQ", "RQ")]
            lines.append(f"{title:10s}| {'  '.join(numbers)} {int((self._whole[groups[suffix]] > 0).sum()):5d}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return html_text(str(self))

    def to_json(self) -> str:
        """Returns the summary as one flat JSON object; undefined numbers are null."""
        return json.dumps({name: None if math.isnan(value) else value for name, value in self.summary.items()})

    def to_scalars(self, prefix: str = "", per_class: bool = False) -> dict[str, float]:
        """Returns the summary as one flat dictionary of Python floats, for loggers, without undefined numbers.

        Args:
          prefix: the start of all names, for example `val/`.
          per_class: whether to add PQ, SQ and RQ of each class, as `val/PQ/road`; `jaxmap.to_scalars` says how names
            of classes are made safe.
        """
        return to_scalars(self.summary, prefix, per_class=self.per_class() if per_class else None)

    @property
    def _whole(self) -> Floats:
        return self.true_positives + 0.5 * (self.false_positives + self.false_negatives)


def panoptic_quality(
    predictions: Sequence[Mapping[str, Any]] | Mapping[str, Any],
    ground_truths: Sequence[Mapping[str, Any]] | Mapping[str, Any],
    *,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    things: Collection[int] | None = None,
    modified: bool = False,
    boundary_ratio: float | None = None,
) -> PanopticEvaluation:
    """Scores panoptic segmentation by panopticapi's rules, exactly, in float64 on the host.

    A predicted and a true segment match if they have the same class and an IoU above 1/2. The union excludes pixels of
    the prediction that are void in the truth. A crowd is never matched and never missed. An unmatched predicted segment
    is a false positive, unless more than half of it lies on void and on crowds of its class. Classes with only crowds
    and excused segments are excluded from the means.

    Modified PQ (PQ†) differs for stuff, of which an image usually has one segment per class: there is no threshold. The
    PQ of such a class is the sum of the IoUs of all its predicted and true segments, divided by the number of true
    segments. It has no false positives; its SQ is its PQ, and its RQ is 1.

    Boundary PQ differs in the IoU: it is the lesser of the IoU of two segments and that of their boundaries. A boundary
    are the pixels of a segment that are close to its contour or to the edge of the image. Both unions exclude void.

    Args:
      predictions: a sequence of one mapping per image, which may load them one at a time, with `segments` `[H, W]` int,
        the segment id of each pixel, `ids` `[S]` int (0 to S - 1 if missing) and `labels` `[S]` int, the class of each
        segment. Pixels of no segment are 0 or less; segments without pixels or with a negative label are excluded. Or
        one mapping of stacked arrays: `segments` `[I, H, W]`, `labels` `[I, S]`. Or the result of
        `io.read_coco_panoptic_predictions`.
      ground_truths: likewise, and optionally `crowd` `[S]`; pixels of no segment are void. Or the result of
        `io.read_coco_panoptic_ground_truths`, which includes classes and things.
      num_classes: K, if no names are given.
      class_names: the names of the classes 0 to K - 1.
      things: the classes of countable objects; all others are stuff. None if not known; the numbers of things and stuff
        are then undefined.
      modified: True for modified PQ, which needs the things.
      boundary_ratio: for boundary PQ, the width of boundaries as a share of the image's diagonal, 0.02 in the paper; it
        is rounded to pixels, at least 1. None for the IoU of segments alone.

    Returns:
      The evaluation; `print` it for the familiar table.

    Raises:
      ValueError: if an input's shape, length or value is not as described; the message names the image.
      TypeError: if an input has another type, or a field does not hold integers.

    Example:
      >>> truth = [{"segments": np.array([[1, 1, 1, 2, 2, 0]]), "ids": np.array([1, 2]), "labels": np.array([0, 1])}]
      >>> found = [{"segments": np.array([[1, 1, 2, 2, 2, 2]]), "ids": np.array([1, 2]), "labels": np.array([0, 1])}]
      >>> print(panoptic_quality(found, truth, num_classes=2, things=[0]))  # the void pixel is in no union
                |    PQ     SQ     RQ     N
      --------------------------------------
      All       |  66.7   66.7  100.0     2
      Things    |  66.7   66.7  100.0     1
      Stuff     |  66.7   66.7  100.0     1

    References: panopticapi evaluation.py, pq_compute_single_core. Deviations: if an image has several crowds of one
    class, all of them excuse a prediction, not only the last one; and the area of a true segment is its number of
    pixels. Porzi et al., Seamless Scene Segmentation, 2019 (modified PQ). Cheng et al., Boundary IoU, 2021, and
    boundary_iou_api's coco_panoptic_api/evaluation.py. Deviation: there the inner pixels of all segments get the number
    after the largest category id, which may also be the number of a segment.
    """
    if isinstance(ground_truths, CocoPanoptic):
        if not (num_classes is None and class_names is None and things is None):
            raise ValueError("`num_classes`, `class_names` and `things` are taken from the file: leave them out.")
        class_ids, names, things = ground_truths.class_ids, ground_truths.class_names, ground_truths.things
    else:
        class_ids, names = _classes(num_classes, class_names)
    # Before all pixels of a dataset are read.
    check_options(things, len(class_ids), modified=modified, boundary_ratio=boundary_ratio)
    at_any_iou = stuff_at_any_iou(things, len(class_ids), modified)
    found, true = _images("predictions", predictions), _images("ground_truths", ground_truths)
    if len(found) != len(true):
        raise ValueError(
            f"`predictions` and `ground_truths` must hold the same images, got {len(found)} and {len(true)}."
        )

    def count(index: int) -> SegmentCounts:
        prediction, truth = found[index], true[index]
        try:
            return count_segments(
                prediction,
                truth,
                num_classes=len(class_ids),
                at_any_iou=at_any_iou,
                boundary_ratio=boundary_ratio,
            )
        except (ValueError, TypeError) as error:
            name = ground_truths.image_ids[index] if isinstance(ground_truths, CocoPanoptic) else index
            raise type(error)(f"image {name}: {error}") from error

    counts = in_threads(count, range(len(true)), "images")
    none = SegmentCounts(*4 * (np.zeros(0, int),))  # for a dataset without images
    iou, *labels = (np.concatenate(column) for column in zip(none, *counts, strict=True))
    matches, extra, missed = (np.bincount(column, minlength=len(class_ids)) for column in labels)
    return PanopticEvaluation(
        class_ids=class_ids,
        class_names=names,
        things=None if things is None else tuple(sorted(things)),
        iou_sum=sums(labels[0], iou, len(class_ids)),
        true_positives=matches,
        false_positives=extra,
        false_negatives=missed,
    )


def _classes(num_classes: int | None, class_names: Sequence[str] | None) -> tuple[Ints, tuple[str, ...]]:
    if num_classes is None and class_names is None:
        raise ValueError("`num_classes` or `class_names` must be given, to define the labels.")
    if num_classes is not None and class_names is not None and len(class_names) != num_classes:
        raise ValueError(f"`class_names` must have `num_classes` names, got {len(class_names)} and {num_classes}.")
    names = tuple(class_names) if class_names is not None else tuple(map(str, range(num_classes or 0)))
    return np.arange(len(names)), names


def _images(name: str, images: Any) -> Sequence[Mapping[str, Any]]:
    """Returns a sequence of one mapping per image."""
    if isinstance(images, Mapping):
        columns = {field: np.asarray(column) for field, column in images.items() if column is not None}
        lengths = {field: len(column) for field, column in columns.items() if column.ndim}
        if not lengths or len(set(lengths.values())) > 1:
            raise ValueError(f"the fields of `{name}` must have the same first axis, images, got {lengths}.")
        return [{field: column[i] for field, column in columns.items()} for i in range(next(iter(lengths.values())))]
    if not isinstance(images, Sequence):
        raise TypeError(
            f"`{name}` must be a sequence of one mapping per image, or one mapping of stacked arrays, got "
            f"{type(images).__name__}."
        )
    return images


def _ratio(part: HostArray, whole: HostArray) -> Floats:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)


def _mean_of_defined(values: Floats) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan
