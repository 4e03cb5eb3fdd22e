"""Levels and preference of pairs, decided on the device, against whole-number arithmetic; and the lists of them."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
import pytest

from jaxmap import COCO
from jaxmap._candidates._device import _first_columns, find_candidates, inside_ranges
from jaxmap._geometry._boxes import approximate_iou, box_geometry, exact_iou
from jaxmap._geometry._device import single
from jaxmap.types import Candidates

D, G = 48, 40


@partial(jax.jit, static_argnames=("num_candidates", "iou_thresholds", "box_format", "best_only"))
def candidates_of(
    boxes: jax.Array,
    others: jax.Array,
    allowed: jax.Array,
    crowd: jax.Array,
    *,
    num_candidates: int = G,
    iou_thresholds: tuple[float, ...] = COCO.iou_thresholds,
    box_format: str = "xywh",
    best_only: bool = False,
) -> tuple[Candidates, jax.Array]:
    one, other = box_geometry(boxes, box_format), box_geometry(others, box_format)
    return find_candidates(
        approximate_iou(one, other, crowd),
        lambda index: exact_iou(one.select(np.s_[:, None]), other.select(index), crowd[index]),
        allowed,
        crowd,
        iou_thresholds=iou_thresholds,
        num_candidates=num_candidates,
        best_only=best_only,
    )


def areas(boxes: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns intersection and union of whole-number xywh boxes, `[D, G]` int64."""
    first, second = (side.astype(np.int64) for side in (boxes[:, None], others[None]))
    stop = np.minimum(first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:])
    intersection = np.maximum(stop - np.maximum(first[..., :2], second[..., :2]), 0).prod(-1)
    return intersection, first[..., 2:].prod(-1) + second[..., 2:].prod(-1) - intersection


def whole_number_levels(intersection: np.ndarray, union: np.ndarray) -> np.ndarray:
    """COCO's thresholds are k / 20, so a level is decided by whole numbers."""
    return (20 * intersection[..., None] >= np.arange(10, 20) * union[..., None]).sum(-1)


def expected_lists(levels: np.ndarray, similarity: np.ndarray) -> list[list[tuple[int, int]]]:
    """Returns for each detection its (ground truth, level), the most similar first and of equal ones the later."""
    return [
        [(int(g), int(levels[d, g])) for g in np.lexsort((-np.arange(levels.shape[1]), -row)) if levels[d, g] > 0]
        for d, row in enumerate(similarity)
    ]


def lists(candidates: Candidates) -> list[list[tuple[int, int]]]:
    """Returns the same of the device's answer, checking that padding stands behind."""
    result = []
    for index, level in zip(np.asarray(candidates.index), np.asarray(candidates.level), strict=True):
        length = int((level > 0).sum())
        assert (level[:length] > 0).all()
        result.append([(int(g), int(one)) for g, one in zip(index[:length], level[:length], strict=True)])
    return result


