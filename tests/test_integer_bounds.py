"""Each narrow integer at its bound and beside it: what is wider is right, or is refused."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmap
from jaxmap._curves import _device as curves
from jaxmap._curves._interpolation_device import first_to_reach
from jaxmap._integer_bounds import INT32_MAX, check_int32, level_dtype
from jaxmap._matching._data_checks import CHECKS
from jaxmap._matching._device import MatchedBatch
from jaxmap.metrics import (
    AveragePrecision,
    ConfusionMatrix,
    HistogramAveragePrecision,
    PixelAveragePrecision,
    SemanticSegmentation,
)
from jaxmap.metrics._detection._state import rows_of_batch
from jaxmap.protocols import ALL_AREAS, COCO, VOC2012, AreaRange, SummaryRow
from jaxmap.types import DetectionRecords, GroundTruthRecords, Records

FOUND = {"boxes": [[0.0, 0.0, 10.0, 10.0]], "scores": [0.9], "labels": [0]}
TRUTH = {"boxes": [[0.0, 0.0, 10.0, 10.0]], "labels": [0]}
ONE = COCO.customize(recall_points=[0.0, 0.5, 1.0], area_ranges={"all": (0, 1e10)}, max_detections=1)
AP = dataclasses.replace(ONE, summary=(SummaryRow("AP"),))


def in_jit(protocol: Any) -> float:
    sides = (
        kind(**{name: jnp.asarray(column)[None] for name, column in side.items()})
        for kind, side in ((jaxmap.Detections, FOUND), (jaxmap.GroundTruths, TRUTH))
    )
    run = jax.jit(lambda found, truth: jaxmap.average_precision(found, truth, num_classes=1, protocol=protocol))
    return float(run(*sides)["AP"])


@pytest.mark.parametrize(("count", "dtype"), [(127, np.int8), (128, np.int16), (129, np.int16)])
def test_levels_hold_every_number_of_thresholds(count: int, dtype: type) -> None:
    protocol = dataclasses.replace(AP, iou_thresholds=np.linspace(0.1, 0.9, count))
    assert level_dtype(count) is dtype
    evaluation = jaxmap.evaluate([FOUND], [TRUTH], protocol=protocol)
    assert evaluation.matched.pairs.level.tolist() == [count]
    assert evaluation.summary["AP"] == pytest.approx(1.0)
    if count == 128:  # compiles for seconds
        assert in_jit(protocol) == pytest.approx(1.0)


def test_most_thresholds_on_the_host() -> None:
    protocol = dataclasses.replace(AP, iou_thresholds=np.linspace(0.001, 1, 1000))
    half = FOUND | {"boxes": [[0.0, 0.0, 10.0, 5.0]]}
    assert jaxmap.evaluate([half], [TRUTH], protocol=protocol).summary["AP"] == pytest.approx(0.5)


@pytest.mark.slow
def test_area_ranges_fit_a_state_or_are_refused() -> None:
    ranges = tuple(AreaRange(str(index), 0.0, 1e10, f"_{index}") for index in range(33))
    rows = (SummaryRow("AP{area}", each="area"),)
    allowed, over = (
        dataclasses.replace(ONE, iou_thresholds=(0.5,), area_ranges=ranges[:count], summary=rows) for count in (32, 33)
    )
    values = list(jaxmap.evaluate([FOUND], [TRUTH], protocol=over).summary.values())
    assert len(values) == 32
    assert values[0] == pytest.approx(1.0)
    assert set(values) == {values[0]}
    metric = AveragePrecision(num_classes=1, max_images=1, protocol=allowed)
    counted = jnp.arange(32)[None, None] >= jnp.array([0, 31])[None, :, None]  # in all of them; in the last
    none, zeros = jnp.zeros((1, 0)), jnp.zeros(1, jnp.int32)
    batch = MatchedBatch(
        image_valid=jnp.ones(1, bool),
        image_id=jnp.zeros((1, 2), jnp.int32),
        **dict.fromkeys(("num_not_finite", "num_bad_labels"), zeros),
        scores=none,
        **dict.fromkeys(("labels", "position", "rank"), none.astype(jnp.int32)),
        **dict.fromkeys(("matched", "ignored"), none[..., None].astype(jnp.uint32)),
        valid=none.astype(bool),
        ground_truth_labels=jnp.zeros((1, 2), jnp.int32),
        ground_truth_counted=counted,
        checks=jnp.zeros((1, len(CHECKS)), jnp.int32),
    )
    rows = rows_of_batch(batch, metric.init().images)
    assert rows.ground_truth_counted[0, :2].tolist() == [2**32 - 1, 2**31]
    with pytest.raises(ValueError, match="`area_ranges` must be at most 32 inside jit, got 33; use `evaluate`"):
        dataclasses.replace(metric, protocol=over).init()


def test_more_limits_than_a_byte_holds() -> None:
    limits = list(range(1, 301))
    rng = np.random.default_rng(0)
    found = FOUND | {"boxes": np.repeat([[0.0, 0.0, 10.0, 10.0]], 300, 0), "labels": np.zeros(300, int)}
    found["scores"] = rng.permutation(300) / 300
    found["boxes"][found["scores"] * 300 > 255.5] += 50  # the true positive has rank 44
    many = jaxmap.evaluate([found], [TRUTH], max_detections=limits)
    for limit in (1, 44, 45, 254, 255, 256, 257, 300):
        one = jaxmap.evaluate([found], [TRUTH], max_detections=limit)
        np.testing.assert_array_equal(many.precision[..., limit - 1], one.precision[..., 0])
        np.testing.assert_array_equal(many.recall[..., limit - 1], one.recall[..., 0])


@pytest.mark.parametrize("denominator", [1, 100, 997, 1000])
def test_recall_is_decided_in_integers_up_to_the_largest(denominator: int) -> None:
    numerators = np.unique([0, 1, denominator // 3, denominator // 2, denominator - 1, denominator])
    points = tuple((numerators / denominator).tolist())
    bound, rng = INT32_MAX // denominator, np.random.default_rng(denominator)
    totals = [1, 2, 1000, bound - 1, bound, min(bound + 1, INT32_MAX), INT32_MAX - 1, INT32_MAX]
    totals += rng.integers(1, INT32_MAX, 40).tolist()
    needed = first_to_reach(points, jnp.asarray(totals, jnp.int32))
    for total, row in zip(totals, needed.tolist(), strict=True):
        exact = [Fraction(int(n) * total, denominator) for n in numerators]
        assert row == [math.ceil(value) for value in exact]


@pytest.mark.slow
def test_areas_of_millions_of_true_positives() -> None:
    count = 2**21 + 1
    protocol = dataclasses.replace(
        VOC2012, iou_thresholds=(0.5,), area_ranges=(ALL_AREAS,), summary=(SummaryRow("AP"),)
    )
    zeros, ones = jnp.zeros(count, jnp.int32), jnp.ones((count, 1), jnp.uint32)
    records = Records(
        detections=DetectionRecords(
            scores=jnp.ones(count),
            **dict.fromkeys(("labels", "image_index", "position", "rank"), zeros),
            matched=ones,
            ignored=ones * 0,
            valid=ones[:, 0] == 1,
        ),
        ground_truths=GroundTruthRecords(labels=zeros, image_index=zeros, counted=ones == 1),
    )
    compute = jax.jit(
        lambda records: curves.curves_in_order(records, protocol=protocol, num_classes=1, num_images=1, num_positions=1)
    )
    np.testing.assert_allclose(compute(records).average_precision, 1.0, atol=1e-6)


def test_rows_and_cells_beyond_int32_are_refused_while_tracing() -> None:
    check_int32("rows", INT32_MAX, "use fewer")
    with pytest.raises(ValueError, match=r"rows must be at most 2\^31 - 1, got 2147483648; use fewer\."):
        check_int32("rows", INT32_MAX + 1, "use fewer")

    def trace(num_rows: int, protocol: Any, num_classes: int) -> None:
        row, words = jax.ShapeDtypeStruct((num_rows,), jnp.int32), jax.ShapeDtypeStruct((num_rows, 1), jnp.uint32)
        scores, valid = (jax.ShapeDtypeStruct((num_rows,), dtype) for dtype in (jnp.float32, jnp.bool_))
        rows = dict.fromkeys(("labels", "image_index", "position", "rank"), row)
        records = Records(
            detections=DetectionRecords(**rows, scores=scores, matched=words, ignored=words, valid=valid),
            ground_truths=GroundTruthRecords(
                labels=jax.ShapeDtypeStruct((1,), jnp.int32),
                image_index=jax.ShapeDtypeStruct((1,), jnp.int32),
                counted=jax.ShapeDtypeStruct((1, 1), jnp.bool_),
            ),
        )
        jax.eval_shape(lambda r: curves.precision_recall(r, protocol=protocol, num_classes=num_classes), records)

    trace(2**30, AP, 1)
    with pytest.raises(ValueError, match=r"detections inside jit must be at most 2\^31 - 1, got 2147483648; use"):
        trace(2**31, AP, 1)
    with pytest.raises(ValueError, match=r"IoU thresholds x classes x recall points inside jit must be at most 2\^31"):
        trace(8, AP, 2**26)
    with pytest.raises(ValueError, match=r"`num_classes` x `num_bins` must be at most 2\^31 - 1, got"):
        HistogramAveragePrecision(num_classes=2**16, num_bins=2**15).init()
    with pytest.raises(
        ValueError, match=r"entries of the matrix must be at most 2\^31 - 1, got 2147488281; use fewer cl"
    ):
        ConfusionMatrix(num_classes=46340).init()
    with pytest.raises(ValueError, match=r"entries of the matrix must be at most 2\^31 - 1"):
        SemanticSegmentation(num_classes=46339, ignore_index=None).init()
    PixelAveragePrecision(num_classes=1, num_bins=2**24)
    with pytest.raises(ValueError, match=r"`num_bins` must be at most 2\^24, got 16777217: scores are float32"):
        PixelAveragePrecision(num_classes=1, num_bins=2**24 + 1)


BINS = 4
HISTOGRAM = HistogramAveragePrecision(
    num_classes=2,
    num_bins=BINS,
    protocol=COCO.customize(iou_thresholds=[0.5], area_ranges={"all": (0, 1e10)}, max_detections=[1, 100]),
)

merge, compute = jax.jit(HISTOGRAM.merge), jax.jit(HISTOGRAM.compute)


def histogram_state(hits: list[int], misses: list[int], num_ground_truths: int) -> Any:
    """Returns the counts of a class; the other has one ground truth, and nothing found."""
    hits, counted = (np.array([values, [0] * BINS], np.int32)[None, None] for values in (hits, np.add(hits, misses)))
    found = np.broadcast_to(hits.sum(-1)[:, :, None], (1, 1, 2, 2)).astype(np.int32)
    return dataclasses.replace(
        HISTOGRAM.init(),
        true_positives=jnp.asarray(hits),
        counted=jnp.asarray(counted),
        found=jnp.asarray(found),
        num_ground_truths=jnp.array([[num_ground_truths], [1]], jnp.int32),
    )


@pytest.mark.parametrize("count", [300, 3_000_000, 21_474_836, 21_474_837, 60_000_000, 2**30 - 4])
def test_histograms_hold_as_many_ground_truths_as_they_count(count: int) -> None:
    hits = [count // 4, count // 4, count // 8, count // 16]
    misses = [count // 16, count // 4, count // 4, count // 8]
    state = histogram_state(hits, misses, count)
    precision = np.cumsum(hits, dtype=float) / np.cumsum(np.add(hits, misses), dtype=float)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    recall = np.cumsum(hits) / count
    reached = [envelope[recall >= point][0] if (recall >= point).any() else 0.0 for point in COCO.recall_points]
    numbers = HISTOGRAM.summarize(compute(state))
    assert numbers["AP"] == pytest.approx(np.mean(reached) / 2, abs=1e-6)
    assert numbers["AR100"] == pytest.approx(recall[-1] / 2, abs=1e-6)


def test_counts_stop_at_the_largest_and_are_refused() -> None:
    nearly = histogram_state([1, 0, 0, 0], [2**30 - 2, 2**30 - 2, 0, 0], 5)  # 2^31 - 3 in all
    assert HISTOGRAM.summarize(compute(nearly))["num_images"] == 0
    one, two = (histogram_state([0] * BINS, [0, 0, 0, more], 0) for more in (1, 2))
    assert HISTOGRAM.summarize(compute(merge(nearly, one)))["num_images"] == 0
    for more in (two, nearly):  # the sum of the bins; a bin
        over = merge(nearly, more)
        assert int(over.counted.min()) >= 0
        with pytest.raises(ValueError, match=r"a count reached 2\^31 - 1, the most that the state holds"):
            HISTOGRAM.summarize(compute(over))
    either = (
        merge(merge(nearly, nearly), one),
        merge(nearly, merge(one, nearly)),
    )
    jax.tree.map(np.testing.assert_array_equal, *either)


def test_a_confusion_matrix_stops_at_the_largest_and_is_refused() -> None:
    metric = ConfusionMatrix(num_classes=1)
    counts = jnp.array([[INT32_MAX - 1, 0], [0, 0]], jnp.int32)
    nearly = dataclasses.replace(metric.init(), counts=counts)
    assert metric.summarize(metric.compute(nearly))["num_correct"] == INT32_MAX - 1
    over = metric.merge(nearly, dataclasses.replace(metric.init(), counts=jnp.array([[9, 0], [0, 0]], jnp.int32)))
    with pytest.raises(ValueError, match=r"a count reached 2\^31 - 1"):
        metric.summarize(metric.compute(over))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_bins": 0}, "`num_bins` must be at least 1, got 0"),
        (
            {"score_range": (1.0, 0.0)},
            r"`score_range` must be the lowest .* the lower first, got \(1\.0, 0\.0\)",
        ),
        ({"score_range": (0.5, 0.5)}, "`score_range` must be the lowest and the highest score"),
        ({"score_range": (0.0, float("nan"))}, "`score_range` must be the lowest and the highest score"),
    ],
)
def test_histograms_without_a_bin_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(HISTOGRAM, **options).init()
