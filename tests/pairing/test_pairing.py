"""`pair_greedily` against taking pairs one after another, and the numbering of similarities, on random images."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmap._candidates._device import similarity_places
from jaxmap._geometry._double_float import DoubleFloat
from jaxmap._pairing._device import NO_PAIR, pair_greedily

D, C, G = 9, 4, 6


def pairs(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns index and place of lists of distinct ground truths; what is no pair may point anywhere."""
    index = np.stack([rng.permutation(G)[:C] for _ in range(D)])
    place = rng.permutation(D * C).reshape(D, C)
    return index.astype(np.int32), np.where(rng.random((D, C)) < rng.random(), place, NO_PAIR).astype(np.int32)


def one_after_another(index: np.ndarray, place: np.ndarray) -> list[int]:
    partner, taken = [-1] * len(index), set()
    for flat in np.argsort(place, axis=None):
        d, c = divmod(int(flat), place.shape[1])
        if place[d, c] != NO_PAIR and partner[d] == -1 and index[d, c] not in taken:
            partner[d] = int(index[d, c])
            taken.add(partner[d])
    return partner


def test_random_images_are_paired_as_one_pair_after_another() -> None:
    rng = np.random.default_rng(0)
    index, place = map(np.stack, zip(*[pairs(rng) for _ in range(300)], strict=True))
    batched = jax.jit(jax.vmap(lambda i, p: pair_greedily(i, p, num_ground_truths=G)))(index, place)
    expected = [one_after_another(*one) for one in zip(index, place, strict=True)]
    assert batched.dtype == jnp.int32
    np.testing.assert_array_equal(batched, expected)
    for i in range(3):  # eager, one image
        assert pair_greedily(jnp.array(index[i]), jnp.array(place[i]), num_ground_truths=G).tolist() == expected[i]


def test_a_chain_in_which_each_waits_for_the_one_before() -> None:
    # Detection i wants i first and i + 1 second, and is always second to detection i - 1: as many rounds as detections.
    index = np.stack([np.arange(G - 1), np.arange(1, G)], axis=1).astype(np.int32)
    place = np.arange(2 * (G - 1)).reshape(G - 1, 2)
    place = np.stack([place[:, 1], place[:, 0]], axis=1).astype(np.int32)
    assert pair_greedily(jnp.array(index), jnp.array(place), num_ground_truths=G).tolist() == list(range(1, G))
    assert one_after_another(index, place) == list(range(1, G))


@pytest.mark.parametrize(("detections", "candidates", "ground_truths"), [(0, 3, 2), (3, 0, 0), (3, 2, 0)])
def test_without_one_side_nobody_is_paired(detections: int, candidates: int, ground_truths: int) -> None:
    nothing = jnp.zeros((detections, candidates), jnp.int32)
    partner = pair_greedily(nothing, nothing, num_ground_truths=ground_truths)
    assert partner.dtype == jnp.int32
    assert partner.tolist() == [-1] * detections


def test_equal_similarities_share_a_number_whatever_their_last_bits() -> None:
    # The same value twice, and once 2^-45 beside it, which is within what the arithmetic is good to; 2^-40 is not.
    values = np.array([[0.5, 0.5 + 2.0**-45, 0.75], [0.5 + 2.0**-40, 0.25, 0.75]])
    high = values.astype(np.float32)
    low = (values - high).astype(np.float32)
    present = np.array([[True, True, True], [True, False, True]])
    places = similarity_places(DoubleFloat(jnp.array(high), jnp.array(low)), jnp.array(present))
    assert places.tolist() == [[2, 2, 0], [1, 3, 0]]
