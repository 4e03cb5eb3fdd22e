"""AP@k in its four definitions: published vectors, the plain definitions on random rows, and metrax itself.

Rows are float32 on the device (error below 1e-7); a mean brought to the host is float64 from double-float sums, within
1e-12 of the same sum in float64.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metrax import AveragePrecisionAtK as MetraxAveragePrecisionAtK

from jaxmap.metrics import MeanAveragePrecisionAtK, average_precision_at_k, mean_average_precision_at_k, rank_classes

NUM_ROWS, ITEMS, K = 64, 12, 5
score_rows = jax.jit(average_precision_at_k, static_argnames=("k", "definition", "empty"))


ROWS, LENGTH = 4, 8  # to which small cases are padded, so that they share compiled programs


def padded(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Returns lists as one array, filled up with an item that others hold, and what of it is real."""
    items, valid = np.ones((ROWS, LENGTH), np.int32), np.zeros((ROWS, LENGTH), bool)
    for i, row in enumerate(rows):
        items[i, : len(row)], valid[i, : len(row)] = row, True
    return items, valid


def batch(
    relevant: Sequence[Sequence[int]], predicted: Sequence[Sequence[int]], weights: Sequence[float] | None = None
) -> dict[str, np.ndarray]:
    """Returns the keywords of an update with lists; padded rows have weight, and would have hits."""
    (relevant_items, relevant_valid), (items, valid) = padded(relevant), padded(predicted)
    weight = np.ones(ROWS, np.float32)
    weight[: len(relevant)] = 1 if weights is None else weights
    return {
        "relevant": relevant_items,
        "predicted": items,
        "relevant_valid": relevant_valid,
        "predicted_valid": valid,
        "weights": weight,
        "valid": np.arange(ROWS) < len(relevant),
    }


@functools.cache
def update_of(metric: MeanAveragePrecisionAtK) -> Any:
    return jax.jit(metric.update)


def mean_of(k: int, definition: str = "kaggle", empty: str | None = None, **keywords: np.ndarray) -> float:
    """Returns the mean through the metric, of the definitions that divide by min(n, k)."""
    metric = MeanAveragePrecisionAtK(k=k, definition=definition, empty=empty)
    return metric.summarize(metric.compute(update_of(metric)(metric.init(), **keywords)))["mean_average_precision"]


# The definitions, as their authors write them.


def apk(actual: list[int], predicted: list[int], k: int) -> float:
    """ml_metrics, average_precision.py."""
    score = hits = 0.0
    for i, item in enumerate(predicted[:k]):
        if item in actual and item not in predicted[:i]:
            hits += 1.0
            score += hits / (i + 1.0)
    return score / min(len(actual), k) if actual else 0.0


def metrax_rule(actual: list[int], predicted: list[int], k: int) -> float:
    """The sum of precision at hits over the number of relevant items, 0 without any."""
    return apk(actual, predicted, k) * min(len(actual), k) / max(len(actual), 1)


def retrieval_map(actual: list[int], predicted: list[int], k: int) -> float:
    """torchmetrics: the mean of precision at the places of the hits, 0 without any."""
    target = [item in actual and item not in predicted[:i] for i, item in enumerate(predicted[:k])]
    places = np.flatnonzero(target) + 1
    return float(np.mean(np.arange(1, len(places) + 1) / places)) if len(places) else 0.0


def tensorflow_rule(actual: list[int], predicted: list[int], k: int) -> float:
    """metrics_impl.py: 0 / 0 without relevant items."""
    return apk(actual, predicted, k) if actual else np.nan


RULES: dict[str, Callable[[list[int], list[int], int], float]] = {
    "kaggle": apk,
    "tensorflow": tensorflow_rule,
    "metrax": metrax_rule,
    "torchmetrics": retrieval_map,
}


@functools.cache
def random_rows() -> tuple[dict[str, np.ndarray], list[list[int]], list[list[int]]]:
    """Rows with repeats on both sides, empty sides, and padding anywhere that holds items of its own row."""
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    lists = []
    for side, length in (("relevant", 7), ("predicted", 9)):
        items = rng.integers(0, ITEMS, (NUM_ROWS, length)).astype(np.int32)
        valid = rng.random((NUM_ROWS, length)) < rng.choice([0.0, 0.6, 1.0], (NUM_ROWS, 1), p=[0.1, 0.7, 0.2])
        arrays |= {side: items, f"{side}_valid": valid}
        lists.append([row[flags].tolist() for row, flags in zip(items, valid, strict=True)])
    return arrays, lists[0], lists[1]


