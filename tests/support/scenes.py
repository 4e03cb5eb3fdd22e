"""Random small scenes for differential tests, made to hit every tie and edge of the rules, and their other forms."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

# Random scenes hold on purpose what readers, `evaluate` and `summarize` warn of: boxes of no or of negative size, areas
# of 0 and below, masks without a pixel, objects without a labelled keypoint.
ODDITIES = (
    ".*(no pixel although|without area|negative .area|negative width or height|an .area. of 0|have no area|"
    "a .num_keypoints. of 0|ground truths are empty|detections have no scores|have an? (area|width or height) of 0)"
)
odd_scenes = pytest.mark.filterwarnings(f"ignore:{ODDITIES}")

AREA_EDGES = (0.0, 100.0, 400.0, 1024.0, 9216.0)
# Sides whose products land on the edges above, some of them (12.8 x 80) only up to a rounding.
SIDES = (1, 2, 4, 5, 10, 12.8, 16, 20, 20, 20, 32, 40, 64, 80, 96, 144)


@dataclasses.dataclass(frozen=True)
class Scene:
    """A COCO ground-truth file, a COCO results file, and the options of the evaluation.

    Attributes:
      ground_truths: the dictionary of the file, with images, categories and annotations in no order.
      results: the list of the file.
      options: keyword arguments that `jaxmap.evaluate` and `oracle.run_pycocotools` share.
      iou_type: what is compared.
    """

    ground_truths: dict[str, Any]
    results: list[dict[str, Any]]
    options: dict[str, Any]
    iou_type: str = "bbox"

    @property
    def image_ids(self) -> list[int]:
        return sorted(image["id"] for image in self.ground_truths["images"])

    @property
    def class_ids(self) -> list[int]:
        return sorted(category["id"] for category in self.ground_truths["categories"])

    def cut(self, image_ids: list[int]) -> Scene:
        """Returns the scene of some of its images."""
        return Scene(*cut(self.ground_truths, self.results, image_ids), self.options, self.iou_type)

    def lists(self) -> tuple[list[dict[str, np.ndarray]], list[dict[str, np.ndarray]]]:
        """Returns (detections, ground truths) with one dictionary an image, xywh, labels from 0."""
        label = {class_id: index for index, class_id in enumerate(self.class_ids)}
        detections, ground_truths = [], []
        for image_id in self.image_ids:
            rows = [row for row in self.results if row["image_id"] == image_id]
            detections.append(
                {
                    "boxes": np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4),
                    "scores": np.array([row["score"] for row in rows], np.float64),
                    "labels": np.array([label[row["category_id"]] for row in rows], np.int64),
                }
            )
            rows = [row for row in self.ground_truths["annotations"] if row["image_id"] == image_id]
            ground_truths.append(
                {
                    "boxes": np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4),
                    "labels": np.array([label[row["category_id"]] for row in rows], np.int64),
                    "crowd": np.array([row["iscrowd"] for row in rows], bool),
                    "area": np.array([row["area"] for row in rows], np.float64),
                }
            )
        return detections, ground_truths


def cut(
    ground_truths: dict[str, Any], results: list[dict[str, Any]], image_ids: list[int]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns the ground truths and results of some images, in the order of the files."""
    keep = set(image_ids)
    images = [image for image in ground_truths["images"] if image["id"] in keep]
    annotations = [row for row in ground_truths["annotations"] if row["image_id"] in keep]
    return (
        {**ground_truths, "images": images, "annotations": annotations},
        [row for row in results if row["image_id"] in keep],
    )


def pad(images: list[dict[str, np.ndarray]], length: int | None = None) -> dict[str, np.ndarray]:
    """Returns `[I, length, ...]` columns with `valid`; padding holds NaN, and -7 where the dtype has no NaN."""
    length = max((len(image["labels"]) for image in images), default=0) if length is None else length
    columns = {"valid": np.zeros((len(images), length), bool)}
    for name, first in images[0].items():
        fill = np.nan if first.dtype.kind == "f" else -7 if first.dtype.kind == "i" else True
        columns[name] = np.full((len(images), length, *first.shape[1:]), fill, first.dtype)
    for i, image in enumerate(images):
        columns["valid"][i, : len(image["labels"])] = True
        for name, values in image.items():
            columns[name][i, : len(values)] = values
    return columns


