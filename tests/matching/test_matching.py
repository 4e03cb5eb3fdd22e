"""`match` against the rule written out in loops, on random cells: crowds, ignored ones, ties and padding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import chex
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import jaxmap
from jaxmap._planes import area_words, level_words, plane_bit
from jaxmap.types import Candidates

THRESHOLDS = (0.5, 0.6, 0.75, 1.0)
NUM_AREAS = 9  # 36 planes: two words, as COCO's 40 planes take
T, A = len(THRESHOLDS), NUM_AREAS
D, G = 9, 6
# Below every threshold, on one, between two; few values, so that ties are common.
IOUS = np.array([0.0, 0.4, 0.5, 0.55, 0.6, 0.75, 0.8, 1.0])


class Cell(NamedTuple):
    """One image and class: `iou` `[D, G]`, `ignored` `[G, A]` (true for crowds in every range), `crowd` `[G]`."""

    iou: np.ndarray
    ignored: np.ndarray
    crowd: np.ndarray


def match_by_the_rule(cell: Cell, threshold: float, area: int) -> list[int]:
    """Returns for each detection the ground truth that it takes, -1 for none (pycocotools, evaluateImg)."""
    num_detections, num_ground_truths = cell.iou.shape
    ignored = cell.ignored[:, area]
    walk = sorted(range(num_ground_truths), key=lambda g: ignored[g])  # ignored ones last, otherwise as they come
    taken = [False] * num_ground_truths
    answer = []
    for d in range(num_detections):
        best, chosen = min(threshold, 1 - 1e-10), -1
        for g in walk:
            if taken[g] and not cell.crowd[g]:
                continue
            if chosen >= 0 and not ignored[chosen] and ignored[g]:
                break  # a ground truth that counts is never given up for an ignored one
            if cell.iou[d, g] < best:
                continue
            best, chosen = cell.iou[d, g], g
        if chosen >= 0:
            taken[chosen] = True
        answer.append(chosen)
    return answer


def candidates_of(cell: Cell, num_candidates: int = G, *, waste: int = 0) -> Candidates:
    """Returns the lists of a cell; what stands in `index` behind their end is `waste`."""
    level = (cell.iou[..., None] >= np.minimum(THRESHOLDS, 1 - 1e-10)).sum(-1)
    index = np.full((len(cell.iou), num_candidates), waste, np.int32)
    levels = np.zeros((len(cell.iou), num_candidates), np.int8)
    for d, row in enumerate(cell.iou):
        order = [g for g in np.lexsort((-np.arange(len(row)), -row)) if level[d, g] > 0]
        index[d, : len(order)], levels[d, : len(order)] = order, level[d, order]
    return Candidates(index=index, level=levels)


def counted_of(cell: Cell) -> np.ndarray:
    """Returns `[G, W]` uint32, the planes in which each ground truth counts."""
    planes = np.where(cell.ignored[..., None], np.uint32(0), area_words(T, A)[None])
    return np.bitwise_or.reduce(planes, axis=1)


@jax.jit
@chex.assert_max_traces(n=3)  # one for each of the shapes below
def match(candidates: Candidates, counted: jax.Array, crowd: jax.Array) -> jax.Array:
    return jaxmap.match(candidates, counted=counted, crowd=crowd, levels=level_words(T, A))


def planes_of(chosen: Any) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yields (area, threshold, `[D, C]` bool)."""
    words = np.asarray(chosen)
    for area in range(A):
        for threshold in range(T):
            word, bit = plane_bit(area, threshold, T)
            yield area, threshold, (words[..., word] >> np.uint32(bit)) & 1 == 1


def assert_equals_the_rule(cell: Cell, candidates: Candidates) -> None:
    chosen = match(candidates, counted_of(cell), cell.crowd)
    assert chosen.shape == (*candidates.index.shape, 2)
    assert chosen.dtype == jnp.uint32
    for area, threshold, plane in planes_of(chosen):
        assert (plane.sum(-1) <= 1).all()
        partner = np.where(plane, candidates.index, -1).max(-1).tolist()
        assert partner == match_by_the_rule(cell, THRESHOLDS[threshold], area), (area, threshold)


@st.composite
def cells(draw: st.DrawFn) -> Cell:
    crowd = draw(hnp.arrays(bool, G))
    ignored = draw(hnp.arrays(bool, (G, A))) | crowd[:, None]
    iou = IOUS[draw(hnp.arrays(np.int8, (D, G), elements=st.integers(0, len(IOUS) - 1)))]
    iou[draw(st.integers(0, D)) :] = 0.0  # padding matches nothing
    iou[:, draw(st.integers(0, G)) :] = 0.0
    return Cell(iou, ignored, crowd)


