"""Counts how often the similarity inside `jit`, on float32 boxes, decides differently from float64.

    python examples/benchmarks/exactness.py --pairs 10000000

Two decisions leave the floating-point stage: how many IoU thresholds a pair reaches (its level), and which of two
ground truths a detection prefers (the winner; of equal IoUs the later). The reference takes the same float32 numbers,
widened, through pycocotools' formula on x, y, width, height in float64 (maskApi.c, bbIou). Plain float32 is shown for
comparison. The last column counts the wrong decisions of both kinds where float64 itself is certain: its IoU is more
than 1e-15 from a threshold, or its two IoUs are that far apart; in `jit`, 2^-44 (6e-14) counts as equal. Such near ties
are rare in real data; here one detection in ten has two ground truths that mirror each other. Kinds of boxes:

    COCO-like     pixels with two decimals
    integer       whole pixels: IoU is often exactly a threshold, and two ground truths often tie
    one decimal   pixels with one decimal
    1000 bins     coordinates k / 1000 of a unit image, as models with coordinate tokens write them
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxmap._candidates._device import find_candidates
from jaxmap._geometry._boxes import approximate_iou, box_geometry, exact_iou
from jaxmap.protocols import COCO
from jaxmap.types import Array

KINDS = {  # units in a pixel (or in an image of side 1), and the side of an image and of a median object in units
    "COCO-like": (100, 64_000, 4_600),
    "integer": (1, 640, 46),
    "one decimal": (10, 6_400, 460),
    "1000 bins": (1_000, 1_000, 72),
}
MIRRORED_SHARE = 0.1  # of the detections have two ground truths that lie symmetrically around them
THRESHOLDS = np.array(COCO.iou_thresholds)
ROUNDING = 1e-15  # IoUs, in float64, that differ by no more than a few units in the last place
CHUNK = 500_000  # detections at once
COLUMNS = (
    "levels",
    "on a threshold",
    "wrong levels",
    "wrong in float32",
    "choices",
    "ties",
    "wrong winners",
    "wrong in float32",
    "wrong beyond float64's own rounding",
)


def make_pairs(rng: np.random.Generator, kind: str, count: int, box_format: str) -> tuple[np.ndarray, np.ndarray]:
    """Makes detections `[count, 1, 4]` and two ground truths near each, `[count, 2, 4]`, float32.

    Corners are whole numbers of the kind's unit, and the noise spreads the IoUs over 0.4 to 1.
    """
    units, image, median = KINDS[kind]
    side = np.exp(rng.normal(np.log(median), 1.0, size=count))
    stretch = np.exp(rng.normal(0.0, 0.3, size=count))
    size = np.clip(np.stack([side * stretch, side / stretch], axis=1), 4.0, image / 2)
    corner = rng.random((count, 2)) * (image - size)
    first = np.round(np.concatenate([corner, corner + size], axis=1))
    detection = _jitter(rng, first)
    second = _jitter(rng, detection)
    mirrored = rng.random(count) < MIRRORED_SHARE
    second[mirrored] = (detection + (detection - first)[:, [2, 3, 0, 1]])[mirrored]
    boxes = np.stack([detection, first, second], axis=1)
    if box_format == "xywh":
        boxes[..., 2:] -= boxes[..., :2]
    boxes = (boxes / units).astype(np.float32)
    return boxes[:, :1], boxes[:, 1:]


def _jitter(rng: np.random.Generator, corners: np.ndarray) -> np.ndarray:
    size = np.tile(corners[:, 2:] - corners[:, :2], 2)
    moved = np.round(corners + size * rng.normal(size=corners.shape) * rng.exponential(0.08, size=(len(corners), 1)))
    return np.concatenate([moved[:, :2], np.maximum(moved[:, 2:], moved[:, :2] + 1)], axis=1)


@partial(jax.jit, static_argnames="box_format")
@partial(jax.vmap, in_axes=(0, 0, None))
def in_jit(detection: jax.Array, ground_truths: jax.Array, box_format: str) -> tuple[jax.Array, jax.Array]:
    """Returns the levels of the two pairs and the winner, by jaxmap's own path for one image."""
    mine, theirs = box_geometry(detection, box_format), box_geometry(ground_truths, box_format)
    no_crowd = jnp.zeros(2, bool)
    candidates, _ = find_candidates(
        approximate_iou(mine, theirs, no_crowd),
        lambda index: exact_iou(mine.select(np.s_[:, None]), theirs.select(index), no_crowd[None, :]),
        jnp.ones((1, 2), bool),
        no_crowd,
        iou_thresholds=COCO.iou_thresholds,
        num_candidates=2,
    )
    is_pair = jnp.arange(2)[None] == candidates.index.T  # row: the place in the list, column: the ground truth
    return jnp.where(is_pair, candidates.level.T, 0).sum(0), candidates.index[0, 0]


