"""What a metric refuses when it is made, and arguments in the place of others."""

from __future__ import annotations

import dataclasses
import pickle
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmap
from jaxmap.metrics import (
    AveragePrecision,
    ConfusionMatrix,
    HistogramAveragePrecision,
    HostAveragePrecision,
    MeanAveragePrecisionAtK,
    PanopticQuality,
    PixelAveragePrecision,
    SemanticSegmentation,
    average_precision_at_k,
)
from jaxmap.protocols import COCO, LVIS

METRIC = AveragePrecision(num_classes=2, max_images=3, max_detections_per_image=4, max_ground_truths_per_image=4)
HISTOGRAM = HistogramAveragePrecision(num_classes=2, num_bins=4)
FOUND = jaxmap.Detections(boxes=np.ones((1, 1, 4)), scores=np.ones((1, 1)), labels=np.zeros((1, 1), int))
TRUTH = jaxmap.GroundTruths(boxes=np.ones((1, 1, 4)), labels=np.zeros((1, 1), int))
ID = {"image_id": np.zeros(1, int)}
ROOM = {"num_classes": 2, "max_images": 3}


@pytest.mark.parametrize(
    ("kind", "options", "error", "words"),
    [
        (AveragePrecision, ROOM | {"num_classes": 0}, ValueError, "`num_classes` must be at least 1, got 0"),
        (AveragePrecision, ROOM | {"max_images": 0}, ValueError, "`max_images` must be at least 1, got 0"),
        (AveragePrecision, ROOM | {"max_images": -1}, ValueError, "`max_images` must be at least 1, got -1"),
        (AveragePrecision, ROOM | {"max_images": 2**40}, ValueError, r"`max_images` must be below 2\^31"),
        (AveragePrecision, ROOM | {"max_images": True}, TypeError, "`max_images` must be a whole number, got True"),
        (
            AveragePrecision,
            ROOM | {"max_detections_per_image": 100.0},
            TypeError,
            r"`max_detections_per_image` must be a whole number, got 100.0 \(float\)",
        ),
        (
            AveragePrecision,
            ROOM | {"max_ground_truths_per_image": "9"},
            TypeError,
            "`max_ground_truths_per_image` must be a whole number, got '9'",
        ),
        (AveragePrecision, ROOM | {"num_classes": 10**9}, ValueError, "`num_classes=1000000000`, .* got 180,602 GiB"),
        (
            AveragePrecision,
            ROOM | {"max_images": 10**9},
            ValueError,
            "`max_images=1000000000`, .* at most 64 GiB .*got",
        ),
        (HostAveragePrecision, {"num_classes": 10**9}, ValueError, "`num_classes=1000000000` must need at most 64 GiB"),
        (
            ConfusionMatrix,
            {"num_classes": 10**9},
            ValueError,
            "entries of the matrix must be at most .*`num_classes=1000000000`",
        ),
        (
            SemanticSegmentation,
            {"num_classes": 60_000, "ignore_index": -1},
            ValueError,
            r"entries of the matrix must be at most 2\^31 - 1, got",
        ),
        (PanopticQuality, {"num_classes": 10**9}, ValueError, "`num_classes=1000000000` must"),
        (
            PanopticQuality,
            {"num_classes": 3, "things": (3,)},
            ValueError,
            "`things` must be classes from 0 to 2, got 3",
        ),
        (PixelAveragePrecision, {"num_classes": 2, "num_bins": 2**30}, ValueError, r"`num_bins` must be at most 2\^24"),
        (PixelAveragePrecision, {"num_classes": 2, "num_bins": 0}, ValueError, "`num_bins` must be at least 1"),
        (HistogramAveragePrecision, {"num_classes": 2, "num_bins": 0}, ValueError, "`num_bins` must be at least 1"),
        (HistogramAveragePrecision, {"num_classes": 90, "num_bins": 2**24}, ValueError, "GiB"),
        (
            HistogramAveragePrecision,
            {"num_classes": 2, "score_range": (1, 0)},
            ValueError,
            r"`score_range` .*got \(1, 0\)",
        ),
        (HistogramAveragePrecision, {"num_classes": 2, "score_range": (1, 1)}, ValueError, "`score_range` must be the"),
        (PixelAveragePrecision, {"num_classes": 2, "score_range": (0, np.nan)}, ValueError, "two finite numbers"),
        (
            PixelAveragePrecision,
            {"num_classes": 2, "score_range": 1.0},
            ValueError,
            "`score_range` must be the .*got 1.0",
        ),
        (SemanticSegmentation, {"num_classes": 2, "ignore_index": 1}, ValueError, "must not be the label of a class"),
        (SemanticSegmentation, {"num_classes": 2, "ignore_index": 2.5}, TypeError, "`ignore_index` must be a whole"),
        (MeanAveragePrecisionAtK, {"k": 0}, ValueError, "`k` must be at least 1"),
        (MeanAveragePrecisionAtK, {"definition": "apple"}, ValueError, "`definition` must be one of"),
        (AveragePrecision, ROOM | {"box_format": "xyhw"}, ValueError, "`box_format` must be one of .*, got 'xyhw'"),
        (AveragePrecision, ROOM | {"protocol": "cooc"}, ValueError, "`protocol` must be one of .*, got 'cooc'"),
        (AveragePrecision, ROOM | {"protocol": 3}, TypeError, "`protocol` must be a name or an EvaluationProtocol"),
        (AveragePrecision, ROOM | {"class_group": ("r", "c")}, ValueError, "`class_group` must be None for .* 'coco'"),
        (
            AveragePrecision,
            ROOM | {"protocol": LVIS, "class_group": ("r",)},
            ValueError,
            "`class_group` must name the group of each of 2 classes, got 1",
        ),
        (
            AveragePrecision,
            ROOM | {"protocol": LVIS, "class_group": ("r", "x")},
            ValueError,
            r"`class_group` must hold names among \['r', 'c', 'f'\], got 'x' for class 1",
        ),
    ],
)
def test_impossible_options_are_refused_when_a_metric_is_made(
    kind: Any, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        kind(**options)


@pytest.mark.parametrize("kind", [AveragePrecision, HistogramAveragePrecision, HostAveragePrecision, ConfusionMatrix])
def test_a_protocol_may_be_named(kind: Any) -> None:
    room = {"max_images": 3} if kind is AveragePrecision else {}
    named = kind(num_classes=2, protocol="LVIS", **room)
    assert named.protocol is LVIS
    assert named == kind(num_classes=2, protocol=LVIS, **room) == pickle.loads(pickle.dumps(named))
    assert hash(named) == hash(dataclasses.replace(named))
    assert kind(num_classes=2, **room).protocol is COCO


def test_sequences_and_numpy_numbers_become_plain_ones() -> None:
    metric = AveragePrecision(num_classes=np.int32(2), max_images=3, protocol="lvis", class_group=["r", "c"])  # type: ignore[arg-type]
    assert metric == AveragePrecision(num_classes=2, max_images=3, protocol="lvis", class_group=("r", "c"))
    assert type(metric.num_classes) is int
    assert hash(metric)


@pytest.mark.parametrize("k", [2**31, 10**12])
def test_more_places_than_int32_has_are_refused(k: int) -> None:
    with pytest.raises(ValueError, match=rf"`k` must be below 2\^31, got {k}"):
        average_precision_at_k(np.array([[1, 2]]), np.array([[1, 3]]), k=k)


CALLS: list[tuple[Any, str]] = [
    (lambda: METRIC.update(METRIC.init(), {"boxes": 1}, TRUTH, **ID), r"`jaxmap.Detections\(\*\*detections\)`"),
    (lambda: METRIC.update(METRIC.init(), FOUND, {}, **ID), r"`jaxmap.GroundTruths\(\*\*ground_truths\)`"),
    (lambda: METRIC.update(METRIC.init(), TRUTH, FOUND, **ID), r"`detections` must be a jaxmap.Detections, got Gro"),
    (
        lambda: METRIC.update(FOUND, TRUTH, METRIC.init(), **ID),
        r"`state` .* AveragePrecisionState, got Detections",
    ),
    (lambda: METRIC.update(METRIC, FOUND, TRUTH, **ID), r"`state` must come from .*, got AveragePrecision; "),
    (lambda: METRIC.compute(METRIC), r"`state` must .*, got AveragePrecision; the calls are"),
    (lambda: METRIC.summarize(METRIC.init()), r"`result` must come from `compute` of this metric, as A"),
    (lambda: HISTOGRAM.merge(HISTOGRAM.init(), HISTOGRAM.compute(HISTOGRAM.init())), r"`other` must .*, got Average"),
    (lambda: HISTOGRAM.compute(METRIC.init()), r"`state` .* HistogramState, got AveragePrecisionState"),
    (lambda: jax.jit(HISTOGRAM.merge)(HISTOGRAM.init(), METRIC.init()), r"`other` .* as HistogramState"),
]


@pytest.mark.parametrize(("call", "words"), CALLS)
def test_arguments_in_the_place_of_others_are_refused(call: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        call()


def test_too_little_room_is_said_while_tracing() -> None:
    wide = jax.tree.map(lambda column: jnp.concatenate([jnp.asarray(column)] * 6, axis=1), (FOUND, TRUTH))
    update = jax.jit(METRIC.update)
    with pytest.warns(UserWarning) as caught:
        state = update(METRIC.init(), *wide, **ID)
    update(state, *wide, **ID)  # is not traced again, so it warns no more
    assert [str(one.message).split(";")[0] for one in caught] == [
        f"the batch has 6 {side} per image and the state has room for 4" for side in ("detections", "ground_truths")
    ]
    with pytest.raises(ValueError, match=r"num_detections_over_capacity = 2 \(raise `max_detections_per_image`\)"):
        METRIC.summarize(METRIC.compute(state))
    # One class of which an image keeps at most 4 needs no more room than that.
    limited = dataclasses.replace(METRIC, num_classes=1, protocol=COCO.customize(max_detections=4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jax.eval_shape(limited.update, limited.init(), wide[0], TRUTH, **ID)
