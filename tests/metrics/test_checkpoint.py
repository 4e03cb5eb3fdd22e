"""Saved states: through flax.serialization, into more room, of another version.

`test_laws.py` has pickle and orbax for all metrics.
"""

from __future__ import annotations

import dataclasses
import functools
import pickle

import flax.serialization
import jax
import numpy as np
import pytest

import jaxmap.interop.nnx  # noqa: F401  # tells flax.serialization how to write a state
from support.metric_cases import CASES, NUM_IMAGES, batches, runner_of
from support.scenes import odd_scenes

pytestmark = [odd_scenes, pytest.mark.slow]

RUNNER = runner_of("exact")
METRIC = RUNNER.metric


def test_evaluation_resumes_from_a_state_that_flax_wrote() -> None:
    first, *rest = batches(RUNNER.data)
    saved = RUNNER.update(METRIC.init(), first)
    state = flax.serialization.from_bytes(METRIC.init(), flax.serialization.to_bytes(saved))
    for old, new in zip(jax.tree.leaves(saved), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(old, new, strict=True)
    RUNNER.assert_same_state(functools.reduce(RUNNER.update, rest, state), RUNNER.whole)


@pytest.mark.parametrize("row", [row for row, case in CASES.items() if not case.slow] + ["histogram"])
def test_flax_writes_the_state_of_every_metric(row: str) -> None:
    runner = runner_of(row)
    saved = runner.update(runner.metric.init(), batches(runner.data)[0])
    state = flax.serialization.from_bytes(runner.metric.init(), flax.serialization.to_bytes(saved))
    assert type(state) is type(saved)
    jax.tree.map(functools.partial(np.testing.assert_array_equal, strict=True), state, jax.device_get(saved))


def test_evaluation_resumes_with_more_room() -> None:
    wide = dataclasses.replace(METRIC, max_images=NUM_IMAGES + 4)
    merge = jax.jit(wide.merge)
    *most, last = batches(RUNNER.data)
    saved = functools.reduce(RUNNER.update, most, METRIC.init())
    state = merge(wide.init(), pickle.loads(pickle.dumps(saved)))
    state = merge(state, RUNNER.update(METRIC.init(), last))
    assert len(state.images.image_id) == NUM_IMAGES + 4
    jax.tree.map(np.testing.assert_array_equal, wide.compute(state), METRIC.compute(RUNNER.whole))


def test_state_of_another_version_is_refused() -> None:
    saved = flax.serialization.to_state_dict(METRIC.init())
    del saved["num_images"]
    with pytest.raises(ValueError, match="another version"):
        flax.serialization.from_state_dict(METRIC.init(), saved)
