"""Evaluation protocols as data: what COCO, and every later definition of AP, decides, one field a rule.

A protocol is frozen and hashable, so it may be a static argument of `jit`. A new protocol is a new value; if it needs a
new class or an `if` on its name, a field is missing here. Fields that later protocols bring, each with COCO's rule as
its default and read by one stage: VOC looks only at the best ground truth (matching) and integrates 11 points or all
(curves); LVIS limits an image over all classes, leaves out classes that were not verified (packing) and groups classes
by frequency (summary); Open Images lets group-of boxes absorb detections (matching); keypoints name another similarity.

>>> COCO.iou_thresholds[0], len(COCO.recall_points), COCO.max_detections
(0.5, 101, (1, 10, 100))
>>> COCO.customize(max_detections=(1, 10, 300)).max_detections
(1, 10, 300)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np

__all__ = ["ALL_AREAS", "COCO", "PROTOCOLS", "AreaRange", "EvaluationProtocol", "SummaryRow", "get_protocol"]


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
      quantity: `precision` (a mean over recall points gives AP) or `recall` (AR).
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
    """

    name: str
    iou_thresholds: tuple[float, ...]
    recall_points: tuple[float, ...]
    area_ranges: tuple[AreaRange, ...]
    max_detections: tuple[int, ...]
    class_agnostic: bool
    summary: tuple[SummaryRow, ...]

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
    overall = [area for area in result if area.name == ALL_AREAS.name] or [ALL_AREAS]
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
)

PROTOCOLS = {"coco": COCO}
