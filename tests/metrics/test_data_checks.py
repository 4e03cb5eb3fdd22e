"""What a program on a device cannot refuse is counted, and `summarize` says it in one line, with the likely cause."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import jax
import numpy as np
import pytest

import jaxmap
from jaxmap.metrics import AveragePrecision, ConfusionMatrix, HostAveragePrecision, image_id_words

pytestmark = pytest.mark.slow

PROTOCOL = jaxmap.COCO.customize(iou_thresholds=(0.5,))  # compiles fast
TRUTH = np.array([[[10, 20, 60, 90], [100, 40, 150, 80]], [[30, 10, 90, 70], [5, 60, 45, 95]]], np.float32)
FOUND = TRUTH + np.float32(2)
OTHER = FOUND + np.array([[[0.0]], [[300.0]]], np.float32)  # the second image's detections miss
LABELS = np.array([[0, 1], [1, 0]], np.int32)


@functools.cache
def compiled(metric: Any) -> Any:
    return jax.jit(metric.update)


def summarize(
    found: Any = FOUND,
    truth: Any = TRUTH,
    *,
    metric: Any = None,
    ids: Any = (0, 1),
    labels: Any = LABELS,
    field: str = "boxes",
    **truth_fields: Any,
) -> dict[str, float]:
    metric = metric or AveragePrecision(num_classes=2, max_images=4, protocol=PROTOCOL)
    scores = np.tile(np.array([0.9, 0.8], np.float32), (len(found), 1))
    detections = jaxmap.Detections(**{field: found}, scores=scores, labels=labels)
    ground_truths = jaxmap.GroundTruths(**{field: truth}, labels=labels, **truth_fields)
    update = metric.update if isinstance(metric, HostAveragePrecision) else compiled(metric)
    state = update(metric.init(), detections, ground_truths, image_id=np.asarray(ids))
    numbers: dict[str, float] = metric.summarize(metric.compute(state))
    return numbers


def warning_of(*args: Any, **options: Any) -> str:
    with pytest.warns(UserWarning, match=r"^the numbers may not be what you meant: ") as caught:
        summarize(*args, **options)
    [warning] = caught
    text = str(warning.message)
    assert "\n" not in text
    assert warning.filename == __file__
    return text


@pytest.mark.parametrize(
    "metric",
    [None, ConfusionMatrix(num_classes=2), HostAveragePrecision(num_classes=2, protocol=PROTOCOL)],
    ids=["exact", "matrix", "host"],
)
def test_a_label_from_one_and_numbers_that_are_none_come_in_one_line(metric: Any) -> None:
    spoiled = FOUND.copy()
    spoiled[1, 1, 0] = np.nan
    text = warning_of(spoiled, labels=LABELS + 1, metric=metric)
    assert "4 rows have a label outside 0 to 1 and are excluded (subtract 1 from labels that start at 1); " in text
    assert "1 rows have NaN, infinity or a number above 4.6e+18 and are excluded" in text


def test_labels_of_64_bits_are_no_class() -> None:
    wide = LABELS.astype(np.int64)
    wide[0, 0] = 2**32
    metric = AveragePrecision(num_classes=2, max_images=4, protocol=PROTOCOL)
    found = jaxmap.Detections(boxes=FOUND, scores=np.full((2, 2), 0.9, np.float32), labels=wide)
    truth = jaxmap.GroundTruths(boxes=TRUTH, labels=LABELS)
    ids = np.arange(2, dtype=np.int32)
    eager = metric.update(metric.init(), found, truth, image_id=ids)
    with jax.enable_x64(True):
        in_jit = jax.jit(lambda found: metric.update(metric.init(), found, truth, image_id=ids))(found)
    for state in (eager, in_jit):
        assert metric.compute(state).counters["num_bad_labels"] == 1


IDS = np.array([1, 2**32 + 1])


def test_ids_that_jit_has_cut_are_noticed_and_words_cross_whole() -> None:
    expected = summarize(OTHER)["AP50"]
    assert 0 < expected < 1
    text = warning_of(OTHER, ids=IDS)  # NumPy int64 through `jit`: both are 1 there
    assert "1 images have the id of an image with other content" in text
    assert "`jaxmap.metrics.image_id_words(ids)`" in text
    words = image_id_words(IDS)
    numbers = summarize(OTHER, ids=words)
    assert (numbers["AP50"], numbers["num_images"]) == (expected, 2)
    with jax.enable_x64(True):
        assert summarize(OTHER, ids=IDS)["AP50"] == expected
    for ids in (IDS, IDS.tolist(), words):
        assert (
            summarize(OTHER, ids=ids, metric=HostAveragePrecision(num_classes=2, protocol=PROTOCOL))["AP50"] == expected
        )
    metric = AveragePrecision(num_classes=2, max_images=4, protocol=PROTOCOL)
    found = jaxmap.Detections(boxes=OTHER, scores=np.full((2, 2), 0.9, np.float32), labels=LABELS)
    truth = jaxmap.GroundTruths(boxes=TRUTH, labels=LABELS)
    assert metric.update(metric.init(), found, truth, image_id=IDS).num_images == 2


def test_equal_scores_go_by_the_whole_id() -> None:
    found = FOUND[:, :1] + np.array([[[300.0]], [[0.0]]], np.float32)
    truth, labels = TRUTH[:, :1], np.zeros((2, 1), np.int32)
    metric = AveragePrecision(num_classes=1, max_images=2, protocol=PROTOCOL)
    detections = jaxmap.Detections(boxes=found, scores=np.full((2, 1), 0.5, np.float32), labels=labels)
    numbers, compute = [], jax.jit(metric.compute)
    for ids in ([2**32, 1], [-(2**40), -1], [0, 2**62], [5, 3], [3, 5]):
        truths = jaxmap.GroundTruths(boxes=truth, labels=labels)
        state = compiled(metric)(metric.init(), detections, truths, image_id=image_id_words(ids))
        on_device = metric.summarize(compute(state))["AP50"]
        numbers.append(metric.summarize(metric.compute(state))["AP50"])
        assert on_device == pytest.approx(numbers[-1], abs=1e-6)
    first, last = numbers[0], numbers[1]  # the image that is found comes first, or last
    assert first > last
    assert numbers == [first, last, last, first, last]


def test_an_image_that_pads_by_coming_again_is_no_trouble() -> None:
    for metric in (None, HostAveragePrecision(num_classes=2, protocol=PROTOCOL)):
        rows = [0, 1, 0]
        numbers = summarize(
            FOUND[rows], TRUTH[rows], labels=LABELS[rows], ids=np.array([7, 8, 7], np.int32), metric=metric
        )
        assert (numbers["num_images"], numbers["num_repeated_images"]) == (2, 1)


@pytest.mark.parametrize(("shape", "message"), [((2, 1), r"\[2\], one per image, or \[2, 2\]"), ((3,), r"got \[3\]")])
def test_ids_of_another_shape_are_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        summarize(ids=np.zeros(shape, np.int32))
    with pytest.raises(TypeError, match="words of `image_id` must be int32, got dtype int8"):
        summarize(ids=np.zeros((2, 2), np.int8))


def as_xywh(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], axis=-1)


def test_ground_truths_that_pad_without_valid_are_noticed() -> None:
    padded = TRUTH.copy()
    padded[0, 1] = 0
    text = warning_of(FOUND, padded)
    assert "1 of 4 ground truths are empty" in text
    assert "pass `valid`" in text
    valid = np.array([[True, False], [True, True]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        summarize(FOUND, padded, valid=valid)
        summarize(FOUND, padded, ignore=~valid)
        flat = TRUTH.copy()
        flat[0, 1, 2] = flat[0, 1, 0]  # a real annotation of width 0
        summarize(FOUND, flat)


@pytest.mark.parametrize(
    ("found", "truth", "message"),
    [
        (as_xywh(FOUND) * [1, 1, 0.1, 0.1], TRUTH, "4 of 4 detections and 0 of 4 ground truths have a negative width"),
        (FOUND, as_xywh(TRUTH), "ground truths have a negative width or height as `xyxy` .*; are they `xywh`"),
        (
            FOUND / 200,
            TRUTH,
            "all 4 detections are in the unit square, those of the other side are not; convert both to pixels",
        ),
        (FOUND, TRUTH / 200, "all 4 ground truths are in the unit square"),
        (FOUND * np.float32(1e-13), TRUTH * np.float32(1e-13), "8 boxes have an area below 2.1e-22"),
        (FOUND * np.float32(1e17), TRUTH, "rows have NaN, infinity or a number above 4.6e"),
    ],
    ids=["negative", "negative truths", "unit", "unit truths", "tiny", "huge"],
)
def test_boxes_of_another_format_or_scale_are_noticed(found: Any, truth: Any, message: str) -> None:
    with pytest.warns(UserWarning, match=message):
        summarize(found.astype(np.float32), truth.astype(np.float32))


def test_degrees_are_noticed() -> None:
    metric = AveragePrecision(
        num_classes=2, max_images=4, protocol=jaxmap.COCO.customize(iou_thresholds=(0.5,), iou_type="obb")
    )
    turned = np.concatenate([TRUTH, np.full((2, 2, 1), 1.5, np.float32)], -1)
    summarize(turned, turned, metric=metric)
    degrees = turned.copy()
    degrees[..., 4] = [[30, 0], [90, 0]]
    assert "2 of 8 angles are beyond 2 pi; angles are in radians" in warning_of(degrees, turned, metric=metric)


def scaled_levels(exponent: int, seed: int = 0) -> tuple[np.ndarray, int]:
    """Returns what a scene's detections matched, with its coordinates times 2^exponent, and how many were odd."""
    rng = np.random.default_rng(seed)
    corner, size = rng.integers(0, 12, (1, 40, 2)), rng.integers(1, 17, (1, 40, 2))
    truth = np.concatenate([corner, corner + size], -1).astype(np.float32)
    found = truth + rng.integers(-1, 2, truth.shape)
    scale = np.float32(2.0**exponent)
    metric = AveragePrecision(num_classes=40, max_images=1)
    labels = np.arange(40, dtype=np.int32)[None]
    state = compiled(metric)(
        metric.init(),
        jaxmap.Detections(boxes=found.astype(np.float32) * scale, scores=np.ones((1, 40), np.float32), labels=labels),
        jaxmap.GroundTruths(boxes=truth * scale, labels=labels, area=np.full((1, 40), 500, np.float32)),
        image_id=np.zeros(1, np.int32),
    )
    result = metric.compute(state)
    return np.asarray(result.curves.recall[:, :, 0, -1]), int(
        result.checks["tiny_shapes"] + result.counters["num_not_finite"]
    )


