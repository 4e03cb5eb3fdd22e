"""Curves on the device against those of the host, and recall points decided in integers against float64."""

from __future__ import annotations

import dataclasses
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmap
from jaxmap import COCO
from jaxmap._curves import _host as host
from jaxmap._curves import _interpolation_device as interpolation
from jaxmap._curves import _tiles_device as tiles
from jaxmap._curves._interpolation_device import first_to_reach, recall_grid
from jaxmap._records._device import _added, _multiplied
from jaxmap.protocols import EvaluationProtocol
from jaxmap.types import UNDEFINED, DetectionRecords, GroundTruthRecords, PrecisionRecall, Records
from support.curve_cases import K, N, assert_equal_curves, ground_truths_of, on_host, random_records

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
QUICK_GRIDS = ("coco", "zero")  # each takes seconds to compile


@partial(jax.jit, static_argnames="protocol")
def on_device(records: Records, protocol: EvaluationProtocol) -> PrecisionRecall:
    return jaxmap.precision_recall(records, protocol=protocol, num_classes=K)


@pytest.mark.parametrize(
    "grid",
    [grid if grid in QUICK_GRIDS else pytest.param(grid, marks=pytest.mark.slow) for grid in GRIDS],
)
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


@pytest.mark.parametrize(
    "tile", [*(pytest.param(tile, marks=pytest.mark.slow) for tile in ((1, 1), (4, 2), (16, 5))), tiles.ON_ACCELERATOR]
)
def test_tiles_change_nothing(tile: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = COCO.customize(max_detections=(1, 3, 100), recall_points=GRIDS["elevenths"])
    records = random_records(0, protocol)
    expected = on_device(records, protocol)
    monkeypatch.setattr(tiles, "ON_CPU", tile)
    compute = jax.jit(lambda records: jaxmap.precision_recall(records, protocol=protocol, num_classes=K))
    chex.assert_trees_all_equal(compute(records), expected)


@pytest.mark.parametrize("size", [(15, 40, 11), (2, 1, 1), (130, 9, 105)], ids=str)
def test_recall_points_are_the_same_on_every_backend(
    size: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    num_curves, num_rows, num_points = size
    monkeypatch.setattr(interpolation, "MAX_ROWS", 16)  # so that there are several blocks of rows
    rng = np.random.default_rng(0)
    hits = np.cumsum(rng.random((num_curves, num_rows)) < 0.3, axis=-1, dtype=np.int32)
    needed = np.sort(rng.integers(-3, num_rows // 2 + 1, (num_curves, num_points)), axis=-1).astype(np.int32)
    is_real = np.arange(num_rows) < max(num_rows - 3, 1)
    precision = np.where(is_real, rng.random(hits.shape), -np.inf).astype(np.float32)
    scores = np.where(is_real, -np.sort(-rng.random(num_rows)), -np.inf).astype(np.float32)
    arguments = (column.reshape(-1, 1, column.shape[-1]) for column in (hits, needed, precision, scores))
    arguments = tuple(map(jnp.asarray, arguments))
    forms = interpolation._compared, partial(interpolation._compared_on_tpu, interpret=True)
    searched = jax.jit(interpolation._searched)(*arguments)
    for form in forms:
        chex.assert_trees_all_equal(jax.jit(form)(*arguments), searched)
    assert size[1] == 1 or np.isinf(searched[0]).any()


def test_counts_for_a_tpu_and_for_others_agree() -> None:
    rng = np.random.default_rng(0)
    labels, counted = rng.integers(0, K, 50), rng.random((50, 3)) < 0.5
    counts = [kernel(jnp.asarray(labels), jnp.asarray(counted), num_classes=K + 1) for kernel in (_multiplied, _added)]
    chex.assert_trees_all_equal(*counts)


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


def counts_near(points: np.ndarray, total: int) -> np.ndarray:
    """Returns the counts beside each point, which alone can be wrong: all of them for small totals."""
    near = np.floor(points * total)[:, None] + [-1, 0, 1]
    return np.arange(total + 1) if total <= 200 else np.unique(np.clip(near, 0, total).astype(np.int64))


@pytest.mark.parametrize("grid", sorted({*GRIDS} - {"thousandths"}))  # which the next test has
def test_integer_rule_equals_float64_for_every_number_of_ground_truths(grid: str) -> None:
    points, totals = np.array(GRIDS[grid]), np.arange(4001)
    needed = np.asarray(first_to_reach(GRIDS[grid], jnp.asarray(totals, jnp.int32)))
    assert needed.dtype == np.int32
    for total, row in zip(totals[1:].tolist(), needed[1:], strict=True):
        counts = counts_near(points, total)
        expected = np.searchsorted(points, counts / total, side="right")
        np.testing.assert_array_equal((row <= counts[:, None]).sum(-1), expected, err_msg=str(total))


def test_integer_rule_equals_float64_on_thousandths_and_large_totals() -> None:
    for name in ("thousandths", "coco"):
        points = np.array(GRIDS[name])
        for total in (1, 7, 10, 1000, 3999, 4000, 36_781, 100_000, 999_999, 1_000_000, 2_000_000):
            row = np.asarray(first_to_reach(GRIDS[name], jnp.int32(total)))
            counts = counts_near(points, total)
            expected = np.searchsorted(points, counts / total, side="right")
            np.testing.assert_array_equal((row <= counts[:, None]).sum(-1), expected)


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
