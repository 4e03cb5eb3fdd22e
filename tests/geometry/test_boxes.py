"""IoU of boxes in every format against NumPy in float64 and pycocotools, and the cases where nothing overlaps.

The two tolerances: `box_iou` rounds a number that is good to 2^-44 once to float32, so it is within 2^-24 of its size;
the double-float IoU is held to 2^-44 of 1, which is what candidates count as equal.
"""

from __future__ import annotations

from fractions import Fraction
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pycocotools import mask as pycocotools_mask

import jaxmap
from jaxmap._geometry._boxes import approximate_iou, box_geometry, exact_iou
from jaxmap.types import BOX_FORMATS

EXACT = 2.0**-44
N = 40

box_iou = jax.jit(jaxmap.box_iou, static_argnames="box_format")


@partial(jax.jit, static_argnames="box_format")
def both_ious(boxes: jax.Array, others: jax.Array, crowd: jax.Array, box_format: str) -> tuple[jax.Array, ...]:
    """Returns the approximate IoU and both parts of the exact one, `[D, G]`."""
    one, other = box_geometry(boxes, box_format), box_geometry(others, box_format)
    exact = exact_iou(one.select(np.s_[:, None]), other.select(np.s_[None, :]), crowd[None, :])
    return approximate_iou(one, other, crowd), exact.hi, exact.lo


