"""Curves on the device against those of the host, and recall points decided in integers against float64."""

from __future__ import annotations

import dataclasses
from functools import partial

import chex
import jax
import numpy as np
import pytest

import jaxmap
from jaxmap import COCO
from jaxmap._curves import _host as host
from jaxmap._curves._device import RecallGrid, recall_grid
from jaxmap._planes import num_words, plane_bit
from jaxmap.protocols import EvaluationProtocol
from jaxmap.types import UNDEFINED, DetectionRecords, GroundTruthRecords, PrecisionRecall, Records

K, N = 4, 300
# One float32 quotient, up to 1, of two integers below 2^24. Rounded once it would be off by 2^-25, but compilers take
# the reciprocal first. The float64 reference adds np.spacing(1) to a denominator, 2e-16.
ATOL = 2.0**-23

GRIDS = {
    "coco": COCO.recall_points,
    "elevenths": tuple(np.linspace(0, 1, 11).tolist()),
    "tenths": tuple(i / 10 for i in range(11)),
    "sevenths": tuple(i / 7 for i in range(8)),
    "fortieths": tuple(np.linspace(0, 1, 41).tolist()),
    "thousandths": tuple(np.linspace(0, 1, 1001).tolist()),
    "mixed": (1 / 3, 0.5, 2 / 3, 0.7, 1.0),
    "zero": (0.0,),
    "half": (0.5,),
    "one": (1.0,),
}


@partial(jax.jit, static_argnames="protocol")
def on_device(records: Records, protocol: EvaluationProtocol) -> PrecisionRecall:
    return jaxmap.precision_recall(records, protocol=protocol, num_classes=K)


def ground_truths_of(counts: np.ndarray) -> GroundTruthRecords:
    """Returns rows of which `[K, A]` count, in no order, with padding."""
    most = 2 * N  # of a class; more than ever count
    counted = np.arange(most)[:, None] < counts[:, None, :]  # [K, G, A]
    labels = np.repeat(np.arange(len(counts)), most)
    order = np.random.default_rng(0).permutation(len(labels))
    return GroundTruthRecords(
        labels=labels[order].astype(np.int32),
        image_index=np.zeros(len(labels), np.int32),
        counted=counted.reshape(-1, counts.shape[1])[order],
    )


def random_records(seed: int, protocol: EvaluationProtocol) -> Records:
    """Returns rows in no order as matching may leave them, with padding."""
    rng = np.random.default_rng(seed)
    grid = len(protocol.iou_thresholds), len(protocol.area_ranges)
    valid = rng.random(N) < 0.8
    labels, images = rng.integers(0, K, N), rng.integers(0, 12, N)
    scores = rng.choice([rng.random(N), rng.integers(0, 6, N) / 5])  # all different, or mostly tied
    position = np.zeros(N, np.int64)
    rank = np.zeros(N, np.int64)
    for image in range(12):
        rows = np.flatnonzero(images == image)
        position[rows] = rng.permutation(len(rows))
        for label in range(K):
            of_class = rows[(labels[rows] == label) & valid[rows]]
            rank[of_class[np.lexsort((position[of_class], -scores[of_class]))]] = np.arange(len(of_class))
    # A row matches up to some threshold in some area ranges, a counted ground truth or an ignored one; where it matches
    # nothing, it is ignored if its own area is out of range.
    levels = np.where(rng.random(N) < 0.6, rng.integers(1, grid[0] + 1, N), 0)
    matches = (np.arange(grid[0]) < levels[:, None])[:, None, :] & (rng.random((N, grid[1], 1)) < 0.9)
    ignored = np.where(matches, rng.random((N, grid[1], grid[0])) < 0.2, rng.random((N, grid[1], 1)) < 0.3)
    words = np.zeros((2, N, num_words(*grid)), np.uint32)
    for area in range(grid[1]):
        for threshold in range(grid[0]):
            word, bit = plane_bit(area, threshold, grid[0])
            for flags, into in zip((matches, ignored), words, strict=True):
                into[:, word] |= flags[:, area, threshold].astype(np.uint32) << np.uint32(bit)
    true_positives = np.zeros((K, *grid[::-1]), np.int64)
    np.add.at(true_positives, labels[valid], (matches & ~ignored)[valid])
    missed = rng.choice([0, 0, 1, 5, 40], (K, grid[1]))  # some classes are found to the last, so that recall is 1
    counts = true_positives.max(-1) + missed
    counts[0, -1] = 0 if not true_positives[0, -1].any() else counts[0, -1]
    rubbish = np.where(valid, 0, rng.integers(-5, 100, N))
    detections = DetectionRecords(
        scores=np.where(valid, scores, np.nan).astype(np.float32),
        labels=np.where(valid, labels, rubbish).astype(np.int32),
        image_index=images.astype(np.int32),
        position=position.astype(np.int32),
        rank=rank.astype(np.int32),
        matched=words[0],
        ignored=words[1],
        valid=valid,
    )
    return Records(detections=detections, ground_truths=ground_truths_of(counts))


