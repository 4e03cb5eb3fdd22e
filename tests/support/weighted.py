"""The oracle of image weights: a dataset in which each image occurs as often as its weight says."""

from __future__ import annotations

from typing import Any

import numpy as np

import jaxmap
from support.scenes import Scene

__all__ = ["evaluate_repeated", "evaluate_scene"]


def evaluate_scene(scene: Scene, **options: Any) -> jaxmap.Evaluation:
    """Returns the evaluation of a scene from its lists."""
    return evaluate_repeated(scene, np.ones(len(scene.image_ids), int), **options)


def evaluate_repeated(scene: Scene, counts: np.ndarray, **options: Any) -> jaxmap.Evaluation:
    """Evaluates a scene with each image as often as `counts` says; copies of an image follow each other."""
    found, truth = ([side[image] for image in np.repeat(np.arange(len(side)), counts)] for side in scene.lists())
    num_classes = len(scene.class_ids)
    return jaxmap.evaluate(found, truth, box_format="xywh", num_classes=num_classes, **scene.options | options)
