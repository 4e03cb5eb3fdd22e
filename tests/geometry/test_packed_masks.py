"""Packed masks inside `jit`: equal to plain counts and to repeated erosion, on the way of every platform."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxmap._geometry import _boundaries, _packed_masks
from jaxmap._geometry._boundaries import boundary_of
from jaxmap._geometry._packed_masks import intersections, packed

SIZES = [(1, 1), (7, 5), (31, 3), (33, 40), (20, 200), (200, 20), (1030, 3)]


def random_masks(seed: int, count: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    masks = ndimage.uniform_filter(rng.random((count, height, width)), (0, 5, 5)) < 0.5
    masks[0] = True
    masks[1] = False
    return masks


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pixels_are_counted_on_every_platform(size: tuple[int, int]) -> None:
    masks, others = random_masks(0, 5, *size), random_masks(1, 3, *size)
    (words, area), (other_words, _) = packed(jnp.asarray(masks)), packed(jnp.asarray(others))
    assert words.shape[::2] == (5, size[1])
    shared = (masks[:, None] & others[None]).sum((2, 3))
    ways = [
        partial(intersections, height=size[0]),
        _packed_masks._counted_bits,
        _packed_masks._unrolled,
        partial(_packed_masks._products, num_bits=-(-size[0] // words.shape[1])),
    ]
    for way in ways:
        np.testing.assert_array_equal(jax.jit(way)(words, other_words), shared)
    np.testing.assert_array_equal(area, masks.sum((1, 2)))


def test_sums_beyond_float32_are_added_in_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    words = packed(jnp.asarray(random_masks(0, 4, 40, 50))).words
    exact = _packed_masks._products(words, words, 2)
    monkeypatch.setattr(_packed_masks, "LARGEST_SUM", 0)
    np.testing.assert_array_equal(_packed_masks._products(words, words, 2), exact)
    assert "f32" not in str(jax.make_jaxpr(partial(_packed_masks._products, num_bits=2))(words, words))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_boundaries_equal_repeated_erosion(size: tuple[int, int]) -> None:
    masks = random_masks(2, 4, *size)
    for ratio in (0.001, 0.02, 0.3, 2.0):
        distance = max(round(ratio * float(np.hypot(*size))), 1)
        eroded = np.stack(
            [ndimage.binary_erosion(one, np.ones((3, 3)), iterations=distance, border_value=0) for one in masks]
        )
        got = jax.jit(lambda masks, ratio=ratio: boundary_of(packed(masks), size[0], ratio))(jnp.asarray(masks))
        jax.tree.map(np.testing.assert_array_equal, got, packed(jnp.asarray(masks & ~eroded)))


@pytest.mark.parametrize("size", [(1, 1), (33, 40), (20, 200), (1030, 3), (640, 300)], ids=str)
def test_the_kernel_for_tpus_erodes_as_windows_do(size: tuple[int, int]) -> None:
    words = packed(jnp.asarray(random_masks(3, 11, *size))).words  # a block of the kernel has 8 masks
    for reach in sorted({1, 7, 31, 32, 33, 70, max(size)}):
        down, across = min(reach, size[0]), min(reach, size[1])
        expected, got = (
            jax.jit(partial(way, down=down, across=across))(words)
            for way in (_boundaries._by_windows, partial(_boundaries._on_tpu, interpret=True))
        )
        jax.tree.map(np.testing.assert_array_equal, got, expected)


def test_masks_without_rows_pixels_or_columns() -> None:
    for shape in ((0, 5, 5), (2, 0, 5), (2, 5, 0)):
        masks = packed(jnp.zeros(shape, bool))
        assert intersections(masks.words, masks.words, shape[1]).tolist() == [[0] * shape[0]] * shape[0]
        assert boundary_of(masks, shape[1], 0.02).words.shape == masks.words.shape