def on_host(records: Records, protocol: EvaluationProtocol) -> PrecisionRecall:
    """The host's curves of the same rows, in float64."""
    found = records.detections
    rows = np.flatnonzero(found.valid)
    keys = (found.position, found.image_index, -found.scores.astype(np.float64), found.labels)
    order = rows[np.lexsort([key[rows] for key in keys])]
    widened = dataclasses.replace(found, scores=found.scores.astype(np.float64), labels=found.labels.astype(np.int64))
    records = dataclasses.replace(records, detections=widened)
    return host.precision_recall(records, protocol=protocol, num_classes=K, order=order)


def assert_equal_curves(device: PrecisionRecall, exact: PrecisionRecall) -> None:
    for name in ("precision", "recall", "scores"):
        ours, theirs = np.asarray(getattr(device, name)), getattr(exact, name)
        assert ours.dtype == np.float32
        assert ours.shape == theirs.shape
        np.testing.assert_array_equal(ours == UNDEFINED, np.isnan(theirs), err_msg=name)  # no score is -1 here
        atol = 0.0 if name == "scores" else ATOL
        np.testing.assert_allclose(np.where(ours == UNDEFINED, np.nan, ours), theirs, rtol=0, atol=atol, err_msg=name)
    np.testing.assert_array_equal(device.num_ground_truths, exact.num_ground_truths)


@pytest.mark.parametrize("grid", GRIDS)
def test_device_curves_equal_the_hosts(grid: str) -> None:
    protocol = COCO.customize(recall_points=GRIDS[grid], max_detections=(1, 3, 100))
    for seed in range(8 if grid == "coco" else 3):
        records = random_records(seed, protocol)
        exact = on_host(records, protocol)
        assert_equal_curves(on_device(records, protocol), exact)
        assert np.nanmax(exact.recall) == 1
        assert 0 < np.nanmean(exact.precision) < 1


@pytest.mark.parametrize(
    "options",
    [
        {"iou_thresholds": (0.5,), "area_ranges": {"all": (0, 1e10)}, "max_detections": 2},
        {"iou_thresholds": tuple(np.linspace(0.05, 1, 20).tolist())},  # 80 planes: three words
    ],
    ids=["one plane", "many planes"],
)
def test_device_curves_equal_the_hosts_on_other_grids(options: dict[str, object]) -> None:
    protocol = COCO.customize(**options)
    for seed in range(3):
        records = random_records(seed, protocol)
        assert_equal_curves(on_device(records, protocol), on_host(records, protocol))


def test_order_of_rows_and_padding_change_nothing() -> None:
    records = random_records(0, COCO)
    expected = on_device(records, COCO)
    order = np.random.default_rng(1).permutation(N)
    shuffled = dataclasses.replace(records, detections=jax.tree.map(lambda x: x[order], records.detections))
    chex.assert_trees_all_equal(on_device(shuffled, COCO), expected)


def test_no_rows_and_no_ground_truths() -> None:
    records = random_records(0, COCO)
    counts = np.random.default_rng(2).integers(0, 3, (K, len(COCO.area_ranges)))
    counts[1] = 0
    nothing = Records(
        detections=dataclasses.replace(records.detections, valid=np.zeros(N, bool)),
        ground_truths=ground_truths_of(counts),
    )
    curves = on_device(nothing, COCO)
    for name in ("precision", "recall", "scores"):
        per_class = np.moveaxis(np.asarray(getattr(curves, name)), -3, 0)  # [K, ...]
        assert (per_class[1] == UNDEFINED).all()
        for label in (0, 2, 3):
            defined = counts[label] > 0
            assert (per_class[label][..., defined, :] == 0).all(), name


def test_equal_shapes_are_traced_once() -> None:
    @jax.jit
    @chex.assert_max_traces(n=1)
    def once(records: Records) -> PrecisionRecall:
        return jaxmap.precision_recall(records, protocol=COCO, num_classes=K)

    results = [once(random_records(seed, COCO)) for seed in range(2)]
    assert (results[0].precision != results[1].precision).any()


def points_reached(grid: RecallGrid, true_positives: np.ndarray, total: int) -> np.ndarray:
    """Returns how many recall points each count reaches, by the integer rule of the grid."""
    scaled = grid.denominator * true_positives
    step = scaled // total
    return grid.reached[step] - ((scaled == step * total) & grid.above[step])