@partial(jax.jit, static_argnames="box_format")
def in_float32(detections: jax.Array, ground_truths: jax.Array, box_format: str) -> tuple[jax.Array, jax.Array]:
    """Returns levels and winners by the formula as one would write it."""
    iou = _iou(detections, ground_truths, box_format)
    levels = sum(((iou >= threshold).astype(int) for threshold in COCO.iou_thresholds), jnp.zeros(iou.shape, int))
    return levels, (iou[:, 1] >= iou[:, 0]).astype(int)


def in_float64(detections: np.ndarray, ground_truths: np.ndarray, box_format: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the IoUs, and for each pair how far its IoU is from the nearest threshold."""
    iou = _iou(detections.astype(np.float64), ground_truths.astype(np.float64), box_format)
    return iou, np.abs(iou[..., None] - THRESHOLDS).min(-1)


def _iou(detections: Array, ground_truths: Array, box_format: str) -> Array:
    xp = detections.__array_namespace__()  # NumPy or jax.numpy: one formula in two precisions
    (a, a_size), (b, b_size) = ((side[..., :2], side[..., 2:]) for side in (detections, ground_truths))
    if box_format == "xyxy":
        a_size, b_size = a_size - a, b_size - b
    overlap = xp.maximum(xp.minimum(a + a_size, b + b_size) - xp.maximum(a, b), 0)
    intersection = overlap[..., 0] * overlap[..., 1]
    return intersection / (a_size[..., 0] * a_size[..., 1] + b_size[..., 0] * b_size[..., 1] - intersection)


def count(rng: np.random.Generator, kind: str, num_detections: int, box_format: str) -> np.ndarray:
    """Returns what the table's columns count, for two pairs and one choice a detection."""
    boxes = make_pairs(rng, kind, num_detections, box_format)
    iou, distance = in_float64(*boxes, box_format)
    levels = (iou[..., None] >= THRESHOLDS).sum(-1)
    winners = (iou[:, 1] >= iou[:, 0]).astype(int)
    is_choice = (levels > 0).all(-1)
    is_tie = is_choice & (np.abs(iou[:, 1] - iou[:, 0]) <= ROUNDING)

    wrong = []
    for route in (in_jit, in_float32):
        route_levels, route_winners = map(np.asarray, route(*boxes, box_format))
        wrong.append((route_levels != levels, is_choice & (route_winners != winners)))
    (wrong_levels, wrong_winners), (wrong_levels_32, wrong_winners_32) = wrong
    beyond = (wrong_levels & (distance > ROUNDING)).sum() + (wrong_winners & ~is_tie).sum()
    counts = [levels.size, (distance <= ROUNDING).sum(), wrong_levels.sum(), wrong_levels_32.sum()]
    counts += [is_choice.sum(), is_tie.sum(), wrong_winners.sum(), wrong_winners_32.sum(), beyond]
    return np.array(counts)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10_000_000, help="of each kind, two a detection")
    parser.add_argument("--box-format", choices=("xywh", "xyxy"), default="xywh")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}, boxes as {options.box_format}\n")
    print("| boxes | " + " | ".join(COLUMNS) + " |")
    print("| --- |" + " ---: |" * len(COLUMNS))
    for kind in KINDS:
        rng = np.random.default_rng(options.seed)
        chunks = [min(CHUNK, options.pairs // 2 - done) for done in range(0, options.pairs // 2, CHUNK)]
        counts = np.sum([count(rng, kind, chunk, options.box_format) for chunk in chunks], axis=0)
        print(f"| {kind} | " + " | ".join(f"{value:,}" for value in counts) + " |", flush=True)


if __name__ == "__main__":
    main()