def test_vectors_of_ml_metrics() -> None:
    # benhamner/Metrics, test_average_precision.py.
    vectors: list[tuple[list[Any], list[Any], int, float]] = [
        ([[*range(1, 6)]], [[6, 4, 7, 1, 2]], 2, 0.25),  # a hit at place 2: (1 / 2) / min(5, 2)
        ([[*range(1, 6)]], [[1] * 5], 5, 0.2),  # repeats score nothing: (1 / 1) / 5
        ([[*range(1, 5)]], [[*range(1, 5)]], 3, 1.0),
        ([[1, 3, 4], [1, 2, 4], [1, 3]], [[*range(1, 6)]] * 3, 3, 0.685185185185185),
        ([[*range(1, 6)]] * 2, [[6, 4, 7, 1, 2], [1] * 5], 5, 0.26),
        ([[1, 3], [1, 2, 3], [1, 2, 3]], [[*range(1, 6)], [1] * 3, [1, 2, 1]], 3, 11 / 18),
    ]
    for relevant, predicted_rows, k, expected in vectors:
        assert mean_of(k, **batch(relevant, predicted_rows)) == pytest.approx(expected, abs=1e-12, rel=0)
    assert score_rows(np.arange(1, 100), np.r_[1:21, 200:600], k=20) == 1


# tensorflow/python/kernel_tests/metrics_test.py: scores of 7 classes, dense labels.
SCORES = np.array([[0.2, 0.1, 0.0, 0.4, 0.0, 0.5, 0.3], [0.3, 0.5, 0.0, 0.4, 0.0, 0.1, 0.2]], np.float32)
LABELS = [[0, 1, 2, 3, 4], [0, 2, 4, 5, 6]]
TENSORFLOW = [[0, 1 / 4, 1 / 6, 1 / 4], [0, 0, 1 / 9, 5 / 24]]
THIRDS = [0.3, 0.6]  # in float32 not quite one and two thirds of their sum: 3e-8


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_vectors_of_tensorflow(k: int) -> None:
    mean = functools.partial(mean_of, k, "tensorflow")
    predicted = rank_classes(SCORES, k=k).tolist()
    first, second = (row[k - 1] for row in TENSORFLOW)
    for weights, expected, tolerance in (
        ([1, 0], first, 1e-12),
        ([0, 1], second, 1e-12),
        (None, [0, 0.125, 5 / 36, 11 / 48][k - 1], 1e-12),
        (THIRDS, [0, 1 / 12, 7 / 54, 2 / 9][k - 1], 1e-7),
    ):
        assert mean(**batch(LABELS, predicted, weights)) == pytest.approx(expected, abs=tolerance, rel=0)
    # Labels that are no class, -1 and 7, change nothing once they are marked.
    strange = batch([[-1, 0, 1, 2, 3, 4, 7]], predicted[:1])
    strange["relevant_valid"] &= (strange["relevant"] >= 0) & (strange["relevant"] < 7)
    assert mean(**strange) == pytest.approx(first, abs=1e-12, rel=0)
    scores = np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]], np.float32)
    fewer = batch([[2, 3], [3, -1]], rank_classes(scores, k=k).tolist())
    fewer["relevant_valid"] &= fewer["relevant"] >= 0
    assert mean(**fewer) == pytest.approx([0.5, 0.5, 7 / 12, 17 / 24][k - 1], abs=1e-12, rel=0)


def test_scalar_weights_and_a_flat_row_are_taken_too() -> None:
    assert mean_average_precision_at_k([1, 2], [1, 9], k=2, weights=3.0) == 0.5
    assert np.isnan(mean_average_precision_at_k([1, 2], [1, 9], k=2, weights=0.0))