def crowded_boxes(seed: int, spread: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns small whole-number boxes, of which the more overlap equally well the smaller the spread."""
    rng = np.random.default_rng(seed)
    sides = [np.concatenate([rng.integers(0, spread, (n, 2)), rng.integers(4, 9, (n, 2))], axis=1) for n in (D, G)]
    return sides[0].astype(np.float32), sides[1].astype(np.float32)


EVERY = np.ones((D, G), bool)
NO_CROWD = np.zeros(G, bool)


@pytest.mark.parametrize("spread", [2, 6, 12])
def test_lists_are_in_the_order_of_preference_and_ties_go_to_the_later(spread: int) -> None:
    ties = 0
    for seed in range(10):
        boxes, others = crowded_boxes(seed, spread)
        allowed = np.random.default_rng(seed).random((D, G)) < 0.8
        intersection, union = areas(boxes, others)
        levels = np.where(allowed, whole_number_levels(intersection, union), 0)
        similarity = intersection / union  # of equal fractions the quotients are equal floats
        candidates, overflow = candidates_of(boxes, others, allowed, NO_CROWD)
        assert lists(candidates) == expected_lists(levels, similarity)
        assert candidates.level.dtype == np.int8
        assert candidates.index.dtype == np.int32
        assert overflow == 0
        ties += sum(len(row) - len(np.unique(row)) for row in np.where(levels > 0, similarity, np.arange(G) + 2.0))
    assert ties > 20


def test_equal_boxes_are_preferred_from_the_last_to_the_first() -> None:
    boxes, others = np.zeros((D, 4), np.float32) + 7, np.zeros((G, 4), np.float32) + 7
    assert lists(candidates_of(boxes, others, EVERY, NO_CROWD)[0]) == [[(g, 10) for g in range(G)][::-1]] * D


def test_best_only_lists_the_most_similar_and_of_equal_ones_the_first() -> None:
    ties, num_candidates = 0, 8
    find = partial(candidates_of, num_candidates=num_candidates, best_only=True)
    for seed in range(10):
        boxes, others = crowded_boxes(seed, 9)
        intersection, union = areas(boxes, others)
        levels, similarity = whole_number_levels(intersection, union), intersection / union
        best = similarity.argmax(axis=1)  # the first of equal ones
        candidates, overflow = find(boxes, others, EVERY, NO_CROWD)
        assert candidates.index.shape == (D, 2)  # room for a crowd
        expected = [[(int(g), int(levels[d, g]))] if levels[d, g] else [] for d, g in enumerate(best)]
        fits = (levels > 0).sum(axis=1) <= num_candidates
        assert overflow == (~fits).sum()
        assert [row for row, fit in zip(lists(candidates), fits, strict=True) if fit] == [
            row for row, fit in zip(expected, fits, strict=True) if fit
        ]
        equal = (similarity == similarity.max(axis=1, keepdims=True)).sum(axis=1)
        ties += ((equal > 1) & (levels.max(axis=1) > 0) & fits).sum()
    assert ties > 20


def on_threshold(k: int, off: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns G pairs of boxes of IoU k / 20, one inside the other or two of a size; `off` pixels further apart."""
    rng = np.random.default_rng(k)
    x, y, scale, height = rng.integers([-50, 0, 1, 1], [600, 500, 30, 400], (G, 4)).T
    inside = np.arange(G) % 2 == 0
    width = np.where(inside, 20 * scale + off, (20 + k) * scale)
    other_width = np.where(inside, k * scale, (20 + k) * scale)
    shift = np.where(inside, rng.integers(0, (20 - k) * scale + 1), (20 - k) * scale + off)
    pairs = np.stack([x, y, width, height], axis=1), np.stack([x + shift, y, other_width, height], axis=1)
    along_y = rng.random(G) < 0.5
    boxes, others = (np.where(along_y[:, None], side[:, [1, 0, 3, 2]], side).astype(np.float32) for side in pairs)
    return np.concatenate([boxes, boxes[: D - G]]), others


@pytest.mark.parametrize("k", range(10, 20))
def test_a_pair_on_a_threshold_reaches_it_and_one_a_pixel_off_does_not(k: int) -> None:
    for off in (0, 1):
        boxes, others = on_threshold(k, off)
        levels = np.diagonal(whole_number_levels(*areas(boxes, others)))
        np.testing.assert_array_equal(levels, k - 9 - off)
        candidates, _ = candidates_of(boxes, others, np.eye(D, G, dtype=bool), NO_CROWD)
        np.testing.assert_array_equal(np.asarray(candidates.level)[:G, 0], levels)
        np.testing.assert_array_equal(np.asarray(candidates.level)[:, 1:], 0)


@pytest.mark.parametrize("box_format", ["xyxy", "cxcywh"])
def test_thresholds_hold_in_other_box_formats(box_format: str) -> None:
    for k in range(10, 20):
        boxes, others = on_threshold(k, 0)
        half = 2 if box_format == "cxcywh" else 1
        converted = [
            np.concatenate([side[:, :2] + side[:, 2:] / half, side[:, 2:]], axis=1)
            if half == 2
            else np.concatenate([side[:, :2], side[:, :2] + side[:, 2:]], axis=1)
            for side in (boxes, others)
        ]
        candidates, _ = candidates_of(*converted, np.eye(D, G, dtype=bool), NO_CROWD, box_format=box_format)
        np.testing.assert_array_equal(np.asarray(candidates.level)[:G, 0], k - 9)


def test_a_perfect_overlap_passes_a_threshold_of_one() -> None:
    rng = np.random.default_rng(0)
    boxes = (rng.random((D, 4)) * 100 + 1).astype(np.float32)  # areas and sums that round
    candidates, _ = candidates_of(
        boxes, boxes[:G], np.eye(D, G, dtype=bool), NO_CROWD, iou_thresholds=(1 / 3, 0.5, 2 / 3, 1.0)
    )
    np.testing.assert_array_equal(np.asarray(candidates.level)[:G, 0], 4)


def test_a_crowd_is_reached_by_the_share_of_the_detection_inside_it() -> None:
    # 3 / 5 of the detection lie in either region: level 3 (0.50, 0.55, 0.60) for the crowd, 15 / 85 of the union.
    boxes, others = np.zeros((D, 4), np.float32), np.zeros((G, 4), np.float32)
    boxes[0], others[:2] = [0, 0, 5, 5], [2, 0, 15, 5]
    candidates, _ = candidates_of(boxes, others, EVERY, np.arange(G) == 1)
    assert lists(candidates) == [[(1, 3)]] + [[]] * (D - 1)


@pytest.mark.parametrize("spread", [6, 9, 30])
def test_short_lists_equal_long_ones_unless_they_report_an_overflow(spread: int) -> None:
    overflows = []
    for seed in range(10):
        boxes, others = crowded_boxes(seed, spread)
        near = whole_number_levels(*areas(boxes, others)) > 0
        full, _ = candidates_of(boxes, others, EVERY, NO_CROWD)
        short, overflow = candidates_of(boxes, others, EVERY, NO_CROWD, num_candidates=8)
        assert short.index.shape == short.level.shape == (D, 8)
        fits = near.sum(1) <= 8
        assert overflow == (~fits).sum()
        for got, want, fit in zip(lists(short), lists(full), fits, strict=True):
            if fit:
                assert got == want
            else:
                assert len(got) == 8 < len(want)
        overflows.append(int(overflow))
    assert max(overflows) > 0 if spread == 6 else min(overflows) == 0


def test_only_allowed_pairs_become_candidates_or_overflow() -> None:
    boxes, others = np.zeros((D, 4), np.float32) + 7, np.zeros((G, 4), np.float32) + 7
    allowed = np.zeros((D, G), bool)
    allowed[3, [5, 20]] = True
    for num_candidates in (8, G):
        candidates, overflow = candidates_of(boxes, others, allowed, NO_CROWD, num_candidates=num_candidates)
        assert overflow == 0
        assert lists(candidates) == [[]] * 3 + [[(20, 10), (5, 10)]] + [[]] * (D - 4)


@pytest.mark.parametrize("num_columns", [2, 31, 32, 33, 64, 70])
def test_first_columns_equal_numpy(num_columns: int) -> None:
    rng = np.random.default_rng(num_columns)
    for count in (1, 3, 8):
        first_columns = jax.jit(partial(_first_columns, count=count))
        for rate in (0.02, 0.2, 1.0):
            near = rng.random((50, num_columns)) < rate
            index, present, overflow = (np.asarray(part) for part in first_columns(near))
            assert overflow == (near.sum(1) > count).sum()
            assert index.shape == present.shape == (50, count)
            assert ((index >= 0) & (index < num_columns)).all()  # padding too: it is read before it is masked
            for row, columns, real in zip(near, index, present, strict=True):
                assert columns[real].tolist() == np.flatnonzero(row)[:count].tolist()


def test_area_ranges_include_both_ends() -> None:
    ranges = ((0.0, 1e10), (0.0, 1024.0), (1024.0, 9216.0), (9216.0, 1e10))
    # The float32 next to 12.8 and its products with 80 are a hair above 1024 or below; exact products decide.
    sides = np.array(
        [[32, 32], [96, 96], [64, 144], [12.8, 80], [80, 12.8], [11.52, 800], [0, 5], [1e5, 1e5], [1, 2e10]]
    )
    sides = sides.astype(np.float32)
    sides = np.concatenate([sides, np.nextafter(sides, np.float32(0)), np.nextafter(sides, np.float32(np.inf))])
    exact = sides.astype(np.float64).prod(1)
    expected = np.stack([(exact >= low) & (exact <= high) for low, high in ranges], axis=1)
    boxes = np.concatenate([np.full_like(sides, 3), sides], axis=1)
    inside = jax.jit(lambda boxes: inside_ranges(box_geometry(boxes, "xywh").area, ranges))(boxes)
    np.testing.assert_array_equal(inside, expected)
    given = exact.astype(np.float32)
    inside = jax.jit(lambda area: inside_ranges(single(area), ranges))(given)
    np.testing.assert_array_equal(inside, np.stack([(given >= low) & (given <= high) for low, high in ranges], axis=1))
    assert expected[0].tolist() == [True, True, True, False]
