"""The run-length codec: equal to live pycocotools on random masks, and nothing that is damaged gets through."""

from __future__ import annotations

import pickle
import tracemalloc
from typing import Any

import hypothesis
import hypothesis.extra.numpy
import numpy as np
import pytest
from hypothesis import strategies
from pycocotools import mask as codec

from jaxmap._geometry import _rle as rle
from support.mask_codec import differences, random_dense

HEIGHT, WIDTH = 12, 10


def decode(**fields: Any) -> Any:
    return rle.masks_of_segmentations([{"size": [HEIGHT, WIDTH], **fields}], None, lambda row: f"`masks[{row}]`")


@pytest.mark.parametrize(("largest", "count"), [(4, 600), (40, 300), (300, 40)])
def test_random_masks_and_polygons_equal_pycocotools(largest: int, count: int) -> None:
    assert differences(np.random.default_rng(largest), count, largest) == []


@hypothesis.given(
    hypothesis.extra.numpy.arrays(
        np.uint8, strategies.tuples(*[strategies.integers(1, 9)] * 2), elements=strategies.integers(0, 1)
    )
)
@hypothesis.settings(max_examples=100, deadline=None)
def test_dense_masks_come_back(dense: np.ndarray) -> None:
    masks = rle.encode_masks(dense[None])
    [encoded] = rle.coco_masks(masks)
    assert encoded == codec.encode(np.asfortranarray(dense))
    np.testing.assert_array_equal(rle.decode_mask(encoded), dense)


@hypothesis.given(
    strategies.lists(strategies.floats(-20, 40), min_size=6, max_size=16).filter(lambda xs: len(xs) % 2 == 0)
)
@hypothesis.settings(max_examples=200, deadline=None)
def test_polygons_of_any_numbers_are_filled_as_pycocotools_fills_them(polygon: list[float]) -> None:
    assert rle.mask_of_segmentation([polygon], HEIGHT, WIDTH) == codec.frPyObjects([polygon], HEIGHT, WIDTH)[0]


@pytest.mark.parametrize("far", [1e3, 1e5, 1e8])
def test_corners_far_outside_cost_no_memory(far: float) -> None:
    polygon = [-far, -far / 3, far, 0.7 * far, -far, far]
    tracemalloc.start()
    mask = rle.mask_of_segmentation([polygon], 480, 640)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6
    if far < 1e6:  # pycocotools makes every point of every edge
        assert mask == codec.frPyObjects([polygon], 480, 640)[0]


def test_rows_are_taken_without_their_edges_and_survive_pickling() -> None:
    dense = np.random.default_rng(0).random((5, HEIGHT, WIDTH)) < 0.5
    masks = rle.encode_masks(dense)
    taken = masks.take(np.array([3, 0, 3]))
    assert taken.edges is masks.edges
    assert taken.shape == (3,)
    assert rle.coco_masks(taken) == rle.coco_masks(rle.encode_masks(dense[[3, 0, 3]]))
    assert rle.coco_masks(pickle.loads(pickle.dumps(taken))) == rle.coco_masks(taken)
    assert rle.coco_masks(masks[1:2]) == rle.coco_masks(masks[np.arange(5) == 1])


# What is damaged.


def test_damaged_texts_are_refused_or_have_the_pixels_of_their_size() -> None:
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(6):
        text = codec.encode(np.asfortranarray(random_dense(rng, HEIGHT, WIDTH)))["counts"]
        damaged = [text[:place] for place in range(len(text))]
        for place in range(len(text)):
            for byte in (0, 32, 39, 47, 48, 52, 63, 64, 79, 80, 95, 96, 111, 112, 128, 255):
                damaged += [text[:place] + bytes([byte]) + text[place + drop :] for drop in (0, 1)]
        for one in damaged:
            try:
                masks = decode(counts=one)
            except ValueError as error:
                assert str(error).startswith("`masks[0]`.counts must ")
                assert "\n" not in str(error)
                refused += 1
            else:
                runs = np.diff(np.concatenate([[0], masks.edges, [HEIGHT * WIDTH]]))
                assert (runs >= 0).all()
                assert masks.area[0] == masks.edges[1::2].sum() - masks.edges[::2].sum()
    assert refused > 1000


