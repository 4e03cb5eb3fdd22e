"""Curves under image weights inside `jit`: bit for bit those of today for ones, and of repeated images for others."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmap
from jaxmap._curves._weighted_device import _BlockSums, points_reached
from jaxmap.protocols import EvaluationProtocol, get_protocol
from jaxmap.types import UNDEFINED, PrecisionRecall, Records
from support import curve_cases
from support.curve_cases import K, random_records

NUM_IMAGES = 12  # of `random_records`
SUMS = 2.0**-20  # a float32 sum of a few hundred parts of 1
PROTOCOLS = {name: get_protocol(name) for name in ("coco", "voc2007", "voc2012", "all-point", "ultralytics")}
NAMES = [pytest.param(name, marks=() if name == "coco" else pytest.mark.slow) for name in PROTOCOLS]
curves_of = jax.jit(jaxmap.precision_recall, static_argnames=("protocol", "num_classes"))


def scene(seed: int, protocol: EvaluationProtocol) -> Records:
    """Returns random records whose ground truths belong to images, too."""
    records = random_records(seed, protocol)
    truth = records.ground_truths
    images = np.random.default_rng(seed).integers(0, NUM_IMAGES, len(truth.labels)).astype(np.int32)
    return dataclasses.replace(records, ground_truths=dataclasses.replace(truth, image_index=images))


def repeated(records: Records, counts: np.ndarray) -> Records:
    """Returns the records with each image as often as it counts, copies of an image after each other, and padding.

    All have room for three of each row, so that one program serves all counts.
    """
    starts = np.cumsum(counts) - counts

    def of(rows: Any) -> Any:
        times = counts[rows.image_index]
        index = np.repeat(np.arange(len(times)), times)
        copy = np.arange(len(index)) - np.repeat(np.cumsum(times) - times, times)
        columns = {name: np.asarray(column)[index] for name, column in vars(rows).items()}
        columns["image_index"] = (starts[columns["image_index"]] + copy).astype(np.int32)
        room = 3 * len(times) - len(index)
        return type(rows)(
            **{name: np.pad(column, ((0, room),) + ((0, 0),) * (column.ndim - 1)) for name, column in columns.items()}
        )

    return Records(detections=of(records.detections), ground_truths=of(records.ground_truths))


def assert_same(under: PrecisionRecall, index: int, expected: PrecisionRecall) -> None:
    """Asserts that the curves under one vector are the expected ones, bit for bit but for sums."""
    for name in ("precision", "recall", "scores", "num_ground_truths"):
        np.testing.assert_array_equal(np.asarray(getattr(under, name))[index], getattr(expected, name), err_msg=name)
    assert (under.average_precision is None) == (expected.average_precision is None)
    if expected.average_precision is not None:
        np.testing.assert_allclose(under.average_precision[index], expected.average_precision, rtol=0, atol=SUMS)


@pytest.mark.parametrize("name", NAMES)
def test_weights_give_the_curves_of_repeated_images(name: str) -> None:
    protocol = PROTOCOLS[name]
    ones = np.ones(NUM_IMAGES, np.int32)
    for seed in range(3):  # in one test, because they share their programs
        rng = np.random.default_rng(seed)
        records = scene(seed, protocol)  # scores tie, and ones change no order
        found = records.detections
        distinct = np.where(found.valid, rng.permutation(len(found.scores)) + 1, np.nan).astype(np.float32)
        no_ties = dataclasses.replace(records, detections=dataclasses.replace(found, scores=distinct))
        for of, counts in ((records, [ones, ones * 0]), (no_ties, rng.integers(0, 4, (2, NUM_IMAGES)))):
            under = curves_of(of, protocol=protocol, num_classes=K, weights=np.array(counts, np.int32))
            for index, row in enumerate(counts):
                assert_same(under, index, curves_of(repeated(of, row), protocol=protocol, num_classes=K))
    assert_same(under_ones(records, protocol), 1, curves_of(records, protocol=protocol, num_classes=K))


def under_ones(records: Records, protocol: EvaluationProtocol) -> PrecisionRecall:
    """Returns the curves under two vectors of ones."""
    return curves_of(records, protocol=protocol, num_classes=K, weights=np.ones((2, NUM_IMAGES), np.int32))


@pytest.mark.slow
def test_ones_give_the_curves_as_they_are_also_with_scores_of_64_bits() -> None:
    records = scene(7, jaxmap.COCO)
    found = dataclasses.replace(records.detections, scores=records.detections.scores.astype(np.float64))
    records = dataclasses.replace(records, detections=found)
    with jax.enable_x64(True):
        under = curves_of(records, protocol=jaxmap.COCO, num_classes=K, weights=np.ones((1, NUM_IMAGES), np.int64))
        assert_same(under, 0, curves_of(records, protocol=jaxmap.COCO, num_classes=K))


def test_weights_of_zero_leave_nothing() -> None:
    records = scene(0, jaxmap.COCO)
    zeros = np.zeros((2, NUM_IMAGES), np.int32)
    under = curves_of(records, protocol=jaxmap.COCO, num_classes=K, weights=zeros)
    assert (np.asarray(under.precision) == UNDEFINED).all()
    assert not np.asarray(under.num_ground_truths).any()


@pytest.mark.parametrize(
    ("weights", "error", "words"),
    [
        (np.ones((2, NUM_IMAGES), np.float32), TypeError, "`weights` must be integers inside jit"),
        (np.ones(NUM_IMAGES, np.int32), ValueError, r"`weights` must have shape \[W, I\], got \[12\]"),
        (-np.eye(2, NUM_IMAGES, 3, np.int64), ValueError, r"`weights` must be at least 0, got -1 at \[0, 3\]"),
        (
            np.full((1, NUM_IMAGES), 2**32),
            ValueError,
            "times the number of rows must be at most 2.30 inside jit",
        ),
        (np.ones((1, 5), np.int32), ValueError, "one weight for every image, got 5 for images up to 11"),
    ],
)
def test_bad_weights(weights: np.ndarray, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        jaxmap.precision_recall(scene(0, jaxmap.COCO), protocol=jaxmap.COCO, num_classes=K, weights=weights)


@pytest.mark.parametrize("points", [jaxmap.COCO.recall_points, jaxmap.VOC2007.recall_points, (0.0, 0.25, 0.7, 1.0)])
def test_points_reached_are_those_of_exact_fractions(points: tuple[float, ...]) -> None:
    rng = np.random.default_rng(0)
    positives = np.concatenate([np.arange(1, 300), rng.integers(1, 2**30, 3000), [2**30 - 1]]).astype(np.int32)
    shares = np.concatenate([rng.random(len(positives)), rng.integers(0, 101, len(positives)) / 100])
    positives = np.tile(positives, 2)
    found = np.minimum(np.rint(positives * shares), positives).astype(np.int32)
    protocol = jaxmap.COCO.customize(recall_points=points)
    reached = np.asarray(jax.jit(lambda a, b: points_reached(a, b, protocol))(found, positives))
    # As in the reference: the quotient is rounded to the nearest double, then compared with the doubles of the points.
    expected = np.searchsorted(np.array(points), found / positives, side="right")
    np.testing.assert_array_equal(reached, expected)
    for index in range(0, len(found), 97):
        share = Fraction(int(found[index]), int(positives[index]))
        assert reached[index] in (sum(Fraction(p) <= share for p in points), sum(p <= float(share) for p in points))


@pytest.mark.parametrize("size", [1, 16, 17, 5000])
def test_sums_before_places(size: int) -> None:
    rng = np.random.default_rng(size)
    image, flags = rng.integers(0, 7, size).astype(np.int32), rng.random((3, size)) < 0.5
    vectors = rng.integers(0, 5, (7, 4)).astype(np.int32)
    places = np.unique(np.append(rng.integers(0, size + 1, 40), [0, size])).astype(np.int32)
    sums = _BlockSums.of(jnp.asarray(image), jnp.asarray(flags), jnp.asarray(vectors)).at(jnp.asarray(places))
    running = np.concatenate([np.zeros((1, 3, 4)), np.cumsum(flags.T[..., None] * vectors[image][:, None], axis=0)])
    np.testing.assert_array_equal(sums, running[places])


assert curve_cases.N == 300  # several tiles and blocks
