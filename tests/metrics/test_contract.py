"""A state of another configuration raises outside `jit`; what met one inside raises on the host."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pickle
from typing import Any

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmap
import jaxmap.interop.nnx  # tells flax.serialization how to write a state
from jaxmap import distributed
from jaxmap.metrics import (
    AveragePrecision,
    ConfusionMatrix,
    HistogramAveragePrecision,
    HostAveragePrecision,
    MeanAveragePrecisionAtK,
    PanopticQuality,
    PixelAveragePrecision,
    SemanticSegmentation,
)
from jaxmap.protocols import COCO, VOC2012

FOUND = jaxmap.Detections(
    boxes=jnp.array([[[0.0, 0.0, 10.0, 8.0]]]), scores=jnp.array([[0.9]]), labels=jnp.zeros((1, 1), jnp.int32)
)
TRUTH = jaxmap.GroundTruths(boxes=jnp.array([[[0.0, 0.0, 10.0, 10.0]]]), labels=jnp.zeros((1, 1), jnp.int32))
EXACT = AveragePrecision(num_classes=2, max_images=3, max_detections_per_image=4, max_ground_truths_per_image=4)
COARSE = COCO.customize(iou_thresholds=[0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.94, 0.95])

# Pairs whose states have the same shapes, so that only the words tell them apart, and what the message must say.
PAIRS: dict[str, tuple[Any, Any, str]] = {
    "exact, classes": (EXACT, dataclasses.replace(EXACT, num_classes=3), "num_classes is 2 here and 3 there"),
    "exact, format": (
        EXACT,
        dataclasses.replace(EXACT, box_format="xywh"),
        "box_format is xyxy here and xywh there",
    ),
    "exact, thresholds": (
        EXACT,
        dataclasses.replace(EXACT, protocol=COARSE),
        r"protocol.iou_thresholds\[1\] is 0.55 here and 0.6 there",
    ),
    "exact, limits": (
        EXACT,
        dataclasses.replace(EXACT, protocol=COCO.customize(max_detections=[1, 10, 50])),
        r"protocol.max_detections\[2\] is 100 here and 50 there",
    ),
    "host": (
        HostAveragePrecision(num_classes=2),
        HostAveragePrecision(num_classes=2, box_format="yxyx"),
        "box_format is xyxy here and yxyx there",
    ),
    "histogram": (
        HistogramAveragePrecision(num_classes=2, num_bins=4),
        HistogramAveragePrecision(num_classes=2, num_bins=4, score_range=(0, 10)),
        r"score_range\[1\] is 1 here and 10 there",
    ),
    "confusion": (
        ConfusionMatrix(num_classes=2),
        ConfusionMatrix(num_classes=2, iou_threshold=0.75, pairing="iou"),
        "iou_threshold is 0.5 here and 0.75 there, pairing is score here and iou there",
    ),
    "segmentation": (
        SemanticSegmentation(num_classes=2),
        SemanticSegmentation(num_classes=2, ignore_index=None),
        "ignore_index is 255 here and None there",
    ),
    "pixels": (
        PixelAveragePrecision(num_classes=2, num_bins=4),
        PixelAveragePrecision(num_classes=2, num_bins=4, reduce_zero_label=True),
        "reduce_zero_label is False here and True there",
    ),
    "ranking": (MeanAveragePrecisionAtK(k=5), MeanAveragePrecisionAtK(k=6), "k is 5 here and 6 there"),
}
IN_JIT = {name: pair for name, pair in PAIRS.items() if name != "host"}


@pytest.mark.parametrize("name", PAIRS)
def test_another_configuration_is_refused_outside_jit(name: str) -> None:
    metric, other, words = PAIRS[name]
    state, foreign = metric.init(), other.init()
    metric.merge(state, metric.init())
    with pytest.raises(ValueError, match=rf"`other` has another configuration, .*{words}; use the same metric"):
        metric.merge(state, foreign)
    with pytest.raises(ValueError, match=f"`state` has another configuration.*{words}"):
        metric.compute(foreign)
    with pytest.raises(ValueError, match=f"`state` has another configuration.*{words}"):
        metric.update(foreign, None, None, **({"image_id": None} if hasattr(metric, "box_format") else {}))


@pytest.mark.parametrize("name", ["exact, format", "histogram", "segmentation"])
def test_what_met_another_configuration_inside_jit_raises_on_the_host(name: str) -> None:
    metric, other, words = IN_JIT[name]
    met = jax.jit(metric.merge)(metric.init(), other.init())
    met = jax.jit(metric.merge)(met, metric.init())  # which does not heal it
    with pytest.raises(ValueError, match=f"`state` was combined with another configuration inside `jit`.*{words}"):
        metric.compute(met)
    with pytest.raises(
        ValueError, match=r"`state` was combined with .*: it has counts of this one and of another; use"
    ):
        other.compute(met)
    with pytest.raises(ValueError, match=f"`result` was combined with another configuration inside `jit`.*{words}"):
        metric.summarize(jax.jit(metric.compute)(other.init()))


def test_the_result_of_another_configuration_is_refused() -> None:
    metric, other, words = PAIRS["confusion"]
    with pytest.raises(ValueError, match=f"`result` has another configuration.*{words}"):
        metric.summarize(other.compute(other.init()))


@pytest.mark.parametrize("name", ["exact, classes", "histogram", "segmentation", "ranking"])
def test_summarize_inside_jit_says_what_to_do(name: str) -> None:
    metric, *_ = IN_JIT[name]
    with pytest.raises(TypeError, match=r"inside `jit` there are no Python numbers\. Return the state"):
        jax.eval_shape(lambda state: metric.summarize(metric.compute(state)), metric.init())


def test_update_inside_jit_marks_the_state_of_another_configuration() -> None:
    other = dataclasses.replace(EXACT, box_format="xywh")
    update = jax.jit(EXACT.update)
    state = update(other.init(), FOUND, TRUTH, image_id=jnp.array([1]))
    with pytest.raises(
        ValueError, match=r"was combined with another configuration inside `jit`.*xyxy here and xywh there"
    ):
        EXACT.compute(state)
    sound = update(EXACT.init(), FOUND, TRUTH, image_id=jnp.array([1]))
    assert EXACT.summarize(EXACT.compute(sound))["AP50"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("metric", "other", "words"),
    [
        (
            HistogramAveragePrecision(num_classes=3, num_bins=4),
            HistogramAveragePrecision(num_classes=1, num_bins=4),  # would broadcast
            r"counted is int32\[10, 4, 3, 4\] here and int32\[10, 4, 1, 4\] there",
        ),
        (
            EXACT,
            dataclasses.replace(EXACT, num_classes=40_000),
            r"images.labels is int16\[3, 4\] here and int32",
        ),
        (PanopticQuality(num_classes=3), PanopticQuality(num_classes=1), r"iou_sum.high is uint32\[3\] here and"),
    ],
)
def test_other_shapes_are_refused_while_tracing(metric: Any, other: Any, words: str) -> None:
    with pytest.raises(ValueError, match=f"`other` must have the shapes of this metric's states.*{words}"):
        jax.eval_shape(metric.merge, metric.init(), other.init())


def test_room_and_what_only_reads_the_counts_are_no_configuration() -> None:
    alike = [
        dataclasses.replace(EXACT, max_images=9, max_detections_per_image=2),
        dataclasses.replace(
            EXACT, protocol=dataclasses.replace(COCO, name="mine", average="area", recall_points=(0.0,))
        ),
        dataclasses.replace(EXACT, num_classes=np.int64(2)),
    ]
    words = [np.asarray(metric.init().configuration) for metric in (EXACT, *alike)]
    assert all((one == words[0]).all() for one in words)
    confusion = ConfusionMatrix(num_classes=2), ConfusionMatrix(num_classes=2, protocol=VOC2012)
    assert (confusion[0].init().configuration == confusion[1].init().configuration).all()


@pytest.mark.slow
def test_words_survive_what_is_done_with_a_state() -> None:
    histogram, other, _ = PAIRS["histogram"]
    states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *3 * [histogram.init()])
    psum = jax.vmap(lambda state: jax.lax.psum(state, "devices"), axis_name="devices", out_axes=None)
    zeros = jax.tree.map(jnp.zeros_like, histogram.init())
    pickled = pickle.loads(pickle.dumps(histogram.init()))
    for state in (psum(states), zeros, pickled, jax.device_get(histogram.init())):
        merged = histogram.merge(histogram.init(), state)
        assert (merged.configuration == histogram.init().configuration).all()
        histogram.summarize(histogram.compute(state))
    mixed = jax.tree.map(lambda *leaves: jnp.stack(leaves), histogram.init(), other.init())
    with pytest.raises(ValueError, match=r"`state` has another configuration.*fingerprint"):
        histogram.compute(psum(mixed))


def test_reduce_marks_the_state_of_a_device_that_is_configured_otherwise() -> None:
    histogram, other, words = PAIRS["histogram"]
    states = jax.tree.map(lambda *leaves: jnp.stack(leaves), histogram.init(), other.init())
    reduce = jax.vmap(functools.partial(distributed.reduce, histogram, axis_name="d"), axis_name="d", out_axes=None)
    with pytest.raises(ValueError, match=f"`state` was combined with another configuration inside `jit`.*{words}"):
        histogram.compute(reduce(states))


def test_a_saved_state_of_another_configuration_is_refused() -> None:
    saved = flax.serialization.to_bytes(dataclasses.replace(EXACT, box_format="xywh").init())
    with pytest.raises(ValueError, match=r"the saved state has another .* box_format is xyxy here and xywh there"):
        flax.serialization.from_bytes(EXACT.init(), saved)
    older = EXACT.init()
    object.__delattr__(older, "configuration")
    with pytest.raises(ValueError, match=r"`state` must carry the configuration .*; an earlier version"):
        EXACT.compute(older)


def test_a_state_of_an_unknown_configuration_shows_both_fingerprints() -> None:
    state = dataclasses.replace(EXACT.init(), configuration=np.array([12345, 1], np.uint32))
    with pytest.raises(ValueError, match="its fingerprint is 00003039, that of this metric "):
        EXACT.compute(state)


@pytest.mark.slow
@pytest.mark.parametrize("slots", [1, 2, 6])
def test_merge_keeps_the_room_of_its_first_state(slots: int) -> None:
    """A state with less room is filled up; of one with more, what finds no slot is counted."""
    other = dataclasses.replace(EXACT, max_detections_per_image=slots, max_ground_truths_per_image=slots)
    three = jax.tree.map(lambda column: jnp.concatenate([column] * 3, axis=1), (FOUND, TRUTH))
    with pytest.warns(UserWarning) if slots < 3 else contextlib.nullcontext():
        filled = jax.jit(other.update)(other.init(), *three, image_id=jnp.array([1]))
    narrow = dataclasses.replace(EXACT, max_detections_per_image=2)
    merged = narrow.merge(narrow.init(), filled)
    assert merged.images.scores.shape == (3, 2)
    assert int(merged.images.num_detections_over_capacity[0]) == 3 - min(slots, 2)
    assert int(merged.images.num_ground_truths_over_capacity[0]) == 3 - min(slots, 3)