def numpy_iou(boxes: np.ndarray, others: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """The rule for xywh boxes, in float64."""
    x, y, w, h = np.asarray(boxes, np.float64).T[:, :, None]
    other_x, other_y, other_w, other_h = np.asarray(others, np.float64).T[:, None, :]
    width = np.minimum(x + w, other_x + other_w) - np.maximum(x, other_x)
    height = np.minimum(y + h, other_y + other_h) - np.maximum(y, other_y)
    intersection = np.where((width > 0) & (height > 0), width * height, 0.0)
    union = np.where(crowd[None, :], w * h, w * h + other_w * other_h - intersection)
    return np.divide(intersection, union, out=np.zeros(union.shape), where=intersection > 0)


def to_xywh(boxes: np.ndarray, box_format: str) -> np.ndarray:
    """Converts float32 boxes of a format to float64 xywh: sums of two float32, which float64 holds exactly."""
    a, b, c, d = np.asarray(boxes, np.float64).T
    columns = {
        "xywh": (a, b, c, d),
        "xyxy": (a, b, c - a, d - b),
        "yxyx": (b, a, d - b, c - a),
        "cxcywh": (a - c / 2, b - d / 2, c, d),
    }
    return np.stack(columns[box_format], axis=1)


def random_boxes(kind: str, box_format: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns detections and ground truths that mostly overlap, as float32 in a format, and crowd flags."""
    rng = np.random.default_rng(seed)
    spread = 30 if kind == "integer" else 8
    size = np.round(rng.uniform(0.02 if kind == "hundredths" else 1, spread, (2 * N, 2)), 0 if kind == "integer" else 2)
    corner = np.round(rng.uniform(-spread, spread / 2, (2 * N, 2)), 0 if kind == "integer" else 2)
    if kind == "far":  # small boxes, where float32 has a spacing of 1/16
        corner, size = corner + 1e6, np.round(16 * size) / 16
    boxes = {
        "xywh": [corner, size],
        "xyxy": [corner, corner + size],
        "yxyx": [corner[:, ::-1], (corner + size)[:, ::-1]],
        "cxcywh": [corner + size / 2, size],
    }[box_format]
    boxes = np.concatenate(boxes, axis=1).astype(np.float32)
    return boxes[:N], boxes[N:], rng.random(N) < 0.2


@pytest.mark.parametrize("box_format", BOX_FORMATS)
@pytest.mark.parametrize("kind", ["integer", "hundredths", "far"])
def test_box_iou_equals_float64(kind: str, box_format: str) -> None:
    for seed in range(20):
        boxes, others, crowd = random_boxes(kind, box_format, seed)
        expected = numpy_iou(to_xywh(boxes, box_format), to_xywh(others, box_format), crowd)
        result = np.asarray(box_iou(boxes, others, box_format=box_format, crowd=crowd))
        assert result.dtype == np.float32
        assert (expected > 0).mean() > 0.1
        np.testing.assert_array_equal(result > 0, expected > 0)
        assert (np.abs(result - expected) <= expected * 2.0**-24 + EXACT).all()


@pytest.mark.parametrize("box_format", BOX_FORMATS)
def test_box_iou_equals_pycocotools(box_format: str) -> None:
    boxes, others, crowd = random_boxes("hundredths", box_format, 7)
    expected = pycocotools_mask.iou(to_xywh(boxes, box_format), to_xywh(others, box_format), crowd.astype(np.uint8))
    result = box_iou(boxes, others, box_format=box_format, crowd=crowd)
    np.testing.assert_allclose(result, expected, rtol=2.0**-24, atol=EXACT)


@pytest.mark.parametrize("box_format", BOX_FORMATS)
@pytest.mark.parametrize("kind", ["integer", "hundredths", "far"])
def test_both_parts_together_are_good_to_44_bits(kind: str, box_format: str) -> None:
    for seed in range(20):
        boxes, others, crowd = random_boxes(kind, box_format, seed)
        expected = numpy_iou(to_xywh(boxes, box_format), to_xywh(others, box_format), crowd)
        approximate, high, low = (np.asarray(part, np.float64) for part in both_ious(boxes, others, crowd, box_format))
        assert np.abs(high + low - expected).max() < EXACT
        assert np.abs(approximate - expected).max() < 1e-5  # the margin with which candidates are searched


def test_both_parts_together_are_good_to_44_bits_for_exact_fractions() -> None:
    # Float64 rounds as well: three boxes whose coordinates use all 24 bits, against exact arithmetic.
    rng = np.random.default_rng(0)
    boxes = (rng.integers(2**22, 2**23, (3, 4)) / 2**15).astype(np.float32)
    _, high, low = both_ious(boxes, boxes, np.zeros(3, bool), "xywh")
    for i, j in np.ndindex(3, 3):
        (x, y, w, h), (other_x, other_y, other_w, other_h) = (map(Fraction, boxes[k].tolist()) for k in (i, j))
        width = min(x + w, other_x + other_w) - max(x, other_x)
        height = min(y + h, other_y + other_h) - max(y, other_y)
        assert min(width, height) > 0
        expected = width * height / (w * h + other_w * other_h - width * height)
        assert abs(Fraction(float(high[i, j])) + Fraction(float(low[i, j])) - expected) < EXACT


@pytest.mark.parametrize("box_format", BOX_FORMATS)
def test_a_box_overlaps_itself_by_exactly_one(box_format: str) -> None:
    boxes, _, _ = random_boxes("hundredths", box_format, 3)
    np.testing.assert_array_equal(np.diagonal(box_iou(boxes, boxes, box_format=box_format)), 1.0)


def test_boxes_that_only_touch_do_not_overlap() -> None:
    box = np.array([[0, 0, 10, 10]], np.float32)
    touching = np.array([[10, 0, 20, 10], [0, 10, 10, 20], [10, 10, 20, 20], [-5, 0, 0, 10]], np.float32)
    np.testing.assert_array_equal(box_iou(box, touching, box_format="xyxy"), 0.0)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0), (-3, 5), (5, -3), (-3, -5)])
@pytest.mark.parametrize("crowd", [False, True])
def test_zero_and_negative_sizes_overlap_nothing(size: tuple[int, int], crowd: bool) -> None:
    odd = np.array([[4, 4, *size]], np.float32)
    others = np.array([[0, 0, 10, 10], [4, 4, *size], [2, 2, 3, 3]], np.float32)
    np.testing.assert_array_equal(box_iou(odd, others, box_format="xywh", crowd=np.full(3, crowd)), 0.0)
    np.testing.assert_array_equal(box_iou(others, odd, box_format="xywh", crowd=np.array([crowd])), 0.0)
    expected = pycocotools_mask.iou(others.astype(np.float64), odd.astype(np.float64), [int(crowd)])
    np.testing.assert_array_equal(expected, 0.0)


def test_crowd_divides_by_the_detection() -> None:
    # A quarter of the detection lies in both regions: 25 / 100 of it, and 25 / (100 + 400 - 25) of the union.
    iou = box_iou(
        np.array([[0, 0, 10, 10]], np.float32),
        np.array([[5, 5, 20, 20], [5, 5, 20, 20]], np.float32),
        box_format="xywh",
        crowd=np.array([True, False]),
    )
    np.testing.assert_array_equal(iou, np.array([[25 / 100, 25 / 475]], np.float32))


def test_box_iou_of_a_batch_by_vmap_equals_each_image() -> None:
    images = [random_boxes("integer", "xyxy", seed)[:2] for seed in range(3)]
    batched = jax.jit(jax.vmap(jaxmap.box_iou))(*(jnp.stack(side) for side in zip(*images, strict=True)))
    for got, (boxes, others) in zip(batched, images, strict=True):
        np.testing.assert_array_equal(got, box_iou(boxes, others))


@pytest.mark.parametrize(("num_boxes", "num_others"), [(0, 3), (3, 0), (0, 0)])
def test_box_iou_of_no_boxes_is_empty(num_boxes: int, num_others: int) -> None:
    assert box_iou(jnp.ones((num_boxes, 4)), jnp.ones((num_others, 4))).shape == (num_boxes, num_others)


def test_box_iou_takes_lists_and_whole_numbers() -> None:
    assert jaxmap.box_iou([[0, 0, 10, 10]], [[0, 0, 10, 5]]).tolist() == [[0.5]]


@pytest.mark.parametrize(
    ("boxes", "others", "options", "message"),
    [
        (np.ones((2, 3, 4)), np.ones((3, 4)), {}, r"`boxes` must have shape \[n, 4\], got \[2, 3, 4\]; use `jax.vmap`"),
        (np.ones((3, 4)), np.ones((3, 5)), {}, r"`other_boxes` must have shape \[n, 4\], got \[3, 5\]"),
        (np.ones(4), np.ones((3, 4)), {}, r"`boxes` must have shape \[n, 4\], got \[4\]"),
        (np.ones((3, 4)), np.ones((3, 4)), {"box_format": "xyhw"}, r"`box_format` must be one of .*, got 'xyhw'"),
    ],
)
def test_box_iou_refuses_other_shapes_and_formats(
    boxes: np.ndarray, others: np.ndarray, options: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        jaxmap.box_iou(boxes, others, **options)


@pytest.mark.parametrize(
    ("boxes", "crowd", "message"),
    [
        (np.ones((3, 4), complex), None, "`boxes` must hold real numbers, got dtype complex128"),
        (np.ones((3, 4), bool), None, "`boxes` must hold real numbers, got dtype bool"),
        (np.full((3, 4), "1"), None, "`boxes` must hold real numbers, got dtype <U1"),
        (np.ones((3, 4)), np.ones(3), "`crowd` must hold flags, got dtype float64"),
    ],
)
def test_box_iou_refuses_other_kinds(boxes: np.ndarray, crowd: np.ndarray | None, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        jaxmap.box_iou(boxes, np.ones((3, 4)), crowd=crowd)
