"""A self-test of the device that JAX computes on: do IoUs inside `jit` decide there as in float64 on the host?

The exactness inside `jit` rests on float32 sums and products that are rounded once, on products that the compiler does
not contract into a fused multiply-add, and on a division good to 16 bits. No program can see that of a device but by
computing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ._candidates._device import find_candidates, reach_planes, similarity_order
from ._geometry._boxes import image_similarity
from ._geometry._boxes_host import box_iou_pairs, to_xywh
from ._planes import level_words
from .protocols import COCO
from .types import Bools, Floats, Ints

__all__ = [
    "DeviceCheck",
    "Pairs",
    "check_device",
    "decide",
    "decide_on_host",
    "draw_corners",
    "draw_corners_on_thresholds",
]

_NEEDED_BITS = 16  # of the device's division; with fewer, the double-float quotient loses the 45 bits that it needs
_NUM_DETECTIONS = 50_000  # two pairs each
_IN_AN_IMAGE = 16  # as many detections are decided together, so that XLA compiles the code of a metric, gathers and all
_MIRRORED_SHARE = 0.1  # of the detections have two ground truths that lie symmetrically around them
_CROWD_SHARE = 0.5  # of the ground truths, where there are any
# Boxes reach the device divided by this and are multiplied there, as models that predict shares of an image do it: a
# compiler that contracts the product is seen. x / 640 * 640 is x for whole numbers (640 = 2^9 + 2^7; Kahan).
_SCALE = np.float32(640)
_FORMAT = "xyxy"  # of which the sizes are differences, so that a product taken unrounded moves them most


class Pairs(NamedTuple):
    """Boxes of one detection and of two ground truths near it, B times; the format is the caller's.

    Attributes:
      detections: `[B, 1, 4]` float32.
      ground_truths: `[B, 2, 4]` float32.
      crowd: `[B, 2]` bool.
    """

    detections: Floats
    ground_truths: Floats
    crowd: Bools


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceCheck:
    """What `check_device` measured.

    Attributes:
      device: the kind of the device, as JAX calls it.
      num_pairs: the number of pairs of boxes whose level was compared: how many IoU thresholds the pair reaches.
      wrong_levels: how many of them differ from float64 on the host.
      num_choices: the number of detections that choose between two ground truths.
      wrong_winners: how many of them choose another one than float64.
      division_bits: the accuracy of float32 division, minus the binary logarithm of its largest relative error.
    """

    device: str
    num_pairs: int
    wrong_levels: int
    num_choices: int
    wrong_winners: int
    division_bits: float

    @property
    def passed(self) -> bool:
        """True if nothing is wrong and the division is accurate enough."""
        return not (self.wrong_levels or self.wrong_winners) and self.division_bits >= _NEEDED_BITS

    def __str__(self) -> str:
        return (
            f"{self.device}: {self.wrong_levels:,} of {self.num_pairs:,} levels and {self.wrong_winners:,} of "
            f"{self.num_choices:,} winners are wrong; division is good to {self.division_bits:.1f} bits"
        )


def check_device(device: jax.Device | None = None) -> DeviceCheck:
    """Checks that IoUs inside `jit` decide on a device as in float64, and that its division is accurate enough.

    Call it once, before the first evaluation on a new kind of GPU or TPU, or after a change of JAX or of `XLA_FLAGS`.
    It compares 100,000 pairs of boxes, of whole pixels, of two decimals, with IoUs exactly on thresholds, and with
    crowds, and takes a few seconds, most of them for compilation.

    Args:
      device: one of `jax.devices()`; None for JAX's default device.

    Returns:
      What was measured; `print` shows it in one line.

    Raises:
      RuntimeError: if a decision differs from float64, or the division is good to less than 16 bits.

    Example:
      >>> check = check_device(jax.devices("cpu")[0])
      >>> check.num_pairs, check.wrong_levels, check.wrong_winners, round(check.division_bits)
      (100000, 0, 0, 24)
    """
    if device is None:
        [device] = jnp.zeros(()).devices()
    rng = np.random.default_rng(0)
    kinds = [_draw(rng, kind, _NUM_DETECTIONS // len(_KINDS)) for kind in _KINDS]
    pairs = Pairs(*(np.concatenate(column) for column in zip(*kinds, strict=True)))
    shares = pairs._replace(detections=pairs.detections / _SCALE, ground_truths=pairs.ground_truths / _SCALE)
    pairs = shares._replace(detections=shares.detections * _SCALE, ground_truths=shares.ground_truths * _SCALE)

    both_paths = jax.device_get(jax.jit(_decide_scaled)(*jax.device_put((shares, _SCALE), device)))
    levels, winners = map(np.stack, zip(*both_paths, strict=True))
    true_levels, true_winners, _ = decide_on_host(pairs, _FORMAT)
    is_choice = (true_levels > 0).all(-1)
    check = DeviceCheck(
        device=device.device_kind,
        num_pairs=true_levels.size,
        wrong_levels=int((levels != true_levels).any(0).sum()),
        num_choices=int(is_choice.sum()),
        wrong_winners=int((is_choice & (winners != true_winners).any(0)).sum()),
        division_bits=_division_bits(rng, device),
    )
    if not check.passed:
        raise RuntimeError(
            f"{check}; needed are no wrong level, no wrong winner and {_NEEDED_BITS} bits, so metrics inside `jit` "
            "would not be exact on this device. Unset options in `XLA_FLAGS` that trade accuracy for speed and check "
            "again, or evaluate on the host: `jaxmap.evaluate` or `jaxmap.metrics.HostAveragePrecision`, on what "
            "`jax.device_get` returns."
        )
    return check


def decide(pairs: Pairs, box_format: str, *, by_lists: bool) -> tuple[jax.Array, jax.Array]:
    """Returns, by a path that a metric takes inside `jit`, the levels `[B, 2]` and the winners `[B]`.

    Args:
      pairs: the boxes.
      box_format: their format.
      by_lists: whether to list candidates, as a CPU does, or to compare all pairs, as accelerators do.

    Returns:
      The levels, and the ground truth that each detection prefers; meaningful if it reaches a threshold with both.
    """
    count = len(pairs.detections)
    images = -(-count // _IN_AN_IMAGE)

    def packed(column: jax.Array) -> jax.Array:
        filled = jnp.pad(column, [(0, images * _IN_AN_IMAGE - count)] + [(0, 0)] * (column.ndim - 1))
        return filled.reshape(images, -1, *column.shape[2:])

    levels, winners = jax.vmap(partial(_decide_image, box_format, by_lists))(
        *(packed(jnp.asarray(column)) for column in pairs)
    )
    return levels.reshape(-1, 2)[:count], winners.ravel()[:count]


def _decide_image(
    box_format: str, by_lists: bool, detections: jax.Array, ground_truths: jax.Array, crowd: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Decides for one image of detections `[D, 4]`, of which each may take two of the ground truths `[2 D, 4]`."""
    shapes = {"boxes": detections}, {"boxes": ground_truths}
    similarity = image_similarity(*shapes, crowd, None, constants=COCO, box_format=box_format)
    own = np.arange(len(ground_truths)) // 2 == np.arange(len(detections))[:, None]
    if not by_lists:
        values, planes = reach_planes(
            similarity.exact_of_all(),
            jnp.asarray(own),
            crowd,
            iou_thresholds=COCO.iou_thresholds,
            levels=level_words(len(COCO.iou_thresholds), 1),
        )
        levels = jax.lax.population_count(planes[0]).astype(jnp.int32)
        place = jnp.where(own, similarity_order(values, levels > 0), len(ground_truths))
        return levels.reshape(len(detections), -1, 2).sum(1), place.argmin(-1).astype(jnp.int32) % 2
    candidates, _ = find_candidates(
        similarity.approximate(),
        similarity.exact,
        jnp.asarray(own),
        crowd,
        iou_thresholds=COCO.iou_thresholds,
        num_candidates=2,
    )
    which = candidates.index % 2  # [D, places]
    is_pair = which[:, :, None] == np.arange(2, dtype=np.int32)[None, None]
    return jnp.where(is_pair, candidates.level[:, :, None], 0).sum(1), which[:, 0]


