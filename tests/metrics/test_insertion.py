"""Insertion of a batch into a state, in the form of every backend, whatever is repeated, is padding or does not fit."""

from __future__ import annotations

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmap
from jaxmap.metrics._detection import _insertion as insertion
from jaxmap.metrics._detection import _state as states

NUM_IMAGES = 5  # of a batch


def random_batch(rng: np.random.Generator, like: states.ImageRows, ids: np.ndarray) -> states.ImageRows:
    """Returns rows of random content."""
    rows = jax.tree.map(lambda leaf: rng.integers(0, 3, (len(ids), *leaf.shape[1:])).astype(leaf.dtype), like)
    high = np.where(ids % 2 == 0, 0, -1).astype(np.int32)
    return dataclasses.replace(rows, image_id=ids.astype(np.int32), image_id_high=high)


def expected(state: states.AveragePrecisionState, rows: states.ImageRows, valid: np.ndarray) -> tuple[list[int], int]:
    """Returns which rows of the batch enter the state, and how many are repeated, by a loop."""
    stored = state.images.image_id[: int(state.num_images)].tolist()
    free, taken, repeated = len(state.images.image_id) - len(stored), [], 0
    for index in np.flatnonzero(valid).tolist():
        known = stored + [int(rows.image_id[one]) for one in np.flatnonzero(valid[:index])]
        if int(rows.image_id[index]) in known:
            repeated += 1
        elif len(taken) < free:
            taken.append(index)
    return taken, repeated


@pytest.mark.parametrize("capacity", [3, 5, 12, 30])
def test_new_images_follow_those_of_the_state(capacity: int) -> None:
    metric = jaxmap.AveragePrecision(
        num_classes=3, max_images=capacity, max_detections_per_image=3, max_ground_truths_per_image=2
    )
    insert = jax.jit(insertion.insert_images)
    forms = [jax.jit(form) for form in (insertion._rewrite, insertion._write_slice)]
    for seed in range(6):
        rng, state = np.random.default_rng(seed), metric.init()
        for number in range(5):
            ids = rng.integers(0, 25, NUM_IMAGES) if seed % 2 else np.arange(NUM_IMAGES) + number * NUM_IMAGES
            valid = rng.random(NUM_IMAGES) < (0.6 if seed % 3 else 1)
            rows = random_batch(rng, state.images, ids)
            taken, repeated = expected(state, rows, valid)
            after, filled = insert(state, rows, jnp.asarray(valid)), int(state.num_images)
            into = slice(filled, filled + len(taken))
            for name, column in vars(after.images).items():
                was, added = (np.asarray(getattr(images, name)) for images in (state.images, rows))
                wanted = was.copy()
                wanted[into] = added[taken]
                np.testing.assert_array_equal(column, wanted, err_msg=name)
            new = np.zeros(NUM_IMAGES, bool)
            new[taken] = True
            for write in forms:
                chex.assert_trees_all_equal(write(state.images, state.num_images, rows, new), after.images)
            assert int(after.num_images) == filled + len(taken)
            assert int(after.num_repeated_images - state.num_repeated_images) == repeated
            assert int(after.num_padded_images - state.num_padded_images) == (~valid).sum()
            left_out = int(after.num_images_over_capacity - state.num_images_over_capacity)
            assert len(taken) + repeated + left_out == valid.sum()
            state = after


@pytest.mark.slow
def test_repeated_ids_are_found_alike_by_comparison_and_by_sorting() -> None:
    rng, capacity = np.random.default_rng(0), 40
    for _ in range(20):
        high, low = (jnp.asarray(rng.integers(-1, most, 60), jnp.int32) for most in (1, 15))
        real = jnp.asarray(rng.random(60) < 0.8)
        arguments = real, high, low, jnp.arange(60, dtype=jnp.int32), capacity
        compared, by_sorting = insertion._first_by_comparison(*arguments), insertion._first_by_sorting(*arguments)
        chex.assert_trees_all_equal(compared[real[capacity:]], by_sorting[real[capacity:]])
        assert (compared[real[capacity:]] < capacity).any()
