"""The confusion matrix of masks and keypoints: inside `jit` it counts as the host does."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmap
from jaxmap.metrics import ConfusionMatrix
from support.scenes import odd_scenes

pytestmark = odd_scenes

SIDE = 40


def shapes(rng: np.random.Generator, iou_type: str, centres: np.ndarray) -> dict[str, np.ndarray]:
    """Squares of 12 pixels around the centres, or keypoints near them."""
    low = np.round(centres - 6)
    boxes = np.concatenate([low, low + 12], axis=-1)
    if iou_type == "keypoints":
        places = centres[:, None] + rng.normal(0, 4, (len(centres), 17, 2))
        return {"keypoints": np.concatenate([places, np.ones((len(centres), 17, 1))], -1), "boxes": boxes}
    y, x = np.mgrid[:SIDE, :SIDE]
    inside = [(x >= x0) & (x < x1) & (y >= y0) & (y < y1) for x0, y0, x1, y1 in boxes]
    return {"masks": np.stack(inside)}


@pytest.mark.parametrize("iou_type", ["segm", "keypoints"])
def test_counts_equal_the_host(iou_type: str) -> None:
    protocol = jaxmap.COCO_KEYPOINTS if iou_type == "keypoints" else jaxmap.COCO.customize(iou_type=iou_type)
    found: dict[str, list[Any]] = {}
    truth: dict[str, list[Any]] = {}
    for seed in range(6):
        rng = np.random.default_rng(seed)
        centres = rng.uniform(6, SIDE - 6, (5, 2))
        near = np.clip(centres + rng.normal(0, 6, centres.shape), 6, SIDE - 6)
        sides = ((found, near, {"scores": rng.random(5)}), (truth, centres, {"area": np.full(5, 3000.0)}))
        for side, places, more in sides:
            rows = shapes(rng, iou_type, places) | {"labels": rng.integers(0, 2, 5)} | more
            if side is found:
                rows.pop("boxes", None)
            for name, values in rows.items():
                side.setdefault(name, []).append(values)
    sides = [{name: np.stack(values).astype(np.float32) for name, values in side.items()} for side in (found, truth)]
    for side in sides:
        side |= {name: side[name].astype(np.int32) for name in ("labels", "masks") if name in side}
    sides[1]["crowd"] = np.arange(5) == np.zeros((6, 1))
    metric = ConfusionMatrix(num_classes=2, protocol=protocol, iou_threshold=0.3)
    arrays = [{name: jnp.asarray(values) for name, values in side.items()} for side in sides]
    batch = jaxmap.Detections(**arrays[0]), jaxmap.GroundTruths(**arrays[1])
    state = jax.jit(metric.update)(metric.init(), *batch, image_id=jnp.arange(6))
    expected = jaxmap.confusion_matrix(*sides, protocol=protocol, iou_threshold=0.3, num_classes=2)
    assert np.array_equal(state.counts, expected.counts)
    assert expected.counts[:2, :2].sum() > 5
    assert expected.counts[2].sum() > 0
    assert int(state.num_left_out) > 0
