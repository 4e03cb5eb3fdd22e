"""Pixel-level average precision: the exact one equals scikit-learn's, and the binned one is near it and bounds it.

Tolerances: float64 on the host 1e-12; float32 inside `jit` 1e-5, the sum of a thousand rounded terms.
"""

from __future__ import annotations

import functools
from typing import Any

import chex
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from jaxmap.metrics import PixelAveragePrecision, pixel_average_precision

K, SHAPE, NUM_BINS = 4, (3, 41, 43), 50
METRIC = PixelAveragePrecision(num_classes=K, num_bins=NUM_BINS)
update = jax.jit(METRIC.update)
compute = jax.jit(METRIC.compute)
close = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-12)


@functools.cache
def random_maps(sharpness: float = 2.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that lean towards the truth, and labels of classes 0 to 2 and ignored pixels; class 3 has none."""
    rng = np.random.default_rng(seed)
    truth = rng.choice([0, 1, 2, 255], SHAPE, p=[0.7, 0.2, 0.05, 0.05])
    logits = sharpness * (rng.normal(size=(*SHAPE, K)) + np.eye(256)[truth][..., :K])
    scores = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return scores.astype(np.float32), truth


def expected(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Returns scikit-learn's number of every class; NaN without a pixel, where that says 0."""
    kept = truth != 255
    return np.array(
        [
            average_precision_score(truth[kept] == label, scores[kept][:, label]) if (truth == label).any() else np.nan
            for label in range(K)
        ]
    )


@pytest.mark.parametrize("decimals", [7, 1], ids=["distinct", "tied"])
def test_exact_equals_scikit_learn(decimals: int) -> None:
    scores, truth = random_maps()
    scores = scores.round(decimals)
    result = pixel_average_precision(scores, truth)
    close(result.average_precision, expected(scores, truth))
    close(result.mean_average_precision, expected(scores, truth)[:3].mean())
    np.testing.assert_array_equal(result.num_positives, [(truth == label).sum() for label in range(K)])
    assert result.counters["num_ignored_pixels"] == (truth == 255).sum() > 0
    for bound in (result.lowest, result.highest):
        np.testing.assert_array_equal(bound, result.average_precision)


def test_exact_takes_images_of_different_sizes_and_padding() -> None:
    scores, truth = random_maps()
    whole = pixel_average_precision(scores, truth)
    sizes = [(41, 43), (4, 43), (41, 2)]
    cut = [(image[:h, :w], labels[:h, :w]) for image, labels, (h, w) in zip(scores, truth, sizes, strict=True)]
    valid = np.zeros(SHAPE, bool)
    for flags, (h, w) in zip(valid, sizes, strict=True):
        flags[:h, :w] = True
    ragged = pixel_average_precision((image for image, _ in cut), (labels for _, labels in cut))
    padded = pixel_average_precision(
        np.where(valid[..., None], scores, np.nan), np.where(valid, truth, 77), valid=valid
    )
    np.testing.assert_array_equal(padded.average_precision, ragged.average_precision)
    assert (ragged.average_precision != whole.average_precision)[:3].all()
    assert padded.counters["num_padded_pixels"] == (~valid).sum()
    one = pixel_average_precision(scores, truth, valid=np.array([True, False, False]))
    np.testing.assert_array_equal(
        one.average_precision, pixel_average_precision(scores[:1], truth[:1]).average_precision
    )
    moved = np.where(truth == 255, 0, truth + 1)
    shifted = pixel_average_precision(scores, moved, reduce_zero_label=True, ignore_index=None)
    np.testing.assert_array_equal(shifted.average_precision, whole.average_precision)


@pytest.mark.parametrize("sharpness", [0.5, 2.0, 8.0])
def test_binned_comes_near_the_exact_number_and_bounds_it(sharpness: float) -> None:
    scores, truth = random_maps(sharpness)
    state = update(METRIC.init(), scores, truth)
    result, exact = METRIC.compute(state), pixel_average_precision(scores, truth)
    for middle, low, high in (
        ("average_precision", "lowest", "highest"),
        ("mean_average_precision", "mean_lowest", "mean_highest"),
    ):
        value, near, lowest, highest = (
            getattr(exact, middle),
            *(getattr(result, name) for name in (middle, low, high)),
        )
        np.testing.assert_array_equal(np.isnan(near), np.isnan(value))
        assert ((lowest < value) & (value < highest) & (lowest < near) & (near < highest) | np.isnan(value)).all()
        assert (np.abs(near - value) < 0.25 * (highest - lowest))[~np.isnan(value)].all()
    assert np.isnan(result.average_precision[3])
    np.testing.assert_array_equal(result.num_positives, exact.num_positives)
    in_jit = METRIC.summarize(compute(state))
    assert in_jit == pytest.approx(METRIC.summarize(result), rel=0, abs=1e-5)
    assert compute(state).average_precision[3] == -1


def test_scores_that_crowd_are_better_spread_out_before() -> None:
    scores, truth = random_maps(8.0)
    spread = np.clip((np.log(scores) - np.log1p(-np.minimum(scores, 1 - 1e-6)) + 16) / 32, 0, 1)
    exact = pixel_average_precision(scores, truth).average_precision[:3]
    crowded, better = (METRIC.compute(update(METRIC.init(), maps, truth)) for maps in (scores, spread))
    errors = [np.abs(result.average_precision[:3] - exact) for result in (crowded, better)]
    assert (errors[0] > 0.02).all()
    assert (errors[1] < 0.004).all()
    assert (better.highest - better.lowest < crowded.highest - crowded.lowest)[:3].all()


# A few pixels in three bins, in any order within them.
PIXELS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=12)


