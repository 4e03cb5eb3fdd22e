"""Random scenes of masks and of keypoints, drawn from the scenes of boxes and so with all of their ties and edges."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from pycocotools import mask as codec

from jaxmap._geometry._rle import decode_mask
from support.scenes import Scene, random_scene

HEIGHT, WIDTH = 480, 640
NUM_KEYPOINTS = 17
FAR = 1e6  # so far away that a keypoint adds exactly nothing
Random = np.random.Generator
Row = dict[str, Any]


def shape_scene(rng: Random, iou_type: str, **options: Any) -> Scene:
    """Returns a random scene of boxes, masks or keypoints; options are `random_scene`'s."""
    scene = random_scene(rng, **options)
    change = {"bbox": lambda rng, scene: scene, "segm": masks_of, "keypoints": keypoints_of}[iou_type]
    return change(rng, scene)


def masks_of(rng: Random, scene: Scene) -> Scene:
    """Gives every box a mask: a polygon, several, or a run-length encoding, some of them empty.

    Results are masks alone, or masks beside boxes, which then give the areas.
    """
    with_boxes = bool(rng.random() < 0.4)
    drawings: dict[tuple[float, ...], list[list[float]]] = {}

    def polygons(row: Row) -> list[list[float]]:
        drawing = drawings.get(tuple(row["bbox"]))
        if drawing is None or rng.random() < 0.2:
            drawing = drawings[tuple(row["bbox"])] = _polygons(rng, row["bbox"])
        return drawing

    def annotation(row: Row) -> Row:
        way = rng.integers(4)
        drawn = polygons(row)
        if way == 0:
            return {**row, "segmentation": drawn}
        mask = _merge(drawn)
        if rng.random() < 0.1:  # nothing at all: pycocotools cannot merge no polygons
            mask = codec.encode(np.zeros((HEIGHT, WIDTH), np.uint8, order="F"))
        area = row["area"]
        if rng.random() < 0.6:  # real files measure the mask, and the edges of ranges are among its sizes
            area = float(codec.area(mask))
        return {**row, "area": area, "segmentation": _counts(mask) if way == 1 else _text(mask)}

    def result(row: Row) -> Row:
        drawn = polygons(row)
        mask = _merge(drawn)
        if not with_boxes:
            return {name: value for name, value in row.items() if name != "bbox"} | {"segmentation": _text(mask)}
        way = rng.integers(6)
        return {**row, "segmentation": drawn if way == 0 else _counts(mask) if way == 1 else _text(mask)}

    return _changed(scene, annotation, result, "segm")


def keypoints_of(rng: Random, scene: Scene) -> Scene:
    """Gives every box keypoints: some objects have none that is labelled, or no area; results may have boxes."""
    with_boxes = bool(rng.random() < 0.4)
    drawn: dict[tuple[float, ...], np.ndarray] = {}
    digits = int(rng.choice([0, 0, 2]))

    def annotation(row: Row) -> Row:
        points = _keypoints(rng, row["bbox"], digits)
        kind = rng.integers(8)
        if kind == 0:
            points[:, 2] = 0
        elif kind == 1 and tuple(row["bbox"]) in drawn:  # both objects in the same place
            points = drawn[tuple(row["bbox"])].copy()
        drawn[tuple(row["bbox"])] = points
        labelled = int((points[:, 2] > 0).sum())
        count = labelled if rng.random() < 0.9 else int(rng.integers(0, 2))  # what the file says decides
        area = 0.0 if rng.random() < 0.05 else row["area"]
        return {**row, "area": max(area, 0.0), "keypoints": points.ravel().tolist(), "num_keypoints": count}

    def result(row: Row) -> Row:
        near = drawn.get(tuple(row["bbox"]))
        if near is None and drawn and rng.random() < 0.5:
            near = list(drawn.values())[int(rng.integers(len(drawn)))]
        points = _keypoints(rng, row["bbox"], digits) if near is None else near.copy()
        kind = rng.integers(5)
        if kind < 2:
            points[:, :2] += rng.normal(0, float(rng.choice([0.5, 2, 8])), (NUM_KEYPOINTS, 2))
        elif kind == 2:  # a share of them exact, the others nowhere: k / n, and so a threshold itself
            points[rng.random(NUM_KEYPOINTS) < 0.4, :2] += FAR
        points[:, 2] = 1
        kept = row if with_boxes else {name: value for name, value in row.items() if name != "bbox"}
        return {**kept, "keypoints": points.ravel().tolist()}

    changed = _changed(scene, annotation, result, "keypoints")
    options = {name: value for name, value in scene.options.items() if name != "class_agnostic"}  # none in pycocotools
    return dataclasses.replace(changed, options=options)


def _changed(scene: Scene, annotation: Callable[[Row], Row], result: Callable[[Row], Row], iou_type: str) -> Scene:
    annotations = [annotation(row) for row in scene.ground_truths["annotations"]]
    truth = {**scene.ground_truths, "annotations": annotations}
    return Scene(truth, [result(row) for row in scene.results], scene.options, iou_type)


def _polygons(rng: Random, box: list[float]) -> list[list[float]]:
    x, y, w, h = box
    rectangle = [x, y, x, y + h, x + w, y + h, x + w, y]
    kind = rng.integers(6)
    if kind == 0:
        return [[x, y, x, y + h, x + w, y + h]]
    if kind == 1:  # two parts with a gap
        third = w / 3
        return [
            [x, y, x, y + h, x + third, y + h, x + third, y],
            [x + 2 * third, y, x + 2 * third, y + h, x + w, y + h, x + w, y],
        ]
    if kind == 2:
        turns = np.arange(8) * np.pi / 4
        corners = np.stack([x + w / 2 * (1 + np.cos(turns)), y + h / 2 * (1 + np.sin(turns))], axis=1)
        return [corners.ravel().tolist()]
    return [rectangle]


def _merge(polygons: list[list[float]]) -> Any:
    return codec.merge(codec.frPyObjects(polygons, HEIGHT, WIDTH))


def _text(mask: Any) -> dict[str, Any]:
    return {"size": [HEIGHT, WIDTH], "counts": mask["counts"].decode()}


def _counts(mask: Any) -> dict[str, Any]:
    """Returns the mask with its runs as a list of numbers, those of 0 first."""
    flat = decode_mask(mask).ravel(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat])))
    return {"size": [HEIGHT, WIDTH], "counts": np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()}


def _keypoints(rng: Random, box: list[float], digits: int) -> np.ndarray:
    x, y, w, h = box
    places = np.array([x, y]) + rng.random((NUM_KEYPOINTS, 2)) * [w, h]
    visible = rng.choice([0, 1, 2], NUM_KEYPOINTS, p=[0.4, 0.2, 0.4])
    return np.concatenate([np.round(places, digits), visible[:, None]], axis=1)
