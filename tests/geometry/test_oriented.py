"""Oriented boxes: areas by hand, IoU against Shapely on easy and on awkward pairs, and the laws of the arithmetic.

Tolerances: float64 is held to 1e-9, which is Shapely's own accuracy on the grid below; float32 to 1e-5 of Shapely's
value for the same float32 inputs, at boxes up to 100 times longer than wide.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmap import oriented_box_iou
from jaxmap._geometry._oriented import oriented_hull, oriented_intersection, oriented_iou

N = 3600  # pairs of a family; the same everywhere, so that one compilation serves all
TOLERANCE = {np.float64: 1e-9, np.float32: 1e-5}

jitted_iou = jax.jit(oriented_iou)

Pairs = tuple[np.ndarray, np.ndarray]


def corners_of(boxes: np.ndarray) -> np.ndarray:
    """Returns `[N, 4, 2]` in float64."""
    x, y, w, h, angle = np.asarray(boxes, np.float64).T[:, :, None]
    right, down = w / 2 * np.array([-1, 1, 1, -1]), h / 2 * np.array([-1, -1, 1, 1])
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([x + right * cos - down * sin, y + right * sin + down * cos], axis=-1)


def shapely_iou(boxes: np.ndarray, others: np.ndarray, crowd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the IoU of pairs, and which of them are clearly apart."""
    shapely = pytest.importorskip("shapely")
    boxes, others = np.array(boxes, np.float64), np.array(others, np.float64)
    others[:, :2] -= boxes[:, :2]  # so that Shapely keeps its digits far from the origin
    boxes[:, :2] = 0
    # On the plain plane Shapely finds no intersection at all for some boxes that coincide up to rounding.
    one, other = shapely.polygons(corners_of(boxes)), shapely.polygons(corners_of(others))
    intersection = shapely.area(shapely.intersection(one, other, grid_size=1e-12))
    area, other_area = boxes[:, 2] * boxes[:, 3], others[:, 2] * others[:, 3]
    iou = intersection / np.where(crowd, area, area + other_area - intersection)
    return iou, shapely.distance(one, other) > 1e-3


# ---- families of pairs ----


def random_boxes(rng: np.random.Generator, *, ratio: float | None = None) -> np.ndarray:
    """Returns `[N, 5]` boxes, of which neighbours in two draws often overlap; `ratio` is width over height."""
    w = rng.uniform(2, 40, N)
    h = rng.uniform(2, 40, N) if ratio is None else w / ratio
    return np.column_stack([rng.uniform(-25, 25, (N, 2)), w, h, rng.uniform(-np.pi, np.pi, N)])


def moved(boxes: np.ndarray, along: object, across: object, *, turn: object = 0.0, scale: object = 1.0) -> np.ndarray:
    """Returns boxes moved by multiples of their width and height along their own axes, turned and resized."""
    x, y, w, h, angle = boxes.T
    right, down = w * along, h * across
    cos, sin = np.cos(angle), np.sin(angle)
    size = boxes[:, 2:4] * scale
    return np.column_stack([x + right * cos - down * sin, y + right * sin + down * cos, size, angle + turn])


def jittered(rng: np.random.Generator, boxes: np.ndarray, ratio: float = 1.0) -> np.ndarray:
    scale = np.exp(rng.normal(0, 0.1, (N, 2)))
    return moved(boxes, *rng.normal(0, 0.2, (2, N)), turn=rng.normal(0, 0.2 / ratio, N), scale=scale)


def small_on_large(rng: np.random.Generator) -> Pairs:
    boxes = random_boxes(rng)
    return boxes, moved(boxes, *rng.uniform(-0.6, 0.6, (2, N)), turn=rng.uniform(-3, 3, N), scale=0.02)


def far(rng: np.random.Generator) -> Pairs:
    boxes = random_boxes(rng) + np.array([1e4, -1e4, 0, 0, 0])
    return boxes, jittered(rng, boxes)


def swapped_sides(rng: np.random.Generator) -> Pairs:
    boxes = random_boxes(rng)
    return boxes, boxes[:, [0, 1, 3, 2, 4]] + [0, 0, 0, 0, np.pi / 2]


def turned(rng: np.random.Generator, turn: np.ndarray, ratio: float | None = None) -> Pairs:
    boxes = random_boxes(rng, ratio=ratio)
    return boxes, moved(boxes, 0, 0, turn=turn)


def thin_slid(rng: np.random.Generator) -> Pairs:
    boxes = random_boxes(rng, ratio=100)
    return boxes, moved(jittered(rng, boxes, ratio=100), rng.uniform(-1, 1, N), 0)