@pytest.mark.parametrize("definition", RULES)
def test_rows_and_weighted_means_equal_the_plain_definition(definition: str) -> None:
    arrays, relevant, predicted = random_rows()
    expected = np.array([RULES[definition](*rows, K) for rows in zip(relevant, predicted, strict=True)])
    assert len(set(expected)) > 10
    rows = score_rows(**arrays, k=K, definition=definition)
    assert rows.dtype == jnp.float32
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-7)
    if definition in ("metrax", "torchmetrics"):  # the others' means are those of the policies below
        metric = MeanAveragePrecisionAtK(k=K, definition=definition, empty="skip")
        weights = np.random.default_rng(1).random(NUM_ROWS).astype(np.float32)
        state = jax.jit(metric.update)(metric.init(), **arrays, weights=weights)
        kept = np.array([bool(row) for row in relevant])
        mean = np.average(expected[kept], weights=weights[kept].astype(np.float64))
        assert metric.compute(state).mean_average_precision == pytest.approx(mean, abs=1e-12, rel=0)


def test_one_state_serves_every_policy_for_empty_rows() -> None:
    arrays, relevant, predicted = random_rows()
    expected = np.array([apk(*rows, K) for rows in zip(relevant, predicted, strict=True)])
    is_empty = np.array([not row for row in relevant])
    assert 0 < is_empty.sum() < NUM_ROWS
    weights = np.random.default_rng(1).random(NUM_ROWS).astype(np.float32)
    wide = weights.astype(np.float64)
    metric = MeanAveragePrecisionAtK(k=K)
    state = jax.jit(metric.update)(metric.init(), **arrays, weights=weights)
    for empty, value in (("zero", 0.0), ("one", 1.0), ("nan", np.nan), ("skip", np.nan)):
        kept = ~is_empty if empty == "skip" else np.ones(NUM_ROWS, bool)
        values = np.where(is_empty, value, expected)
        mean = dataclasses.replace(metric, empty=empty).compute(state).mean_average_precision
        assert mean == pytest.approx(np.average(values[kept], weights=wide[kept]), abs=1e-12, rel=0, nan_ok=True)


@pytest.mark.slow
def test_jit_vmap_and_an_eager_loop_over_rows_agree_to_the_last_bit() -> None:
    arrays, _, _ = random_rows()
    one = functools.partial(average_precision_at_k, k=K)
    rows = score_rows(**arrays, k=K, definition="kaggle")
    np.testing.assert_array_equal(jax.jit(jax.vmap(lambda arrays: one(**arrays)))(arrays), rows)
    is_empty = ~arrays["relevant_valid"].any(axis=1)
    for i in (*np.flatnonzero(is_empty)[:2], *np.flatnonzero(~is_empty)[:8]):
        row = {name: column[i] for name, column in arrays.items()}
        np.testing.assert_array_equal(one(**row), rows[i])
        for empty, value in (("zero", 0), ("one", 1), ("nan", np.nan), ("skip", np.nan)):
            np.testing.assert_array_equal(one(**row, empty=empty), value if is_empty[i] else rows[i])


def test_rows_equal_metrax() -> None:
    rng = np.random.default_rng(2)
    scores, labels = rng.random((NUM_ROWS, ITEMS)).astype(np.float32), rng.random((NUM_ROWS, ITEMS)) < 0.3
    labels[0] = False
    ks = (3, ITEMS)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        theirs = jax.jit(lambda *rows: MetraxAveragePrecisionAtK.average_precision_at_ks(*rows, ks))(
            scores, labels.astype(np.float32)
        )
    classes = np.broadcast_to(np.arange(ITEMS), labels.shape)
    for k, expected in zip(ks, theirs.T, strict=True):
        ours = score_rows(classes, rank_classes(scores, k=k), k=k, definition="metrax", relevant_valid=labels)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-6)  # their sums are plain float32


def test_a_row_without_relevant_items_poisons_only_where_the_policy_says_so() -> None:
    rows = batch([[1], []], [[1], [2]], weights=[1, 0])
    assert np.isnan(mean_of(K, "tensorflow", **rows))  # at weight 0, as in TensorFlow
    assert mean_of(K, "tensorflow", "skip", **rows) == mean_of(K, "kaggle", **rows) == 1
    # Rows that only pad the batch, of which `batch` makes some without relevant items, never do.
    assert mean_of(K, "tensorflow", **batch([[1]], [[1]])) == 1


def test_mean_without_weight_is_undefined() -> None:
    metric = MeanAveragePrecisionAtK()
    assert np.isnan(metric.compute(metric.init()).mean_average_precision)
    on_device = jax.jit(metric.compute)(metric.init())
    assert on_device.mean_average_precision == -1
    assert np.isnan(metric.summarize(on_device)["mean_average_precision"])


