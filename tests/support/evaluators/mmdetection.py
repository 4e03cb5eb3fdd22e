"""mmdetection's `CocoMetric` (open-mmlab/mmdetection, mmdet/evaluation/metrics/coco_metric.py) and its `COCO`."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
from pycocotools.coco import COCO as _COCO
from pycocotools.cocoeval import COCOeval

PROPOSAL_ITEMS = ["AR@100", "AR@300", "AR@1000", "AR_s@1000", "AR_m@1000", "AR_l@1000"]
ITEMS = ["mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l"]
PLACES = {name: place for place, name in enumerate([*ITEMS, *PROPOSAL_ITEMS])}


class COCO(_COCO):
    """The same with names in snake case."""

    def __init__(self, annotation_file: Any = None) -> None:
        super().__init__(annotation_file=annotation_file)
        self.img_ann_map = self.imgToAnns
        self.cat_img_map = self.catToImgs

    def get_ann_ids(self, img_ids: Any = (), cat_ids: Any = (), area_rng: Any = (), iscrowd: Any = None) -> Any:
        return self.getAnnIds(img_ids, cat_ids, area_rng, iscrowd)

    def get_cat_ids(self, cat_names: Any = (), sup_names: Any = (), cat_ids: Any = ()) -> Any:
        return self.getCatIds(cat_names, sup_names, cat_ids)

    def get_img_ids(self, img_ids: Any = (), cat_ids: Any = ()) -> Any:
        return self.getImgIds(img_ids, cat_ids)


def encode_mask_results(masks: Any) -> list[dict[str, Any]]:
    return [mask_util.encode(np.array(mask[:, :, np.newaxis], order="F", dtype="uint8"))[0] for mask in masks]


def compute_metrics(
    ann_file: pathlib.Path,
    classes: list[str],
    results: list[dict[str, Any]],
    metric: str,
    folder: pathlib.Path,
    proposal_nums: tuple[int, ...] = (100, 300, 1000),
) -> dict[str, float]:
    """Results are one dictionary per image: `img_id`, `bboxes` xyxy, `scores`, `labels`, and `masks`, encodings."""
    coco_api = COCO(ann_file)
    cat_ids, img_ids = coco_api.get_cat_ids(cat_names=classes), coco_api.get_img_ids()
    iou_type = "bbox" if metric == "proposal" else metric
    path = folder / f"results.{iou_type}.json"
    path.write_text(json.dumps(results2json(results, cat_ids, iou_type)))
    predictions = json.loads(path.read_text())
    if iou_type == "segm":
        for x in predictions:
            x.pop("bbox")
    coco_dt = coco_api.loadRes(predictions)
    coco_eval = COCOeval(coco_api, coco_dt, iou_type)
    coco_eval.params.catIds = cat_ids
    coco_eval.params.imgIds = img_ids
    coco_eval.params.maxDets = list(proposal_nums)
    coco_eval.params.iouThrs = np.linspace(0.5, 0.95, int(np.round((0.95 - 0.5) / 0.05)) + 1, endpoint=True)
    if metric == "proposal":
        coco_eval.params.useCats = 0
    coco_eval.evaluate()
    coco_eval.accumulate()
    coco_eval.summarize()
    if metric == "proposal":
        return {item: float(f"{coco_eval.stats[PLACES[item]]:.3f}") for item in PROPOSAL_ITEMS}
    found = {}
    precisions = coco_eval.eval["precision"]
    assert len(cat_ids) == precisions.shape[2]
    for index, cat_id in enumerate(cat_ids):
        nm = coco_api.loadCats(cat_id)[0]
        precision = precisions[:, :, index, 0, -1]
        precision = precision[precision > -1]
        found[f"{nm['name']}_precision"] = round(np.mean(precision) if precision.size else float("nan"), 3)
    return found | {f"{metric}_{item}": float(coco_eval.stats[PLACES[item]]) for item in ITEMS}


def results2json(results: list[dict[str, Any]], cat_ids: list[int], iou_type: str) -> list[dict[str, Any]]:
    rows = []
    for result in results:
        for i, label in enumerate(result["labels"]):
            left, top, right, bottom = result["bboxes"][i].tolist()
            row = {"image_id": result["img_id"], "bbox": [left, top, right - left, bottom - top]}
            row |= {"score": float(result["scores"][i]), "category_id": cat_ids[label]}
            if iou_type == "segm":
                mask = result["masks"][i]
                if isinstance(mask["counts"], bytes):
                    mask["counts"] = mask["counts"].decode()
                row["segmentation"] = mask
            rows.append(row)
    return rows
