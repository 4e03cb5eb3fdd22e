"""Compares jaxmap with pycocotools on random scenes: `python tests/fuzz.py --scenes 20000 --seed 0 --jobs 2`."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Iterator

import numpy as np
from oracle import assert_same_cells, assert_same_matches, run_pycocotools
from scenes import Scene, random_scene

import jaxmap
from jaxmap import io


def check_scene(scene: Scene) -> None:
    """Asserts that every match and every cell equals pycocotools', by way of the files' content and of lists."""
    oracle = run_pycocotools(scene.ground_truths, scene.results, **scene.options)
    ground_truths = io.coco_ground_truths(scene.ground_truths)
    evaluation = jaxmap.evaluate(io.coco_detections(scene.results, ground_truths), ground_truths, **scene.options)
    assert_same_matches(evaluation, oracle)
    assert_same_cells(evaluation, oracle)
    from_lists = jaxmap.evaluate(*scene.lists(), box_format="xywh", num_classes=len(scene.class_ids), **scene.options)
    assert_same_cells(from_lists, oracle)


def mismatches(seeds: range) -> Iterator[tuple[int, str]]:
    """Yields the seed and the first difference of every scene that differs."""
    for seed in seeds:
        try:
            check_scene(random_scene(np.random.default_rng(seed)))
        except Exception as error:  # a crash is a mismatch, and the next scene may tell more
            yield seed, f"{type(error).__name__}: {error}"


def _mismatches(seeds: range) -> tuple[int, list[tuple[int, str]]]:
    return len(seeds), list(mismatches(seeds))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--scenes", type=int, default=1000, help="how many scenes")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first scene; each next one has the next seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--chunk", type=int, default=100, help="scenes between two lines of progress")
    arguments = parser.parse_args()
    stop = arguments.seed + arguments.scenes
    chunks = [
        range(first, min(first + arguments.chunk, stop)) for first in range(arguments.seed, stop, arguments.chunk)
    ]
    done = wrong = 0
    with multiprocessing.get_context("spawn").Pool(arguments.jobs) as pool:  # JAX's threads do not survive a fork
        for count, found in pool.imap_unordered(_mismatches, chunks):
            done, wrong = done + count, wrong + len(found)
            for seed, message in found:
                print(f"seed {seed}: {message}")
            print(f"{done} scenes, {wrong} mismatches", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