def random_scene(rng: np.random.Generator, *, score_ties: bool = True, default_options: bool = False) -> Scene:
    """Returns a scene of 1 to 12 images.

    Args:
      rng: decides everything.
      score_ties: False gives every detection of the scene a score of its own.
      default_options: True leaves the protocol as it is.
    """
    options = {} if default_options or rng.random() < 0.4 else _options(rng)
    num_images = int(rng.integers(1, 13))
    num_classes = int(rng.choice([1, 1, 2, 3, 5, 12]))
    image_ids = _ids(rng, num_images)
    class_ids = _ids(rng, num_classes)
    style = _Style(rng)
    crowd_rate = rng.choice([0.0, 0.0, 0.15, 0.6])
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    density = rng.choice([0.7, 2.0, 4.0, 8.0])
    for image_id in image_ids:
        truths: list[tuple[int, list[float]]] = []
        for _ in range(int(rng.poisson(density)) if rng.random() < 0.85 else 0):
            class_id, box = _pick(rng, class_ids), style.box(rng)
            kind = rng.integers(8) if truths else -1
            if kind == 0:  # the same box twice: the later one must win
                class_id, box = _pick(rng, truths)
            elif kind == 1:  # a twin beside it: what lies between them is equally near to both
                class_id, (x, y, w, h) = _pick(rng, truths)
                box = [x + 2 * _pick(rng, (1, 2, 3, 5)), y, w, h]
            truths.append((class_id, box))
            annotations.append(
                {
                    "image_id": image_id,
                    "category_id": class_id,
                    "bbox": box,
                    "area": _area(rng, box),
                    "iscrowd": int(rng.random() < crowd_rate),
                }
            )
        for _ in range(int(rng.poisson(1.5 * density)) if rng.random() < 0.85 else 0):
            kind = rng.integers(8) if truths else 7
            class_id, box = _pick(rng, truths) if truths else (_pick(rng, class_ids), style.box(rng))
            if kind < 2:
                box = ((np.array(box) + _pick(rng, truths)[1]) / 2).tolist()
            elif kind < 6:
                box = style.near(rng, box)
            else:
                class_id, box = _pick(rng, class_ids), style.box(rng)
            if rng.random() < 0.05:
                class_id = _pick(rng, class_ids)
            results.append({"image_id": image_id, "category_id": class_id, "bbox": box})
    if results and rng.random() < 0.04:  # more than the default limit, in one image and class
        results += [{**results[0], "bbox": style.near(rng, results[0]["bbox"])} for _ in range(103)]
    if len(annotations) > 10 and rng.random() < 0.3:  # recalls of whole tenths: where a recall point is a hair above
        del annotations[len(annotations) // 10 * 10 :]
    order = rng.permutation(len(results))
    scores = style.scores(rng, len(results)) if score_ties else rng.permutation(len(results)) / (len(results) + 1) + 0.1
    results = [results[i] | {"score": float(score)} for i, score in zip(order, scores, strict=True)]
    annotation_ids = rng.permutation(3 * len(annotations) + 1)[: len(annotations)] + int(rng.choice([1, 10**10]))
    annotations = [row | {"id": int(i)} for row, i in zip(annotations, annotation_ids, strict=True)]
    annotations = [annotations[i] for i in rng.permutation(len(annotations))]
    truth = {
        "images": [{"id": image_id, "width": 640, "height": 480} for image_id in image_ids],
        "categories": [{"id": class_id, "name": f"class {class_id}"} for class_id in class_ids],
        "annotations": annotations,
    }
    return Scene(truth, results, options)


class _Style:
    """How one scene draws its boxes and scores."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.digits = rng.choice(["integer", "integer", "integer", "hundredths", "float32", "float64"])
        self.origin = float(rng.choice([0, 0, -30, 590]))  # negative corners, and boxes across the right edge
        self.spread = int(rng.choice([40, 100, 400]))
        self.odd_side_rate = rng.choice([0.0, 0.0, 0.1])
        self.score_kind = rng.choice(["halves", "tenths", "tenths", "smooth", "smooth", "near", "odd", "float32"])

    def box(self, rng: np.random.Generator) -> list[float]:
        sides = [_pick(rng, SIDES), _pick(rng, SIDES)]
        if rng.random() < self.odd_side_rate:
            sides[int(rng.integers(2))] *= _pick(rng, (0, 0, -1))  # pycocotools lets a negative side pass
        corner = self.origin + rng.integers(0, self.spread, 2)
        return self._round([*corner, *sides], rng)

    def near(self, rng: np.random.Generator, box: list[float]) -> list[float]:
        """Returns the box, a shift of it, or a part of it: IoUs of k/20 exactly, and equal ones on both sides."""
        x, y, w, h = box
        kind = rng.integers(5)
        if kind == 0:
            return list(box)
        if kind == 1:
            step = float(rng.choice([-1, 1])) * _pick(rng, (w / 3, w / 4, w / 19, 1.0, 2.0, 5.0))
            return self._round([x + step, y, w, h] if rng.random() < 0.5 else [x, y + step, w, h], None)
        if kind == 2:
            part = rng.integers(5, 21) / 20
            return self._round([x, y, w * part, h] if rng.random() < 0.5 else [x, y, w, h * part], None)
        if kind == 3:
            part = rng.integers(5, 21) / 20
            return self._round([x, y, w / part, h], None)
        return self._round(np.asarray(box) + rng.normal(0, 0.1 * max(w, h, 1.0), 4) * [1, 1, 0.5, 0.5], None)

    def _round(self, box: Any, rng: np.random.Generator | None) -> list[float]:
        values = np.asarray(box, np.float64)
        if self.digits == "integer":
            values = np.round(values)
        elif rng is not None:
            values = values + np.array([1, 1, 0, 0]) * rng.random(4)
        if self.digits == "hundredths":
            values = np.round(values, 2)
        elif self.digits == "float32":
            values = values.astype(np.float32)
        return np.asarray(values, np.float64).tolist()

    def scores(self, rng: np.random.Generator, n: int) -> np.ndarray:
        if self.score_kind == "smooth":
            return rng.random(n)
        if self.score_kind == "float32":
            return rng.random(n).astype(np.float32).astype(np.float64)
        if self.score_kind == "near":  # distinct in float64, equal in float32
            return 0.5 + rng.integers(0, 4, n) * 2.0**-50
        if self.score_kind == "odd":  # logits, both zeros (which tie), and the ends of float64
            return rng.choice([0.0, -0.0, -1.0, -3.5, 7.25, 5e-324, -5e-324, 1e-310, 1e300, -1e300, 1.0], n)
        return rng.integers(0, 11, n) / 10 if self.score_kind == "tenths" else rng.integers(0, 3, n) / 2


def _pick(rng: np.random.Generator, values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


def _ids(rng: np.random.Generator, n: int) -> list[int]:
    kind = rng.integers(3)
    if kind == 0:
        return list(range(1, n + 1))
    if kind == 1:
        return [int(i) for i in rng.permutation(4 * n)[:n]]
    return [int(i) for i in rng.choice(2**40, n, replace=False)]


def _area(rng: np.random.Generator, box: list[float]) -> float:
    kind = rng.integers(8)
    if kind == 0:
        return float(_pick(rng, AREA_EDGES))
    if kind == 1:  # a mask's area is smaller than its box's
        return box[2] * box[3] * float(rng.random())
    if kind == 2 and rng.random() < 0.3:  # outside every range: ignored, yet no crowd
        return 2e10
    return box[2] * box[3]


def _options(rng: np.random.Generator) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if rng.random() < 0.5:
        options["iou_thresholds"] = _pick(
            rng,
            [
                [0.5],
                [0.3],
                [0.75],
                [0.5, 0.75],
                [0.05, 0.25, 0.5, 1.0],
                [1 / 3, 0.5, 2 / 3],
                [0.6, 0.7, 0.8, 0.9],
                np.linspace(0.05, 1.0, 20).tolist(),
                np.sort(rng.random(int(rng.integers(1, 12))) * 0.99 + 0.005).tolist(),
            ],
        )
    if rng.random() < 0.5:
        options["recall_points"] = _pick(
            rng,
            [
                [0.0],
                [1.0],
                [0.5],
                [0.0, 1.0],
                [i / 10 for i in range(11)],
                [i / 7 for i in range(8)],
                np.linspace(0, 1, 41).tolist(),
                [1 / 3, 0.5, 2 / 3, 1.0],
                np.sort(rng.random(int(rng.integers(1, 30)))).tolist(),
            ],
        )
    if rng.random() < 0.5:
        edges = np.sort(rng.choice([*AREA_EDGES, 50.0, 2000.5, 1e5, 1e10, 1e11], 3, replace=False)).tolist()
        options["area_ranges"] = _pick(
            rng,
            [
                {"all": (0.0, 1e10)},
                {"all": (edges[0], edges[2])},
                {"small": (0.0, 400.0), "large": (400.0, 1e10)},
                {"low": (edges[0], edges[1]), "all": (0.0, 1e10), "high": (edges[1], edges[2])},
                {"edge": (edges[1], edges[1])},
            ],
        )
    if rng.random() < 0.5:
        options["max_detections"] = _pick(rng, [1, 2, [1], [3], [1, 2], [1, 2, 3], [2, 5, 300], [1, 10, 100]])
    if rng.random() < 0.3:
        options["class_agnostic"] = True
    return options
