"""Every program of a metric can be exported for all platforms, written, read and called, with the same bits.

`jax.export` writes the containers that a program takes and returns by their names, which therefore may not change.
"""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from typing import Any

import chex
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmap
from jaxmap import metrics
from jaxmap.adapters import EvaluationBatch, GroundTruthLookup
from jaxmap.metrics import AveragePrecision
from support.metric_cases import CASES, batches, dataset, runner_of
from support.scenes import odd_scenes

pytest.importorskip("flatbuffers", reason="`jax.export` writes programs with it")
pytestmark = odd_scenes

PLATFORMS = ("cpu", "cuda", "tpu")
NAMES = (
    *("AveragePrecision", "AveragePrecisionResult", "AveragePrecisionState", "Batch", "Candidates", "ConfusionMatrix"),
    *("ConfusionMatrixResult", "ConfusionMatrixState", "DetectionRecords", "Detections", "DoubleFloat"),
    *("EvaluationBatch", "GroundTruthLookup", "GroundTruthRecords", "GroundTruths", "HistogramAveragePrecision"),
    *("HistogramState", "HostAveragePrecision", "HostState", "ImageRows", "Interval", "MeanAveragePrecisionAtK"),
    *("MeanAveragePrecisionAtKResult", "MeanAveragePrecisionAtKState", "PanopticQuality", "PanopticQualityResult"),
    *("PanopticQualityState", "PixelAveragePrecision", "PixelAveragePrecisionResult", "PixelAveragePrecisionState"),
    *("PrecisionRecall", "Records", "SegmentMaps", "SegmentationResult", "SegmentationState", "SemanticSegmentation"),
    "WideCount",
)


def assert_survives(jitted: Any, *arguments: Any, expected: Any = None) -> None:
    """Asserts that a program gives the same tree and bits after it was written and read."""
    read = jax.export.deserialize(jax.export.export(jitted, platforms=PLATFORMS)(*arguments).serialize())
    assert read.platforms == PLATFORMS
    result, expected = read.call(*arguments), jitted(*arguments) if expected is None else expected
    assert jax.tree.structure(result) == jax.tree.structure(expected)
    chex.assert_trees_all_equal(result, expected)


ROWS = [
    pytest.param(row, marks=pytest.mark.slow if case.slow else ())
    for row, case in CASES.items()
    if "eager_equals_jit" not in case.exceptions
]


@pytest.mark.parametrize("row", ROWS)
def test_exported_steps_of_a_metric_give_the_same_bits(row: str) -> None:
    runner = runner_of(row)
    batch, *_ = batches(runner.data)
    state = runner.update(runner.metric.init(), batch)  # compiled for all tests
    assert_survives(jax.jit(runner.step), runner.metric.init(), batch, expected=state)
    assert_survives(runner.merge, state, state)
    assert_survives(runner.compute_in_jit, state)


@pytest.mark.slow
def test_exported_bootstrap_gives_the_same_bits() -> None:
    runner = runner_of("exact")
    batch, *_ = batches(runner.data)
    state = runner.update(runner.metric.init(), batch)
    assert_survives(jax.jit(lambda state: runner.metric.bootstrap(state, num_replicates=3)), state)


@pytest.mark.parametrize("row", CASES)
def test_a_metric_may_be_an_argument_of_an_exported_program(row: str) -> None:
    metric = CASES[row].metric
    read = jax.export.deserialize(jax.export.export(jax.jit(lambda metric, x: x))(metric, 1).serialize())
    assert read.in_tree == jax.tree.structure(((metric, 1), {}))


@pytest.mark.parametrize("protocol", jaxmap.protocols.PROTOCOLS.values(), ids=str)
def test_protocols_of_metrics_survive(protocol: jaxmap.EvaluationProtocol) -> None:
    groups = protocol.class_groups
    metric = AveragePrecision(
        num_classes=3, max_images=2, protocol=protocol, class_group=tuple(groups[:1]) * 3 if groups else None
    )
    read = jax.export.deserialize(jax.export.export(jax.jit(lambda metric, x: x))(metric, 1).serialize())
    assert read.in_tree == jax.tree.structure(((metric, 1), {}))


def test_containers_of_adapters_survive() -> None:
    data = dataset()
    found, truth = data["detections"], data["ground_truths"]
    lookup = GroundTruthLookup(
        image_id=data["image_id"],
        first_row=np.arange(len(data["image_id"]) + 1),
        rows=jax.tree.map(lambda column: jnp.concatenate([column[:, 0], column[:1, 0]]), truth),
        max_ground_truths_per_image=1,
    )
    assert_survives(jax.jit(lambda lookup, ids: lookup.find(ids)), lookup, data["image_id"][:3])
    assert_survives(jax.jit(lambda batch: batch), EvaluationBatch(found, truth, data["image_id"], data["valid"]))


def test_functions_survive() -> None:
    rng = np.random.default_rng(0)
    maps = rng.integers(0, 3, (2, 5, 6, 2), np.int32)
    to_segments = functools.partial(metrics.category_instance_to_segments, num_classes=3, max_segments=9)
    assert_survives(jax.jit(to_segments), maps)
    candidates = jaxmap.Candidates(index=jnp.zeros((4, 2), jnp.int32), level=jnp.ones((4, 2), jnp.int8))
    levels = jnp.asarray(jaxmap.level_words(10, 4))
    words = jnp.asarray(jaxmap.area_words(10, 4))[:1].repeat(3, 0)
    matching = functools.partial(jaxmap.match, counted=words, crowd=jnp.zeros(3, bool), levels=levels)
    assert_survives(jax.jit(matching), candidates)


def test_names_in_files_stay() -> None:
    # In a process of its own, because other tests register metrics of their own.
    code = (
        "import jaxmap; from jaxmap import adapters, metrics; from jax._src.export._export import "
        "deserialization_registry as names; print(*sorted(name for name in names if name.startswith('jaxmap.')))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == sorted(f"jaxmap.{name}" for name in NAMES)


def test_a_program_is_not_read_before_its_containers_are_known() -> None:
    written = jax.export.export(jax.jit(lambda found: found))(dataset()["detections"]).serialize()
    code = "import jax.export, sys; jax.export.deserialize(bytearray(sys.stdin.buffer.read()))"
    run = subprocess.run([sys.executable, "-c", code], input=bytes(written), capture_output=True, check=False)
    assert re.search(rb"unregistered.*jaxmap\.Detections", run.stderr)
    run = subprocess.run([sys.executable, "-c", f"import jaxmap.metrics; {code}"], input=bytes(written), check=True)
