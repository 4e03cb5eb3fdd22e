"""Intervals from resampled images: by hand, against plain loops, and what every bootstrap must satisfy."""

from __future__ import annotations

import json
import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from scipy import stats

import jaxmap
from jaxmap._resampling import _high_word, draw_counts, draw_counts_on_host, seed_key
from jaxmap.analysis._intervals import intervals
from support.scenes import odd_scenes, random_scene
from support.weighted import evaluate_repeated, evaluate_scene

pytestmark = odd_scenes

ATOL = 1e-12  # both sides are float64 means of a few thousand ratios of the same integers
THERE, NOWHERE = [0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]


def half_right(num_images: int = 40) -> jaxmap.Evaluation:
    """Returns the evaluation of images of one object each, of which every other one is found."""
    boxes = [THERE, NOWHERE] * (num_images // 2)
    found = [{"boxes": [box], "labels": [0], "scores": [0.5 + i / 1000]} for i, box in enumerate(boxes)]
    return jaxmap.evaluate(found, [{"boxes": [THERE], "labels": [0]}] * num_images)


# ---- drawing ----


def test_a_replicate_draws_as_many_units_as_there_are_and_each_about_once() -> None:
    counts = draw_counts_on_host(3, 0, 2000, 50)
    assert (counts.sum(axis=1) == 50).all()
    # A count is binomial(50, 1/50); the mean of 2000 is within 5 standard errors of 1.
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=5 * math.sqrt(0.98 / 2000))
    assert abs(counts.var() - 0.98) < 0.03
    # Any two units are drawn independently but for the fixed total.
    assert abs(np.corrcoef(counts[:, 0], counts[:, 1])[0, 1] + 1 / 49) < 5 / math.sqrt(2000)


def test_counts_depend_on_neither_blocks_nor_capacity() -> None:
    whole = draw_counts_on_host(7, 0, 150, 20)
    np.testing.assert_array_equal(draw_counts_on_host(7, 37, 130, 20), whole[37:130])
    some = np.array([5, 149], np.int32)
    wide = np.asarray(draw_counts(seed_key(7), some, np.int32(20), 64))
    np.testing.assert_array_equal(wide[:, :20], whole[some])
    assert not wide[:, 20:].any()
    assert (draw_counts_on_host(8, 0, 150, 20) != whole).any()


@pytest.mark.parametrize("factor", [1, 2, 7, 65535, 65536, 65537, 2**31 - 1])
def test_high_word_of_a_product(factor: int) -> None:
    words = np.random.default_rng(0).integers(0, 2**32, 1000, np.uint32)
    words[:3] = 0, 1, 2**32 - 1
    expected = words.astype(np.uint64) * np.uint64(factor) >> np.uint64(32)
    np.testing.assert_array_equal(np.asarray(_high_word(words, np.uint32(factor))), expected)


# ---- intervals ----


def test_intervals_equal_scipy() -> None:
    rng = np.random.default_rng(1)
    sample = rng.gamma(2, size=60)
    mine = np.array([sample[rng.integers(0, 60, 60)].mean() for _ in range(4000)])
    left_out = np.array([np.delete(sample, i).mean() for i in range(60)])
    (one,) = intervals(np.array([sample.mean()]), mine[None], left_out[None], 0.9)
    for method, ends in (("percentile", (one.percentile_low, one.percentile_high)), ("BCa", (one.low, one.high))):
        options = {"confidence_level": 0.9, "n_resamples": 4000, "rng": 2}
        expected = stats.bootstrap((sample,), np.mean, method=method, **options)
        # Both are estimates from 4000 replicates, whose ends have a standard error of about 0.005.
        np.testing.assert_allclose(ends, expected.confidence_interval, atol=0.03)
    assert one.standard_error == pytest.approx(mine.std(ddof=1))


def test_bias_moves_the_interval_and_undefined_replicates_are_left_out() -> None:
    replicates = np.append(np.linspace(0.0, 1.0, 101), [np.nan] * 9)
    (one,) = intervals(np.array([0.4]), replicates[None], np.empty((1, 0)), 0.95)
    normal = NormalDist()
    share = 40.5 / 101  # 40 replicates below, one equal
    levels = [normal.cdf(2 * normal.inv_cdf(share) + normal.inv_cdf(tail)) for tail in (0.025, 0.975)]
    assert (one.low, one.high) == pytest.approx(tuple(levels))
    assert (one.percentile_low, one.percentile_high, one.num_undefined) == (
        pytest.approx(0.025),
        pytest.approx(0.975),
        9,
    )


