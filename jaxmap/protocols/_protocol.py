"""What an evaluation protocol decides, one field per rule."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from .._display import short_repr
from .._geometry import GEOMETRIES
from . import _checks as checks
from ._checks import UNLIMITED
from ._quantities import QUANTITIES, OfCounts

__all__ = ["ALL_AREAS", "IOU_TYPES", "UNLIMITED", "AreaRange", "EvaluationProtocol", "SummaryNumber", "SummaryRow"]

IOU_TYPES = {name: kind.description for name, kind in GEOMETRIES.items()}
SAME_THRESHOLD = 1e-9  # np.linspace gives 0.8999999999999999 for 0.9


@dataclasses.dataclass(frozen=True)
class AreaRange:
    """A named range of areas in square pixels, both ends included (an area of 1024 is small *and* medium in COCO).

    If the protocol's `range_of` says so, it is a range of another quantity.

    Attributes:
      name: its name, for example `small`.
      low: the smallest area in the range.
      high: the largest area in the range.
      suffix: the suffix of the names of numbers for this range, for example `s` in `APs`.
    """

    name: str
    low: float
    high: float
    suffix: str

    def __post_init__(self) -> None:
        checks.text("the `name` of an AreaRange", self.name)
        checks.text("the `suffix` of an AreaRange", self.suffix)
        try:
            low, high = checks.number(self.low), checks.number(self.high)
        except (TypeError, ValueError, OverflowError):
            low, high = math.nan, math.nan
        if not low <= high:
            raise ValueError(
                f"`area_ranges[{self.name!r}]` must be (low, high) with low <= high, got ({self.low!r}, {self.high!r})."
            )
        checks.put(self, low=low, high=high)


ALL_AREAS = AreaRange("all", 0.0, 1e10, "")


@dataclasses.dataclass(frozen=True)
class SummaryRow:
    """One line of a protocol's table of results, or one line for each value of an axis.

    Attributes:
      name: the name of the number; `{area}`, `{limit}` and `{group}` are replaced by its values.
      quantity: one of `QUANTITIES`: `precision` (its average is AP), `recall` (AR), `f1` (the best F1 over all score
        thresholds) or `miss_rate` (the log-average miss rate over 0.01 to 1 false positives per image, MR^-2).
      iou_threshold: the IoU threshold of the number; None for the mean over all thresholds.
      each: `area` for one row per area range except the first, `limit` for one row per max-detections limit,
        `class_group` for one row per group of classes, None for a single row for the first area range and the largest
        limit.
    """

    name: str
    quantity: str = "precision"
    iou_threshold: float | None = None
    each: str | None = None

    __repr__ = short_repr

    def __post_init__(self) -> None:
        checks.one_of("quantity", self.quantity, tuple(QUANTITIES))
        checks.one_of("each", self.each, ("area", "limit", "class_group", None))
        checks.row_name(self.name, self.each)
        if self.iou_threshold is not None:
            checks.put(self, iou_threshold=_thresholds("iou_threshold", [self.iou_threshold])[0])


class SummaryNumber(NamedTuple):
    """One number of a protocol's table of results: its row and the values of the row's axes.

    Attributes:
      name: for example `AP50`.
      row: the row of the table.
      area_index: index on A.
      limit_index: index on M.
      class_group: the group of classes that it averages; None for all classes.
    """

    name: str
    row: SummaryRow
    area_index: int
    limit_index: int
    class_group: str | None


@dataclasses.dataclass(frozen=True)
class EvaluationProtocol:
    """How detections are matched, counted and averaged.

    Attributes:
      name: its name, for example `coco`.
      iou_thresholds: T thresholds, ascending, in (0, 1].
      recall_points: R points, ascending, in [0, 1].
      area_ranges: A ranges; the first one includes all areas.
      max_detections: M limits on the number of detections per image and class, ascending.
      class_agnostic: True to score all classes as one.
      summary: the table of results.
      candidates: which ground truths of its class a detection may match. `all`: all that reach the threshold; the most
        similar free one is taken, of equal ones the later. `best`: only the most similar one, whether it is taken,
        ignored or neither; of equal ones the first.
      absorbing: which ground truths may match any number of detections, all of which are ignored. `crowds`: only
        crowds, compared by the share of the detection that lies inside; other ignored ground truths match one
        detection. `ignored`: every ignored ground truth (`difficult` objects of VOC), compared by IoU; crowds are
        treated like the others. `all`: crowds by the share inside, and other ignored ground truths by IoU. `groups`: as
        `all`, but a crowd counts as one ground truth, and the first detection that it takes is a true positive; only
        together with `candidates="best"`. `none`: no ground truth; crowds and other ignored ones are left out.
      average: how AP is computed from a curve. `points`: the mean of the interpolated precision at the recall points.
        `area`: the area under the precision envelope, which is the mean, over n = 1 to the number of ground truths, of
        the best precision with at least n true positives; the recall points are then only used for plots.
        `trapezoid`: the area under the interpolated precision by the trapezoid rule, for R recall points 0, 1/R, ...,
        (R - 1)/R, and precision 0 at recall 1: as `points`, but the first point has half the weight.
      iou_type: what is compared, one of `IOU_TYPES`.
      keypoint_sigmas: the standard deviation of annotators at each keypoint, relative to the object's scale; P values.
      boundary_ratio: the width of the boundary of a mask, as a share of the image's diagonal.
      limit_scope: what `max_detections` limits: the detections of an image per `class`, or of an `image` over all
        classes.
      range_of: the quantity of the area ranges: the `area` of an object, or the `crowd_index` of its image.
      class_groups: names of the groups of classes that the table of results averages separately.
      description: one line that says what is special about the protocol.
    """

    name: str
    iou_thresholds: tuple[float, ...]
    recall_points: tuple[float, ...]
    area_ranges: tuple[AreaRange, ...]
    max_detections: tuple[int, ...]
    class_agnostic: bool
    summary: tuple[SummaryRow, ...]
    candidates: Literal["all", "best"] = "all"
    absorbing: Literal["crowds", "ignored", "all", "groups", "none"] = "crowds"
    average: Literal["points", "area", "trapezoid"] = "points"
    iou_type: str = "bbox"
    keypoint_sigmas: tuple[float, ...] = ()
    boundary_ratio: float = 0.02
    limit_scope: Literal["class", "image"] = "class"
    range_of: Literal["area", "crowd_index"] = "area"
    class_groups: tuple[str, ...] = ()
    description: str = ""

    def __post_init__(self) -> None:
        checks.text("`name`", self.name)
        checks.text("`description`", self.description)
        for field, known in _RULES.items():
            checks.one_of(field, getattr(self, field), known)
        if self.absorbing == "groups" and self.candidates != "best":
            raise ValueError(
                f"`absorbing='groups'` is defined for `candidates='best'` only, got {self.candidates!r}; replace both."
            )
        sigmas = _sigmas(self.keypoint_sigmas)
        if GEOMETRIES[self.iou_type].constant == "keypoint_sigmas" and not sigmas:
            raise ValueError(
                "`keypoint_sigmas` must hold a positive number for every keypoint, got []; use the protocol "
                "`coco-keypoints`, or pass the sigmas of your skeleton."
            )
        checks.put(
            self,
            iou_thresholds=_thresholds("iou_thresholds", self.iou_thresholds),
            recall_points=checks.grid(
                "recall_points", self.recall_points, low=0, high=1, above_low=False, at_most=checks.MAX_RECALL_POINTS
            ),
            max_detections=checks.limits("max_detections", self.max_detections),
            area_ranges=_instances("area_ranges", self.area_ranges, AreaRange),
            summary=_instances("summary", self.summary, SummaryRow),
            class_agnostic=bool(self.class_agnostic),
            keypoint_sigmas=sigmas,
            boundary_ratio=checks.grid(
                "boundary_ratio", [self.boundary_ratio], low=0, high=1, above_low=True, at_most=1
            )[0],
            class_groups=checks.texts("class_groups", self.class_groups),
        )
        if "" in self.class_groups:
            raise ValueError("`class_groups` must not hold an empty name, which stands for no group.")
        even = np.arange(len(self.recall_points)) / len(self.recall_points)
        if self.average == "trapezoid" and not np.allclose(self.recall_points, even, rtol=0, atol=1e-9):
            raise ValueError(
                "`recall_points` must be 0, 1/R, ..., (R - 1)/R for `average='trapezoid'`, which adds the point 1, got "
                f"{checks.shown(self.recall_points)}."
            )
        if not self.area_ranges:
            raise ValueError("`area_ranges` must hold at least one range, got none.")
        checks.distinct("area_ranges", [area.name for area in self.area_ranges])
        checks.distinct("summary", [number.name for number in self.numbers()])

    def __repr__(self) -> str:
        from ._values import PROTOCOLS

        known = PROTOCOLS.get(self.name)
        fields = dataclasses.fields(self)[1:]
        usual = {field.name: getattr(known, field.name) if known else field.default for field in fields}
        values = {name: value for name in usual if (value := getattr(self, name)) != usual[name]}
        changed = [f"{name}={checks.shown_tuple(value)}" for name, value in values.items()]
        return f"{type(self).__name__}({', '.join([repr(self.name), *changed])})"

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
        """Returns this protocol with some of its fields replaced; None keeps a field.

        Args:
          iou_thresholds: strictly ascending, in (0, 1].
          recall_points: strictly ascending, in [0, 1].
          area_ranges: name to (low, high) in square pixels; the range `all` is put first if it is not among them.
          max_detections: one limit or several, strictly ascending, each at least 1.
          class_agnostic: score all classes as one.
          iou_type: what is compared, one of `IOU_TYPES`.
          keypoint_sigmas: those of another skeleton.
          boundary_ratio: width of boundaries as a share of the image's diagonal, in (0, 1].

        Raises:
          ValueError: if a field is not as described; this is checked for every protocol.
        """
        changes: dict[str, Any] = {
            "iou_thresholds": iou_thresholds,
            "recall_points": recall_points,
            "area_ranges": None if area_ranges is None else _area_ranges(area_ranges, self.area_ranges),
            "max_detections": max_detections if isinstance(max_detections, Iterable | None) else [max_detections],
            "class_agnostic": class_agnostic,
            "iou_type": iou_type,
            "keypoint_sigmas": keypoint_sigmas,
            "boundary_ratio": boundary_ratio,
        }
        return dataclasses.replace(self, **{name: value for name, value in changes.items() if value is not None})

    def with_class_groups(self, names: Sequence[str]) -> EvaluationProtocol:
        """Returns this protocol with other groups of classes, which its table of results averages separately.

        Args:
          names: the names of the groups. If the table has no row for each group, it gets one more, AP_ and the name.

        Raises:
          ValueError: if they are not distinct texts, there is none, or one gives a number the name of another.

        Example:
          >>> from jaxmap.protocols import COCO
          >>> [number.name for number in COCO.with_class_groups(["base", "novel"]).numbers()][-2:]
          ['AP_base', 'AP_novel']
        """
        groups = checks.texts("class_groups", names)
        if not groups:
            raise ValueError("`class_groups` must hold at least one name, got none.")
        has_row = any(row.each == "class_group" for row in self.summary)
        summary = self.summary if has_row else (*self.summary, SummaryRow("AP_{group}", each="class_group"))
        return dataclasses.replace(self, class_groups=groups, summary=summary)

    def numbers(self) -> Iterator[SummaryNumber]:
        """Expands the table of results into the numbers that it reports."""
        last_limit = len(self.max_detections) - 1
        for row in self.summary:
            places: list[tuple[int, int, str | None]] = [(0, last_limit, None)]
            if row.each == "area":
                places = [(index, last_limit, None) for index in range(1, len(self.area_ranges))]
            elif row.each == "limit":
                places = [(0, index, None) for index in range(len(self.max_detections))]
            elif row.each == "class_group":
                places = [(0, last_limit, group) for group in self.class_groups]
            for area, limit, group in places:
                name = row.name.format(
                    area=self.area_ranges[area].suffix, limit=limit_text(self.max_detections[limit]), group=group
                )
                yield SummaryNumber(name, row, area, limit, group)

    @property
    def functions_of_counts(self) -> dict[str, OfCounts]:
        """The quantities in the table of results that are a best value over all score thresholds, by name."""
        asked = {row.quantity: QUANTITIES[row.quantity].of_counts for row in self.summary}
        return {name: of_counts for name, of_counts in asked.items() if of_counts is not None}

    @property
    def has_miss_rate(self) -> bool:
        """Whether the table of results asks for miss rates, for which the curves need the number of images."""
        return any(row.quantity == "miss_rate" for row in self.summary)

    @property
    def not_replicated_on_device(self) -> list[str]:
        """The quantities in the table of results that are not computed under image weights inside `jit`."""
        return [*self.functions_of_counts, *["miss_rate"] * self.has_miss_rate]

    def threshold_index(self, iou_threshold: float) -> int | None:
        """Returns the index of the nearest threshold within `SAME_THRESHOLD`; None if there is none."""
        distance, index = min((abs(value - iou_threshold), index) for index, value in enumerate(self.iou_thresholds))
        return index if distance < SAME_THRESHOLD else None

    @property
    def ignored_absorb(self) -> bool:
        """Whether ignored ground truths that are not crowds may match any number of detections."""
        return self.absorbing not in ("crowds", "none")

    @property
    def threshold_near_half(self) -> float:
        """The IoU threshold nearest to 0.5, at which detectors are described by default."""
        return min(self.iou_thresholds, key=lambda value: abs(value - 0.5))

    def locate(self, area: str, iou_threshold: float) -> tuple[int, int]:
        """Returns the index of an area range, by its name, and of the nearest threshold within 1e-9.

        Raises:
          ValueError: if the protocol has no such area range or threshold.
        """
        threshold = self.threshold_index(iou_threshold)
        if threshold is None:
            raise ValueError(
                f"`iou_threshold` must be one of {checks.shown(self.iou_thresholds)}, got {iou_threshold}; pass "
                f"`iou_thresholds=[{iou_threshold}]` to `evaluate` for it."
            )
        names = [one.name for one in self.area_ranges]
        if area not in names:
            raise ValueError(
                f"`area` must be one of {names}, got {area!r}; pass `area_ranges` to `evaluate` for others."
            )
        return names.index(area), threshold


def limit_text(limit: int) -> str:
    """Returns a max-detections limit as shown in names and tables."""
    return "all" if limit == UNLIMITED else str(limit)


_RULES = {
    "class_agnostic": (False, True),
    "candidates": ("all", "best"),
    "absorbing": ("crowds", "ignored", "all", "groups", "none"),
    "average": ("points", "area", "trapezoid"),
    "iou_type": tuple(IOU_TYPES),
    "limit_scope": ("class", "image"),
    "range_of": ("area", "crowd_index"),
}


def _thresholds(name: str, values: Any) -> tuple[float, ...]:
    return checks.grid(name, values, low=0, high=1, above_low=True, at_most=checks.MAX_THRESHOLDS)


def _sigmas(values: Any) -> tuple[float, ...]:
    try:
        sigmas = tuple(checks.number(value) for value in values)
    except (TypeError, ValueError, OverflowError):
        sigmas = (math.nan,)
    if not all(0 < sigma < math.inf for sigma in sigmas):
        raise ValueError(f"`keypoint_sigmas` must hold a positive number for every keypoint, got {values!r}.")
    return sigmas


def _instances(name: str, values: Any, kind: type) -> tuple[Any, ...]:
    if not isinstance(values, Iterable) or isinstance(values, (str, Mapping)):
        raise ValueError(f"`{name}` must be a sequence of {kind.__name__}, got {values!r}.")
    result = tuple(values)
    if strange := [value for value in result if not isinstance(value, kind)]:
        raise ValueError(f"`{name}` must hold values of {kind.__name__}, got {strange[0]!r}.")
    return result


def _area_ranges(ranges: Mapping[str, tuple[float, float]], known: tuple[AreaRange, ...]) -> tuple[AreaRange, ...]:
    if not isinstance(ranges, Mapping) or not ranges:
        raise ValueError(f"`area_ranges` must map at least one name to (low, high), got {ranges!r}.")
    suffixes = {area.name: area.suffix for area in known} | {ALL_AREAS.name: ALL_AREAS.suffix}
    result = []
    for name, bounds in ranges.items():
        checks.text("a name in `area_ranges`", name)
        try:
            low, high = (checks.number(bound) for bound in bounds)
        except (TypeError, ValueError, OverflowError):
            low, high = math.nan, math.nan
        if not 0 <= low <= high:
            raise ValueError(f"`area_ranges[{name!r}]` must be (low, high) with 0 <= low <= high, got {bounds!r}.")
        result.append(AreaRange(name, low, high, suffixes.get(name, f"_{name}")))
    overall = [area for area in result if area.name == ALL_AREAS.name] or list(known[:1])
    return (*overall, *(area for area in result if area.name != ALL_AREAS.name))
