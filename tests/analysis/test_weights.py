"""Numbers under image weights: equal to those of a dataset in which every image occurs as often as its weight says."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap._curves import _weighted_host
from jaxmap.analysis import _replicates
from jaxmap.analysis._replicates import Replicates, WeightedSummary
from jaxmap.protocols import SummaryRow
from support.scenes import odd_scenes, random_scene
from support.weighted import evaluate_repeated, evaluate_scene

pytestmark = odd_scenes

ATOL = 1e-12  # both sides are float64 means of a few thousand ratios of the same integers
F1_ROWS = SummaryRow("F1", "f1"), SummaryRow("F1_{area}", "f1", 0.5, "area")
WITH_F1 = dataclasses.replace(jaxmap.COCO, summary=(*jaxmap.COCO.summary, *F1_ROWS))
PROTOCOLS: dict[str, dict[str, Any]] = {
    "coco": {},
    "voc2007": {"protocol": jaxmap.VOC2007},
    "voc2012": {"protocol": jaxmap.VOC2012},
    "all-point": {"protocol": jaxmap.ALL_POINT},
    "open-images": {"protocol": jaxmap.OPEN_IMAGES},
    "open-images-challenge": {"protocol": "open-images-challenge"},
    "ultralytics": {"protocol": "ultralytics"},
    "f1": {"protocol": WITH_F1},
    "other points": {"recall_points": [0.05, 0.1, 0.4, 0.9]},
    "thirds": {"recall_points": [0.0, 1 / 3, 2 / 3, 1.0]},
}


def under(evaluation: jaxmap.Evaluation, weights: np.ndarray) -> Replicates:
    """Returns the numbers of an evaluation under weights `[W, I]`."""
    weighted = WeightedSummary(evaluation.dataset, evaluation.protocol)
    return weighted(lambda first, last: weights[first:last], len(weights))


def assert_equals(numbers: Replicates, index: int, evaluation: jaxmap.Evaluation) -> None:
    """Asserts that the numbers under one vector of weights are those of an evaluation."""
    np.testing.assert_allclose(numbers.summary[:, index], list(evaluation.summary.values()), rtol=0, atol=ATOL)
    first = next(iter(evaluation.summary))
    np.testing.assert_allclose(numbers.of_class[:, index], evaluation.per_class()[first], rtol=0, atol=ATOL)


@pytest.mark.parametrize("options", PROTOCOLS.values(), ids=PROTOCOLS)
@pytest.mark.parametrize("seed", range(12))
def test_whole_weights_equal_a_dataset_with_as_many_copies(seed: int, options: dict[str, Any]) -> None:
    rng = np.random.default_rng([5300, seed])
    scene = random_scene(rng, score_ties=False, default_options=bool(options))
    evaluation = evaluate_scene(scene, **options)
    counts = rng.integers(0, 4, (5, len(scene.image_ids)))
    counts[0] = 1
    numbers = under(evaluation, counts)
    for index, row in enumerate(counts):
        if row.any():
            assert_equals(numbers, index, evaluate_repeated(scene, row, **options))
        else:
            assert np.isnan(numbers.summary[:, index]).all()


@pytest.mark.parametrize("seed", range(30))
def test_weights_of_one_equal_the_evaluation_with_ties(seed: int) -> None:
    scene = random_scene(np.random.default_rng([5301, seed]))
    evaluation = evaluate_scene(scene)
    assert_equals(under(evaluation, np.ones((1, len(scene.image_ids)))), 0, evaluation)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = random_scene(np.random.default_rng(5302), score_ties=False, default_options=True)
    evaluation = evaluate_scene(scene, protocol=WITH_F1)
    counts = np.random.default_rng(0).integers(0, 3, (23, len(scene.image_ids)))
    whole = under(evaluation, counts)
    for module, name, value in (
        (_weighted_host, "STEP_CELLS", _weighted_host.MOST_WEIGHTS * 2),
        (_weighted_host, "PIECE", 2),
        (_replicates, "MOST_BYTES", 8 * 40 * 5),
    ):
        monkeypatch.setattr(module, name, value)
        parts = under(evaluation, counts)
        np.testing.assert_array_equal(parts.summary, whole.summary)
        np.testing.assert_array_equal(parts.of_class, whole.of_class)


def test_fractions_are_scale_free_and_do_not_depend_on_the_order_of_images() -> None:
    rng = np.random.default_rng(5303)
    scene = random_scene(rng, score_ties=False, default_options=True)
    evaluation = evaluate_scene(scene)
    weights = rng.random((1, len(scene.image_ids)))
    once, thrice = under(evaluation, weights), under(evaluation, 3 * weights)
    # Rounding to multiples of a power of two moves each weight by less than 2^-40 for so few rows.
    np.testing.assert_allclose(once.summary, thrice.summary, rtol=0, atol=1e-9)
    halves = under(evaluation, np.round(weights * 8) / 8)
    np.testing.assert_allclose(halves.summary, under(evaluation, np.round(weights * 8)).summary, rtol=0, atol=ATOL)


def test_weights_become_exact() -> None:
    weights = np.random.default_rng(0).random(1000) * 7
    rounded = _weighted_host.exact_weights(weights, 1_000_000)
    np.testing.assert_allclose(rounded, weights, rtol=0, atol=7 * 2.0**-32)
    assert sum(rounded) == sum(rounded[::-1]) == sum(np.random.default_rng(1).permutation(rounded))
    whole = np.array([0.0, 1.0, 5.0])
    assert _weighted_host.exact_weights(whole, 10**9) is whole
