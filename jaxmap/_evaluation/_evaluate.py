"""`evaluate`: exact numbers from arrays, lists or tables in one call."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .._inputs._class_groups import check_class_groups, with_class_groups
from .._inputs._misread import warn_of_misread
from .._inputs._tables import as_tables, merge_classes
from .._matching._host import match_dataset
from ..protocols import EvaluationProtocol, protocol_for
from ..types import DetectionTable, GroundTruthTable
from ._result import Evaluation, evaluation_of

__all__ = ["evaluate"]


def evaluate(
    detections: Any,
    ground_truths: Any,
    *,
    protocol: str | EvaluationProtocol | None = None,
    box_format: str = "xyxy",
    class_names: Sequence[str] | Mapping[int, str] | None = None,
    num_classes: int | None = None,
    iou_thresholds: Sequence[float] | None = None,
    recall_points: Sequence[float] | None = None,
    area_ranges: Mapping[str, tuple[float, float]] | None = None,
    max_detections: int | Sequence[int] | None = None,
    class_agnostic: bool | None = None,
    class_groups: Mapping[str, Sequence[str | int]] | None = None,
    iou_type: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Scores detections against ground truths, exactly as pycocotools does, in float64 on the host.

    Args:
      detections: one of: `Detections` or a mapping of its fields, padded to `[I, D, ...]`; a sequence of one mapping
        per image, with `boxes` `[D, 4]`, `scores` `[D]` and `labels` `[D]`; a `DetectionTable`. Arrays are NumPy's,
        JAX's or PyTorch's; an image may also be `supervision.Detections`, in `xyxy`. Without `scores` in any image, all
        are 1 (see `Evaluation.precision_recall_f1`). Masks, keypoints and oriented boxes are given as in `Detections`;
        masks also as a list of COCO's run-length encodings, or of polygons together with the `size` of their image,
        `[height, width]`.
      ground_truths: likewise, with `boxes`, `labels` and optionally `crowd` (or `iscrowd`), `area`, `ignore`,
        `verified` and `not_exhaustive`.
      protocol: a protocol or its name; None for `coco`, or `coco-keypoints` if `iou_type` is `keypoints`.
      box_format: the format of all boxes, in pixels: `xyxy`, `xywh`, `cxcywh` (centre) or `yxyx`.
      class_names: names of the classes 0 .. K-1, or a mapping from label to name.
      num_classes: K, if no names are given. With neither, the classes are the labels that occur.
      iou_thresholds: instead of the protocol's; ascending, in (0, 1].
      recall_points: instead of the protocol's; ascending, in [0, 1].
      area_ranges: instead of the protocol's, name to (low, high) in square pixels, both ends included.
      max_detections: instead of the protocol's, one or several limits per image and class.
      class_agnostic: score all classes as one.
      class_groups: groups of classes that the summary averages separately, in place of the protocol's: name of the
        group to names or ids of its classes, such as `{"base": ["cat"], "novel": ["dog"]}`, for AP_base and AP_novel.
        A class may be in no group.
      iou_type: what is compared, instead of the protocol's: one of `jaxmap.protocols.IOU_TYPES`.
      progress: called with the name of each stage as it starts, such as `matching 36,000 detections of 5,000 images`.

    Returns:
      The evaluation; `print` it for the familiar table.

    Raises:
      ValueError: if an input's shape, length or value is not as described; the message names the image and the field.
        If a class of `class_groups` is unknown or in two groups.
      TypeError: if an input has another type, or labels are not integers.

    Example:
      >>> truth = [{"boxes": [[0.0, 0.0, 10.0, 10.0]], "labels": [0]}]
      >>> found = [{"boxes": [[0.0, 0.0, 10.0, 8.0]], "labels": [0], "scores": [0.9]}]
      >>> round(evaluate(found, truth).summary["AP"], 6)  # IoU 0.8 reaches 7 of 10 thresholds
      0.7
    """
    if progress is not None and not callable(progress):
        raise TypeError(f"`progress` must be a function that takes the name of a stage, got {type(progress).__name__}.")
    tell = progress or (lambda stage: None)
    protocol = protocol_for(iou_type, protocol).customize(
        iou_thresholds=iou_thresholds,
        recall_points=recall_points,
        area_ranges=area_ranges,
        max_detections=max_detections,
        class_agnostic=class_agnostic,
        iou_type=iou_type,
    )
    tell("reading inputs")
    found, truth = as_tables(
        detections,
        ground_truths,
        iou_type=protocol.iou_type,
        box_format=box_format,
        class_names=class_names,
        num_classes=num_classes,
    )
    if class_groups is not None:
        truth = with_class_groups(truth, class_groups)
        protocol = protocol.with_class_groups(list(class_groups))
    check_class_groups(truth, protocol.class_groups)
    if protocol.class_agnostic:
        if class_groups is not None:
            raise ValueError("`class_groups` must be None if all classes are scored as one (`class_agnostic`).")
        found, truth = merge_classes(found, truth)
    were_tables = isinstance(detections, DetectionTable)
    as_written = "xywh" if were_tables else box_format
    warn_of_misread(found, truth, iou_type=protocol.iou_type, box_format=as_written, were_tables=were_tables)
    tell(f"matching {len(found.labels):,} detections of {len(truth.image_ids):,} images")
    matched = match_dataset(found, truth, protocol)
    if not matched.dataset.ranked:
        _warn_of_limit(found, truth, protocol)
    tell("integrating curves")
    return evaluation_of(matched.dataset, protocol, matched=matched)


def _warn_of_limit(found: DetectionTable, truth: GroundTruthTable, protocol: EvaluationProtocol) -> None:
    """Warns if a limit excludes detections without scores, which is up to the order of the rows."""
    of_image, limit = protocol.limit_scope == "image", protocol.max_detections[-1]
    group = found.image_index if of_image else found.image_index * len(truth.class_ids) + found.labels
    excluded = np.maximum(np.unique(group, return_counts=True)[1] - limit, 0).sum()
    if excluded:
        warnings.warn(
            f"{excluded:,} of {len(group):,} detections are beyond the limit of {limit} per image"
            f"{'' if of_image else ' and class'} and are excluded; without scores (all are 1) the order of the rows "
            "decides which: pass a larger `max_detections`.",
            UserWarning,
            stacklevel=3,
        )
