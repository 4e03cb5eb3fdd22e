"""Whole datasets are worked through in blocks; where they are cut changes no bit."""

from __future__ import annotations

import numpy as np
import pytest

import jaxmap
from jaxmap._candidates import _host as _candidates
from jaxmap._curves import _host as _curves


def crowded(seed: int) -> tuple[list[dict[str, np.ndarray]], list[dict[str, np.ndarray]]]:
    """Three images of two classes; boxes near each other in a small field, with crowds, ties and boxes without size."""
    rng = np.random.default_rng(seed)
    sides = []
    for count in (60, 25):
        images = []
        for _ in range(3):
            low = rng.integers(0, 40, (count, 2)) / 2
            size = rng.integers(0, 16, (count, 2)) / 2
            image = {"boxes": np.concatenate([low, low + size], axis=1), "labels": rng.integers(0, 2, count)}
            images.append(image)
        sides.append(images)
    found, truth = sides
    for image in found:
        image["scores"] = rng.integers(0, 9, len(image["labels"])) / 8
    for image in truth:
        image["crowd"] = rng.random(len(image["labels"])) < 0.1
        wide = image["crowd"] & (rng.random(len(image["labels"])) < 0.5)
        image["boxes"][wide, 2:] += 20
    return found, truth


BLOCKS = {
    "candidates": {(_candidates, "PAIRS_AT_ONCE"): 7},
    "curves": {(_curves, "CELLS_AT_ONCE"): 3000, (_curves, "ROWS_AT_ONCE"): 5},
    "thresholds": {(_curves, "CELLS_AT_ONCE"): 50},
}


@pytest.mark.parametrize("protocol", ["coco", "all-point", "voc2007"])
@pytest.mark.parametrize("blocks", BLOCKS)
def test_blocks_change_no_bit(protocol: str, blocks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = [crowded(seed) for seed in range(8)]
    whole = [jaxmap.evaluate(*scene, protocol=protocol) for scene in scenes]
    for (module, name), size in BLOCKS[blocks].items():
        monkeypatch.setattr(module, name, size)
    for scene, expected in zip(scenes, whole, strict=True):
        in_blocks = jaxmap.evaluate(*scene, protocol=protocol)
        for name in ("precision", "recall", "scores"):
            np.testing.assert_array_equal(getattr(in_blocks, name), getattr(expected, name), err_msg=name)
        np.testing.assert_array_equal(in_blocks.matched.chosen, expected.matched.chosen)
        np.testing.assert_array_equal(in_blocks.matched.pairs.similarity, expected.matched.pairs.similarity)