@settings(max_examples=30, deadline=None)
@given(PIXELS)
@pytest.mark.filterwarnings("ignore:the numbers may not be what you meant")  # class 0 alone
def test_bounds_hold_whatever_lies_in_a_bin(pixels: list[tuple[int, int, int]]) -> None:
    truth, scores = np.full(SHAPE, 255), np.zeros((*SHAPE, K), np.float32)
    for i, (label, place, step) in enumerate(pixels):
        truth[0, 0, i], scores[0, 0, i, 0] = label, 0.401 + 0.1 * place + 0.004 * step
    result = METRIC.compute(update(METRIC.init(), scores, truth))
    value = pixel_average_precision(scores[0, :1, None, :20], truth[0, :1, None, :20]).average_precision[0]
    assert np.isnan(value) == np.isnan(result.lowest[0])
    for number in (value, result.average_precision[0]):
        assert np.isnan(number) or result.lowest[0] - 1e-12 <= number <= result.highest[0] + 1e-12


def test_one_bin_by_hand() -> None:
    # A bin of 3 positives and 2 negatives. Worst: both negatives first, (1 / 3 + 2 / 4 + 3 / 5) / 3. Best: one step of
    # the positives, 1. Evenly: the mean over x in [0, 1] of (1 / 2 + 3 x) / (1 / 2 + 5 x).
    truth, scores = np.full(SHAPE, 255), np.full((*SHAPE, K), 0.505, np.float32)
    truth[0, 0, :5] = 0, 0, 0, 1, 1
    result = METRIC.compute(update(METRIC.init(), scores, truth))
    close(result.highest[0], 1)
    worst = (1 / 3 + 2 / 4 + 3 / 5) / 3
    assert worst - 0.01 < result.lowest[0] <= worst
    x = (np.arange(100_000) + 0.5) / 100_000
    np.testing.assert_allclose(result.average_precision[0], ((0.5 + 3 * x) / (0.5 + 5 * x)).mean(), rtol=0, atol=1e-8)


def test_scores_that_are_no_number_or_out_of_range_are_counted() -> None:
    scores, truth = (np.copy(maps) for maps in random_maps())
    scored = np.argwhere(truth != 255)
    scores[(*scored[0], 0)], scores[(*scored[1], 1)] = np.nan, np.inf
    scores[(*scored[2], 0)], scores[(*scored[3], 1)] = -0.5, 1.5
    scores[truth == 255] = np.nan  # of no concern
    truth[tuple(scored[4])] = 9
    with pytest.warns(UserWarning, match=r"1 pixels have a true label .*; 2 scores are NaN .*; 2 scores are outside"):
        counters = METRIC.summarize(METRIC.compute(update(METRIC.init(), scores, truth)))
    assert {name: value for name, value in counters.items() if name.startswith("num_")} == {
        "num_pixels": len(scored) - 1,
        "num_ignored_pixels": (truth == 255).sum(),
        "num_bad_true_labels": 1,
        "num_padded_pixels": 0,
        "num_not_finite": 2,
        "num_scores_out_of_range": 2,
    }


SCORES, TRUTH = np.zeros((2, 3, 4, 2), np.float32), np.zeros((2, 3, 4), int)


@pytest.mark.parametrize(
    ("scores", "truth", "options", "error", "message"),
    [
        (
            SCORES * np.nan,
            TRUTH,
            {},
            ValueError,
            "must be finite on scored pixels, got nan for class 0 in image 0",
        ),
        (
            SCORES,
            TRUTH + 2,
            {},
            ValueError,
            "must hold classes 0 to 1 or 255 .* got 2 in image 0 at row 0, column 0",
        ),
        (SCORES[:1], TRUTH, {}, ValueError, "must hold the same images, at least one, got 1, 2 and 2"),
        (SCORES[:, 1:], TRUTH, {}, ValueError, r"got \[2, 4, 2\] and \[3, 4\] in image 0"),
        (SCORES * 1j, TRUTH, {}, TypeError, "`scores` must be real numbers, got dtype complex64 in image 0"),
        (SCORES, TRUTH + 2**32, {}, ValueError, "must hold classes 0 to 1 or 255 .* got 4294967296 in image 0"),
        (SCORES, TRUTH * 0.5, {}, TypeError, "`truth` must hold integers, got dtype float64 in image 0"),
        (
            SCORES,
            TRUTH,
            {"ignore_index": 0},
            ValueError,
            "must not be the label of a class, 0 to 1, got 0",
        ),
    ],
)
def test_bad_input_is_refused(
    scores: Any, truth: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        pixel_average_precision(scores, truth, **options)


@pytest.mark.parametrize("shape", [(0, 3, 3), (1, 0, 3), (1, 3, 0)])
def test_maps_may_be_empty(shape: tuple[int, ...]) -> None:
    metric = PixelAveragePrecision(num_classes=2)
    state = metric.update(metric.init(), np.zeros((*shape, 2), np.float32), np.zeros(shape, np.int32))
    chex.assert_trees_all_equal(state, metric.init())


def test_score_maps_must_fit_the_labels() -> None:
    with pytest.raises(ValueError, match=r"`scores` must have shape \[2, 3, 4, 4\], .* got \[2, 3, 4, 2\]"):
        METRIC.update(METRIC.init(), SCORES, TRUTH)
    with pytest.raises(ValueError, match=r"`score_range` must be the lowest and the highest score, .* got \(1, 0\)"):
        PixelAveragePrecision(num_classes=2, score_range=(1, 0))
