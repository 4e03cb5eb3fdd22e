"""Random scenes with scores in [0, 1], for LRP and calibration, in the form of other libraries."""

from __future__ import annotations

import json
import pathlib
from typing import Any, NamedTuple

import numpy as np

import jaxmap

from .scenes import random_scene


class ScoreScene(NamedTuple):
    """A COCO ground-truth file, a results file, and what they are scored by."""

    ground_truths: dict[str, Any]
    results: list[dict[str, Any]]
    options: dict[str, Any]

    @property
    def evaluation(self) -> jaxmap.Evaluation:
        return self.evaluate(**self.options)

    def evaluate(self, **options: Any) -> jaxmap.Evaluation:
        truth = jaxmap.io.coco_ground_truths(self.ground_truths)
        return jaxmap.evaluate(jaxmap.io.coco_detections(self.results, truth), truth, **options)

    def as_bytes(self) -> tuple[bytes, bytes]:
        return json.dumps(self.ground_truths).encode(), json.dumps(self.results).encode()

    def write(self, folder: pathlib.Path) -> tuple[str, str]:
        paths = folder / "gt.json", folder / "dt.json"
        for path, content in zip(paths, self.as_bytes(), strict=True):
            path.write_bytes(content)
        return str(paths[0]), str(paths[1])


def score_scene(seed: int, *, digits: int | None = None, any_area: bool = False) -> ScoreScene:
    """Returns a random scene; its scores keep their order and their ties.

    Args:
      seed: decides everything.
      digits: round the scores to so many; None for places between 0 and 1.
      any_area: count objects and detections of all areas, as vernier does for LRP; boxes of negative area are left out.
    """
    scene = random_scene(np.random.default_rng(seed), default_options=True)
    results = [row for row in scene.results if not any_area or row["bbox"][2] * row["bbox"][3] >= 0]
    values = sorted({row["score"] for row in results})
    place = {value: index / max(len(values) - 1, 1) for index, value in enumerate(values)}
    scores = [place[row["score"]] for row in results]
    if digits is not None:
        scores = [round(score, digits) for score in scores]
    results = [row | {"score": score} for row, score in zip(results, scores, strict=True)]
    ground_truths = scene.ground_truths
    if any_area:
        rows = [row | {"area": abs(row["area"])} for row in ground_truths["annotations"]]
        ground_truths = ground_truths | {"annotations": rows}
    options: dict[str, Any] = {"area_ranges": {"all": (0.0, 1e30)}} if any_area else {}
    return ScoreScene(ground_truths, results, options)
