"""Evaluation protocols as data: the rules of COCO, VOC and every other definition of AP, one field per rule.

A protocol is frozen and hashable, so it may be a static argument of `jit`. A new protocol is a new value; if it needs a
new class or an `if` on its name, a field is missing.

>>> COCO.iou_thresholds[0], len(COCO.recall_points), COCO.max_detections
(0.5, 101, (1, 10, 100))
>>> COCO.customize(max_detections=(1, 10, 300)).max_detections
(1, 10, 300)
>>> VOC2007.candidates, VOC2007.average, len(VOC2007.recall_points), VOC2012.average
('best', 'points', 11, 'area')
>>> COCO.customize(max_detections=300)
EvaluationProtocol('coco', max_detections=(300,))
>>> COCO.customize(iou_type="segm").iou_type, COCO_KEYPOINTS.iou_type, LVIS.limit_scope
('segm', 'keypoints', 'image')
"""

from ._checks import MAX_THRESHOLDS, UNLIMITED
from ._protocol import ALL_AREAS, IOU_TYPES, AreaRange, EvaluationProtocol, SummaryNumber, SummaryRow, limit_text
from ._quantities import MISS_RATE_POINTS, QUANTITIES, OfCounts, Quantity, log_average
from ._values import (
    AI_TOD,
    ALL_POINT,
    COCO,
    COCO_KEYPOINTS,
    COCO_WHOLEBODY,
    CROWDHUMAN,
    CROWDPOSE,
    KITTI,
    KITTI_40_POINT,
    LVIS,
    OPEN_IMAGES,
    OPEN_IMAGES_CHALLENGE,
    PROPOSALS,
    PROTOCOLS,
    ULTRALYTICS,
    VISDRONE,
    VOC2007,
    VOC2012,
    WIDER_FACE,
    get_protocol,
    protocol_for,
)

__all__ = [
    "AI_TOD",
    "ALL_AREAS",
    "ALL_POINT",
    "COCO",
    "COCO_KEYPOINTS",
    "COCO_WHOLEBODY",
    "CROWDHUMAN",
    "CROWDPOSE",
    "IOU_TYPES",
    "KITTI",
    "KITTI_40_POINT",
    "LVIS",
    "MAX_THRESHOLDS",
    "MISS_RATE_POINTS",
    "OPEN_IMAGES",
    "OPEN_IMAGES_CHALLENGE",
    "PROPOSALS",
    "PROTOCOLS",
    "QUANTITIES",
    "ULTRALYTICS",
    "UNLIMITED",
    "VISDRONE",
    "VOC2007",
    "VOC2012",
    "WIDER_FACE",
    "AreaRange",
    "EvaluationProtocol",
    "OfCounts",
    "Quantity",
    "SummaryNumber",
    "SummaryRow",
    "get_protocol",
    "limit_text",
    "log_average",
    "protocol_for",
]


def __dir__() -> list[str]:
    return list(__all__)
