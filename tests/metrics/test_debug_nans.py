"""Nothing makes a NaN on a device: everything runs under `jax_debug_nans`, with NaN in what is padding.

`average_precision` gives NaN on purpose where a valid row is not finite; under the flag that raises, as it should.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmap
from jaxmap._planes import level_words
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
from jaxmap.protocols import COCO, SummaryRow
from jaxmap.types import Candidates, DetectionRecords, GroundTruthRecords, Records

pytestmark = pytest.mark.slow

NAN = float("nan")
SMALL = {"iou_thresholds": [0.5, 0.75], "recall_points": [0.0, 0.5, 1.0], "max_detections": [1, 3]}
BOX, OTHER, PADDING = [0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 8.0], [NAN] * 4
FOUND = jaxmap.Detections(
    boxes=np.array([[BOX, OTHER, PADDING]] * 2, np.float32),
    scores=np.array([[0.9, 0.5, NAN]] * 2, np.float32),
    labels=np.array([[0, 0, 9]] * 2, np.int32),
    valid=np.array([[True, True, False]] * 2),
)
TRUTH = jaxmap.GroundTruths(
    boxes=np.array([[BOX, PADDING]] * 2, np.float32),
    labels=np.array([[0, -5]] * 2, np.int32),
    area=np.array([[100.0, NAN]] * 2, np.float32),
    valid=np.array([[True, False]] * 2),
)
BATCH = {"detections": FOUND, "ground_truths": TRUTH, "image_id": np.arange(2), "valid": np.array([True, False])}
ALIKE = {"num_classes": 2, "protocol": COCO.customize(**SMALL)}
SCORES = np.array([[[[0.9, 0.1], [0.3, 0.7], [NAN, NAN]]]], np.float32)
PIXELS = np.array([[[0, 1, 255]]], np.int32)
MASKED = np.array([[[True, True, False]]])
SEGMENTS = {"predicted": PIXELS % 255, "truth": PIXELS % 255, "truth_labels": np.array([[0, 1]], np.int32)}
RANKED = {
    "relevant": np.array([[1, 2]], np.int32),
    "predicted": np.array([[2, 3]], np.int32),
    "weights": np.array([NAN], np.float32),
    "valid": np.array([False]),
}
BATCHES = {
    "exact": (AveragePrecision(max_images=2, **ALIKE), BATCH),
    "host": (HostAveragePrecision(**ALIKE), BATCH),
    "histogram": (HistogramAveragePrecision(num_bins=8, **ALIKE), BATCH),
    "confusion": (ConfusionMatrix(num_classes=2), BATCH),
    "segmentation": (SemanticSegmentation(num_classes=2), {"predicted": PIXELS % 255, "truth": PIXELS}),
    "pixels": (PixelAveragePrecision(num_classes=2, num_bins=4), {"scores": SCORES, "truth": PIXELS, "valid": MASKED}),
    "panoptic": (PanopticQuality(num_classes=2), SEGMENTS | {"predicted_labels": np.array([[0, 1]], np.int32)}),
    "ranking": (MeanAveragePrecisionAtK(k=2), RANKED),
}


@pytest.fixture(autouse=True)
def debug_nans() -> Iterator[None]:
    with jax.debug_nans(True):
        yield


def test_the_flag_is_on() -> None:
    with pytest.raises(FloatingPointError):
        jax.jit(lambda x: x / x)(jnp.zeros(1))


@pytest.mark.parametrize("name", BATCHES)
def test_metrics_make_no_nan(name: str) -> None:
    metric, batch = BATCHES[name]
    in_jit: Callable[[Any], Any] = (lambda function: function) if name == "host" else jax.jit
    state = in_jit(lambda state, batch: metric.update(state, **batch))(metric.init(), batch)
    nothing = metric.init()
    state = in_jit(metric.merge)(nothing, state)
    for one in (nothing, state):
        result = in_jit(metric.compute)(one)
        if name != "host":
            assert not any(np.isnan(leaf).any() for leaf in jax.tree.leaves(result) if leaf.dtype.kind == "f")
        numbers = metric.summarize(result)
        assert numbers
    if "exact" in name or "histogram" in name:
        assert not np.isnan(numbers["AP"])


def test_numbers_of_smaller_limits_are_undefined_in_histograms_not_less() -> None:
    metric, batch = BATCHES["histogram"]
    rows = (SummaryRow("AP"), SummaryRow("AP@{limit}", each="limit"))
    metric = dataclasses.replace(metric, protocol=dataclasses.replace(metric.protocol, summary=rows))
    state = jax.jit(lambda state, batch: metric.update(state, **batch))(metric.init(), batch)
    numbers = metric.summarize(jax.jit(metric.compute)(state))
    assert np.isnan(numbers["AP@1"])
    assert numbers["AP@3"] == numbers["AP"] > 0


def test_average_precision_makes_no_nan() -> None:
    run = jax.jit(lambda found, truth: jaxmap.average_precision(found, truth, **ALIKE))
    assert run(FOUND, TRUTH)["AP50"] == 1.0
    with pytest.raises(FloatingPointError):  # documented: NaN where a valid row is not finite
        run(jaxmap.Detections(**vars(FOUND) | {"valid": np.ones((2, 3), bool)}), TRUTH)


@pytest.mark.parametrize("box_format", ["xyxy", "xywh"])
def test_similarities_make_no_nan_of_boxes_without_size(box_format: str) -> None:
    boxes = jnp.array([BOX, OTHER, [0.0] * 4, [5.0, 5.0, -3.0, -3.0]])
    assert np.isfinite(jax.jit(jaxmap.box_iou, static_argnames="box_format")(boxes, boxes, box_format=box_format)).all()
    turned = jnp.pad(boxes, ((0, 0), (0, 1)))
    assert np.isfinite(jax.jit(jaxmap.oriented_box_iou)(turned, turned)).all()


def test_matching_and_curves_make_no_nan() -> None:
    one, none = jnp.ones((1, 1), jnp.uint32), jnp.zeros((1, 1), jnp.uint32)
    index, level = jnp.zeros((2, 1), jnp.int32), jnp.array([[1], [0]], jnp.int8)
    crowd = jnp.array([False])
    run = jax.jit(lambda c: jaxmap.match(c, counted=one, crowd=crowd, levels=level_words(1, 1)))
    assert run(Candidates(index=index, level=level)).ravel().tolist() == [1, 0]
    protocol = COCO.customize(iou_thresholds=[0.5], recall_points=[0, 1], area_ranges={"all": (0, 9)}, max_detections=1)
    zero = jnp.zeros(1, jnp.int32)
    rows = dict.fromkeys(("labels", "image_index", "position", "rank"), zero)
    scores, valid = np.full(1, np.nan, np.float32), jnp.array([False])
    padding = DetectionRecords(**rows, scores=scores, matched=none, ignored=none, valid=valid)
    truths = GroundTruthRecords(labels=jnp.ones(3, jnp.int32), image_index=zero, counted=jnp.ones((3, 1), bool))
    curves = jax.jit(lambda records: jaxmap.precision_recall(records, protocol=protocol, num_classes=2))
    assert float(curves(Records(detections=padding, ground_truths=truths)).recall[0, 1, 0, 0]) == 0.0
