"""Integers of 64 bits where a program has 32: nothing wraps, on the host and inside `jit`, with x64 and without."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmap._integers import as_flags, as_labels, as_numbers, image_id_words

INT32 = np.iinfo(np.int32)


@pytest.mark.parametrize(
    "values",
    [
        np.array([-(2**63), -(2**32), INT32.min, -1, 0, 7, INT32.max, 2**31, 2**32, 2**63 - 1]),
        np.array([0, 7, INT32.max, 2**31, 2**32 - 1], np.uint32),
        np.array([0, 7, INT32.max, 2**31, 2**32, 2**64 - 1], np.uint64),
        np.array([0, 255], np.uint8),
        [3, -1, 2**40],
    ],
)
def test_labels_beyond_int32_stay_beyond_every_class(values: Any) -> None:
    expected = [min(max(int(value), INT32.min), INT32.max) for value in np.asarray(values).tolist()]
    with jax.enable_x64(True):
        for labels in (as_labels("labels", values), jax.jit(lambda x: as_labels("labels", x))(np.asarray(values))):
            assert labels.dtype == jnp.int32
            assert labels.tolist() == expected
    assert as_labels("labels", values).tolist() == expected
    assert jax.jit(lambda: as_labels("labels", values))().tolist() == expected  # closed over: Python sees it


def test_numbers_that_do_not_fit_are_refused_where_python_sees_them() -> None:
    assert as_numbers("ids", [1, 2]).dtype == jnp.int32
    for values in (np.array([[1, 2], [2**32, 3]]), [[1, 2], [2**32, 3]]):
        with pytest.raises(ValueError, match=r"^`ids` must fit int32, got 4294967296 at \[1, 0\]; number them from 0"):
            as_numbers("ids", values)
        with jax.enable_x64(True):
            assert as_numbers("ids", values).tolist() == [[1, 2], [2**32, 3]]
    with pytest.raises(ValueError, match="got 4294967295"):
        as_numbers("ids", jnp.array([2**32 - 1], jnp.uint32))
    with pytest.raises(TypeError, match=r"^`ids` must fit int32, got dtype uint32; cast it"):
        jax.jit(lambda x: as_numbers("ids", x))(np.array([1], np.uint32))
    with pytest.raises(TypeError, match=r"^`ids` must hold integers, got dtype float64\.$"):
        as_numbers("ids", [1.0])


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint32, np.int64, np.uint64])
def test_words_hold_ids_of_every_type(dtype: Any) -> None:
    limits = np.iinfo(dtype)
    ids = [0, 1, int(limits.min), min(int(limits.max), 2**63 - 1), *([2**32 + 1] if limits.max > 2**33 else [])]
    with jax.enable_x64(True):
        in_jit = jax.jit(image_id_words)(np.array(ids, dtype))
    for words in (image_id_words(np.array(ids, dtype)), in_jit):
        assert words.dtype == np.int32
        high, low = np.asarray(words).astype(np.int64).T
        assert (high * 2**32 + (low & 0xFFFFFFFF)).tolist() == ids


def test_ids_that_no_two_words_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="must be below 2\\^63, got 9223372036854775808"):
        image_id_words(np.array([2**63], np.uint64))
    with pytest.raises(ValueError, match=r"must have shape \[images\]"):
        image_id_words(7)
    with pytest.raises(TypeError, match="must hold integers"):
        image_id_words([0.5])


@pytest.mark.parametrize("values", [[True, False], [1, 0], [1.0, 0.0], np.array([1, 0], np.uint8)])
def test_flags_are_bool_or_zero_and_one(values: Any) -> None:
    assert as_flags("valid", values).tolist() == [True, False]
    assert jax.jit(lambda x: as_flags("valid", x))(np.asarray(values)).tolist() == [True, False]


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([0.5, 1], ValueError, r"^`valid` must be boolean, or 0 and 1, got np.float64\(0.5\)"),
        ([0, 255], ValueError, r"^`valid` must be boolean, or 0 and 1, got np.int64\(255\)"),
        ([np.nan], ValueError, "must be boolean"),
        (["yes"], TypeError, r"^`valid` must be boolean, or 0 and 1, got dtype <U3"),
        ([1j], TypeError, "got dtype complex128"),
    ],
)
def test_other_flags_are_refused(values: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        as_flags("valid", values)
