"""Random segment maps, and a slow plain reference of panopticapi's definition of panoptic quality."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Collection
from fractions import Fraction
from typing import Any

import numpy as np
from scipy import ndimage

VOID = 0
NUM_CLASSES, NUM_SEGMENTS = 4, 7


@dataclasses.dataclass
class ClassCounts:
    """What the reference counts of a class."""

    iou_sum: Fraction = Fraction(0)
    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0


def plain_counts(
    images: list[tuple[np.ndarray, dict, np.ndarray, dict]],
    *,
    stuff: Collection[int] = (),
    boundary_ratio: float | None = None,
) -> dict[int, ClassCounts]:
    """Counts pixel by pixel and pair by pair, with exact fractions.

    Args:
      images: predicted ids `[H, W]`, predicted class by id, true ids and (true class, crowd) by id; `VOID` is none.
      stuff: the classes of modified PQ.
      boundary_ratio: the width of boundaries for boundary PQ.
    """
    counts: dict[int, ClassCounts] = collections.defaultdict(ClassCounts)
    for found, found_class, true, true_class in images:
        pixels = collections.Counter(zip(found.ravel().tolist(), true.ravel().tolist(), strict=True))
        area, true_area = (collections.Counter(map_.ravel().tolist()) for map_ in (found, true))
        matched: set[tuple[str, int]] = set()
        edges = {}
        if boundary_ratio is not None:
            edges = {
                (side, i): mask_boundary(map_ == i, boundary_ratio)
                for side, map_, ids in (("found", found, found_class), ("true", true, true_class))
                for i in ids
            }
        for (f, t), shared in pixels.items():
            if VOID in (f, t) or true_class[t][1] or found_class[f] != true_class[t][0]:
                continue
            iou = Fraction(shared, area[f] + true_area[t] - shared - pixels[f, VOID])
            if boundary_ratio is not None:
                edge, true_edge = edges["found", f], edges["true", t]
                both, any_ = edge & true_edge, (edge & (true != VOID)) | true_edge
                iou = min(iou, Fraction(int(both.sum()), int(any_.sum())))
            if found_class[f] in stuff:
                counts[found_class[f]].iou_sum += iou
            elif iou > Fraction(1, 2):
                counts[found_class[f]].true_positives += 1
                counts[found_class[f]].iou_sum += iou
                matched |= {("found", f), ("true", t)}
        for t, (label, crowd) in true_class.items():
            if label in stuff and not crowd:
                counts[label].true_positives += 1
            elif not crowd and ("true", t) not in matched:
                counts[label].false_negatives += 1
        for f, label in found_class.items():
            crowds = [t for t, (true_label, crowd) in true_class.items() if crowd and true_label == label]
            excused = pixels[f, VOID] + sum(pixels[f, t] for t in crowds[-1:])  # panopticapi knows of one crowd a class
            is_excused = label in stuff or Fraction(excused, area[f]) > Fraction(1, 2)
            if ("found", f) not in matched and not is_excused:
                counts[label].false_positives += 1
    return counts


def mask_boundary(mask: np.ndarray, ratio: float) -> np.ndarray:
    """The mask without its erosion, repeated one pixel at a time, as the reference implementation has it."""
    distance = max(round(ratio * float(np.hypot(*mask.shape))), 1)
    eroded = ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=distance, border_value=0)
    boundary: np.ndarray = mask & ~eroded
    return boundary


@functools.cache
def random_scene(num_images: int = 6, shape: tuple[int, int] = (14, 17), seed: int = 0) -> dict[str, np.ndarray]:
    """Makes rectangles on void, and predictions that are mostly the same, moved; arguments of the metric's `update`.

    No image has two crowds of one class. Some segments have no pixels; some have no label, and their pixels are void.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, NUM_CLASSES - 1, (num_images, NUM_SEGMENTS))  # the last class is never seen
    crowd = np.zeros(labels.shape, bool)
    crowd[:, 0] = rng.random(num_images) < 0.6
    maps = {name: np.full((num_images, *shape), -1, np.int32) for name in ("predicted", "truth")}
    for image in range(num_images):
        for segment in range(NUM_SEGMENTS - 1):  # the last one has no pixels
            y, x = rng.integers(0, shape[0] - 3), rng.integers(0, shape[1] - 3)
            height, width = rng.integers(2, 9, 2)
            maps["truth"][image, y : y + height, x : x + width] = segment
            y, x = np.maximum(0, np.array([y, x]) + rng.integers(-1, 2, 2))
            maps["predicted"][image, y : y + height, x : x + width] = segment
    changed = np.where(rng.random(labels.shape) < 0.2, rng.integers(-1, NUM_CLASSES - 1, labels.shape), labels)
    return maps | {"predicted_labels": changed, "truth_labels": labels, "truth_crowd": crowd}


def host_images(scene: dict[str, Any]) -> tuple[list[dict[str, np.ndarray]], list[dict[str, np.ndarray]]]:
    """Returns predictions and ground truths as `panoptic_quality` takes them, with ids far apart and out of order."""
    ids = (np.arange(scene["truth_labels"].shape[1]) * 7919) % 101 * 1000 + 3
    sides = []
    for name in ("predicted", "truth"):
        maps = np.where(scene[name] < 0, 0, ids[scene[name]])
        columns = {"segments": maps, "labels": scene[f"{name}_labels"], "ids": np.tile(ids, (len(maps), 1))}
        if name == "truth":
            columns["crowd"] = scene["truth_crowd"]
        sides.append([{field: column[i] for field, column in columns.items()} for i in range(len(maps))])
    return sides[0], sides[1]


def plain_images(predictions: list[Any], ground_truths: list[Any]) -> list[tuple[np.ndarray, dict, np.ndarray, dict]]:
    """Returns the same images for the reference: without segments that have no label or no pixels."""
    images = []
    for side in zip(predictions, ground_truths, strict=True):
        image: list[Any] = []
        for one in side:
            known = {
                int(i): int(label) if one is side[0] else (int(label), bool(crowd))
                for i, label, crowd in zip(one["ids"], one["labels"], one.get("crowd", one["labels"]), strict=True)
                if label >= 0 and (one["segments"] == i).any()
            }
            image += [np.where(np.isin(one["segments"], list(known)), one["segments"], VOID), known]
        images.append(tuple(image))
    return images
