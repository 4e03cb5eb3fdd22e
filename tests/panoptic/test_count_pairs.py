"""Pixels counted by pairs of numbers: the ways of all platforms agree with a plain count."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmap._panoptic import _device
from jaxmap._panoptic._device import count_pairs

NUM_PLACES, NUM_TRUE_PLACES = 7, 5


@pytest.mark.parametrize("shape", [(2, 64, 40), (3, 33, 17), (1, 1, 6), (1, 1, 5000), (2, 3, 0), (0, 4, 4)], ids=str)
@pytest.mark.parametrize("most_pixels", [_device.MOST_PIXELS, 1000])
def test_every_platform_counts_the_same(
    shape: tuple[int, ...], most_pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_device, "MOST_PIXELS", most_pixels)
    rng = np.random.default_rng(0)
    place, true_place = rng.integers(0, NUM_PLACES, shape), rng.integers(0, NUM_TRUE_PLACES, shape)
    real = rng.random(shape) < 0.8
    expected = np.zeros((shape[0], NUM_PLACES, NUM_TRUE_PLACES), np.uint32)
    image = np.broadcast_to(np.arange(shape[0])[:, None, None], shape)
    np.add.at(expected, (image[real], place[real], true_place[real]), 1)
    arguments = jnp.asarray(place, jnp.int32), jnp.asarray(true_place, jnp.int32), jnp.asarray(real)
    sizes = NUM_PLACES, NUM_TRUE_PLACES
    ways = [
        partial(count_pairs, num_places=NUM_PLACES, num_true_places=NUM_TRUE_PLACES),
        partial(_device._scattered, sizes=sizes),
    ]
    if real.size:
        ways.append(partial(_device._products, sizes=sizes))
    for way in ways:
        got = jax.jit(way)(*arguments)
        assert got.dtype == jnp.uint32
        np.testing.assert_array_equal(got, expected)


def test_a_tpu_multiplies_and_other_platforms_scatter() -> None:
    arguments = [jax.ShapeDtypeStruct((1, 8, 8), jnp.int32)] * 2 + [jax.ShapeDtypeStruct((1, 8, 8), bool)]
    for num_places, few in ((300, True), (1000, False)):
        count = jax.jit(partial(count_pairs, num_places=num_places, num_true_places=num_places))
        for platform, product in (("cpu", False), ("cuda", False), ("tpu", few)):
            text = jax.export.export(count, platforms=[platform])(*arguments).mlir_module()
            assert ("stablehlo.dot_general" in text, "stablehlo.scatter" in text) == (product, not product)
