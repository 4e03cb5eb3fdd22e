"""DETR's `CocoEvaluator` (facebookresearch/detr, datasets/coco_eval.py), which RF-DETR has too."""

from __future__ import annotations

import contextlib
import copy
import os
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


class CocoEvaluator:
    def __init__(self, coco_gt: Any, iou_types: tuple[str, ...]) -> None:
        self.coco_gt = copy.deepcopy(coco_gt)
        self.iou_types = iou_types
        self.coco_eval = {iou_type: COCOeval(self.coco_gt, iouType=iou_type) for iou_type in iou_types}
        self.img_ids: list[Any] = []
        self.eval_imgs: dict[str, Any] = {iou_type: [] for iou_type in iou_types}

    def update(self, predictions: dict[int, Any]) -> None:
        img_ids = list(np.unique(list(predictions.keys())))
        self.img_ids.extend(img_ids)
        for iou_type in self.iou_types:
            results = prepare(predictions, iou_type)
            with open(os.devnull, "w") as devnull, contextlib.redirect_stdout(devnull):
                coco_dt = COCO.loadRes(self.coco_gt, results) if results else COCO()
            coco_eval = self.coco_eval[iou_type]
            coco_eval.cocoDt = coco_dt
            coco_eval.params.imgIds = list(img_ids)
            img_ids, eval_imgs = evaluate(coco_eval)
            self.eval_imgs[iou_type].append(eval_imgs)

    def synchronize_between_processes(self, others: tuple[CocoEvaluator, ...] = ()) -> None:
        """Takes the evaluators of the other processes in place of a gather."""
        for iou_type in self.iou_types:
            parts = [np.concatenate(one.eval_imgs[iou_type], 2) for one in (self, *others)]
            img_ids, index = np.unique(np.concatenate([one.img_ids for one in (self, *others)]), return_index=True)
            coco_eval = self.coco_eval[iou_type]
            coco_eval.evalImgs = list(np.concatenate(parts, 2)[..., index].flatten())
            coco_eval.params.imgIds = list(img_ids)
            coco_eval._paramsEval = copy.deepcopy(coco_eval.params)

    def accumulate(self) -> None:
        for coco_eval in self.coco_eval.values():
            coco_eval.accumulate()

    def summarize(self) -> None:
        for iou_type, coco_eval in self.coco_eval.items():
            print(f"IoU metric: {iou_type}")
            coco_eval.summarize()


def prepare(predictions: dict[int, Any], iou_type: str) -> list[dict[str, Any]]:
    results = []
    for image_id, prediction in predictions.items():
        if len(prediction) == 0:
            continue
        scores, labels = prediction["scores"].tolist(), prediction["labels"].tolist()
        if iou_type == "bbox":
            field, shapes = "bbox", convert_to_xywh(prediction["boxes"]).tolist()
        elif iou_type == "segm":
            field, shapes = "segmentation", encode(prediction["masks"] > 0.5)
        else:
            field, shapes = "keypoints", [one.ravel().tolist() for one in prediction["keypoints"]]
        results += [
            {"image_id": image_id, "category_id": labels[k], field: shape, "score": scores[k]}
            for k, shape in enumerate(shapes)
        ]
    return results


def encode(masks: Any) -> list[dict[str, Any]]:
    rles = [mask_util.encode(np.array(mask[0, :, :, np.newaxis], dtype=np.uint8, order="F"))[0] for mask in masks]
    for rle in rles:
        rle["counts"] = rle["counts"].decode("utf-8")
    return rles


def convert_to_xywh(boxes: Any) -> Any:
    xmin, ymin, xmax, ymax = boxes.T
    return np.stack([xmin, ymin, xmax - xmin, ymax - ymin], axis=1)


def evaluate(self: Any) -> tuple[Any, Any]:
    """pycocotools' `evaluate` without what it prints: the inner steps, one by one."""
    p = self.params
    if p.useSegm is not None:
        p.iouType = "segm" if p.useSegm == 1 else "bbox"
    p.imgIds = list(np.unique(p.imgIds))
    if p.useCats:
        p.catIds = list(np.unique(p.catIds))
    p.maxDets = sorted(p.maxDets)
    self.params = p
    self._prepare()
    catIds = p.catIds if p.useCats else [-1]
    computeIoU = self.computeOks if p.iouType == "keypoints" else self.computeIoU
    self.ious = {(imgId, catId): computeIoU(imgId, catId) for imgId in p.imgIds for catId in catIds}
    evaluateImg = self.evaluateImg
    maxDet = p.maxDets[-1]
    evalImgs = [
        evaluateImg(imgId, catId, areaRng, maxDet) for catId in catIds for areaRng in p.areaRng for imgId in p.imgIds
    ]
    evalImgs = np.asarray(evalImgs).reshape(len(catIds), len(p.areaRng), len(p.imgIds))
    self._paramsEval = copy.deepcopy(self.params)
    return p.imgIds, evalImgs