def test_arithmetic_is_exact_up_to_the_bounds_that_are_counted() -> None:
    expected, odd = scaled_levels(0)
    assert odd == 0
    assert 0 < expected.mean() < 1
    for exponent in (-36, 57):  # areas of 2^-72, coordinates below 2^62
        recall, odd = scaled_levels(exponent)
        assert odd == 0
        np.testing.assert_array_equal(recall, expected)
    for exponent in (-37, 59):
        assert scaled_levels(exponent)[1] > 0


def test_flags_may_be_numbers_and_other_values_are_counted() -> None:
    crowd = np.array([[True, False], [False, False]])
    expected = summarize(crowd=crowd, valid=~crowd)
    numbers = summarize(crowd=crowd.astype(np.int32), valid=(~crowd).astype(np.float32))
    np.testing.assert_equal(numbers, expected)
    valid = np.array([[1.0, np.nan], [1.0, 1.0]], np.float32)
    text = warning_of(crowd=crowd * np.float32(0.5), ignore=crowd * 2, valid=valid)
    assert "3 flags (`valid`, `crowd`, `ignore` and the like) are neither 0 nor 1, and count as True; pass bool" in text


MASKS = np.zeros((2, 2, 8, 8), bool)
MASKS[:, 0, :4], MASKS[:, 1, 4:] = True, True


def segm_metric() -> AveragePrecision:
    return AveragePrecision(
        num_classes=2, max_images=2, protocol=jaxmap.COCO.customize(iou_thresholds=(0.5,), iou_type="segm")
    )


def test_soft_masks_are_refused_and_grey_ones_noticed() -> None:
    metric = segm_metric()
    for masks in (MASKS.astype(np.float32), MASKS.astype(complex)):
        with pytest.raises(TypeError, match=r"^`detections.masks` must be bool, or 0 and 1, got dtype .*masks > t"):
            summarize(masks, MASKS, metric=metric, field="masks")
    expected = summarize(MASKS, MASKS, metric=metric, field="masks")
    numbers = summarize(MASKS.astype(np.uint8), MASKS.astype(np.int32), metric=metric, field="masks")
    np.testing.assert_equal(numbers, expected)
    text = warning_of(MASKS, MASKS * np.uint8(255), metric=metric, field="masks")
    assert "4 masks have values other than 0 and 1" in text
    empty = MASKS.copy()
    empty[1, 1] = False
    assert "1 of 4 ground truths are empty" in warning_of(MASKS, empty, metric=metric, field="masks")
