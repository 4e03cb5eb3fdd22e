"""Types of errors against the definition in loops, on random and real data, and laws.

The loops in `support.plain_tide` also have the rules of tidecv; `reference/test_tide.py` compares them with tidecv.
"""

from __future__ import annotations

import copy
import dataclasses
import pathlib
from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap._ordering import take_rows
from jaxmap.analysis import ErrorTypes
from jaxmap.protocols import COCO
from reference.test_shared_data import PAIRS, Pair
from support.error_scenes import PER_IMAGE, THRESHOLDS, evaluation_of, relabelled
from support.plain_tide import ERROR_TYPES, MAIN_TYPES, PlainErrors
from support.scenes import Scene, odd_scenes, random_scene
from support.shape_scenes import shape_scene

pytestmark = odd_scenes

ATOL = 1e-12  # both sides are float64 sums of a few hundred ratios of the same integers
QUICK, SLOW = range(40), range(100, 600)


# ---- against the loops ----


def assert_as_in_loops(errors: ErrorTypes, plain: PlainErrors) -> None:
    assert errors.count == plain.count
    columns = errors.detections()
    rows = zip(*(columns[name].tolist() for name in ("detection", "outcome", "ground_truth", "iou")), strict=True)
    assert {row[0]: row[1:3] for row in rows} == {place: row[:2] for place, row in plain.detections.items()}
    ious = [plain.detections[place][2] for place in columns["detection"]]
    np.testing.assert_array_equal(columns["iou"], ious)
    assert set(columns["detection"][columns["fixable"]].tolist()) == set(plain.fixes)
    truth = errors.ground_truths()
    assert dict(zip(truth["ground_truth"].tolist(), truth["outcome"].tolist(), strict=True)) == plain.ground_truths
    by_class = errors.per_class()

    def numbers(values: Any, mean: float) -> dict[Any, float]:
        all_classes = {None: mean} | dict(zip(by_class["class_id"], values, strict=True))
        return {name: value for name, value in all_classes.items() if not np.isnan(value)}

    def defined(values: dict[Any, float]) -> Any:
        return pytest.approx({name: value for name, value in values.items() if not np.isnan(value)}, abs=ATOL, rel=0)

    assert numbers(by_class["AP"], errors.average_precision) == defined(plain.average_precision)
    for name in ERROR_TYPES:
        assert numbers(by_class[f"{name}_gain"], errors.gain[name]) == defined(plain.gain(name)), name


@pytest.mark.parametrize("seeds", [QUICK, pytest.param(SLOW, marks=pytest.mark.slow)], ids=["few", "many"])
def test_random_scenes(seeds: range) -> None:
    seen: dict[str, int] = {}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        scene = relabelled(rng, random_scene(rng, default_options=True))
        iou, background = THRESHOLDS[seed % len(THRESHOLDS)]
        errors = evaluation_of(scene, iou_thresholds=[0.4, iou] if seed % 3 == 0 and iou > 0.4 else [iou])
        errors = errors.error_types(iou, background)
        plain = PlainErrors(scene.ground_truths, scene.results, iou_threshold=iou, background_threshold=background)
        assert_as_in_loops(errors, plain)
        for name, count in plain.count.items():
            seen[name] = seen.get(name, 0) + count
    assert min(seen.values()) > len(seeds) / 2, seen


def with_encoded_masks(scene: Scene) -> Scene:
    """Writes every mask as pycocotools' `iou` takes it."""
    from pycocotools import mask as codec

    def encoded(row: dict[str, Any]) -> dict[str, Any]:
        shape = row["segmentation"]
        if isinstance(shape, list):
            shape = codec.merge(codec.frPyObjects(shape, 480, 640))
        elif isinstance(shape["counts"], list):
            shape = codec.frPyObjects(shape, *shape["size"])
        return {name: value for name, value in row.items() if name != "bbox"} | {"segmentation": shape}

    truth = scene.ground_truths | {"annotations": [row | encoded(row) for row in scene.ground_truths["annotations"]]}
    return dataclasses.replace(scene, ground_truths=truth, results=list(map(encoded, scene.results)))


@pytest.mark.parametrize("seed", range(4))
def test_random_masks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = with_encoded_masks(relabelled(rng, shape_scene(rng, "segm", default_options=True)))
    plain = PlainErrors(scene.ground_truths, scene.results, iou_type="segm")
    assert_as_in_loops(evaluation_of(scene).error_types(), plain)


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_real_detections(pair: Pair, shared_data: pathlib.Path) -> None:
    scene = Scene(*pair.load(shared_data), {})
    assert_as_in_loops(evaluation_of(scene).error_types(), PlainErrors(scene.ground_truths, scene.results))