def decide_on_host(pairs: Pairs, box_format: str) -> tuple[Ints, Ints, Floats]:
    """Returns levels and winners as `decide` does, in float64 by pycocotools' formula, and the IoUs `[B, 2]`."""
    detections = np.broadcast_to(pairs.detections, pairs.ground_truths.shape)
    sides = [
        to_xywh(boxes.reshape(-1, 4).astype(np.float64), box_format) for boxes in (detections, pairs.ground_truths)
    ]
    iou = box_iou_pairs(sides[0], sides[1], pairs.crowd.ravel()).reshape(pairs.crowd.shape)
    levels = (iou[..., None] >= np.minimum(COCO.iou_thresholds, 1 - 1e-10)).sum(-1)
    return levels, (iou[:, 1] >= iou[:, 0]).astype(int), iou


def draw_corners(rng: np.random.Generator, count: int, image: float, median: float) -> Floats:
    """Draws corners `[count, 3, 4]`, whole numbers: a detection, and two ground truths near it.

    The noise spreads the IoUs over 0.4 to 1. One detection in ten has two ground truths that mirror each other, so that
    near ties are common.

    Args:
      image: the side of an image.
      median: the side of an object in the middle.
    """
    side = np.exp(rng.normal(np.log(median), 1.0, size=count))
    stretch = np.exp(rng.normal(0.0, 0.3, size=count))
    size = np.clip(np.stack([side * stretch, side / stretch], axis=1), 4.0, image / 2)
    corner = rng.random((count, 2)) * (image - size)
    first = np.round(np.concatenate([corner, corner + size], axis=1))
    detection = _jitter(rng, first)
    second = _jitter(rng, detection)
    mirrored = rng.random(count) < _MIRRORED_SHARE
    second[mirrored] = (detection + (detection - first)[:, [2, 3, 0, 1]])[mirrored]
    return np.stack([detection, first, second], axis=1)


