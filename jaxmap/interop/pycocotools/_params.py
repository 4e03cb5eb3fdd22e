"""pycocotools' `Params`, and their conversion to a protocol."""
# ruff: noqa: N802  (the names are pycocotools')

from __future__ import annotations

from typing import Any

import numpy as np

from ...protocols import COCO, COCO_KEYPOINTS, AreaRange, EvaluationProtocol
from .._axes import Axes
from .coco import as_list

__all__ = ["Params", "axes_of", "class_ids", "grid"]

PROTOCOLS = {
    "segm": COCO.customize(iou_type="segm"),
    "bbox": COCO,
    "keypoints": COCO_KEYPOINTS,
}


class Params:
    """What `COCOeval` evaluates; change any field before `evaluate`.

    Attributes:
      imgIds, catIds: the images and categories that are included.
      iouThrs, recThrs: `[T]` and `[R]`, the IoU thresholds and the recall points.
      maxDets: limits on the detections of an image and category; `summarize` needs three, or 20 for keypoints.
      areaRng, areaRngLbl: pairs (low, high) of areas, both included, and their names.
      useCats: 0 scores all categories as one.
      iouType: `segm`, `bbox` or `keypoints`.
      useSegm: deprecated; None keeps `iouType`.
      kpt_oks_sigmas: `[P]`, only for keypoints: the standard deviation of annotators at each keypoint.
    """

    def __init__(self, iouType: str = "segm") -> None:
        self._set(_protocol_of(iouType))
        self.iouType = iouType
        self.useSegm: int | None = None

    def setDetParams(self) -> None:
        """Sets the values for boxes and masks; `iouType` stays."""
        self._set(COCO)

    def setKpParams(self) -> None:
        """Sets the values for keypoints; `iouType` stays."""
        self._set(COCO_KEYPOINTS)

    def _set(self, protocol: EvaluationProtocol) -> None:
        self.imgIds: Any = []
        self.catIds: Any = []
        self.iouThrs = np.array(protocol.iou_thresholds)
        self.recThrs = np.array(protocol.recall_points)
        self.maxDets = list(protocol.max_detections)
        self.areaRng: Any = [[area.low, area.high] for area in protocol.area_ranges]
        self.areaRngLbl = [area.name for area in protocol.area_ranges]
        self.useCats = 1
        if protocol.iou_type == "keypoints":
            self.kpt_oks_sigmas = np.array(protocol.keypoint_sigmas)


def axes_of(params: Any) -> Axes:
    return Axes.of(
        params.iouThrs,
        params.recThrs,
        params.maxDets,
        base=_protocol(params),
        area_ranges=_area_ranges(params),
        class_agnostic=not params.useCats,
    )


def class_ids(params: Any) -> list[Any]:
    """Returns the ids on the class axis."""
    return as_list(params.catIds) if params.useCats else [-1]


def grid(params: Any) -> tuple[Any, ...]:
    """Returns everything that the curves depend on, given the similarities, for comparison."""
    lists = (params.imgIds, params.catIds, params.iouThrs, params.recThrs, params.maxDets)
    return (*(tuple(as_list(values)) for values in lists), tuple(_area_ranges(params)), bool(params.useCats))


def _area_ranges(params: Any) -> list[AreaRange]:
    ranges = []
    for index, bounds in enumerate(params.areaRng):
        try:
            low, high = map(float, bounds)
        except (TypeError, ValueError):
            raise ValueError(f"`params.areaRng[{index}]` must be a pair (low, high), got {bounds!r}.") from None
        ranges.append(AreaRange(str(index), low, high, f"_{index}"))
    if not ranges:
        raise ValueError("`params.areaRng` must hold at least one pair (low, high), got none.")
    return ranges


def _protocol(params: Any) -> EvaluationProtocol:
    """Returns the protocol of the `iouType`, without the grids of the parameters."""
    protocol = _protocol_of(params.iouType)
    if protocol.iou_type != "keypoints":
        return protocol
    return protocol.customize(keypoint_sigmas=as_list(params.kpt_oks_sigmas))


def _protocol_of(iou_type: str) -> EvaluationProtocol:
    if iou_type not in PROTOCOLS:
        raise ValueError(f"`iouType` must be one of {list(PROTOCOLS)}, got {iou_type!r}.")
    return PROTOCOLS[iou_type]
