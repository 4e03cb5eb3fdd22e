"""An evaluation that was cut off goes on from its saved state: through orbax, flax.serialization and pickle."""

from __future__ import annotations

import pathlib
import pickle
from collections.abc import Callable
from typing import Any

import flax.serialization
import jax
import numpy as np
import orbax.checkpoint
import pytest

import jaxmap.interop.nnx  # noqa: F401  # tells flax.serialization how to write a state
from jaxmap.metrics import AveragePrecisionState
from support import batches

pytestmark = pytest.mark.slow

METRIC = batches.metric()
State = AveragePrecisionState


@jax.jit
def update(state: State, batch: dict[str, Any]) -> State:
    found, truth = batch["detections"], batch["ground_truths"]
    return METRIC.update(state, found, truth, image_id=batch["image_id"], valid=batch["mask"])


def through_orbax(state: State, folder: pathlib.Path) -> State:
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "state", state)
        checkpointer.wait_until_finished()
        return checkpointer.restore(folder / "state", jax.eval_shape(METRIC.init))


def through_flax(state: State, folder: pathlib.Path) -> State:
    (folder / "state").write_bytes(flax.serialization.to_bytes(state))
    return flax.serialization.from_bytes(METRIC.init(), (folder / "state").read_bytes())


def through_pickle(state: State, folder: pathlib.Path) -> State:
    (folder / "state").write_bytes(pickle.dumps(state))
    return pickle.loads((folder / "state").read_bytes())


@pytest.mark.parametrize("through", [through_orbax, through_flax, through_pickle])
def test_evaluation_resumes_from_a_saved_state(
    through: Callable[[State, pathlib.Path], State], tmp_path: pathlib.Path
) -> None:
    first, *rest = batches.batches()
    saved = update(METRIC.init(), first)
    state = through(saved, tmp_path)
    for old, new in zip(jax.tree.leaves(saved), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(old, new, strict=True)
    for batch in rest:
        state = update(state, batch)
    batches.assert_expected(METRIC.summarize(METRIC.compute(state)))


def test_evaluation_resumes_with_more_room(tmp_path: pathlib.Path) -> None:
    wide = batches.metric(max_images=batches.NUM_IMAGES + 4)
    merge = jax.jit(wide.merge)
    *most, last = batches.batches()
    saved = METRIC.init()
    for batch in most:
        saved = update(saved, batch)
    state = merge(wide.init(), through_pickle(saved, tmp_path))
    state = merge(state, update(METRIC.init(), last))
    assert len(state.images.image_id) == batches.NUM_IMAGES + 4
    batches.assert_expected(wide.summarize(wide.compute(state)))


def test_state_of_another_version_is_refused() -> None:
    saved = flax.serialization.to_state_dict(METRIC.init())
    del saved["num_images"]
    with pytest.raises(ValueError, match="another version"):
        flax.serialization.from_state_dict(METRIC.init(), saved)
