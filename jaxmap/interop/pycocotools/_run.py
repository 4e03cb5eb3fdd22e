"""An evaluation of what `Params` select, with its rows, and the curves of entries that the user gives."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..._curves._host import precision_recall
from ..._evaluation import Evaluation, evaluate
from ...types import HostArray, PrecisionRecall
from .._axes import Axes
from .._cells import read_eval_images
from ._params import axes_of, class_ids
from ._tables import detection_table, ground_truth_table
from .coco import as_list

__all__ = ["Run", "cells_of", "curves_of"]


class Run(NamedTuple):
    """One evaluation of the images and classes of the parameters, and the entries of its rows."""

    axes: Axes
    evaluation: Evaluation
    detections: list[dict[str, Any]]
    ground_truths: list[dict[str, Any]]

    @classmethod
    def of(cls, coco_gt: Any, coco_dt: Any, params: Any) -> Run:
        axes = axes_of(params)
        images, classes = (
            {value: index for index, value in enumerate(dict.fromkeys(as_list(ids)))}
            for ids in (params.imgIds, params.catIds)
        )
        _warn_of_unknown("imgIds", images.keys() - coco_gt.imgs.keys())
        if params.useCats:
            _warn_of_unknown("catIds", classes.keys() - coco_gt.cats.keys())
        found, truth = _rows(coco_dt, images, classes), _rows(coco_gt, images, classes)
        tables = (
            detection_table(found, coco_dt.imgs, (images, classes), params.iouType),
            ground_truth_table(truth, coco_gt.imgs, (images, classes), params.iouType),
        )
        return cls(axes, evaluate(*tables, protocol=axes.protocol), found, truth)

    def curves(self) -> PrecisionRecall[HostArray]:
        return self.axes.spread(self.evaluation.curves)


def curves_of(entries: Any, params: Any) -> PrecisionRecall[HostArray]:
    """Returns the curves of `evalImgs` that the user assigned."""
    axes = axes_of(params)
    num_classes = len(class_ids(params))
    records, order = read_eval_images(
        entries,
        num_classes=num_classes,
        num_areas=len(params.areaRng),
        num_images=len(params.imgIds),
        num_rows=len(axes.thresholds),
        thresholds=np.unique(axes.thresholds, return_index=True)[1],
    )
    curves = precision_recall(
        records, protocol=axes.protocol, num_classes=num_classes, order=order, num_images=len(params.imgIds)
    )
    return axes.spread(curves)


def cells_of(rows: list[dict[str, Any]], coco: Any, iou_type: str) -> defaultdict[Any, list[dict[str, Any]]]:
    """Returns rows by (image id, category id) as pycocotools' `_gts` and `_dts`: copies, with masks as encodings.

    Ground truths, which have no score, have the flag `ignore`.
    """
    cells = defaultdict(list)
    for row in rows:
        one = dict(row)
        if iou_type == "segm":
            one["segmentation"] = coco.annToRLE(row)
        if "score" not in row:
            unlabelled = iou_type == "keypoints" and row.get("num_keypoints") == 0
            one["ignore"] = int(bool(row.get("iscrowd")) or unlabelled)
        cells[row["image_id"], row["category_id"]].append(one)
    return cells


def _rows(coco: Any, images: Mapping[Any, int], classes: Mapping[Any, int]) -> list[dict[str, Any]]:
    """Returns the included annotations, by image; those with a repeated id are all replaced by the last one."""
    if not images:
        return []  # an empty filter would select all of them
    rows = coco.loadAnns(coco.getAnnIds(imgIds=list(images)))
    return [row for row in rows if row["category_id"] in classes and row["image_id"] in images]


def _warn_of_unknown(name: str, unknown: set[Any]) -> None:
    if unknown:
        warnings.warn(
            f"{len(unknown)} of `params.{name}` are not in the ground truths, and nothing is scored there, for example "
            f"{next(iter(unknown))!r}.",
            UserWarning,
            stacklevel=5,
        )
