"""The `mask` module of the pycocotools shell, compared with pycocotools' own."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as codec

from jaxmap.interop.pycocotools import mask
from support.mask_codec import random_dense, random_polygon, runs_of

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools' decode

HEIGHT, WIDTH = 23, 31
ONE = {"size": [2, 3], "counts": b"24"}


def same(ours: Any, theirs: Any) -> None:
    assert type(ours) is type(theirs)
    if isinstance(theirs, np.ndarray | np.generic):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_array_equal(ours, theirs)
    else:
        assert ours == theirs


def masks(rng: np.random.Generator, count: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.asfortranarray(np.stack([random_dense(rng, height, width) for _ in range(count)], axis=-1))


@pytest.mark.parametrize("seed", range(20))
def test_codec_equals_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dense = masks(rng, int(rng.integers(1, 9)))
    encoded = codec.encode(dense)
    same(mask.encode(dense), encoded)
    same(mask.encode(dense[..., 0]), codec.encode(dense[..., 0]))
    same(mask.encode(255 * dense), encoded)
    same(mask.encode(np.ascontiguousarray(dense).astype(bool)), encoded)
    texts = [{**one, "counts": one["counts"].decode()} for one in encoded]
    for rows in (encoded, texts):
        for name in ("decode", "area", "toBbox"):
            same(getattr(mask, name)(rows), getattr(codec, name)(rows))
            same(getattr(mask, name)(rows[0]), getattr(codec, name)(rows[0]))
        for intersect in (0, 1, False, True):
            same(mask.merge(rows, intersect), codec.merge(rows, intersect))
    assert mask.decode(encoded).flags.f_contiguous
    assert mask.decode(encoded).flags.writeable


@pytest.mark.parametrize("seed", range(10))
def test_intersections_of_masks_that_touch(seed: int) -> None:
    rng = np.random.default_rng(seed)
    stripes = [np.repeat(rng.random((1, 12)) < 0.7, 5, axis=0) for _ in range(3)]
    rows = [codec.encode(np.asfortranarray(one.astype(np.uint8))) for one in (*stripes, ~stripes[0])]
    for chosen in (rows[:2], rows[:3], rows[2:], [rows[0], rows[3]], [rows[1], rows[1]]):
        for intersect in (0, 1):
            same(mask.merge(chosen, intersect), codec.merge(chosen, intersect))


@pytest.mark.parametrize("seed", range(20))
def test_iou_equals_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, other_count = rng.integers(1, 8, 2).tolist()
    found, truth = codec.encode(masks(rng, count)), codec.encode(masks(rng, other_count))
    truth += codec.encode(masks(rng, 1, WIDTH, HEIGHT))  # of another size: -1 if the boxes overlap
    boxes = np.round(rng.uniform(-5, 30, (count, 4)), int(rng.integers(3)))
    other_boxes = np.round(rng.uniform(-5, 30, (other_count + 1, 4)), 1)
    crowd = rng.integers(0, 2, other_count + 1)
    for sides in (
        (found, truth),
        (boxes, other_boxes),
        (boxes.tolist(), other_boxes.tolist()),
        (list(boxes), other_boxes),
    ):
        for flags in (crowd, crowd.tolist(), crowd.astype(bool).tolist()):
            ours = mask.iou(*sides, flags)
            same(ours, codec.iou(*sides, flags))
            assert ours.flags.f_contiguous


@pytest.mark.parametrize("empty", [([], []), ([ONE], []), (np.zeros((0, 4)), np.ones((2, 4)))])
def test_iou_of_nothing(empty: Any) -> None:
    for one, other in (empty, empty[::-1]):
        assert mask.iou(one, other, [0] * len(other)) == codec.iou(one, other, [0] * len(other)) == []


@pytest.mark.parametrize("seed", range(20))
def test_objects_equal_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    polygons = [random_polygon(rng, WIDTH) for _ in range(4)]
    boxes = np.round(rng.uniform(-5, 30, (3, 4)), 1)
    encoded = codec.encode(masks(rng, 3))
    runs = [{"size": one["size"], "counts": runs_of(one)} for one in encoded]
    for objects in (polygons, [np.array(one) for one in polygons], boxes, runs, runs[0]):
        same(mask.frPyObjects(objects, HEIGHT, WIDTH), codec.frPyObjects(objects, HEIGHT, WIDTH))
    # Lists of boxes, and single ones, are errors in pycocotools 2.0.11 but not in all others.
    same(mask.frPyObjects(boxes.tolist(), HEIGHT, WIDTH), codec.frPyObjects(boxes, HEIGHT, WIDTH))
    same(mask.frPyObjects(boxes[0].tolist(), HEIGHT, WIDTH), codec.frPyObjects(boxes[:1], HEIGHT, WIDTH)[0])
    same(mask.frPyObjects(polygons[0], HEIGHT, WIDTH), codec.frPyObjects(polygons[:1], HEIGHT, WIDTH)[0])


def test_nothing_at_all() -> None:
    nothing = np.zeros((HEIGHT, WIDTH, 0), np.uint8, order="F")
    assert mask.encode(nothing) == codec.encode(nothing) == mask.frPyObjects([], 4, 4) == []
    assert mask.merge([]) == codec.merge([])
    same(mask.area([]), codec.area([]))
    same(mask.toBbox([]), codec.toBbox([]))


def test_more_masks_than_a_byte_counts() -> None:
    assert mask.area([ONE] * 300).tolist() == [4] * 300  # an error in pycocotools 2.0.11


@pytest.mark.parametrize(
    "counts",
    [b"", b"2", b"25", b"2400000", b"24\x00", b"\xff" * 9, "24é", "o" * 40, b"0P", [2, 5], [-2, 8], [2, 4.5], 3],
)
@pytest.mark.parametrize("function", [mask.decode, mask.area, mask.toBbox, lambda one: mask.merge([one, ONE])])
def test_damaged_encodings_are_refused(function: Any, counts: Any) -> None:
    with pytest.raises(ValueError, match=r"`rleObjs\[0\]`\.counts"):
        function({"size": [2, 3], "counts": counts})


@pytest.mark.parametrize("size", [[0, 3], [2], [2, -3], [1 << 40, 2], [2.5, 3], None, "23"])
def test_impossible_sizes_are_refused(size: Any) -> None:
    with pytest.raises(ValueError, match=r"`rleObjs\[0\]`\.size must be \[height, width\]"):
        mask.decode({"size": size, "counts": b"24"})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: mask.encode(np.zeros((2, 3))),
            "`bimask` must be [H, W] or [H, W, N], uint8 or bool, got [2, 3] of fl",
        ),
        (lambda: mask.encode(np.zeros(3, np.uint8)), "`bimask` must be [H, W] or [H, W, N]"),
        (lambda: mask.encode(np.zeros((0, 3), np.uint8)), "`bimask`.shape must be [height, width]"),
        (lambda: mask.encode(np.array([[0, 1, 2]], np.uint8)), "`bimask` must have one value where a mask is set"),
        (lambda: mask.decode([]), "`rleObjs` must be encodings of one size, got []"),
        (lambda: mask.decode([ONE, {"size": [3, 2], "counts": b"24"}]), "one size, got [[2, 3], [3, 2]]"),
        (lambda: mask.merge([ONE, {"size": [3, 2], "counts": b"24"}]), "one size, got [[2, 3], [3, 2]]"),
        (lambda: mask.merge(ONE), "`rleObjs` must be a list of encodings, got {"),
        (lambda: mask.area([[1, 2, 3, 4, 5, 6]]), "`rleObjs[0]` must be an encoding"),
        (lambda: mask.area("24"), "`rleObjs[0]` must be an encoding"),
        (lambda: mask.iou([ONE], [[0, 0, 1, 1]], [0]), "`dt` and `gt` must both be boxes, or both be encodings"),
        (lambda: mask.iou([[0, 0, np.nan, 1]], [[0, 0, 1, 1]], [0]), "`dt` must be encodings, or [N, 4] finite boxes"),
        (lambda: mask.iou([[0, 0, 1, 1]], [[0, 0, 1]], [0]), "`gt` must be encodings, or [N, 4] finite boxes"),
        (lambda: mask.frPyObjects(None, 4, 4), "`pyobj` must be boxes, polygons or uncompressed encodings, got None"),
        (lambda: mask.frPyObjects([[0, 0, 1, 1, 2]], 4, 4), "`pyobj[0]`[0] must be a list [x1, y1"),
        (lambda: mask.frPyObjects([[0, 0, 1, 1, 2, np.inf]], 4, 4), "`pyobj[0]`[0] must hold finite numbers"),
        (lambda: mask.frPyObjects([[0, 0, 1, 1, 2, 2]], 4, 0), "size [h, w] of the image must be [height, width]"),
    ],
)
def test_what_cannot_be_a_mask_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_flags_of_crowds_must_be_as_many_as_ground_truths() -> None:
    with pytest.raises(AssertionError, match="same length as gt"):
        mask.iou([ONE], [ONE], [])
