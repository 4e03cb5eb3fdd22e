"""Sorting of datasets: the same order by any way of sorting, however large the numbers are."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmap._ordering import inverse, order_by_score, order_stably, order_within


@pytest.mark.parametrize("largest", [1, 40, 2**16 - 1, 2**16, 2**32, 2**50])
def test_equal_numbers_keep_their_order(largest: int) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, largest, 5000, endpoint=True)
    values[rng.integers(0, 5000, 2500)] = values[:2500]
    values[7] = largest
    np.testing.assert_array_equal(order_stably(values), np.argsort(values, kind="stable"))


def test_no_numbers_have_an_order() -> None:
    none = np.empty(0, np.int64)
    assert not len(order_stably(none))
    assert not len(order_within(none, none))
    assert not len(order_by_score(none, np.empty(0)))


@pytest.mark.parametrize("decimals", [1, 17])
def test_ties_go_by_arrival_and_without_it_by_row(decimals: int) -> None:
    rng = np.random.default_rng(1)
    labels, scores = rng.integers(0, 5, 3000), rng.random(3000).round(decimals)
    arrival = inverse(np.argsort(rng.integers(0, 300, 3000), kind="stable"))
    np.testing.assert_array_equal(order_by_score(labels, scores, arrival), np.lexsort((arrival, -scores, labels)))
    np.testing.assert_array_equal(order_by_score(labels, scores), np.lexsort((-scores, labels)))
