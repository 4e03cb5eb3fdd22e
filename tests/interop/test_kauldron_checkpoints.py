"""The metric in kauldron's `CheckpointedEvaluator`, which saves merged states and resumes after a preemption."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
from kauldron import kontext

from jaxmap.interop.kauldron import AveragePrecisionMetric
from support import batches

evaluators = pytest.importorskip(
    "kauldron.contrib.evals.checkpointed_evaluator",
    reason="needs kauldron with its dependencies, TensorFlow among them",
    exc_type=ImportError,
)

from kauldron import kd  # noqa: E402  # its parts are imported at their first use, and need TensorFlow

METRIC = AveragePrecisionMetric(
    metric=batches.metric(),
    valid="preds.valid",
    ground_truth_boxes="batch.truth.boxes",
    ground_truth_labels="batch.truth.labels",
    ground_truth_valid="batch.truth.valid",
    ground_truth_crowd="batch.truth.crowd",
    ground_truth_area="batch.truth.area",
    mask="batch.mask",
)


class Detector(nn.Module):
    """A model whose detections come with the batch."""

    found: kontext.Key = "batch.found"

    @nn.compact
    def __call__(self, found: dict[str, jax.Array]) -> dict[str, jax.Array]:
        return found


@dataclasses.dataclass(frozen=True)
class Images:
    """The images one by one, as grain reads them; the first ones are marked as padding."""

    num_masked: int

    def __len__(self) -> int:
        return batches.NUM_IMAGES

    def __getitem__(self, index: int) -> dict[str, Any]:
        sides = {"image_id": np.int32([index]), "mask": np.float32([index >= self.num_masked])}
        for name, side in zip(("found", "truth"), batches.dataset(), strict=True):
            sides[name] = {field: column[index] for field, column in vars(side).items() if column is not None}
        return sides


def evaluate(workdir: pathlib.Path, *, num_batches: int | None, num_masked: int) -> dict[str, float]:
    images = kd.data.py.DataSource(
        data_source=Images(num_masked),
        batch_size=5,
        batch_drop_remainder="pad",
        num_epochs=1,
        num_workers=0,
        shuffle=False,
    )
    trainer = kd.train.Trainer(
        workdir=workdir,
        train_ds=images,
        model=Detector(),
        optimizer=optax.sgd(0.1),
        num_train_steps=1,
        train_losses={},
        sharding=kd.sharding.ShardingStrategy(batch=kd.sharding.REPLICATED),  # eight devices cannot share five images
        writer=kd.train.metric_writer.NoopWriter(),
        evals={
            "test": evaluators.CheckpointedEvaluator(
                run=kd.evals.EveryNSteps(1),
                ds=images,
                metrics={"coco": METRIC},
                num_batches=num_batches,
                checkpointer=kd.ckpts.Checkpointer(save_interval_steps=1),
            )
        },
    )
    numbers = trainer.evals["test"].evaluate(trainer.init_state(), step=0).compute().metric_values
    return {name.removeprefix("metrics/coco/"): value for name, value in numbers.items()}


def test_evaluation_resumes_after_its_second_batch(tmp_path: pathlib.Path) -> None:
    assert evaluate(tmp_path, num_batches=2, num_masked=0)["num_images"] == 10
    numbers = evaluate(tmp_path, num_batches=None, num_masked=10)  # it would miss ten images if it began again
    batches.assert_expected(numbers)