def random_cell(seed: int, num_detections: int = D, num_ground_truths: int = G, *, crowds: float = 0.2) -> Cell:
    rng = np.random.default_rng(seed)
    crowd = rng.random(num_ground_truths) < crowds
    ignored = (rng.random((num_ground_truths, A)) < 0.3) | crowd[:, None]
    return Cell(rng.choice(IOUS, (num_detections, num_ground_truths)), ignored, crowd)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(cells(), st.sampled_from([0, G - 1, G, -1, 2**31 - 1]))
def test_match_equals_the_rule(cell: Cell, waste: int) -> None:
    assert_equals_the_rule(cell, candidates_of(cell, waste=waste))


@pytest.mark.parametrize("seed", range(40))
def test_match_equals_the_rule_on_dense_cells(seed: int) -> None:
    cell = random_cell(seed, crowds=0.2 if seed % 2 else 0.0)
    assert_equals_the_rule(cell, candidates_of(cell))


@pytest.mark.parametrize("seed", range(3))
def test_match_equals_the_rule_on_long_lists(seed: int) -> None:
    cell = random_cell(seed, 30, 20)
    assert_equals_the_rule(cell, candidates_of(cell, 20))


def test_length_of_the_lists_changes_nothing() -> None:
    for seed in range(5):
        cell = random_cell(seed)
        cell.iou[:, 3:] = 0.0  # at most three candidates
        short, full = (match(candidates_of(cell, length), counted_of(cell), cell.crowd) for length in (3, G))
        np.testing.assert_array_equal(full[:, :3], short)
        np.testing.assert_array_equal(full[:, 3:], 0)


def test_match_scans_over_the_detections() -> None:
    cell = random_cell(0)
    arguments = candidates_of(cell), counted_of(cell), cell.crowd
    jaxpr = jax.make_jaxpr(
        lambda candidates, counted, crowd: jaxmap.match(
            candidates, counted=counted, crowd=crowd, levels=level_words(T, A)
        )
    )(*arguments)
    scans = [equation for equation in jaxpr.jaxpr.eqns if equation.primitive.name == "scan"]
    assert [scan.params["length"] for scan in scans] == [D]


def test_equal_shapes_are_traced_once() -> None:
    @jax.jit
    @chex.assert_max_traces(n=1)
    def match_once(candidates: Candidates, counted: jax.Array, crowd: jax.Array) -> jax.Array:
        return jaxmap.match(candidates, counted=counted, crowd=crowd, levels=level_words(T, A))

    results = []
    for seed in range(3):
        cell = random_cell(seed)
        results.append(match_once(candidates_of(cell), counted_of(cell), cell.crowd))
    assert (results[0] != results[1]).any()


def test_vmap_over_cells_equals_a_loop() -> None:
    several = [random_cell(seed) for seed in range(6)]
    arguments = [(candidates_of(cell), counted_of(cell), cell.crowd) for cell in several]
    batched = jax.jit(
        jax.vmap(
            lambda candidates, counted, crowd: jaxmap.match(
                candidates, counted=counted, crowd=crowd, levels=level_words(T, A)
            )
        )
    )(*jax.tree.map(lambda *leaves: jnp.stack(leaves), *arguments))
    np.testing.assert_array_equal(batched, np.stack([match(*one) for one in arguments]))


@pytest.mark.parametrize("shape", [(0, G, G), (D, 0, 0), (D, G, 0), (0, 0, 0)])
def test_match_of_nothing_is_empty(shape: tuple[int, int, int]) -> None:
    num_detections, num_ground_truths, num_candidates = shape
    nothing = jnp.zeros((num_detections, num_candidates), jnp.int32)
    chosen = jaxmap.match(
        Candidates(index=nothing, level=nothing.astype(jnp.int8)),
        counted=jnp.zeros((num_ground_truths, 2), jnp.uint32),
        crowd=jnp.zeros(num_ground_truths, bool),
        levels=level_words(T, A),
    )
    assert chosen.shape == (num_detections, num_candidates, 2)


def test_match_refuses_what_is_no_integer() -> None:
    with pytest.raises(TypeError, match=r"`candidates\.level` must hold integers, got dtype float32"):
        jaxmap.match(
            Candidates(index=jnp.zeros((D, 2), jnp.int32), level=jnp.zeros((D, 2))),
            counted=jnp.zeros((G, 2), jnp.uint32),
            crowd=jnp.zeros(G, bool),
            levels=level_words(T, A),
        )


def test_match_refuses_lists_of_two_shapes() -> None:
    with pytest.raises(ValueError, match=r"`candidates.level` must have shape \[\d+, 2\], got \[\d+, 3\]"):
        jaxmap.match(
            Candidates(index=jnp.zeros((D, 2), jnp.int32), level=jnp.zeros((D, 3), jnp.int8)),
            counted=jnp.zeros((G, 2), jnp.uint32),
            crowd=jnp.zeros(G, bool),
            levels=level_words(T, A),
        )
