"""Scenes with errors of all types, and their evaluation by the rules that the loops in `plain_tide` have."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

import jaxmap
from jaxmap import io
from jaxmap.protocols import COCO
from support.plain_tide import HUNDREDTHS
from support.scenes import Scene

PER_IMAGE = dataclasses.replace(
    COCO, limit_scope="image", max_detections=(100,), recall_points=HUNDREDTHS, summary=COCO.summary[:1]
)
THRESHOLDS = [(0.5, 0.1), (0.5, 0.2), (0.75, 0.1), (0.3, 0.05)]  # foreground and background


def relabelled(rng: np.random.Generator, scene: Scene) -> Scene:
    """Gives a third of the detections any class, because the scenes have few wrong ones."""
    names = scene.class_ids
    results = [
        row | {"category_id": names[int(rng.integers(len(names)))]} if rng.random() < 0.3 else row
        for row in scene.results
    ]
    return dataclasses.replace(scene, results=results)


def evaluation_of(scene: Scene, **options: Any) -> jaxmap.Evaluation:
    truth = io.coco_ground_truths(scene.ground_truths, iou_type=scene.iou_type)
    found = io.coco_detections(scene.results, truth, iou_type=scene.iou_type)
    return jaxmap.evaluate(found, truth, **{"protocol": PER_IMAGE, "iou_type": scene.iou_type} | options)
