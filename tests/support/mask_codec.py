"""Compares the run-length codec with pycocotools' on random masks and polygons: `python -m support.mask_codec`."""

from __future__ import annotations

import argparse
import sys
import warnings
from typing import Any

import numpy as np
from pycocotools import mask as codec

from jaxmap._geometry import _rle as rle

Random = np.random.Generator
AREAS_AT_ONCE = 255  # pycocotools 2.0.11 puts the number of masks into a byte


def random_dense(rng: Random, height: int, width: int) -> np.ndarray:
    """Noise, nothing, everything, rectangles with holes or without."""
    kind = rng.integers(5)
    dense = np.zeros((height, width), np.uint8)
    if kind == 0:
        return (rng.random((height, width)) < rng.random()).astype(np.uint8)
    if kind == 1:
        dense[:] = rng.integers(2)
        return dense
    y, x = rng.integers(0, height), rng.integers(0, width)
    dense[y : y + rng.integers(1, height + 1), x : x + rng.integers(1, width + 1)] = 1
    return dense ^ (rng.random((height, width)) < 0.05) if kind == 2 else dense


def random_polygon(rng: Random, side: int) -> list[float]:
    """Corners of any kind around an image: far outside, on the grid of fifths, halves, repeated, in one column."""
    count = int(rng.integers(3, 9))
    kind = rng.integers(7)
    if kind == 0:
        corners = rng.uniform(-0.5 * side, 1.5 * side, 2 * count)
    elif kind == 1:
        corners = rng.integers(-5, side + 5, 2 * count).astype(float)
    elif kind in (2, 3):
        scale = 5 if kind == 2 else 10
        corners = rng.integers(-5, scale * side + 5, 2 * count) / scale
    elif kind == 4:
        corners = rng.uniform(-1, 1, 2 * count) * (50 * side if rng.random() < 0.95 else 1e5)
    else:
        corners = np.round(rng.uniform(0, side, 2 * count), 2).reshape(-1, 2)[rng.integers(0, count, count)].ravel()
    if rng.random() < 0.1:
        corners[::2] = corners[0]
    return corners.tolist()


def split_runs(rng: Random, runs: list[int]) -> list[int]:
    """Cuts some runs of set pixels in two, with a run of no length between them."""
    cut = []
    for place, run in enumerate(runs):
        first = int(rng.integers(1, run)) if place % 2 and run > 1 and rng.random() < 0.3 else 0
        cut += [first, 0, run - first] if first else [run]
    return cut


def differences(rng: Random, count: int, largest: int = 40) -> list[str]:
    """Returns what differs from pycocotools of so many random masks and as many random polygons."""
    sizes = rng.integers(1, largest, (count, 2))
    dense = [random_dense(rng, *size) for size in sizes.tolist()]
    found = []

    def compare(what: str, ours: Any, theirs: Any) -> None:
        wrong = [row for row, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1]]
        found.extend(f"{what}: {len(wrong)} differ, the first {sizes[row]} {row}" for row in wrong[:1])

    encoded = [codec.encode(np.asfortranarray(one)) for one in dense]
    masks = rle.masks_of_segmentations(encoded, None, str)
    compare("encode", rle.coco_masks(masks), encoded)
    ours = rle.join_masks([rle.encode_masks(one[None]) for one in dense])
    compare("dense", rle.coco_masks(ours), encoded)
    compare("decode", [rle.decode_mask(one).tolist() for one in encoded], [one.tolist() for one in dense])
    parts = [encoded[first : first + AREAS_AT_ONCE] for first in range(0, count, AREAS_AT_ONCE)]
    compare("area", masks.area.tolist(), np.concatenate([codec.area(part) for part in parts]).tolist())
    compare("toBbox", rle.mask_boxes(masks).tolist(), codec.toBbox(encoded).tolist())

    polygons = [[random_polygon(rng, max(size)) for _ in range(rng.integers(1, 4))] for size in sizes.tolist()]
    drawn = [codec.frPyObjects(one, *size) for one, size in zip(polygons, sizes.tolist(), strict=True)]
    merged = [codec.merge(one) for one in drawn]
    filled = rle.masks_of_segmentations(polygons, sizes, str)
    compare("frPyObjects and merge", rle.coco_masks(filled), merged)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of NumPy 2, about pycocotools' memory
        runs = [{"size": one["size"], "counts": split_runs(rng, runs_of(one))} for one in encoded]
        split = [codec.frPyObjects(one, *one["size"]) for one in runs]
    again = rle.masks_of_segmentations(runs, None, str)
    compare("uncompressed", rle.coco_masks(again), split)
    crowd = rng.random(count) < 0.3
    for what, one, other in (("iou", masks, filled), ("iou of split runs", again, again.take(other_of(rng, sizes)))):
        theirs = [
            codec.iou([first], [second], [flag])[0, 0]
            for first, second, flag in zip(rle.coco_masks(one), rle.coco_masks(other), crowd.tolist(), strict=True)
        ]
        compare(what, rle.mask_iou(one, other, crowd).tolist(), theirs)
    return found


def other_of(rng: Random, sizes: np.ndarray) -> np.ndarray:
    """Returns for each mask another one of its size."""
    _, group = np.unique(sizes, axis=0, return_inverse=True)
    order = np.lexsort((rng.random(len(group)), group))
    other = np.empty(len(group), np.int64)
    other[np.argsort(group, kind="stable")] = order
    return other


def runs_of(encoded: dict[str, Any]) -> list[int]:
    flat = codec.decode(encoded).ravel(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat])))
    return np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--masks", type=int, default=100_000, help="how many masks, and polygons")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    step, wrong = 5_000, 0
    for first in range(0, arguments.masks, step):
        found = differences(np.random.default_rng(arguments.seed + first), step)
        wrong += len(found)
        print(f"{first + step} masks and as many drawings, {wrong} kinds of difference {found}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