# ---- laws ----


def some_evaluation(seed: int, **options: Any) -> jaxmap.Evaluation:
    rng = np.random.default_rng(seed)
    return evaluation_of(relabelled(rng, random_scene(rng, default_options=True)), protocol=COCO, **options)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    "protocol", ["coco", "voc2012", "all-point", "open-images", "open-images-challenge", "ultralytics"]
)
def test_laws(seed: int, protocol: str) -> None:
    rng = np.random.default_rng(seed)
    evaluation = evaluation_of(relabelled(rng, random_scene(rng, default_options=True)), protocol=protocol)
    errors = evaluation.error_types()
    count = errors.count
    everything = evaluation.curve(area=evaluation.protocol.area_ranges[0].name).at(-np.inf)
    assert count["false_positives"] == sum(count[name] for name in MAIN_TYPES[:-1]) == everything.false_positives
    assert count["false_negatives"] == everything.false_negatives
    fixable = int(errors.detections()["fixable"].sum())
    assert count["false_negatives"] == count["missed"] + fixable
    gains = errors.class_gain[:, ~np.isnan(errors.class_average_precision)]
    assert (gains >= -ATOL).all()  # no error is worth having
    assert (gains[-2] >= gains[2:5].max(axis=0, initial=0.0) - ATOL).all()  # all false positives, above any type
    assert (gains[-1] >= gains[5] - ATOL).all()
    # The AP is that of the evaluation.
    threshold = evaluation.protocol.threshold_index(0.5)
    curves = evaluation.curves
    cells = curves.precision[threshold, :, :, 0, -1].mean(axis=0)
    if curves.average_precision is not None:
        cells = curves.average_precision[threshold, :, 0, -1]
    np.testing.assert_allclose(errors.class_average_precision, cells, rtol=0, atol=ATOL)


def test_the_order_of_rows_without_ties_changes_nothing() -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        scene = relabelled(rng, random_scene(rng, score_ties=False, default_options=True))
        evaluation = evaluation_of(scene)
        found, truth = evaluation.matched.source, evaluation.matched.ground_truths
        shuffled = jaxmap.evaluate(take_rows(found, rng.permutation(len(found.scores))), truth, protocol=PER_IMAGE)
        np.testing.assert_equal(shuffled.error_types().to_dict(), evaluation.error_types().to_dict())


@pytest.mark.parametrize("error", ["both", "duplicate", "background", "missed"])
def test_a_gain_is_that_of_data_without_the_errors(error: str) -> None:
    gained = 0
    for seed in range(30):
        evaluation = some_evaluation(seed)
        errors = evaluation.error_types()
        if error == "missed":
            truth = evaluation.matched.ground_truths
            kept = np.flatnonzero(errors.errors.ground_truths != MAIN_TYPES.index("missed"))
            found, truth = evaluation.matched.detections, take_rows(truth, kept)
        else:
            kept = np.flatnonzero(errors.detections()["outcome"] != error)
            found, truth = take_rows(evaluation.matched.detections, kept), evaluation.matched.ground_truths
        without = jaxmap.evaluate(found, truth).per_class()["AP50"]
        expected = np.where(np.isnan(without), errors.class_average_precision, without)
        index = ERROR_TYPES.index(error)
        after = errors.class_average_precision + errors.class_gain[index]
        np.testing.assert_allclose(after, expected, rtol=0, atol=ATOL)
        gained += int(np.nansum(errors.class_gain[index]) > 0)
    assert gained >= 5


def test_ids_are_those_of_the_files() -> None:
    scene = random_scene(np.random.default_rng(3), default_options=True)
    truth = copy.deepcopy(scene.ground_truths)
    for row in truth["annotations"]:
        row["id"] = f"object {row['id']}"
    for image in truth["images"]:
        image["id"] = f"image {image['id']}"
    for row in (*truth["annotations"], *(results := copy.deepcopy(scene.results))):
        row["image_id"] = f"image {row['image_id']}"
    columns = evaluation_of(Scene(truth, results, {})).error_types().detections()
    expected = evaluation_of(scene).error_types().detections()
    named = dict(zip(columns["detection"].tolist(), columns["ground_truth"], strict=True))
    numbers = dict(zip(expected["detection"].tolist(), expected["ground_truth"].tolist(), strict=True))
    assert named == {place: f"object {one}" if one != -1 else -1 for place, one in numbers.items()}