def test_rows_whose_weight_is_no_weight_take_no_part_and_are_reported() -> None:
    arrays = batch([[1], [2], [3], [4]], [[1], [9], [9], [9]], [1.0, np.nan, -1.0, np.inf])
    metric = MeanAveragePrecisionAtK(k=K)
    with pytest.warns(UserWarning, match="3 rows have a weight that is negative, NaN or infinite"):
        numbers = metric.summarize(metric.compute(update_of(metric)(metric.init(), **arrays)))
    assert numbers == {
        "mean_average_precision": 1.0,
        "num_rows": 1,
        "num_empty_rows": 0,
        "num_padded_rows": 0,
        "num_bad_weights": 3,
    }
    with pytest.raises(ValueError, match="`weights` must be finite and not negative, got 3 that are not"):
        mean_average_precision_at_k(**arrays)
    assert np.isnan(jax.jit(mean_average_precision_at_k)(**arrays))


def test_classes_are_ranked_by_score_then_number() -> None:
    rank = jax.jit(rank_classes, static_argnames="k")
    scores = np.array([[0.5, -0.0, 0.5, 0.0], [np.nan, -np.inf, 1.0, 0.0]], np.float32)
    np.testing.assert_array_equal(rank(scores, k=4), [[0, 2, 1, 3], [2, 3, 0, 1]])


@pytest.mark.slow
def test_more_places_than_items_change_nothing() -> None:
    relevant, predicted = np.array([[1, 2, 3], [4, 5, 6]]), np.array([[1, 9], [4, 5]])
    expected = average_precision_at_k(relevant, predicted, k=3)
    np.testing.assert_array_equal(average_precision_at_k(relevant, predicted, k=2**31 - 1), expected)


ITEMS_OK = np.ones((2, 3), np.int32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: average_precision_at_k(ITEMS_OK, ITEMS_OK, k=0), ValueError, "`k` must be at least 1, got 0"),
        (lambda: average_precision_at_k(ITEMS_OK, ITEMS_OK, k=2.5), TypeError, "`k` must be a whole number, got 2.5"),
        (
            lambda: average_precision_at_k(np.zeros((1, 2**15), int), np.zeros((1, 2**15), int), k=10**9),
            ValueError,
            r"`predicted` must have at most 8192 places for 32768 items, got 32768; lower `k`",
        ),
        (lambda: rank_classes(np.ones((2, 3)), k=4), ValueError, "the number of classes, 3, got 4"),
        (
            lambda: average_precision_at_k(ITEMS_OK, ITEMS_OK, definition="map"),
            ValueError,
            r"`definition` must be one of \['kaggle', 'tensorflow', 'metrax', 'torchmetrics'\], got 'map'",
        ),
        (
            lambda: average_precision_at_k(ITEMS_OK, ITEMS_OK, empty="0"),
            ValueError,
            "`empty` must be .* got '0'",
        ),
        (lambda: average_precision_at_k(ITEMS_OK, ITEMS_OK[:1]), ValueError, r"the same rows, got .*\[2\] and \[1\]"),
        (
            lambda: average_precision_at_k(ITEMS_OK * 0.5, ITEMS_OK),
            TypeError,
            "`relevant` must hold integers, got",
        ),
        (lambda: average_precision_at_k(3, ITEMS_OK), ValueError, r"`relevant` must have shape \[..., items\]"),
        (
            lambda: mean_average_precision_at_k(ITEMS_OK, np.full((2, 3), 2**40)),
            ValueError,
            rf"`predicted` must fit int32, got {2**40} at \[0, 0\]; number the items",
        ),
        (
            lambda: jax.jit(average_precision_at_k)(ITEMS_OK, np.ones((2, 3), np.uint32)),
            TypeError,
            "`predicted` must fit int32, got dtype uint32",
        ),
        (
            lambda: average_precision_at_k(ITEMS_OK, ITEMS_OK, predicted_valid=np.ones(2, bool)),
            ValueError,
            r"`predicted_valid` must have shape \[2, 3\], that of `predicted`, got \[2\]",
        ),
        (
            lambda: mean_average_precision_at_k(ITEMS_OK, ITEMS_OK, weights=np.ones(3)),
            ValueError,
            r"`weights` must have shape \[2\], one per row, got \[3\]",
        ),
    ],
)
def test_bad_input_is_refused(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
