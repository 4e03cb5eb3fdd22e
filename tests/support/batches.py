"""One small dataset as a loop sees it: padded float32 batches in no order, and the numbers they must come to."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

import jaxmap
from support.scenes import pad, random_scene

NUM_IMAGES = 12


@functools.cache
def dataset() -> tuple[jaxmap.Detections, jaxmap.GroundTruths]:
    """Twelve images of one class with crowds and 44 tied scores; boxes are xywh, rows of padding hold NaN."""
    scene = random_scene(np.random.default_rng(3048), default_options=True)
    narrow = {"f": np.float32, "i": np.int32, "b": np.bool_}
    found, truth = (
        {name: column.astype(narrow[column.dtype.kind]) for name, column in pad(side).items()} for side in scene.lists()
    )
    for side in (found, truth):
        side["boxes"][..., 2:] = np.abs(side["boxes"][..., 2:])  # sides are negative in places, which metrics warn of
    assert len(found["boxes"]) == NUM_IMAGES
    return jaxmap.Detections(**found), jaxmap.GroundTruths(**truth)


def metric(max_images: int = NUM_IMAGES) -> jaxmap.AveragePrecision:
    """Returns the metric whose slots the dataset fills to the last."""
    found, truth = dataset()
    return jaxmap.AveragePrecision(
        num_classes=1,
        max_images=max_images,
        max_detections_per_image=found.boxes.shape[1],
        max_ground_truths_per_image=truth.boxes.shape[1],
        box_format="xywh",
    )


@functools.cache
def expected() -> dict[str, float]:
    """The numbers of `jaxmap.evaluate` on the same float32 arrays."""
    summary = jaxmap.evaluate(*dataset(), box_format="xywh", num_classes=1).summary
    assert 0 < summary["AP"] < summary["AP50"] < 1
    return summary


def batches(size: int = 5) -> Iterator[dict[str, Any]]:
    """Yields the keywords of each step; the last batch is filled up with images that `mask` marks as padding."""
    found, truth = dataset()
    order = np.random.default_rng(0).permutation(NUM_IMAGES)
    padding = -NUM_IMAGES % size
    images = np.append(order, order[:padding]).astype(np.int32)
    mask = (np.arange(len(images)) < NUM_IMAGES).astype(np.float32)
    for start in range(0, len(images), size):
        rows = images[start : start + size]
        detections, ground_truths = jax.tree.map(lambda column, rows=rows: column[rows], (found, truth))
        yield {
            "detections": detections,
            "ground_truths": ground_truths,
            "image_id": rows,
            "mask": mask[start : start + size],
            "loss": rows.astype(np.float32),
        }


def assert_expected(numbers: dict[str, float], *, num_padded_images: int = 3) -> None:
    """Asserts that the numbers are those of `evaluate`, to the last bit, and that every image was seen once."""
    assert {name: numbers[name] for name in expected()} == expected()
    counters = {name: value for name, value in numbers.items() if name.startswith("num_") and value}
    assert counters == {"num_images": NUM_IMAGES, "num_padded_images": num_padded_images}
