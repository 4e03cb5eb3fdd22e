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
    on thresholds whole pixels, and every IoU is exactly a multiple of 1 / 20
    crowds        whole pixels, and half of the ground truths are crowds
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxmap._device_check import Pairs, decide, decide_on_host, draw_corners, draw_corners_on_thresholds
from jaxmap.protocols import COCO

KINDS = {  # units in a pixel (or in an image of side 1), and the side of an image and of a median object in units
    "COCO-like": (100, 64_000, 4_600),
    "integer": (1, 640, 46),
    "one decimal": (10, 6_400, 460),
    "1000 bins": (1_000, 1_000, 72),
    "on thresholds": (1, 640, 46),
    "crowds": (1, 640, 46),
}
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


def make_pairs(rng: np.random.Generator, kind: str, count: int, box_format: str) -> Pairs:
    """Makes detections and two ground truths near each; corners are whole numbers of the kind's unit."""
    if kind == "on thresholds":
        units, boxes = 1, draw_corners_on_thresholds(rng, count)
    else:
        units, image, median = KINDS[kind]
        boxes = draw_corners(rng, count, image, median)
    if box_format == "xywh":
        boxes[..., 2:] -= boxes[..., :2]
    boxes = (boxes / units).astype(np.float32)
    crowd = rng.random((count, 2)) < 0.5 if kind == "crowds" else np.zeros((count, 2), bool)
    return Pairs(boxes[:, :1], boxes[:, 1:], crowd)


def in_float32(pairs: Pairs, box_format: str) -> tuple[jax.Array, jax.Array]:
    """Returns levels and winners by the formula as one would write it."""
    (a, a_size), (b, b_size) = ((side[..., :2], side[..., 2:]) for side in (pairs.detections, pairs.ground_truths))
    if box_format == "xyxy":
        a_size, b_size = a_size - a, b_size - b
    overlap = jnp.maximum(jnp.minimum(a + a_size, b + b_size) - jnp.maximum(a, b), 0)
    intersection = overlap[..., 0] * overlap[..., 1]
    area, other_area = a_size[..., 0] * a_size[..., 1], b_size[..., 0] * b_size[..., 1]
    iou = intersection / jnp.where(pairs.crowd, area, area + other_area - intersection)
    levels = sum(((iou >= threshold).astype(int) for threshold in COCO.iou_thresholds), jnp.zeros(iou.shape, int))
    return levels, (iou[:, 1] >= iou[:, 0]).astype(int)


def as_in_a_metric(pairs: Pairs, box_format: str) -> tuple[jax.Array, jax.Array]:
    """Returns the levels and winners by the path that a metric takes on JAX's default device."""
    return decide(pairs, box_format, by_lists=jax.default_backend() == "cpu")


ROUTES = tuple(jax.jit(route, static_argnames="box_format") for route in (as_in_a_metric, in_float32))


def count(rng: np.random.Generator, kind: str, num_detections: int, box_format: str) -> np.ndarray:
    """Returns what the table's columns count, for two pairs and one choice a detection."""
    pairs = make_pairs(rng, kind, num_detections, box_format)
    levels, winners, iou = decide_on_host(pairs, box_format)
    distance = np.abs(iou[..., None] - THRESHOLDS).min(-1)
    is_choice = (levels > 0).all(-1)
    is_tie = is_choice & (np.abs(iou[:, 1] - iou[:, 0]) <= ROUNDING)

    wrong = []
    for route in ROUTES:
        route_levels, route_winners = map(np.asarray, route(pairs, box_format=box_format))
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
