"""Double-float arithmetic under `jit` against exact fractions.

Bounds are relative to the exact result, with u = 2^-24 the rounding unit of float32. They are those of Joldes, Muller
and Popescu, Tight and rigorous error bounds for basic building blocks of double-word arithmetic (2017), rounded up to a
power of two: 3 u^2 for a sum and 5 u^2 for a product. A quotient must stay below 2^-45, on which the comparison of
similarities relies.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import chex
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from jaxmap._geometry import _double_float as df
from jaxmap._geometry._double_float import DoubleFloat

SUM_BOUND, PRODUCT_BOUND, QUOTIENT_BOUND = Fraction(1, 2**46), Fraction(1, 2**45), Fraction(1, 2**45)
N = 8

many = settings(max_examples=60, deadline=None, derandomize=True)


def numbers(bits: int) -> st.SearchStrategy[np.ndarray]:
    """Returns `[N]` numbers of few or many bits, 2^-38 to 2^40 or zero: parts of products stay in float32's range."""
    mantissas = hnp.arrays(np.int64, N, elements=st.integers(-(2**bits) + 1, 2**bits - 1))
    exponents = hnp.arrays(np.int64, N, elements=st.integers(-38, 40 - bits))
    return st.builds(np.ldexp, mantissas, exponents)


def singles(bits: int = 24) -> st.SearchStrategy[np.ndarray]:
    return numbers(bits).map(lambda values: values.astype(np.float32))


def doubles() -> st.SearchStrategy[DoubleFloat]:
    """Normalized double-floats of up to 48 significant bits."""
    return numbers(48).map(split)


def split(values: np.ndarray) -> DoubleFloat:
    high = values.astype(np.float32)
    return DoubleFloat(high, (values - high).astype(np.float32))


def exact(value: object) -> list[Fraction]:
    parts = value if isinstance(value, DoubleFloat) else (value,)
    return [sum(map(Fraction, row)) for row in zip(*(np.asarray(part).tolist() for part in parts), strict=True)]


def assert_normalized(result: DoubleFloat) -> None:
    high, low = np.asarray(result.hi), np.asarray(result.lo)
    assert high.dtype == low.dtype == np.float32
    np.testing.assert_array_equal(high + low, high)  # the low part is at most half a unit in the last place


def assert_close(result: DoubleFloat, expected: list[Fraction], bound: Fraction) -> None:
    for got, want in zip(exact(result), expected, strict=True):
        assert abs(got - want) <= bound * abs(want), (float(got), float(want), float((got - want) / want))


class Jitted:
    """The operations, compiled once for the whole module."""

    def __init__(self) -> None:
        for name in ("from_sum", "add", "negate", "multiply", "divide", "difference", "maximum"):
            setattr(self, name, jax.jit(chex.assert_max_traces(getattr(df, name), n=1)))


OPERATIONS = Jitted()


@many
@given(singles(), singles())
def test_sum_of_singles_is_exact(a: np.ndarray, b: np.ndarray) -> None:
    result = OPERATIONS.from_sum(a, b)
    assert exact(result) == [x + y for x, y in zip(exact(a), exact(b), strict=True)]
    assert_normalized(result)


@many
@given(doubles(), doubles())
def test_sum_and_its_cancellation(a: DoubleFloat, b: DoubleFloat) -> None:
    result = OPERATIONS.add(a, b)
    assert_close(result, [x + y for x, y in zip(exact(a), exact(b), strict=True)], SUM_BOUND)
    assert_normalized(result)
    # Nothing but the change of the last bits is left: the relative bound holds through cancellation too.
    near = split(np.asarray(a.hi, np.float64) + np.asarray(a.lo, np.float64) * (1 + 2.0**-20))
    result = OPERATIONS.add(near, OPERATIONS.negate(a))
    assert_close(result, [x - y for x, y in zip(exact(near), exact(a), strict=True)], SUM_BOUND)


@many
@given(singles(), singles(23))
def test_product_of_singles_is_exact_up_to_47_bits(a: np.ndarray, b: np.ndarray) -> None:
    zero = np.zeros(N, np.float32)
    result = OPERATIONS.multiply(DoubleFloat(a, zero), DoubleFloat(b, zero))
    assert exact(result) == [x * y for x, y in zip(exact(a), exact(b), strict=True)]
    assert_normalized(result)


