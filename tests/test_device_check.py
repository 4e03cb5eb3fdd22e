"""The self-test of a device passes on an exact one, and fails on one whose arithmetic falls short."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmap
from jaxmap import _device_check
from jaxmap._device_check import Pairs, decide, decide_on_host, draw_corners_on_thresholds
from jaxmap._geometry import _double_float

pytestmark = pytest.mark.slow


@pytest.fixture
def other_arithmetic(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Functions that are replaced are traced anew, and again when they are back."""
    jax.clear_caches()
    yield monkeypatch
    monkeypatch.undo()
    jax.clear_caches()


def test_exact_device_passes() -> None:
    check = jaxmap.check_device()
    assert check.device == jax.devices()[0].device_kind
    assert (check.num_pairs, check.wrong_levels, check.wrong_winners) == (100_000, 0, 0)
    assert check.num_choices > 40_000
    assert 22 < check.division_bits < 25
    assert str(check).startswith(f"{check.device}: 0 of 100,000 levels and 0 of ")


def test_device_may_be_named() -> None:
    [*_, last] = jax.devices()
    assert jaxmap.check_device(last).passed


def test_contracted_products_are_seen(other_arithmetic: pytest.MonkeyPatch) -> None:
    other_arithmetic.setattr(_double_float, "rounded", lambda a: a)  # XLA then contracts on the CPU
    with pytest.raises(RuntimeError, match=r"\d of 100,000 levels .* wrong.*needed are no wrong level.*evaluate on"):
        jaxmap.check_device()


def test_boxes_in_plain_float32_are_seen(other_arithmetic: pytest.MonkeyPatch) -> None:
    def plain(a: _double_float.DoubleFloat, b: _double_float.DoubleFloat) -> _double_float.DoubleFloat:
        return _double_float.DoubleFloat(a.hi / b.hi, jnp.zeros_like(a.hi))

    other_arithmetic.setattr(_double_float, "divide", plain)
    with pytest.raises(RuntimeError, match=r"levels and .* winners are wrong"):
        jaxmap.check_device()


def test_coarse_division_is_seen(other_arithmetic: pytest.MonkeyPatch) -> None:
    def coarse(a: jax.Array, b: jax.Array) -> jax.Array:
        return a / b * np.float32(1 + 2.0**-12)

    other_arithmetic.setattr(_device_check, "_quotient", coarse)
    with pytest.raises(RuntimeError, match=r"division is good to 12\.0 bits; needed are .* and 16 bits"):
        jaxmap.check_device()


@pytest.mark.parametrize("by_lists", [False, True])
def test_pairs_lie_on_thresholds_and_are_decided_in_any_number(by_lists: bool) -> None:
    corners = draw_corners_on_thresholds(np.random.default_rng(0), 37).astype(np.float32)
    pairs = Pairs(corners[:, :1], corners[:, 1:], np.zeros((37, 2), bool))
    levels, winners, iou = decide_on_host(pairs, "xyxy")
    np.testing.assert_array_equal(iou * 20, np.round(iou * 20))
    found = jax.jit(partial(decide, box_format="xyxy", by_lists=by_lists))(pairs)
    np.testing.assert_array_equal(found[0], levels)
    np.testing.assert_array_equal(found[1][(levels > 0).all(1)], winners[(levels > 0).all(1)])