COMPRESSED = "must be COCO's compressed run lengths"


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ("", "got no character"),
        (str(b"0h3"), 'got "\'" at place 1; it is how Python shows bytes: write counts.decode()'),
        (" 0h3", "got ' ' at place 0; remove the blanks around it"),
        ("MGgz", "got 'z' at place 3; is it base64"),
        ("0é", "got 'é' at place 1"),
        ("0h", "ends inside a number; it is cut off"),
        ("0oooooooo0", "got a number of 9 characters"),
        ("0O", "got -1 as number 1"),
        ("04", "must add up to the size 12 x 10 = 120 pixels, got 4"),
        # 120 more than 2^32: a run, a difference of runs, and a sum of runs beyond 32 bits.
        ("PPPPPP4h3", "must add up to the size 12 x 10 = 120 pixels, got 4294967416"),
        ("0l10PPPPPP4", "must add up to the size 12 x 10 = 120 pixels, got 4294967416"),
        ("oooooo1oooooo1j3", "must add up to the size 12 x 10 = 120 pixels, got 4294967416"),
        ([2**31 - 1, 2**31 - 1, 122], "must add up to the size 12 x 10 = 120 pixels, got 4294967416"),
        ([3, -3, 120], "counts must hold run lengths from 0, got -3 as number 1"),
        ([3, 0.5, 116.5], r"counts\[1\] must be a run length, an integer from 0, got 0.5"),
        ([2**70, 1], r"counts\[0\] must be a run length, an integer from 0, got 1180591620717411303424"),
        ([float("nan"), 1], r"counts\[0\] must be a run length"),
        ([True, 119], r"counts\[0\] must be a run length, an integer from 0, got True"),
        ([None], r"counts\[0\] must be a run length, an integer from 0, got None"),
        ([], "must add up to the size 12 x 10 = 120 pixels, got 0"),
        ([60, 61], "must add up to the size 12 x 10 = 120 pixels, got 121"),
        (7, "must be COCO's compressed run lengths or a list of run lengths, got 7"),
        (None, "must be COCO's compressed run lengths or a list of run lengths, got None"),
    ],
)
def test_wrong_counts_are_named(counts: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^`masks\\[0\\]`.*{message}"):
        decode(counts=counts)


@pytest.mark.parametrize(
    "size",
    [
        None,
        5,
        [12],
        [12, 10, 1],
        [0, 10],
        [-12, 10],
        [12.5, 10],
        ["12", 10],
        [True, 10],
        [2**16 + 1, 1],
        [2**32, 1],
        [2**16, 2**16],
        [float("nan"), 1],
    ],
)
def test_wrong_sizes_are_named(size: Any) -> None:
    with pytest.raises(ValueError, match=r"^`masks\[0\]`.size must be \[height, width\], integers from 1 to 65536"):
        decode(counts=[120], size=size)


def test_sizes_of_whole_floats_are_sizes() -> None:
    assert decode(counts=[120], size=[12.0, np.int32(10)]).sizes.tolist() == [[12, 10]]
    assert decode(counts=[65536 * 32767], size=[65536, 32767]).area.tolist() == [0]


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[0, 0, 9, 0, 9, None]], r"\[0\] must hold finite numbers up to 1e\+08, got None at place 5"),
        ([[0, 0, 9, 0, 9, float("nan")]], "got nan at place 5"),
        ([[0, 0, 9, 0, 9, float("inf")]], "got inf at place 5"),
        ([[0, 0, 9, 0, 9, 1e20]], "got 1e\\+20 at place 5"),
        ([[0, 0, 9, 0, 9, -1.1e8]], "got -110000000.0 at place 5"),
        ([[0, 0, 9, 0, 9, 10**400]], "must hold finite numbers"),
        ([[0, 0, 9, 0, 9, "30"]], "got '30' at place 5"),
        ([[0, 0, 9, 0, 9, True]], "got True at place 5"),
        ([[0, 0, 9, 0, 9, [1]]], r"got \[1\] at place 5"),
        ([[0, 0, 9, 0, 9, 9], [0, 0, 9, 9]], r"\[1\] .*got 4 numbers; a box is written"),
        ([[0, 0, 9, 0]], "got 4 numbers; a box is written"),
        ([[0, 0, 9, 0, 9, 9, 4]], "got 7 numbers"),
        ([[0, 0]], "got 2 numbers"),
        ([[]], "got 0 numbers"),
        ([0, 0, 9, 0, 9, 9], "must be a list of polygons.*wrap it in one more list"),
        ([None], "must be a list of polygons"),
        (["0123456"], "must be a list of polygons"),
        ([{}], "must be a list of polygons"),
        ("abc", "must be a list of polygons, or an object with `size` and `counts`, got 'abc'"),
        (None, "must be a list of polygons, or an object with `size` and `counts`, got None"),
        ({"counts": [1]}, "must be a list of polygons, or an object with `size` and `counts`"),
    ],
)
def test_wrong_polygons_are_named(segmentation: Any, message: str) -> None:
    good = [[0, 0, 9, 0, 9, 9]]
    with pytest.raises(ValueError, match=rf"^`masks\[1\]`.*{message}"):
        rle.masks_of_segmentations([good, segmentation], np.full((2, 2), 10), lambda row: f"`masks[{row}]`")


@pytest.mark.parametrize(("height", "width"), [(0, 5), (-1, 5), (2**32, 5), (10**9, 5), (2**16, 2**16)])
def test_images_of_no_size_cannot_be_drawn_on(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=r"size of the image must be .height, width., integers from 1 to 65536"):
        rle.mask_of_segmentation([[0, 0, 9, 0, 9, 9]], height, width)


def test_split_runs_count_up_to_where_both_are_split_as_in_pycocotools() -> None:
    # A run of no length in both masks at one pixel: pycocotools stops there. 24 pixels each, of which 12 and 12 count.
    one = {"size": [HEIGHT, WIDTH], "counts": [0, 12, 0, 12, 96]}
    other = {"size": [HEIGHT, WIDTH], "counts": [6, 6, 0, 18, 90]}
    compressed = [codec.frPyObjects(mask, HEIGHT, WIDTH) for mask in (one, other)]
    masks = rle.masks_of_segmentations(compressed, None, str)
    assert masks.split.all()
    iou = rle.mask_iou(masks[:1], masks[1:], np.array([False]))[0]
    assert iou == codec.iou([compressed[0]], [compressed[1]], [0])[0, 0] == 0.5
