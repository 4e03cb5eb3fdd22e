"""The types of errors in loops, by the rules of tidecv, equal live tidecv (pip install tidecv).

tidecv is no dependency of the tests, because it needs OpenCV, pandas and seaborn.
`analysis/test_error_types_random.py` compares the same loops, by our rules, with `Evaluation.error_types`.
"""

from __future__ import annotations

import copy
import dataclasses
import pathlib
import warnings
from typing import Any

import numpy as np
import pytest

from reference.test_shared_data import PAIRS, Pair
from support.error_scenes import THRESHOLDS, evaluation_of, relabelled
from support.plain_tide import MAIN_TYPES, TIDECV, PlainErrors
from support.scenes import Scene, odd_scenes, random_scene

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    tidecv = pytest.importorskip("tidecv", reason="the reference of types of errors: pip install tidecv")

pytestmark = [pytest.mark.slow, odd_scenes]

NAMES = {"Cls": "classification", "Loc": "localization", "Both": "both", "Dupe": "duplicate", "Bkg": "background"} | {
    "Miss": "missed", "FalsePos": "false_positives", "FalseNeg": "false_negatives"
}  # fmt: skip
SAME = 1e-9
SCENES = range(500)


def run_tidecv(
    scene: Scene, iou: float = 0.5, background: float = 0.1
) -> tuple[float, dict[str, float], dict[str, int]]:
    """Returns tidecv's AP, gains and counts, in shares of 1."""
    truth, results = copy.deepcopy((scene.ground_truths, scene.results))
    data, found = tidecv.Data("truth", max_dets=100), tidecv.Data("found")
    for image_id in scene.image_ids:
        data.add_image(image_id, str(image_id))
    for row in truth["annotations"]:
        add = data.add_ignore_region if row["iscrowd"] else data.add_ground_truth
        add(row["image_id"], row["category_id"], row["bbox"])
    for row in results:
        found.add_detection(row["image_id"], row["category_id"], row["score"], row["bbox"])
    run = tidecv.TIDE(iou, background).evaluate(data, found)
    gains = run.fix_main_errors() | run.fix_special_errors()
    counts = {NAMES[kind.short_name]: len(errors) for kind, errors in run.error_dict.items()}
    return run.ap / 100, {NAMES[kind.short_name]: gain / 100 for kind, gain in gains.items()}, counts


def as_tidecv_takes_it(scene: Scene) -> Scene:
    """Drops boxes of negative size and strange areas, and gives scores in (0, 1] the same order."""
    rows = [row | {"area": 100.0} for row in scene.ground_truths["annotations"] if min(row["bbox"][2:]) > 0]
    places = {score: place for place, score in enumerate(np.unique([row["score"] + 0.0 for row in scene.results]))}
    results = [
        row | {"score": (places[row["score"] + 0.0] + 1) / len(places)}
        for row in scene.results
        if min(row["bbox"][2:]) > 0
    ]
    return dataclasses.replace(scene, ground_truths=scene.ground_truths | {"annotations": rows}, results=results)


def assert_as_tidecv(scene: Scene, plain: PlainErrors, **thresholds: Any) -> dict[str, float]:
    average_precision, gains, counts = run_tidecv(scene, **thresholds)
    assert plain.average_precision[None] == pytest.approx(average_precision, abs=SAME)
    assert {name: plain.count[name] for name in MAIN_TYPES} == counts
    assert {name: plain.gain(name)[None] for name in gains} == pytest.approx(gains, abs=SAME)
    return gains


def test_random_scenes() -> None:
    compared = 0
    for seed in SCENES:
        rng = np.random.default_rng(seed)
        scene = as_tidecv_takes_it(relabelled(rng, random_scene(rng, default_options=True)))
        iou, background = THRESHOLDS[seed % len(THRESHOLDS)]
        plain = PlainErrors(
            scene.ground_truths, scene.results, iou_threshold=iou, background_threshold=background, rules=TIDECV
        )
        try:
            assert_as_tidecv(scene, plain, iou=iou, background=background)
        except ZeroDivisionError:  # in tidecv, if no class has objects or detections once errors are fixed
            continue
        compared += 1
    assert compared > 0.9 * len(SCENES)


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_real_detections(pair: Pair, shared_data: pathlib.Path) -> None:
    scene = Scene(*pair.load(shared_data), {})
    gains = assert_as_tidecv(scene, PlainErrors(scene.ground_truths, scene.results, rules=TIDECV))
    counted = {row["category_id"] for row in scene.ground_truths["annotations"] if not row["iscrowd"]}
    crowds = any(row["iscrowd"] for row in scene.ground_truths["annotations"])
    if not crowds and {row["category_id"] for row in scene.results} <= counted:
        ours = evaluation_of(scene).error_types().gain
        assert ours == pytest.approx(gains, abs=3e-6)  # what the order of equal scores changes
