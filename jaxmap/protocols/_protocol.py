"""What an evaluation protocol decides, one field a rule."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Literal

__all__ = ["ALL_AREAS", "IOU_TYPES", "UNLIMITED", "AreaRange", "EvaluationProtocol", "SummaryRow"]

IOU_TYPES = {
    "bbox": "boxes",
    "segm": "instance masks",
    "boundary": "masks and their boundaries, the lesser of the two; of crowds masks alone",
    "keypoints": "keypoints, by object keypoint similarity (OKS)",
    "obb": "oriented boxes",
}
UNLIMITED = 2**31 - 1  # the max-detections limit that no image reaches, since ranks are int32; tables show `all`


@dataclasses.dataclass(frozen=True)
class AreaRange:
    """A named range of areas in square pixels, both ends included (an area of 1024 is small *and* medium in COCO).

    Where the protocol says so it is a range of another quantity.

    Attributes:
      name: as users write it, for example `small`.
      low: smallest area inside.
      high: largest area inside.
      suffix: what the name of a number gains when it is over this range, for example `s` in `APs`.
    """

    name: str
    low: float
    high: float
    suffix: str


ALL_AREAS = AreaRange("all", 0.0, 1e10, "")


@dataclasses.dataclass(frozen=True)
class SummaryRow:
    """One line of a protocol's table of results, or one line for each value of an axis.

    Attributes:
      name: the number's name; `{area}`, `{limit}` and `{group}` stand for the values that it is of.
      quantity: `precision` (averaged as the protocol says, it gives AP) or `recall` (AR).
      iou_threshold: the threshold it is read at; None for the mean over all.
      each: `area` for a row for every area range but the first, `limit` for a row for every max-detections limit,
        `class_group` for a row for every group of classes, None for a single row over the first area range and the
        largest limit.
    """

    name: str
    quantity: str = "precision"
    iou_threshold: float | None = None
    each: str | None = None


@dataclasses.dataclass(frozen=True)
class EvaluationProtocol:
    """How detections are matched, counted and averaged.

    Attributes:
      name: as users write it.
      iou_thresholds: T thresholds, ascending, in (0, 1].
      recall_points: R points, ascending, in [0, 1].
      area_ranges: A ranges; the first one is the overall one.
      max_detections: M limits on the detections kept for an image and a class, ascending.
      class_agnostic: True when all classes are scored as one.
      summary: the table of results.
      candidates: which ground truths of its class a detection may match: `all` that reach the threshold, the most
        similar free one first and of equal ones the later; `best`, only the most similar of all, taken or free, ignored
        or not, and of equal ones the first.
      absorbing: which ground truths take any number of detections, all of them ignored: `crowds`, each detection
        measured by the share of it that lies inside, while any other ignored ground truth takes one; `ignored`, every
        ignored ground truth (a `difficult` object of VOC), at plain IoU, where a crowd is one of them and no more;
        `all`, crowds by the share inside and ignored ones at plain IoU.
      average: what AP is of a curve: the mean of the best precision at the recall `points`, or the `area` under it,
        the mean over 1 .. the number of ground truths of the best precision with at least that many true positives;
        then the recall points only serve to draw it.
      iou_type: what is compared, one of `IOU_TYPES`.
      keypoint_sigmas: how far annotators differ at each keypoint, relative to the object's scale; P values.
      boundary_ratio: how wide the boundary of a mask is, as a share of the image's diagonal.
      limit_scope: what `max_detections` is counted in: an image and `class`, or an `image` with all its classes.
      range_of: what the area ranges are ranges of: the `area` of an object, or the `crowd_index` of its image.
      class_groups: groups of classes that the table of results averages over on their own; each class names its group.
      description: one line on what is special here.
    """

    name: str
    iou_thresholds: tuple[float, ...]
    recall_points: tuple[float, ...]
    area_ranges: tuple[AreaRange, ...]
    max_detections: tuple[int, ...]
    class_agnostic: bool
    summary: tuple[SummaryRow, ...]
    candidates: Literal["all", "best"] = "all"
    absorbing: Literal["crowds", "ignored", "all"] = "crowds"
    average: Literal["points", "area"] = "points"
    iou_type: Literal["bbox", "segm", "boundary", "keypoints", "obb"] = "bbox"
    keypoint_sigmas: tuple[float, ...] = ()
    boundary_ratio: float = 0.02
    limit_scope: Literal["class", "image"] = "class"
    range_of: Literal["area", "crowd_index"] = "area"
    class_groups: tuple[str, ...] = ()
    description: str = ""

    def __post_init__(self) -> None:
        rules = {
            "candidates": ("all", "best"),
            "absorbing": ("crowds", "ignored", "all"),
            "average": ("points", "area"),
            "iou_type": tuple(IOU_TYPES),
            "limit_scope": ("class", "image"),
            "range_of": ("area", "crowd_index"),
        }
        for field, known in rules.items():
            if getattr(self, field) not in known:  # a misspelt rule would silently be COCO's
                raise ValueError(f"`{field}` must be one of {list(known)}, got {getattr(self, field)!r}.")
        if self.iou_type == "keypoints" and not (self.keypoint_sigmas and min(self.keypoint_sigmas) > 0):
            raise ValueError(
                f"`keypoint_sigmas` must hold a positive number for every keypoint, got {list(self.keypoint_sigmas)}; "
                "take the protocol `coco-keypoints`, or pass the sigmas of your skeleton."
            )

    def customize(
        self,
        *,
        iou_thresholds: Sequence[float] | None = None,
        recall_points: Sequence[float] | None = None,
        area_ranges: Mapping[str, tuple[float, float]] | None = None,
        max_detections: int | Sequence[int] | None = None,
        class_agnostic: bool | None = None,
        iou_type: str | None = None,
        keypoint_sigmas: Sequence[float] | None = None,
        boundary_ratio: float | None = None,
    ) -> EvaluationProtocol:
        """Returns this protocol with some of its fields replaced; None keeps a field as it is.

        Args:
          iou_thresholds: strictly ascending, in (0, 1].
          recall_points: strictly ascending, in [0, 1].
          area_ranges: name to (low, high) in square pixels; the range `all` is put first if it is not among them.
          max_detections: one limit or several, strictly ascending, each at least 1.
          class_agnostic: score all classes as one.
          iou_type: what is compared, one of `IOU_TYPES`.
          keypoint_sigmas: of another skeleton than the protocol's.
          boundary_ratio: of `boundary`, in (0, 1].

        Raises:
          ValueError: if a grid is empty, out of its range or not ascending, or `iou_type` is unknown.
        """
        changes: dict[str, object] = {}
        if iou_thresholds is not None:
            values = _ascending("iou_thresholds", iou_thresholds)
            if values[0] <= 0 or values[-1] > 1:
                raise ValueError(f"`iou_thresholds` must lie in (0, 1], got {list(values)}.")
            changes["iou_thresholds"] = values
        if recall_points is not None:
            values = _ascending("recall_points", recall_points)
            if values[0] < 0 or values[-1] > 1:
                raise ValueError(f"`recall_points` must lie in [0, 1], got {list(values)}.")
            changes["recall_points"] = values
        if area_ranges is not None:
            changes["area_ranges"] = _area_ranges(area_ranges, self.area_ranges)
        if max_detections is not None:
            limits = list(max_detections) if isinstance(max_detections, Iterable) else [max_detections]
            values = _ascending("max_detections", limits)
            if values[0] < 1 or any(value != int(value) for value in values):
                raise ValueError(f"`max_detections` must be whole numbers of at least 1, got {limits}.")
            changes["max_detections"] = tuple(int(value) for value in values)
        if class_agnostic is not None:
            changes["class_agnostic"] = bool(class_agnostic)
        if iou_type is not None:
            changes["iou_type"] = iou_type
        if keypoint_sigmas is not None:
            changes["keypoint_sigmas"] = tuple(float(sigma) for sigma in keypoint_sigmas)
        if boundary_ratio is not None:
            changes["boundary_ratio"] = float(boundary_ratio)
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def locate(self, area: str, iou_threshold: float) -> tuple[int, int]:
        """Returns the index of an area range by its name, and of a threshold, within 1e-9.

        Raises:
          ValueError: if the protocol has no such area range or threshold.
        """
        near = [index for index, value in enumerate(self.iou_thresholds) if abs(value - iou_threshold) < 1e-9]
        if not near:
            raise ValueError(
                f"`iou_threshold` must be one of {list(self.iou_thresholds)}, got {iou_threshold}; pass "
                f"`iou_thresholds=[{iou_threshold}]` to `evaluate` for it."
            )
        names = [one.name for one in self.area_ranges]
        if area not in names:
            raise ValueError(
                f"`area` must be one of {names}, got {area!r}; pass `area_ranges` to `evaluate` for others."
            )
        return names.index(area), near[0]


def _ascending(name: str, values: Sequence[float]) -> tuple[float, ...]:
    try:
        result = tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` must be a sequence of numbers, got {values!r}.") from error
    if not result:
        raise ValueError(f"`{name}` must hold at least one value, got none.")
    if not all(math.isfinite(value) for value in result):
        raise ValueError(f"`{name}` must be finite numbers, got {list(result)}.")
    if any(b <= a for a, b in pairwise(result)):
        raise ValueError(f"`{name}` must be strictly ascending, got {list(result)}; sort them and drop repeats.")
    return result


def _area_ranges(ranges: Mapping[str, tuple[float, float]], known: tuple[AreaRange, ...]) -> tuple[AreaRange, ...]:
    if not isinstance(ranges, Mapping) or not ranges:
        raise ValueError(f"`area_ranges` must map at least one name to (low, high), got {ranges!r}.")
    suffixes = {area.name: area.suffix for area in known} | {ALL_AREAS.name: ALL_AREAS.suffix}
    result = []
    for name, bounds in ranges.items():
        try:
            low, high = (float(bound) for bound in bounds)
        except (TypeError, ValueError):
            low, high = math.nan, math.nan
        if not 0 <= low <= high:
            raise ValueError(f"`area_ranges[{name!r}]` must be (low, high) with 0 <= low <= high, got {bounds!r}.")
        result.append(AreaRange(name, low, high, suffixes.get(name, f"_{name}")))
    overall = [area for area in result if area.name == ALL_AREAS.name] or list(known[:1])
    return (*overall, *(area for area in result if area.name != ALL_AREAS.name))