FAMILIES: dict[str, Callable[[np.random.Generator], Pairs]] = {
    "random": lambda rng: (random_boxes(rng), random_boxes(rng)),
    "identical": lambda rng: (random_boxes(rng),) * 2,
    "quarter turns": lambda rng: turned(rng, rng.integers(-4, 5, N) * np.pi / 2),
    "same box with its sides swapped": swapped_sides,
    "tiny turns": lambda rng: turned(rng, 10.0 ** rng.uniform(-16, -3, N)),
    "many turns": lambda rng: turned(rng, rng.integers(-1000, 1000, N) * 2 * np.pi),
    "half of the box": lambda rng: (one := random_boxes(rng), moved(one, 0.25, 0, scale=[0.5, 1.0])),
    "touching sides": lambda rng: (one := random_boxes(rng), moved(one, 1, 0)),
    "touching corners": lambda rng: (one := random_boxes(rng), moved(one, 1, 1)),
    "small on large": small_on_large,
    "far from the origin": far,
    "thin": lambda rng: (random_boxes(rng, ratio=100), random_boxes(rng, ratio=100)),
    "thin and parallel": thin_slid,
    "thin on a square": lambda rng: (random_boxes(rng, ratio=100), random_boxes(rng, ratio=1)),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_iou_equals_shapely(family: str) -> None:
    rng = np.random.default_rng(0)
    boxes, others = FAMILIES[family](rng)
    crowd = rng.random(N) < 0.3
    for dtype, tolerance in TOLERANCE.items():
        boxes, others = boxes.astype(dtype), others.astype(dtype)
        expected, is_apart = shapely_iou(boxes, others, crowd)
        found = oriented_iou(boxes, others, crowd)
        assert found.dtype == dtype
        assert ((found >= 0) & (found <= 1)).all()
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
        assert (found[is_apart] == 0).all()
        # The other order takes the other box as the frame where the two are of one length.
        mirrored = oriented_iou(others, boxes, np.zeros(N, bool))
        np.testing.assert_allclose(mirrored[~crowd], expected[~crowd], rtol=0, atol=tolerance)
    on_device = np.asarray(jitted_iou(boxes, others, crowd))
    assert ((on_device >= 0) & (on_device <= 1)).all()
    np.testing.assert_allclose(on_device, expected, rtol=0, atol=TOLERANCE[np.float32])
    assert (on_device[is_apart] == 0).all()


# ---- by hand ----


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("box", "other", "area"),
    [
        ((0, 0, 2, 2, np.pi / 4), (0, 0, 2, 2, 0), 8 * (np.sqrt(2) - 1)),  # the regular octagon of height 2
        ((0, 0, np.sqrt(2), np.sqrt(2), np.pi / 4), (0, 0, 2, 2, 0), 2),  # corners on the sides' middles: inside
        ((1, 0, np.sqrt(2), np.sqrt(2), np.pi / 4), (0, 0, 2, 2, 0), 1),  # the same, half outside
        ((1, 1, np.sqrt(2), np.sqrt(2), -np.pi / 4), (0, 0, 2, 2, 0), 0.5),  # a diamond on a corner: a quarter
        ((0, 0, 3, 1, 0), (0, 0, 3, 1, np.pi / 2), 1),  # a plus sign
        ((3, 4, 10, 1, 0.6), (3, 4, 10, 1, 0.6 + np.pi / 6), 2),  # a rhombus of height 1: 1 / sin(30 degrees)
        # A bar towards (+, +) over a unit square's diagonal: |x - y| <= k leaves two triangles of side 1 - k.
        ((0, 0, 10, 0.1, np.pi / 4), (2, 2, 1, 1, 0), 1 - (1 - 0.05 * np.sqrt(2)) ** 2),
        ((0, 0, 10, 0.1, np.pi / 4), (2, -2, 1, 1, 0), 0),
    ],
)
def test_intersection_by_hand(box: tuple[float, ...], other: tuple[float, ...], area: float, dtype: type) -> None:
    one, two = np.array(box, dtype), np.array(other, dtype)
    tolerance = 8 * float(np.finfo(dtype).eps)  # a few roundings of numbers below 10
    assert oriented_intersection(one, two) == pytest.approx(area, abs=tolerance)
    assert oriented_intersection(two, one) == pytest.approx(area, abs=tolerance)


