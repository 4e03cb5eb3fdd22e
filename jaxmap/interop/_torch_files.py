"""COCO files from the images of the torchmetrics-like metric, and its inputs from COCO files."""

from __future__ import annotations

import contextlib
import io
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._geometry._rle import coco_masks
from ..types import HostArray
from ._torch_images import Image, areas_of
from .pycocotools.coco import COCO

__all__ = ["read_coco", "write_coco"]

Side = list[dict[str, HostArray]]


def write_coco(images: list[Image], name: str) -> None:
    """Writes `name_preds.json` and `name_target.json`; the ids of images are 0, 1, ..., those of classes the labels."""
    entries, found, truth = [], list[dict[str, Any]](), list[dict[str, Any]]()
    labels = set[int]()
    for image_id, image in enumerate(images):
        sides = (image.shapes, image.true_shapes)
        sizes = [size for side in sides if "masks" in side for size in side["masks"].sizes.tolist()]
        entries.append({"id": image_id} | ({"height": sizes[0][0], "width": sizes[0][1]} if sizes else {}))
        scores, crowd = {"score": image.scores}, {"iscrowd": image.crowd.astype(int)}
        found += _rows(image_id, image.shapes, image.labels, areas_of(image.shapes), scores, len(found))
        truth += _rows(image_id, image.true_shapes, image.true_labels, image.true_area(), crowd, len(truth))
        labels |= {*image.labels.tolist(), *image.true_labels.tolist()}
    dataset = {
        "info": {"description": "images of a jaxmap metric"},
        "images": entries,
        "annotations": truth,
        "categories": [{"id": label, "name": str(label)} for label in sorted(labels)],
    }
    pathlib.Path(f"{name}_preds.json").write_text(json.dumps(found, indent=4), encoding="utf-8")
    pathlib.Path(f"{name}_target.json").write_text(json.dumps(dataset, indent=4), encoding="utf-8")


def _rows(
    image_id: int, shapes: dict[str, Any], labels: HostArray, area: HostArray, more: dict[str, HostArray], first: int
) -> list[dict[str, Any]]:
    columns: dict[str, list[Any]] = {"area": area.tolist(), "category_id": labels.tolist()}
    columns |= {"iscrowd": [0] * len(labels)} | {name: values.tolist() for name, values in more.items()}
    if "boxes" in shapes:
        columns["bbox"] = shapes["boxes"].tolist()
    if "masks" in shapes:
        columns["segmentation"] = [one | {"counts": one["counts"].decode()} for one in coco_masks(shapes["masks"])]
    return [
        {"id": first + row, "image_id": image_id} | dict(zip(columns, values, strict=True))
        for row, values in enumerate(zip(*columns.values(), strict=True), 1)
    ]


def read_coco(preds: Any, target: Any, iou_types: Sequence[str]) -> tuple[Side, Side]:
    """Returns the inputs of `update` for all images of the ground truths, by ascending id; boxes are xywh.

    Raises:
      ValueError: if a file is not valid.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(target)
        found = truth.loadRes(preds)
    sides: tuple[Side, Side] = ([], [])
    for image_id in sorted(truth.imgs):
        for side, coco in zip(sides, (found, truth), strict=True):
            rows = coco.imgToAnns.get(image_id, [])
            columns: dict[str, HostArray] = {"labels": np.array([row["category_id"] for row in rows], np.int32)}
            if coco is found:
                columns["scores"] = np.array([row["score"] for row in rows], np.float32)
            else:
                columns["iscrowd"] = np.array([row.get("iscrowd", 0) for row in rows], np.int32)
                columns["area"] = np.array([row["area"] for row in rows], np.float32)
            if "bbox" in iou_types:
                columns["boxes"] = np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4)
            if "segm" in iou_types:
                masks = [coco.annToMask(row) for row in rows]
                columns["masks"] = np.stack(masks) if masks else np.zeros((0, 1, 1), np.uint8)
            side.append(columns)
    return sides
