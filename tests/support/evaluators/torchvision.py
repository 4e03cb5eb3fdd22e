"""torchvision's `CocoEvaluator` (pytorch/vision, references/detection/coco_eval.py), `loadRes` as in older ones."""
# ruff: noqa: N802  (the names are pycocotools')

from __future__ import annotations

import copy
import io
from collections import defaultdict
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


class CocoEvaluator:
    def __init__(self, coco_gt: Any, iou_types: tuple[str, ...]) -> None:
        coco_gt = copy.deepcopy(coco_gt)
        self.coco_gt = coco_gt
        self.iou_types = iou_types
        self.coco_eval = {iou_type: COCOeval(coco_gt, iouType=iou_type) for iou_type in iou_types}
        self.img_ids: list[Any] = []
        self.eval_imgs: dict[str, Any] = {iou_type: [] for iou_type in iou_types}

    def update(self, results: dict[str, list[dict[str, Any]]], img_ids: list[int]) -> None:
        """Takes results that are already rows of dictionaries, by kind."""
        self.img_ids.extend(img_ids)
        for iou_type in self.iou_types:
            with redirect_stdout(io.StringIO()):
                rows = copy.deepcopy(results[iou_type])
                coco_dt = loadRes(self.coco_gt, rows) if rows else COCO()
            coco_eval = self.coco_eval[iou_type]
            coco_eval.cocoDt = coco_dt
            coco_eval.params.imgIds = list(img_ids)
            _, eval_imgs = evaluate(coco_eval)
            self.eval_imgs[iou_type].append(eval_imgs)

    def synchronize_between_processes(self) -> None:
        for iou_type in self.iou_types:
            merged = np.concatenate(self.eval_imgs[iou_type], 2)
            img_ids, index = np.unique(np.array(self.img_ids), return_index=True)
            coco_eval = self.coco_eval[iou_type]
            coco_eval.evalImgs = list(merged[..., index].flatten())
            coco_eval.params.imgIds = list(img_ids)
            coco_eval._paramsEval = copy.deepcopy(coco_eval.params)

    def accumulate(self) -> None:
        for coco_eval in self.coco_eval.values():
            coco_eval.accumulate()

    def summarize(self) -> None:
        for coco_eval in self.coco_eval.values():
            coco_eval.summarize()


def evaluate(imgs: Any) -> tuple[Any, Any]:
    with redirect_stdout(io.StringIO()):
        imgs.evaluate()
    return imgs.params.imgIds, np.asarray(imgs.evalImgs).reshape(-1, len(imgs.params.areaRng), len(imgs.params.imgIds))


def loadRes(self: Any, anns: list[dict[str, Any]]) -> Any:
    """pycocotools' `loadRes` without what it prints: everything is set from outside."""
    res = COCO()
    res.dataset["images"] = list(self.dataset["images"])
    assert {ann["image_id"] for ann in anns} <= set(self.getImgIds())
    res.dataset["categories"] = copy.deepcopy(self.dataset["categories"])
    for number, ann in enumerate(anns, 1):
        if ann.get("bbox"):
            x, y, width, height = ann["bbox"]
            corners = [x, y, x, y + height, x + width, y + height, x + width, y]
            ann.setdefault("segmentation", [corners])
            ann["area"] = width * height
        elif "segmentation" in ann:
            ann["area"] = mask_util.area(ann["segmentation"])
            if "bbox" not in ann:
                ann["bbox"] = mask_util.toBbox(ann["segmentation"])
        else:
            x, y = ann["keypoints"][0::3], ann["keypoints"][1::3]
            left, right, top, bottom = np.min(x), np.max(x), np.min(y), np.max(y)
            ann["area"] = (right - left) * (bottom - top)
            ann["bbox"] = [left, top, right - left, bottom - top]
        ann["id"] = number
        ann["iscrowd"] = 0
    res.dataset["annotations"] = anns
    createIndex(res)
    return res


def createIndex(self: Any) -> None:
    self.anns = {ann["id"]: ann for ann in self.dataset["annotations"]}
    self.imgs = {img["id"]: img for img in self.dataset["images"]}
    self.cats = {cat["id"]: cat for cat in self.dataset["categories"]}
    self.imgToAnns, self.catToImgs = defaultdict(list), defaultdict(list)
    for ann in self.dataset["annotations"]:
        self.imgToAnns[ann["image_id"]].append(ann)
        self.catToImgs[ann["category_id"]].append(ann["image_id"])
