"""Compares jaxmap with pycocotools on random scenes: `python -m support.fuzz --scenes 20000 --seed 0 --jobs 2`."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import warnings
from collections.abc import Iterator
from functools import partial

import numpy as np

import jaxmap
from jaxmap import io
from support.oracle import assert_same_cells, assert_same_matches, run_pycocotools
from support.scenes import ODDITIES, Scene
from support.shape_scenes import shape_scene

PROTOCOLS = {
    "bbox": jaxmap.COCO,
    "segm": jaxmap.COCO.customize(iou_type="segm"),
    "keypoints": jaxmap.COCO_KEYPOINTS,
}


def check_scene(scene: Scene) -> None:
    """Asserts that every match and every cell equals pycocotools', by way of the files' content and of lists."""
    warnings.filterwarnings("ignore", message=ODDITIES)
    oracle = run_pycocotools(scene.ground_truths, scene.results, iou_type=scene.iou_type, **scene.options)
    options = {"protocol": PROTOCOLS[scene.iou_type]} | scene.options
    ground_truths = io.coco_ground_truths(scene.ground_truths, iou_type=scene.iou_type)
    detections = io.coco_detections(scene.results, ground_truths, iou_type=scene.iou_type)
    evaluation = jaxmap.evaluate(detections, ground_truths, **options)
    assert_same_matches(evaluation, oracle)
    assert_same_cells(evaluation, oracle)
    if scene.iou_type == "bbox":
        from_lists = jaxmap.evaluate(*scene.lists(), box_format="xywh", num_classes=len(scene.class_ids), **options)
        assert_same_cells(from_lists, oracle)


def mismatches(seeds: range, iou_type: str = "bbox") -> Iterator[tuple[int, str]]:
    """Yields the seed and the first difference of every scene that differs."""
    for seed in seeds:
        try:
            check_scene(shape_scene(np.random.default_rng(seed), iou_type))
        except Exception as error:  # a crash is a mismatch, and the next scene may tell more
            yield seed, f"{type(error).__name__}: {error}"


def _mismatches(seeds: range, iou_type: str) -> tuple[int, list[tuple[int, str]]]:
    return len(seeds), list(mismatches(seeds, iou_type))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--scenes", type=int, default=1000, help="how many scenes")
    parser.add_argument("--iou-type", choices=PROTOCOLS, default="bbox", help="what is compared")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first scene; each next one has the next seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--chunk", type=int, default=100, help="scenes between two lines of progress")
    arguments = parser.parse_args()
    stop = arguments.seed + arguments.scenes
    chunks = [
        range(first, min(first + arguments.chunk, stop)) for first in range(arguments.seed, stop, arguments.chunk)
    ]
    done = wrong = 0
    with multiprocessing.get_context("spawn").Pool(arguments.jobs) as pool:
        for count, found in pool.imap_unordered(partial(_mismatches, iou_type=arguments.iou_type), chunks):
            done, wrong = done + count, wrong + len(found)
            for seed, message in found:
                print(f"seed {seed}: {message}")
            print(f"{done} scenes, {wrong} mismatches", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
