"""Masks for the boxes of a load: wavy ellipses that fill their boxes, as COCO's compressed run-length encodings."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["add_masks"]

WAVES = 0.12  # of the half height, in three waves around
ROUGHNESS = 0.04  # and what each column is off by itself, as the masks of a network are


def add_masks(rows: list[dict[str, Any]], image_sizes: np.ndarray, seed: int) -> None:
    """Gives every object a `segmentation` inside its `bbox`, and an `area`; what lies outside its image is empty.

    Args:
      rows: N objects as a file holds them.
      image_sizes: `[N, 2]`, width and height of the image of each.
      seed: of the outlines.
    """
    from pycocotools import mask

    rng = np.random.default_rng(seed)
    phases = rng.uniform(0, 2 * np.pi, len(rows)).tolist()
    for row, (width, height), phase in zip(rows, image_sizes.tolist(), phases, strict=True):
        x, y, w, h = row["bbox"]
        columns = np.arange(max(int(x), 0), min(int(np.ceil(x + w)), width))
        across = np.clip((columns + 0.5 - x - w / 2) / (w / 2), -1, 1) if len(columns) else columns
        wave = 1 - WAVES + WAVES * np.sin(3 * np.pi * across + phase) + rng.normal(0, ROUGHNESS, len(columns))
        half = h / 2 * np.sqrt(1 - across**2) * wave
        top = np.clip(np.round(y + h / 2 - half), 0, height).astype(int)
        bottom = np.clip(np.round(y + h / 2 + half), top, height).astype(int)
        filled = bottom > top
        starts, stops = (columns * height + top)[filled], (columns * height + bottom)[filled]
        edges = np.stack([starts, stops], axis=1).ravel()
        counts = np.diff(np.concatenate([[0], edges, [width * height]]))
        encoded = mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
        row["segmentation"] = {"size": encoded["size"], "counts": encoded["counts"].decode()}
        row["area"] = int((stops - starts).sum())
