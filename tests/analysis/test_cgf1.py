"""cgF1 by hand, and against its definition in loops on random scenes."""

from __future__ import annotations

import gzip
import json
import math
import pathlib
import sys
from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap import io
from support import plain_sets
from support.scenes import Scene, cut, odd_scenes, random_scene

THERE, NEAR, NOWHERE = [0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 8.0], [50.0, 50.0, 60.0, 60.0]


def image(*boxes: list[float], **fields: Any) -> dict[str, Any]:
    return {"boxes": np.reshape(boxes, (-1, 4)), "labels": [0] * len(boxes)} | fields


def test_by_hand() -> None:
    # Found with IoU 0.8 (7 of 10 thresholds) and a false box; nothing there, nothing found; found where nothing is.
    # So Matthews' coefficient is (1 * 1 - 1 * 0) / sqrt(2 * 1 * 2 * 1), and F1 is 2 / (2 + 1) at 7 thresholds.
    truth = [image(THERE), image(), image()]
    result = jaxmap.evaluate([image(NEAR, NOWHERE), image(), image(NOWHERE)], truth).cgf1()
    assert result.image_level_mcc == 0.5
    assert result.positive_micro_f1 == pytest.approx(0.7 * 2 / 3)
    assert result.cgf1 == pytest.approx(0.35 * 2 / 3)
    assert result.cgf1_at[6:8].tolist() == [pytest.approx(1 / 3), 0]
    assert (result.true_positives[0], result.false_positives[0], result.false_negatives[0]) == (1, 1, 0)
    assert str(result) == (
        "cgF1 0.233 = positive micro F1 0.467 x image-level MCC 0.500 (3 queries, 1 of them positive)"
    )
    content = json.loads(json.dumps(result.to_dict()))
    assert content["query_false_positives"] == 1
    assert content["true_positives"] == [1] * 7 + [0] * 3


def test_the_assignment_has_the_largest_total_and_not_the_most_pairs() -> None:
    # IoUs: `first` 1.0 with the one and 0.6 with the other; `second` 0.1 with the one. Total 1.0 + 0 beats 0.6 + 0.1,
    # so at 0.5 one is found, although `first` could leave `one` to nobody and take the other.
    truth = [image(THERE, [2.5, 0.0, 12.5, 10.0])]
    found = [image(THERE, [0.0, 0.0, 1.0, 10.0])]
    result = jaxmap.evaluate(found, truth).cgf1()
    assert result.true_positives.tolist() == [1] * 10
    assert math.isnan(result.image_level_mcc)  # no query is without ground truth
    assert math.isnan(result.cgf1)
    assert "cgF1 undefined = positive micro F1 0.500 x image-level MCC undefined" in str(result)


def test_what_is_not_asked_and_not_counted() -> None:
    # Class 1 of image 0 may be incomplete, class 0 of image 1 is not verified; a crowd is no ground truth.
    truth = [
        {"boxes": [THERE, NOWHERE], "labels": [0, 1], "crowd": [0, 0]},
        {"boxes": [NOWHERE], "labels": [1], "crowd": [1]},
    ]
    flags = {"not_exhaustive": [[False, True], [False, False]], "verified": [[True, True], [False, True]]}
    truth = [row | {name: value[i] for name, value in flags.items()} for i, row in enumerate(truth)]
    found = [{"boxes": [THERE, THERE], "labels": [0, 1]}, {"boxes": [THERE, NOWHERE], "labels": [0, 1]}]
    result = jaxmap.evaluate(found, truth).cgf1()
    counts = [getattr(result, f"query_{kind}") for kind in ("true_positives", "false_positives")]
    counts += [getattr(result, f"query_{kind}") for kind in ("false_negatives", "true_negatives")]
    assert counts == [1, 1, 0, 0]
    assert (result.true_positives[0], result.false_positives[0], result.false_negatives[0]) == (1, 0, 0)


def assert_as_defined(scene: Scene, results: list[dict[str, Any]], score_threshold: float, seed: int) -> None:
    truth = io.coco_ground_truths(scene.ground_truths)
    evaluation = jaxmap.evaluate(io.coco_detections(results, truth), truth, max_detections=1)  # a limit changes nothing
    ours = evaluation.cgf1(score_threshold)
    thresholds = list(evaluation.protocol.iou_thresholds)
    boxes, answers = plain_sets.concept_counts(scene.ground_truths, results, thresholds, score_threshold)
    counted = [ours.true_positives, ours.false_positives, ours.false_negatives]
    np.testing.assert_array_equal(counted, boxes, err_msg=str(seed))
    kinds = ("true_positives", "false_positives", "false_negatives", "true_negatives")
    assert [getattr(ours, f"query_{kind}") for kind in kinds] == answers
    expected = plain_sets.concept_f1(boxes, answers)
    np.testing.assert_allclose([ours.cgf1, ours.positive_micro_f1, ours.image_level_mcc], expected, rtol=0, atol=1e-12)


@odd_scenes
@pytest.mark.filterwarnings("ignore:.*beyond the limit")
@pytest.mark.parametrize("start", [0, *(pytest.param(one, marks=pytest.mark.slow) for one in range(30, 500, 94))])
def test_random_scenes_are_as_defined(start: int) -> None:
    for seed in range(8000 + start, 8000 + start + (94 if start else 30)):
        rng = np.random.default_rng(seed)
        scene = random_scene(rng, default_options=True)
        assert_as_defined(scene, scene.results, float(rng.choice([0.3, 0.5])), seed)
        plain = [{name: value for name, value in row.items() if name != "score"} for row in scene.results]
        assert_as_defined(scene, plain, 0.5, seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ssd_resnet50_fpn", "ssd_inception_v2"])
def test_real_detections_are_as_defined(shared_data: pathlib.Path, name: str) -> None:
    folder = shared_data / "coco_val2017"
    paths = folder / "ground_truth_exact_188_images.json.gz", folder / f"{name}.json.gz"
    truth, results = (json.loads(gzip.decompress(path.read_bytes())) for path in paths)
    truth, results = cut(truth, results, [image["id"] for image in truth["images"]])
    for score_threshold in (0.5, 0.1):
        assert_as_defined(Scene(truth, results, {}), results, score_threshold, 0)


def test_mistakes_are_one_line() -> None:
    evaluation = jaxmap.evaluate([image(THERE, NEAR)], [image(THERE)])
    with pytest.raises(ValueError, match="`score_threshold` must be a number, got nan"):
        evaluation.cgf1(math.nan)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "scipy.optimize", None)  # then its import fails
        with pytest.raises(ImportError, match=r"needs scipy, which is not installed: pip install 'jaxmap\[sets\]'"):
            evaluation.cgf1()