@pytest.mark.parametrize(
    ("box", "other"),
    [
        ((0, 0, 4, 2, 0), (4, 0, 4, 2, 0)),  # a shared side
        ((0, 0, 4, 2, 0), (4, 2, 4, 2, 0)),  # a shared corner
        ((0, 0, 4, 2, 0.3), (9, 0, 4, 2, -0.3)),
        ((0, 0, 6, 1, np.pi / 4), (2, 0, 1, 1, 0)),  # apart along an axis of the first only: hulls overlap
        ((0, 0, 0, 2, 0.3), (0, 0, 4, 4, 0.1)),
        ((0, 0, 4, -2, 0.3), (0, 0, 4, 4, 0.1)),
        ((0, 0, 0, 0, 0.3), (0, 0, 0, 0, 0.3)),
        ((0, 0, -1, -2, 0.3), (0, 0, -1, -2, 0.3)),
    ],
)
def test_nothing_shared_is_exactly_zero(box: tuple[float, ...], other: tuple[float, ...]) -> None:
    for dtype in (np.float64, np.float32):
        one, two = np.array(box, dtype), np.array(other, dtype)
        for crowd in (False, True):
            assert oriented_iou(one, two, np.array(crowd)) == 0
            assert oriented_iou(two, one, np.array(crowd)) == 0


def test_crowd_divides_by_the_area_of_the_first() -> None:
    box, other = np.array([1.0, 1, 2, 2, 0.5]), np.array([1.0, 1, 4, 10, 0.5])
    assert oriented_iou(box, other, np.array(True)) == pytest.approx(1, abs=1e-15)
    assert oriented_iou(other, box, np.array(True)) == pytest.approx(0.1, abs=1e-15)
    assert oriented_iou(box, other, np.array(False)) == pytest.approx(0.1, abs=1e-15)


def test_box_equals_itself_exactly() -> None:
    boxes = random_boxes(np.random.default_rng(0))
    for dtype in (np.float64, np.float32):
        same = boxes.astype(dtype)
        assert (oriented_iou(same, same, np.zeros(N, bool)) == 1).all()


@pytest.mark.parametrize("turn", [5e-324, 1e-310, 1e-200, 1e-40])
def test_turn_near_the_smallest_number_divides_by_nothing(turn: float) -> None:
    # Sides almost as steep as the frame's: quotients must neither overflow nor be 0 / 0 where tiny numbers are flushed.
    box, other = np.array([0.0, 0, 10, 4, 0]), np.array([1.0, 1, 10, 4, turn])
    expected = 9 * 3 / (2 * 40 - 27)
    assert oriented_iou(box, other, np.array(False)) == pytest.approx(expected, abs=1e-15)
    bar = np.array([8.0, 1, 0, 10, turn])  # without width, beyond the box: its long sides go 10 * turn to the right
    assert oriented_iou(box, bar, np.array(False)) == 0
    one, two = (np.tile(side.astype(np.float32), (N, 1)) for side in (box, other))
    assert np.asarray(jitted_iou(one, two, np.zeros(N, bool))) == pytest.approx(expected, abs=1e-6)


def test_hull_encloses_the_corners() -> None:
    boxes = random_boxes(np.random.default_rng(0))
    corners = corners_of(boxes)
    low, high = corners.min(1), corners.max(1)
    np.testing.assert_allclose(oriented_hull(boxes), np.concatenate([low, high - low], axis=1), rtol=0, atol=1e-12)
    assert oriented_hull(np.array([5.0, 6, 4, -2, 0])).tolist() == [3, 6, 4, 0]


# ---- shapes ----


def test_jit_and_vmap_equal_numpy_under_any_broadcast() -> None:
    boxes, others = (random_boxes(np.random.default_rng(seed))[:6].astype(np.float32) for seed in (0, 1))
    crowd = np.array([False, True, False, False, True, False])
    expected = np.array(
        [[oriented_iou(one, two, is_crowd) for two, is_crowd in zip(others, crowd, strict=True)] for one in boxes]
    )
    assert (expected > 0).any()
    whole = oriented_iou(boxes[:, None], others, crowd)  # ranks differ
    np.testing.assert_array_equal(whole, expected)
    rows = jax.jit(jax.vmap(oriented_iou, in_axes=(0, None, None)))(boxes, others, crowd)
    # XLA may contract a * b + c to one rounding.
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(oriented_box_iou(boxes, others, crowd=crowd), expected, rtol=0, atol=1e-6)


def test_building_block_takes_lists_and_refuses_other_shapes() -> None:
    assert oriented_box_iou([[0, 0, 2, 2, 0]], [[1, 0, 2, 2, 0]]).tolist() == [[pytest.approx(1 / 3)]]
    with pytest.raises(ValueError, match=r"`other_boxes` must have shape \[n, 5\], got \[2, 4\]"):
        oriented_box_iou(jnp.zeros((2, 5)), jnp.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"`crowd` must have shape \[2\], one flag per ground truth, got \[3\]"):
        oriented_box_iou(jnp.zeros((2, 5)), jnp.zeros((2, 5)), crowd=jnp.zeros(3, bool))
    with pytest.raises(TypeError, match="`boxes` must hold real numbers, got dtype complex128"):
        oriented_box_iou(np.zeros((2, 5), complex), jnp.zeros((2, 5)))