def test_product_of_singles_errs_by_the_last_of_48_bits_at_most() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(2**23, 2**24, (2, 100_000))
    zero = np.zeros(a.shape, np.float32)
    result = jax.jit(df.multiply)(*(DoubleFloat(side.astype(np.float32), zero) for side in (a, b)))
    high, low = (np.asarray(part).astype(np.int64) for part in result)
    assert np.abs(high + low - a * b).max() <= 1


@many
@given(doubles(), doubles())
def test_product(a: DoubleFloat, b: DoubleFloat) -> None:
    result = OPERATIONS.multiply(a, b)
    assert_close(result, [x * y for x, y in zip(exact(a), exact(b), strict=True)], PRODUCT_BOUND)
    assert_normalized(result)


@many
@given(doubles(), doubles())
def test_quotient(a: DoubleFloat, b: DoubleFloat) -> None:
    zero = np.asarray(b.hi) == 0
    b = DoubleFloat(np.where(zero, np.float32(1), b.hi), np.where(zero, np.float32(0), b.lo))
    result = OPERATIONS.divide(a, b)
    assert_close(result, [x / y for x, y in zip(exact(a), exact(b), strict=True)], QUOTIENT_BOUND)
    assert_normalized(result)


@many
@given(doubles(), doubles(), st.integers(-3, 3))
def test_difference_has_the_right_sign(a: DoubleFloat, b: DoubleFloat, step: int) -> None:
    close = DoubleFloat(a.hi, np.asarray(a.lo) * np.float32(1 + step * 2.0**-23))
    for other in (b, close):
        result = OPERATIONS.difference(a, other)
        for got, x, y in zip(exact(result), exact(a), exact(other), strict=True):
            assert got * (x - y) >= 0  # never the wrong sign, though a last bit of the low parts may round to 0
            assert abs(got - (x - y)) <= abs(x - y) / 2**22 + max(abs(x), abs(y)) / 2**48
        larger = OPERATIONS.maximum(a, other)
        for got, x, y in zip(exact(larger), exact(a), exact(other), strict=True):
            assert got in (x, y)
            assert max(x, y) - got <= max(abs(x), abs(y)) / 2**48


@many
@given(doubles())
def test_negation_is_exact(a: DoubleFloat) -> None:
    assert exact(OPERATIONS.negate(a)) == [-x for x in exact(a)]


@pytest.mark.parametrize("value", [0.0, 0.5, 0.1, 1 / 3, 0.8999999999999999, 1 - 1e-10, 1024.0, 1e10, -7.7])
def test_constant_holds_a_python_float_to_48_bits(value: float) -> None:
    result = jax.jit(lambda: df.constant(value))()
    (got,) = exact(DoubleFloat(*(np.asarray(part).reshape(1) for part in result)))
    assert abs(got - Fraction(value)) <= abs(Fraction(value)) / 2**48
    assert_normalized(result)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_constant_has_no_low_part(value: float) -> None:
    result = df.constant(value)
    assert (float(result.hi), float(result.lo)) == (value, 0.0)


def test_where_takes_both_parts_of_one_side() -> None:
    a, b = split(np.array([0.1, 0.2])), split(np.array([0.3, 0.4]))
    assert exact(df.where(jnp.array([True, False]), a, b)) == [exact(a)[0], exact(b)[1]]


def test_select_takes_both_parts() -> None:
    a = split(np.array([[0.1, 0.2], [0.3, 0.4]]))
    assert exact(a.select((slice(None), 0))) == [exact(a.select(0))[0], exact(a.select(1))[0]]


@pytest.mark.parametrize("operation", ["add", "multiply", "divide"])
def test_x64_mode_gives_the_same_bits(operation: str) -> None:
    rng = np.random.default_rng(0)
    a, b = (split(rng.normal(0, 100, 1000)) for _ in range(2))
    function: Callable[[DoubleFloat, DoubleFloat], DoubleFloat] = getattr(df, operation)
    results = []
    for x64 in (False, True):
        with jax.enable_x64(x64):
            results.append(jax.jit(function)(a, b))
    chex.assert_trees_all_equal(*results)
    chex.assert_trees_all_equal_dtypes(*results, a)
