"""detectron2's evaluation of results (facebookresearch/detectron2, detectron2/evaluation/coco_evaluation.py)."""

from __future__ import annotations

import contextlib
import copy
import io
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

METRICS = {
    "bbox": ["AP", "AP50", "AP75", "APs", "APm", "APl"],
    "segm": ["AP", "AP50", "AP75", "APs", "APm", "APl"],
    "keypoints": ["AP", "AP50", "AP75", "APm", "APl"],
}


def load(path: str) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        coco_api = COCO(path)
    assert len(coco_api.getAnnIds()) > 0
    cats = coco_api.loadCats(sorted(coco_api.getCatIds()))
    coco_api.class_names = [cat["name"] for cat in cats]
    return coco_api


def encode(masks: Any) -> list[dict[str, Any]]:
    rles = [mask_util.encode(np.array(mask[:, :, None], order="F", dtype="uint8"))[0] for mask in masks]
    for rle in rles:
        rle["counts"] = rle["counts"].decode("utf-8")
    return rles


def evaluate_predictions_on_coco(
    coco_gt: Any,
    coco_results: list[dict[str, Any]],
    iou_type: str,
    kpt_oks_sigmas: list[float] | None = None,
    img_ids: list[int] | None = None,
    max_dets_per_image: list[int] | None = None,
) -> Any:
    if iou_type == "segm":
        coco_results = copy.deepcopy(coco_results)
        for c in coco_results:
            c.pop("bbox", None)
    coco_dt = coco_gt.loadRes(coco_results)
    coco_eval = COCOeval(coco_gt, coco_dt, iou_type)
    if max_dets_per_image is None:
        max_dets_per_image = [1, 10, 100]
    elif max_dets_per_image[2] != 100:
        coco_eval = COCOevalMaxDets(coco_gt, coco_dt, iou_type)
    if iou_type != "keypoints":
        coco_eval.params.maxDets = max_dets_per_image
    if img_ids is not None:
        coco_eval.params.imgIds = img_ids
    if iou_type == "keypoints":
        if kpt_oks_sigmas:
            assert hasattr(coco_eval.params, "kpt_oks_sigmas"), "pycocotools is too old!"
            coco_eval.params.kpt_oks_sigmas = np.array(kpt_oks_sigmas)
        num_keypoints_gt = len(next(iter(coco_gt.anns.values()))["keypoints"]) // 3
        assert len(coco_eval.params.kpt_oks_sigmas) == len(coco_results[0]["keypoints"]) // 3 == num_keypoints_gt
    coco_eval.evaluate()
    coco_eval.accumulate()
    coco_eval.summarize()
    return coco_eval


def derive_coco_results(coco_eval: Any, iou_type: str, class_names: list[str]) -> dict[str, float]:
    results = {metric: float(coco_eval.stats[index] * 100) for index, metric in enumerate(METRICS[iou_type])}
    precisions = coco_eval.eval["precision"]
    assert len(class_names) == precisions.shape[2]
    for index, name in enumerate(class_names):
        precision = precisions[:, :, index, 0, -1]
        precision = precision[precision > -1]
        ap = np.mean(precision) if precision.size else float("nan")
        results[f"AP-{name}"] = float(ap * 100)
    return results


class COCOevalMaxDets(COCOeval):
    """Replaces `summarize`, so that AP is at the largest limit instead of at 100."""

    def summarize(self) -> None:
        limits = self.params.maxDets
        lines = [(1, None, "all", 2), (1, 0.5, "all", 2), (1, 0.75, "all", 2)]
        lines += [(1, None, area, 2) for area in ("small", "medium", "large")]
        lines += [(0, None, "all", place) for place in range(3)]
        lines += [(0, None, area, 2) for area in ("small", "medium", "large")]
        if not self.eval:
            raise Exception("Please run accumulate() first")
        self.stats = np.array([self.line(ap, threshold, area, limits[place]) for ap, threshold, area, place in lines])

    def line(self, ap: int, threshold: float | None, area: str, limit: int) -> float:
        p = self.params
        areas = [i for i, name in enumerate(p.areaRngLbl) if name == area]
        limits = [i for i, value in enumerate(p.maxDets) if value == limit]
        s = self.eval["precision" if ap == 1 else "recall"]
        if threshold is not None:
            s = s[np.where(threshold == p.iouThrs)[0]]
        s = s[:, :, :, areas, limits] if ap == 1 else s[:, :, areas, limits]
        return float(np.mean(s[s > -1])) if len(s[s > -1]) else -1.0
