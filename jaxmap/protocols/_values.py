"""The protocols that come with the library, and their names."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ._checks import UNLIMITED
from ._protocol import ALL_AREAS, AreaRange, EvaluationProtocol, SummaryRow

__all__ = [
    "AI_TOD",
    "ALL_POINT",
    "COCO",
    "COCO_KEYPOINTS",
    "COCO_WHOLEBODY",
    "CROWDHUMAN",
    "CROWDPOSE",
    "KITTI",
    "KITTI_40_POINT",
    "LVIS",
    "OPEN_IMAGES",
    "OPEN_IMAGES_CHALLENGE",
    "PROPOSALS",
    "PROTOCOLS",
    "ULTRALYTICS",
    "VISDRONE",
    "VOC2007",
    "VOC2012",
    "WIDER_FACE",
    "get_protocol",
    "protocol_for",
]

# NumPy's linspace and not rounded decimals: 0.9 is 0.8999999999999999 there, and ten recall points lie one step above
# the double nearest to i / 100; both affect results (pycocotools cocoeval.py, Params.setDetParams).
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
    description="mean over 10 IoU thresholds and 101 recall points; the first 100 detections per image and class",
)

ALL_POINT = dataclasses.replace(
    COCO,
    name="all-point",
    average="area",
    description="as coco, but with the area under the precision envelope in place of 101 recall points",
)

# VOCdevkit's VOCevaldet.m and VOCap.m. An overlap equal to the threshold is enough there; py-faster-rcnn's `voc_eval`,
# which is often copied, requires a larger one. There are no area ranges: a false positive with swapped corners is
# counted, whereas COCO, whose areas start at 0, excludes it.
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
        "one IoU threshold, 0.5; all detections; each may match only its most similar object, and is ignored if that "
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
    description="as voc2012, but with the mean of the best precision at 11 recall points (VOC 2007 to 2009)",
)

# lvis-api eval.py, Params and LVISEval: no limit per class, but one per image over all classes. A detection without
# area counts towards the limit, but is then excluded (lvis.py, get_ann_ids), so the ranges begin above 0.
_SMALLEST_AREA = 5e-324  # above 0 in float64
LVIS = dataclasses.replace(
    COCO,
    name="lvis",
    area_ranges=tuple(dataclasses.replace(one, low=one.low if one.low else _SMALLEST_AREA) for one in COCO.area_ranges),
    max_detections=(300,),
    limit_scope="image",
    class_groups=("r", "c", "f"),
    summary=(
        SummaryRow("AP"),
        SummaryRow("AP50", iou_threshold=0.5),
        SummaryRow("AP75", iou_threshold=0.75),
        SummaryRow("AP{area}", each="area"),
        SummaryRow("AP{group}", each="class_group"),
        SummaryRow("AR@{limit}", "recall"),
        SummaryRow("AR{area}@{limit}", "recall", each="area"),
    ),
    description=(
        "as coco, but with the first 300 detections per image over all classes; classes that were not verified in an "
        "image are excluded there; also AP of rare, common and frequent classes"
    ),
)

# Open Images V2 in the TensorFlow object detection API, per_image_evaluation.py with `group_of_weight` 0: as VOC, but
# an unmatched detection is excluded if its share inside a group-of box, a crowd here, reaches the threshold.
OPEN_IMAGES = dataclasses.replace(
    VOC2012,
    name="open-images",
    absorbing="all",
    description=(
        "as voc2012, but unmatched detections inside a group-of box are ignored; classes that were not verified in an "
        "image are excluded there"
    ),
)

# The same with the challenge's `group_of_weight` 1, OpenImagesChallengeEvaluator: each group-of box counts as one
# object, which the best detection inside finds. There a score of 0 or below finds none.
OPEN_IMAGES_CHALLENGE = dataclasses.replace(
    OPEN_IMAGES,
    name="open-images-challenge",
    absorbing="groups",
    description=(
        "as open-images, but each group-of box counts as one object: of the unmatched detections inside, the best is a "
        "true positive; without any it is missed"
    ),
)

_COCO_SIGMAS = (0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89)
COCO_KEYPOINTS = dataclasses.replace(
    COCO,
    name="coco-keypoints",
    iou_type="keypoints",
    keypoint_sigmas=tuple((np.array(_COCO_SIGMAS) / 10).tolist()),  # divided as in pycocotools, for equal bits
    area_ranges=tuple(one for one in COCO.area_ranges if one.name != "small"),
    max_detections=(20,),
    summary=(
        SummaryRow("AP"),
        SummaryRow("AP50", iou_threshold=0.5),
        SummaryRow("AP75", iou_threshold=0.75),
        SummaryRow("AP{area}", each="area"),
        SummaryRow("AR", "recall"),
        SummaryRow("AR50", "recall", iou_threshold=0.5),
        SummaryRow("AR75", "recall", iou_threshold=0.75),
        SummaryRow("AR{area}", "recall", each="area"),
    ),
    description="COCO's 17 keypoints of people: object keypoint similarity; the first 20 detections per image",
)

# crowdposetools cocoeval.py, get_type_result(0.2, 0.8): an image of a crowd index of 0.2 is medium, of 0.8 hard.
_CROWDPOSE_SIGMAS = (0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89, 0.79, 0.79)
CROWDPOSE = dataclasses.replace(
    COCO_KEYPOINTS,
    name="crowdpose",
    keypoint_sigmas=tuple((np.array(_CROWDPOSE_SIGMAS) / 10).tolist()),
    range_of="crowd_index",
    area_ranges=(
        AreaRange("all", -math.inf, math.inf, ""),
        AreaRange("easy", -math.inf, math.nextafter(0.2, 0.0), "_easy"),
        AreaRange("medium", 0.2, math.nextafter(0.8, 0.0), "_medium"),
        AreaRange("hard", 0.8, math.inf, "_hard"),
    ),
    summary=(*COCO_KEYPOINTS.summary[:4], *COCO_KEYPOINTS.summary[4:7]),
    description="CrowdPose's 14 keypoints of people in crowds; also AP of easy, medium and hard images",
)

# COCO-WholeBody's myeval_wholebody.py: body, feet, face, left hand, right hand, in this order, as in xtcocotools. Those
# of the body are COCO's as decimals, so five differ from COCO's quotients in the last bit. xtcocotools takes the area
# of a detection, which decides its area range, from the 17 keypoints of the body; here it is from all.
_BODY_SIGMAS = tuple(round(sigma, 3) for sigma in COCO_KEYPOINTS.keypoint_sigmas)
_FOOT_SIGMAS = (0.068, 0.066, 0.066, 0.092, 0.094, 0.094)
_FACE_SIGMAS = (
    *(0.042, 0.043, 0.044, 0.043, 0.040, 0.035, 0.031, 0.025, 0.020, 0.023, 0.029, 0.032, 0.037, 0.038, 0.043, 0.041),
    *(0.045, 0.013, 0.012, 0.011, 0.011, 0.012, 0.012, 0.011, 0.011, 0.013, 0.015, 0.009, 0.007, 0.007, 0.007, 0.012),
    *(0.009, 0.008, 0.016, 0.010, 0.017, 0.011, 0.009, 0.011, 0.009, 0.007, 0.013, 0.008, 0.011, 0.012, 0.010, 0.034),
    *(0.008, 0.008, 0.009, 0.008, 0.008, 0.007, 0.010, 0.008, 0.009, 0.009, 0.009, 0.007, 0.007, 0.008, 0.011, 0.008),
    *(0.008, 0.008, 0.010, 0.008),
)
_HAND_SIGMAS = (
    *(0.029, 0.022, 0.035, 0.037, 0.047, 0.026, 0.025, 0.024, 0.035, 0.018, 0.024, 0.022, 0.026, 0.017, 0.021, 0.021),
    *(0.032, 0.020, 0.019, 0.022, 0.031),
)
COCO_WHOLEBODY = dataclasses.replace(
    COCO_KEYPOINTS,
    name="coco-wholebody",
    keypoint_sigmas=(*_BODY_SIGMAS, *_FOOT_SIGMAS, *_FACE_SIGMAS, *_HAND_SIGMAS, *_HAND_SIGMAS),
    description="as coco-keypoints, but with COCO-WholeBody's 133 keypoints: body, feet, face, left and right hand",
)

# VisDrone2018-DET-toolkit's calcAccuracy.m, evalRes.m and VOCap.m: COCO's match rule, but a limit per image over all
# classes, and the area under the envelope. It has no area ranges; publications report COCO's. It leaves out what lies
# in ignored regions before (dropObjectsInIgr.m), and counts a class without objects as 0, which here is undefined.
VISDRONE = dataclasses.replace(
    ALL_POINT,
    name="visdrone",
    area_ranges=(*VOC2012.area_ranges, *COCO.area_ranges[1:]),
    max_detections=(1, 10, 100, 500),
    limit_scope="image",
    description="as all-point, but with the first 500 detections per image over all classes",
)

# AI-TOD's cocoapi, Params.setDetParams; `verytiny` and so on are its names.
AI_TOD = dataclasses.replace(
    COCO,
    name="ai-tod",
    area_ranges=(
        ALL_AREAS,
        AreaRange("verytiny", 0.0, 8.0**2, "vt"),
        AreaRange("tiny", 8.0**2, 16.0**2, "t"),
        AreaRange("small", 16.0**2, 32.0**2, "s"),
        AreaRange("medium", 32.0**2, 1e10, "m"),
    ),
    max_detections=(1, 100, 1500),
    description="as coco, but with the first 1,500 detections per image and class, and AI-TOD's ranges of small areas",
)

# Where an IoU equal to the threshold is not enough: so far above it that it is told apart inside `jit`, and so little
# that no IoU of boxes with one decimal lies between.
_ABOVE = 2.0**-33

# CrowdHuman's evaluation, as in CrowdDet's evaluate/APMRToolkits: COCO's match rule with ignore regions as crowds. Its
# AP joins the points of the curve by straight lines, without an envelope, so it differs from the AP here.
CROWDHUMAN = dataclasses.replace(
    VOC2012,
    name="crowdhuman",
    iou_thresholds=(0.5 + _ABOVE,),
    candidates="all",
    absorbing="crowds",
    summary=(SummaryRow("AP"), SummaryRow("MR", "miss_rate"), SummaryRow("AR", "recall")),
    description=(
        "an IoU above 0.5; all detections; the log-average miss rate over 0.01 to 1 false positives per image "
        "(MR^-2), lower is better; the area under the precision envelope"
    ),
)

# WIDER FACE's eval_tools, evaluation.m. It reads the curve at 1,000 scores only, evenly spaced between the lowest and
# the highest, so its AP is lower, and leaves out detections in images without any face.
WIDER_FACE = dataclasses.replace(
    VOC2012,
    name="wider-face",
    description="as voc2012; the faces that are not in the set easy, medium or hard are ignored, and absorb detections",
)

# pycocotools with `useCats` 0, as proposals are scored (Kirillov et al., Segment Anything, 2023, section 7.3).
PROPOSALS = dataclasses.replace(
    COCO,
    name="proposals",
    class_agnostic=True,
    max_detections=(10, 100, 1000),
    summary=COCO.summary[-2:],
    description="as coco, but the average recall of all classes as one, with the first 1,000 detections per image",
)

# Simonelli et al., Disentangling Monocular 3D Object Detection, 2019: KITTI's 40 recall points, without 0. KITTI's
# devkit also leaves out objects by height, occlusion and truncation, and reads the curve at 41 scores only, about one
# per recall point.
KITTI_40_POINT = dataclasses.replace(
    COCO,
    name="kitti-40-point",
    iou_thresholds=(0.5, 0.7),
    recall_points=tuple((np.arange(1, 41) / 40).tolist()),
    area_ranges=VOC2012.area_ranges,
    max_detections=VOC2012.max_detections,
    summary=(SummaryRow("AP50", iou_threshold=0.5), SummaryRow("AP70", iou_threshold=0.7)),
    description=(
        "two IoU thresholds, 0.5 for pedestrians and cyclists and 0.7 for cars; all detections; 40 recall points, 1/40 "
        "to 1"
    ),
)

# Ultralytics since 8.4.176: match_predictions of engine/validator.py, compute_ap of utils/metrics.py. A recall point
# has the best precision at recalls above it, so each lies one step above a double of `linspace`; at recall 1 none is
# left. Before 8.4.176 a detection could match only its most similar object (`candidates="best"`); before 8.4.37 the
# curve also went on from the last detection in a straight line to precision 0 at recall 1, which adds to AP.
# Ultralytics computes IoU in float32, with 1e-7 added to the union, of equal ones takes the first object, and orders
# equal scores arbitrarily. It raises the limit of 300 where an image has more objects.
ULTRALYTICS = dataclasses.replace(
    COCO,
    name="ultralytics",
    recall_points=tuple(np.nextafter(np.linspace(0.0, 1.0, 101)[:-1], 1.0).tolist()),
    area_ranges=VOC2012.area_ranges,
    max_detections=(300,),
    absorbing="none",
    average="trapezoid",
    limit_scope="image",
    summary=COCO.summary[:3],
    description=(
        "as coco, but the area by the trapezoid rule over 101 recall points, of which each has the best precision at "
        "recalls above it; the first 300 detections per image over all classes; crowds are left out"
    ),
)

# The devkit's IoU is 0.7 for cars and 0.5 for the others, and an IoU equal to it is not enough. There an object takes
# the most similar detection, and here a detection takes the most similar object. A detection that is too low for the
# difficulty may take an object there; here the reader leaves it out.
KITTI = dataclasses.replace(
    KITTI_40_POINT,
    name="kitti",
    iou_thresholds=(0.5 + _ABOVE, 0.7 + _ABOVE),
    class_groups=("Car", "Pedestrian", "Cyclist"),
    summary=(
        SummaryRow("AP70_{group}", iou_threshold=0.7, each="class_group"),
        SummaryRow("AP50_{group}", iou_threshold=0.5, each="class_group"),
    ),
    description=(
        "as kitti-40-point, but class by class, for the reader's difficulties: AP70_Car, AP50_Pedestrian and "
        "AP50_Cyclist are those of the benchmark"
    ),
)

# In an order in which each protocol differs as little as possible from the one before.
PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        *(COCO, ALL_POINT, VOC2012, VOC2007, LVIS, OPEN_IMAGES, OPEN_IMAGES_CHALLENGE, COCO_KEYPOINTS, CROWDPOSE),
        *(COCO_WHOLEBODY, VISDRONE, AI_TOD, PROPOSALS, CROWDHUMAN, WIDER_FACE, KITTI_40_POINT, KITTI, ULTRALYTICS),
    )
}


def get_protocol(protocol: str | EvaluationProtocol) -> EvaluationProtocol:
    """Returns a protocol by its name, in upper or lower case; a protocol is returned unchanged.

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


def protocol_for(iou_type: str | None, protocol: str | EvaluationProtocol | None = None) -> EvaluationProtocol:
    """Returns a protocol, given itself or by name; None stands for the first one with the IoU type, or COCO."""
    if protocol is None:
        return next((one for one in PROTOCOLS.values() if one.iou_type == iou_type), COCO)
    return get_protocol(protocol)
