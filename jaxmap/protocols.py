"""Evaluation protocols as data: what COCO, VOC, and every later definition of AP, decides, one field a rule.

A protocol is frozen and hashable, so it may be a static argument of `jit`. A new protocol is a new value; if it needs a
new class or an `if` on its name, a field is missing here. Fields that later protocols bring, each with COCO's rule as
its default and read by one stage: LVIS limits an image over all classes, leaves out classes that were not verified
(packing) and groups classes by frequency (summary); keypoints name another similarity.

>>> COCO.iou_thresholds[0], len(COCO.recall_points), COCO.max_detections
(0.5, 101, (1, 10, 100))
>>> COCO.customize(max_detections=(1, 10, 300)).max_detections
(1, 10, 300)
>>> VOC2007.candidates, VOC2007.average, len(VOC2007.recall_points), VOC2012.average
('best', 'points', 11, 'area')
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

__all__ = [
    "ALL_AREAS",
    "ALL_POINT",
    "COCO",
    "PROTOCOLS",
    "UNLIMITED",
    "VOC2007",
    "VOC2012",
    "AreaRange",
    "EvaluationProtocol",
    "SummaryRow",
    "get_protocol",
]

UNLIMITED = 2**31 - 1  # the max-detections limit that no image reaches, since ranks are int32; tables show `all`


@dataclasses.dataclass(frozen=True)
class AreaRange:
    """A named range of areas in square pixels, both ends included (an area of 1024 is small *and* medium in COCO).

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
      name: the number's name; `{area}` and `{limit}` stand for the value of the axis named by `each`.
      quantity: `precision` (averaged as the protocol says, it gives AP) or `recall` (AR).
      iou_threshold: the threshold it is read at; None for the mean over all.
      each: `area` for a row for every area range but the first, `limit` for a row for every max-detections limit,
        None for a single row over the first area range and the largest limit.
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
        ignored ground truth (a `difficult` object of VOC), at plain IoU, where a crowd is one of them and no more.
      average: what AP is of a curve: the mean of the best precision at the recall `points`, or the `area` under it,
        the mean over 1 .. the number of ground truths of the best precision with at least that many true positives;
        then the recall points only serve to draw it.
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
    absorbing: Literal["crowds", "ignored"] = "crowds"
    average: Literal["points", "area"] = "points"
    description: str = ""

    def __post_init__(self) -> None:
        rules = {"candidates": ("all", "best"), "absorbing": ("crowds", "ignored"), "average": ("points", "area")}
        for field, known in rules.items():
            if getattr(self, field) not in known:  # a misspelt rule would silently be COCO's
                raise ValueError(f"`{field}` must be one of {list(known)}, got {getattr(self, field)!r}.")

    def customize(
        self,
        *,
        iou_thresholds: Sequence[float] | None = None,
        recall_points: Sequence[float] | None = None,
        area_ranges: Mapping[str, tuple[float, float]] | None = None,
        max_detections: int | Sequence[int] | None = None,
        class_agnostic: bool | None = None,
    ) -> EvaluationProtocol:
        """Returns this protocol with some of its grids replaced; None keeps a field as it is.

        Args:
          iou_thresholds: strictly ascending, in (0, 1].
          recall_points: strictly ascending, in [0, 1].
          area_ranges: name to (low, high) in square pixels; the range `all` is put first if it is not among them.
          max_detections: one limit or several, strictly ascending, each at least 1.
          class_agnostic: score all classes as one.

        Raises:
          ValueError: if a grid is empty, out of its range or not ascending.
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


def get_protocol(protocol: str | EvaluationProtocol) -> EvaluationProtocol:
    """Returns a protocol by its name, any case; a protocol is returned as it is.

    Raises:
      ValueError: if no protocol has that name.
      TypeError: if it is neither a name nor a protocol.
    """
    if isinstance(protocol, EvaluationProtocol):
        return protocol
    if not isinstance(protocol, str):
        raise TypeError(f"`protocol` must be a name or an EvaluationProtocol, got {type(protocol).__name__}.")
    if protocol.lower() not in PROTOCOLS:
        raise ValueError(f"`protocol` must be one of {sorted(PROTOCOLS)}, got {protocol!r}.")
    return PROTOCOLS[protocol.lower()]


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


# NumPy's linspace and not round decimals: 0.9 is 0.8999999999999999 there, and ten recall points lie one step above the
# double nearest to i / 100; both decide matches and cells (pycocotools cocoeval.py, Params.setDetParams).
COCO = EvaluationProtocol(
    name="coco",
    iou_thresholds=tuple(np.linspace(0.5, 0.95, 10).tolist()),
    recall_points=tuple(np.linspace(0.0, 1.0, 101).tolist()),
    area_ranges=(
        ALL_AREAS,
        AreaRange("small", 0.0, 32.0**2, "s"),
        AreaRange("medium", 32.0**2, 96.0**2, "m"),
        AreaRange("large", 96.0**2, 1e10, "l"),
    ),
    max_detections=(1, 10, 100),
    class_agnostic=False,
    summary=(
        SummaryRow("AP"),
        SummaryRow("AP50", iou_threshold=0.5),
        SummaryRow("AP75", iou_threshold=0.75),
        SummaryRow("AP{area}", each="area"),
        SummaryRow("AR{limit}", "recall", each="limit"),
        SummaryRow("AR{area}", "recall", each="area"),
    ),
    description="mean over 10 IoU thresholds and 101 recall points, of the first 100 detections of an image and class",
)

ALL_POINT = dataclasses.replace(
    COCO,
    name="all-point",
    average="area",
    description="as coco, but the area under the precision envelope in place of 101 recall points",
)

# VOCdevkit's VOCevaldet.m and VOCap.m. An overlap equal to the threshold is enough there; py-faster-rcnn's `voc_eval`,
# which many copy, asks for more. It knows no areas: a false positive of swapped corners counts, where COCO, whose areas
# start at 0, leaves it out.
VOC2012 = EvaluationProtocol(
    name="voc2012",
    iou_thresholds=(0.5,),
    recall_points=COCO.recall_points,
    area_ranges=(AreaRange("all", -math.inf, math.inf, ""),),
    max_detections=(UNLIMITED,),
    class_agnostic=False,
    summary=(SummaryRow("AP"), SummaryRow("AR", "recall")),
    candidates="best",
    absorbing="ignored",
    average="area",
    description=(
        "one IoU threshold, 0.5; all detections; each looks at its most similar object alone, and is dropped if that "
        "is difficult; the area under the precision envelope (VOC 2010 and later)"
    ),
)

# The points are those of `np.arange(0, 1.1, 0.1)`, as in the Python ports of the devkit: 0.3, 0.6 and 0.7 lie one step
# above the double nearest to that tenth, so that a recall of 3 / 10 does not reach the fourth point.
VOC2007 = dataclasses.replace(
    VOC2012,
    name="voc2007",
    recall_points=tuple(np.linspace(0.0, 1.0, 11).tolist()),
    average="points",
    description="as voc2012, but the mean of the best precision at 11 recall points (VOC 2007 to 2009)",
)

# In this order each differs from the one before in as little as can be.
PROTOCOLS = {protocol.name: protocol for protocol in (COCO, ALL_POINT, VOC2012, VOC2007)}