@pytest.mark.parametrize("grid", [name for name in GRIDS if name != "thousandths"])
def test_integer_rule_equals_float64_for_every_number_of_ground_truths(grid: str) -> None:
    points, integers = np.array(GRIDS[grid]), recall_grid(GRIDS[grid])
    for total in range(1, 4001):
        # Only counts beside a point can be wrong: all of them for small totals, three around each point for large ones.
        near = np.unique(np.clip(np.floor(points * total)[:, None] + [-1, 0, 1], 0, total).astype(np.int64))
        counts = np.arange(total + 1) if total <= 200 else near
        expected = np.searchsorted(points, counts / total, side="right")
        np.testing.assert_array_equal(points_reached(integers, counts, total), expected, err_msg=str(total))


def test_integer_rule_equals_float64_on_thousandths_and_large_totals() -> None:
    for name in ("thousandths", "coco"):
        points, integers = np.array(GRIDS[name]), recall_grid(GRIDS[name])
        for total in (1, 7, 10, 1000, 3999, 4000, 36_781, 100_000, 999_999, 1_000_000, 2_000_000):
            counts = np.unique(np.clip(np.floor(points * total)[:, None] + [-1, 0, 1], 0, total).astype(np.int64))
            expected = np.searchsorted(points, counts / total, side="right")
            np.testing.assert_array_equal(points_reached(integers, counts, total), expected)
            assert integers.denominator * total < 2**31  # what the device counts in


def test_points_that_exceed_their_fraction_are_those_of_linspace() -> None:
    assert np.flatnonzero(recall_grid(COCO.recall_points).above).tolist() == [35, 41, 47, 57, 69, 70, 82, 83, 94, 95]


def test_first_true_positive_to_reach_a_point_on_the_device() -> None:
    # Row n of a class is its n-th true positive and has score -n, so a point's score says how many it took. The totals
    # are the popular ones, where recalls and points coincide.
    totals = np.array([1, 2, 3, 5, 7, 10, 20, 50, 100, 200, 300, 500, 1000])
    protocol = COCO.customize(iou_thresholds=(0.5,), area_ranges={"all": (0, 1e10)}, max_detections=1)
    labels = np.repeat(np.arange(len(totals)), totals)
    number = np.concatenate([np.arange(1, total + 1) for total in totals])
    ones = np.ones((len(labels), 1), np.uint32)
    detections = DetectionRecords(
        scores=-number.astype(np.float32),
        labels=labels.astype(np.int32),
        image_index=number.astype(np.int32),
        position=np.zeros(len(labels), np.int32),
        rank=np.zeros(len(labels), np.int32),
        matched=ones,
        ignored=np.zeros_like(ones),
        valid=np.ones(len(labels), bool),
    )
    truths = GroundTruthRecords(
        labels=labels.astype(np.int32), image_index=np.zeros_like(labels), counted=np.ones((len(labels), 1), bool)
    )
    curves = jax.jit(lambda records: jaxmap.precision_recall(records, protocol=protocol, num_classes=len(totals)))(
        Records(detections=detections, ground_truths=truths)
    )
    for k, total in enumerate(totals.tolist()):
        recall = np.arange(1, total + 1) / total
        needed = np.searchsorted(recall, protocol.recall_points, side="left") + 1
        np.testing.assert_array_equal(curves.scores[0, :, k, 0, 0], -needed)


@pytest.mark.parametrize("points", [*GRIDS.values(), tuple(np.sort(np.random.default_rng(0).random(30)).tolist())])
def test_first_to_reach_equals_searchsorted(points: tuple[float, ...]) -> None:
    totals = np.arange(0, 1201)
    needed = host.first_to_reach(points, totals)
    assert needed.shape == (len(totals), len(points))
    for total, row in zip(totals[1:].tolist(), needed[1:], strict=True):
        recall = np.arange(total + 1) / total
        np.testing.assert_array_equal(row, np.searchsorted(recall, points, side="left"), err_msg=str(total))


@pytest.mark.parametrize(
    "points",
    [(1 / np.sqrt(2),), (0.0, 0.1234567), (*(i / 997 for i in range(997)), 0.9995), (0.001, 1 / 999)],
    ids=["irrational", "seven digits", "no common fraction", "too fine a common fraction"],
)
def test_recall_points_that_are_no_fractions_are_refused_inside_jit(points: tuple[float, ...]) -> None:
    protocol = COCO.customize(recall_points=points)
    records = random_records(0, protocol)
    with pytest.raises(ValueError, match=r"`recall_points` must be multiples of one fraction .* `jaxmap.evaluate`"):
        on_device(records, protocol)
    assert on_host(records, protocol).precision.shape[1] == len(points)
