"""How often the intervals of `bootstrap` and `compare` contain the true number, on made-up datasets.

A population of images is drawn once; its AP, and the difference of two detectors on it, are the truth. Then datasets
are drawn from the same distribution, and each gives an interval. Images differ in how hard they are, for both detectors
alike, so detections of an image depend on each other.

    python examples/benchmarks/coverage.py --datasets 500 --images 300
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence

import numpy as np

import jaxmap
from jaxmap.types import DetectionTable, GroundTruthTable

POPULATION = 100_000  # images; its AP is within about 0.0005 of that of infinitely many
SIDE, APART = 50.0, 100.0  # pixels: no detection overlaps the object beside its own
NUM_CLASSES = 3
NUMBERS = "AP", "AP50", "AP75", "AR100"
SKILLS = 0.7, 0.78  # of two detectors: the share of objects of an average image that they find


def draw(rng: np.random.Generator, num_images: int) -> tuple[list[DetectionTable], GroundTruthTable]:
    """Returns the detections of each detector, and the ground truths."""
    hardness = rng.normal(0, 0.15, num_images)
    counts = rng.poisson(3, num_images)
    image = np.repeat(np.arange(num_images), counts)
    place = np.arange(len(image)) - np.repeat(np.cumsum(counts) - counts, counts)
    labels = rng.choice(NUM_CLASSES, len(image), p=[0.6, 0.3, 0.1])
    boxes = np.column_stack([place * APART, np.zeros(len(image)), *np.full((2, len(image)), SIDE)])
    truth = GroundTruthTable(
        image_index=image,
        labels=labels,
        boxes=boxes,
        area=np.full(len(image), SIDE**2),
        crowd=np.zeros(len(image), bool),
        ignore=np.zeros(len(image), bool),
        ids=np.arange(len(image)),
        image_ids=np.arange(num_images),
        class_ids=np.arange(NUM_CLASSES),
        class_names=tuple(map(str, range(NUM_CLASSES))),
    )
    luck = rng.random(len(image))
    return [_detect(rng, skill, luck, hardness, truth) for skill in SKILLS], truth


def _detect(
    rng: np.random.Generator, skill: float, luck: np.ndarray, hardness: np.ndarray, truth: GroundTruthTable
) -> DetectionTable:
    """Returns true detections, whose IoU is their share of the object's width, and false ones away from objects."""
    chance = np.clip(skill - hardness, 0.05, 0.98)
    hit = np.flatnonzero(luck < chance[truth.image_index])
    boxes = truth.boxes[hit].copy()
    boxes[:, 2] *= np.clip(rng.normal(0.8, 0.12, len(hit)), 0.3, 1)
    false_counts = rng.poisson(np.clip(2.5 * (1 + 2 * hardness), 0.2, None))
    false_image = np.repeat(np.arange(len(hardness)), false_counts)
    away = np.column_stack([*np.full((2, len(false_image)), -500.0), *np.full((2, len(false_image)), SIDE)])
    image = np.concatenate([truth.image_index[hit], false_image])
    return DetectionTable(
        image_index=image,
        labels=np.concatenate([truth.labels[hit], rng.choice(NUM_CLASSES, len(false_image))]),
        boxes=np.concatenate([boxes, away]),
        scores=np.concatenate([rng.beta(5, 2.5, len(hit)), rng.beta(2.5, 4, len(false_image))]),
        ids=np.arange(len(image)),
    )


def coverage(num_datasets: int, num_images: int, num_replicates: int, population: int = POPULATION) -> dict[str, float]:
    """Returns the share of intervals that contain the truth, by what they are of and how they were made."""
    rng = np.random.default_rng(0)
    found, truth = draw(rng, population)
    known = [jaxmap.evaluate(one, truth).summary for one in found]
    inside: Counter[str] = Counter()
    for seed in range(num_datasets):
        found, truth = draw(rng, num_images)
        runs = [jaxmap.evaluate(one, truth) for one in found]
        numbers = runs[0].bootstrap(num_replicates, seed=seed).summary
        changes = jaxmap.compare(*runs, num_replicates=num_replicates, seed=seed, permutation=False).summary["B"]
        for name in NUMBERS:
            change = known[1][name] - known[0][name]
            for what, one, value in (
                (name, numbers[name], known[0][name]),
                (f"difference of {name}", changes[name].difference, change),
            ):
                inside[f"{what}, BCa"] += one.low <= value <= one.high
                inside[f"{what}, percentile"] += one.percentile_low <= value <= one.percentile_high
    return {name: count / num_datasets for name, count in inside.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the share of intervals that contain the truth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, default=500)
    parser.add_argument("--images", type=int, default=300, help="of each dataset")
    parser.add_argument("--replicates", type=int, default=1000)
    options = parser.parse_args(arguments)
    print(f"{options.datasets} datasets of {options.images} images, {options.replicates} replicates, 95 % intervals")
    for name, share in coverage(options.datasets, options.images, options.replicates).items():
        print(f"{name:<32} {share:.1%}")


if __name__ == "__main__":
    main()