def draw_corners_on_thresholds(rng: np.random.Generator, count: int) -> Floats:
    """Like `draw_corners`, with whole pixels and every IoU a multiple of 1 / 20, so that all lie on COCO's thresholds.

    Both ground truths contain the detection, and one side of theirs is longer, in one direction or the other.
    """
    # The detection's side is a multiple of every possible number of twentieths, so that the longer sides are whole.
    twentieths = rng.integers(10, 21, (count, 2))
    size = np.lcm(*twentieths.T)[:, None] * np.array([1, 1])
    corner = rng.integers(0, 300, (count, 2))
    corners = np.repeat(np.concatenate([corner, corner + size], axis=1)[:, None], 3, axis=1)
    longer = size[:, :1] * 20 // twentieths - size[:, :1]  # [count, 2]
    axis, side = rng.integers(0, 2, (2, count, 2))
    rows, truths = np.arange(count)[:, None], np.array([1, 2])
    corners[rows, truths, axis + 2 * side] += np.where(side == 1, longer, -longer)
    return corners.astype(np.float64)


def _jitter(rng: np.random.Generator, corners: Floats) -> Floats:
    size = np.tile(corners[:, 2:] - corners[:, :2], 2)
    moved = np.round(corners + size * rng.normal(size=corners.shape) * rng.exponential(0.08, size=(len(corners), 1)))
    return np.concatenate([moved[:, :2], np.maximum(moved[:, 2:], moved[:, :2] + 1)], axis=1)


class _Kind(NamedTuple):
    """How the boxes of a quarter of the pairs are drawn."""

    draw: Callable[[np.random.Generator, int], Floats]
    units: int = 1  # in a pixel
    crowd_share: float = 0.0


_KINDS = (
    _Kind(partial(draw_corners, image=640, median=46)),
    _Kind(partial(draw_corners, image=64_000, median=4_600), units=100),
    _Kind(draw_corners_on_thresholds),
    _Kind(partial(draw_corners, image=640, median=46), crowd_share=_CROWD_SHARE),
)


def _draw(rng: np.random.Generator, kind: _Kind, count: int) -> Pairs:
    boxes = kind.draw(rng, count)
    boxes = (boxes / kind.units).astype(np.float32)
    return Pairs(boxes[:, :1], boxes[:, 1:], rng.random((count, 2)) < kind.crowd_share)


def _decide_scaled(shares: Pairs, scale: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
    pairs = Pairs(shares.detections * scale, shares.ground_truths * scale, shares.crowd)
    return [decide(pairs, _FORMAT, by_lists=by_lists) for by_lists in (True, False)]


def _division_bits(rng: np.random.Generator, device: jax.Device) -> float:
    sides = [(rng.uniform(1, 2, 100_000) * 2.0 ** rng.integers(-8, 9, 100_000)).astype(np.float32) for _ in range(2)]
    true = sides[0].astype(np.float64) / sides[1]
    quotient = jax.device_get(jax.jit(_quotient)(*jax.device_put(sides, device)))
    return float(-np.log2(np.abs(quotient / true - 1).max()))


def _quotient(a: jax.Array, b: jax.Array) -> jax.Array:
    return a / b