def test_no_spread_is_an_interval_of_one_point() -> None:
    (one, undefined) = intervals(np.array([0.5, np.nan]), np.full((2, 10), 0.5), np.full((2, 4), 0.5), 0.95)
    assert (one.low, one.high, one.standard_error) == (0.5, 0.5, 0.0)
    assert math.isnan(undefined.low)
    assert math.isnan(undefined.standard_error)


# ---- the whole ----


@pytest.mark.parametrize("seed", range(6))
def test_replicates_equal_a_loop_that_repeats_images(seed: int) -> None:
    rng = np.random.default_rng([5400, seed])
    scenes = iter(lambda: random_scene(rng, score_ties=False), None)
    scene = next(scene for scene in scenes if len(scene.image_ids) > 1)  # one image cannot be resampled
    result = evaluate_scene(scene).bootstrap(12, seed=seed)
    counts = draw_counts_on_host(seed, 0, 12, len(scene.image_ids))
    for index, row in enumerate(counts):
        expected = evaluate_repeated(scene, row)
        np.testing.assert_allclose(
            result.replicates.summary[:, index], list(expected.summary.values()), rtol=0, atol=ATOL
        )
    assert {name: one.value for name, one in result.summary.items()} == pytest.approx(
        evaluate_scene(scene).summary, abs=ATOL, nan_ok=True
    )


def test_groups_are_drawn_whole() -> None:
    evaluation = half_right(6)
    videos = ["a", "a", "b", "b", "b", "c"]
    result = evaluation.bootstrap(50, unit=videos)
    by_id = dict(zip(evaluation.image_ids.tolist(), videos, strict=True))
    np.testing.assert_array_equal(evaluation.bootstrap(50, unit=by_id).replicates.summary, result.replicates.summary)
    assert result.num_units == 3
    counts = draw_counts_on_host(0, 0, 50, 3)
    objects, found = counts @ [2, 3, 1], counts @ [1, 2, 0]
    recall = result.replicates.summary[list(result.summary).index("AR100")]
    np.testing.assert_allclose(recall, found / objects, rtol=0, atol=ATOL)


def test_same_seed_same_numbers_other_seed_others() -> None:
    evaluation = half_right()
    one, same, other = (evaluation.bootstrap(100, seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.replicates.summary, same.replicates.summary)
    assert one.summary["AP"] == same.summary["AP"] != other.summary["AP"]


def test_undefined_numbers_stay_undefined() -> None:
    result = half_right().bootstrap(20)
    assert math.isnan(result.summary["APl"].value)
    assert result.summary["APl"].num_undefined == 20
    rare = [{"boxes": [THERE], "labels": [int(i == 0)], "scores": [0.9]} for i in range(10)]
    truth = [{"boxes": image["boxes"], "labels": image["labels"]} for image in rare]
    of_class = jaxmap.evaluate(rare, truth).bootstrap(200).of_class
    # Class 1 is in one of 10 images: it is not drawn in (9/10)^10 = 0.35 of the replicates.
    assert 40 < of_class[1].num_undefined < 100
    assert of_class[0].num_undefined == 0


def test_tables_and_json() -> None:
    result = half_right().bootstrap(30, confidence=0.9)
    assert str(result).startswith("90% intervals (BCa) from 30 replicates of 40 images")
    assert repr(result).startswith("Bootstrap(replicates=30, confidence=0.9, AP=")
    content = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    first = content["summary"][0]
    assert first["number"] == "AP"
    assert first["low"] <= first["value"] <= first["high"]
    assert content["per_class"][0]["class_name"] == "0"
    assert set(result.numbers()) - {"number"} == set(result.per_class()) - {"class_id", "class_name"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_replicates": 1}, "`num_replicates` must be a whole number of at least 2, got 1"),
        ({"num_replicates": 2.5}, "`num_replicates` must be a whole number of at least 2, got 2.5"),
        ({"confidence": 95}, "`confidence` must be a number between 0 and 1, such as 0.95, got 95"),
        ({"seed": -1}, "`seed` must be a whole number from 0 to 4294967295, got -1"),
        ({"unit": "video"}, "`unit` must be 'image', or the group of each image .such as its video., got 'video'"),
        ({"unit": ["a", "b"]}, "`unit` must name the group of each of 40 images, got 2"),
        ({"unit": ["a"] * 40}, "resampling needs at least two groups of images, got 1"),
        ({"unit": {0: "a"}}, "`unit` must name the group of every image, got none for .1, 2, 3, 4, 5."),
    ],
)
def test_bad_arguments(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        half_right().bootstrap(**options)


def test_one_image_cannot_be_resampled() -> None:
    with pytest.raises(ValueError, match="at least two images, got 1"):
        half_right(2).of_images(np.array([True, False])).bootstrap()
