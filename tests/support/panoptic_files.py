"""COCO panoptic files made by a test."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
from PIL import Image

CATEGORIES = [
    {"id": 18, "name": "dog", "isthing": 1},
    {"id": 1, "name": "person", "isthing": 1},
    {"id": 184, "name": "tree", "isthing": 0},
]


def write_png(path: pathlib.Path, segments: Any) -> None:
    """Writes a map of segment ids: red is the lowest byte."""
    ids = np.asarray(segments)
    Image.fromarray(np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)).save(path)


def write_panoptic(path: pathlib.Path, images: dict[Any, tuple[Any, list[dict[str, Any]]]], **content: Any) -> str:
    """Writes `path`, and the PNG files beside it; an image is its map and its `segments_info`."""
    folder = path.with_suffix("")
    folder.mkdir(exist_ok=True)
    for image_id, (segments, _) in images.items():
        write_png(folder / f"{image_id}.png", segments)
    annotations = [
        {"image_id": image_id, "file_name": f"{image_id}.png", "segments_info": rows}
        for image_id, (_, rows) in images.items()
    ]
    path.write_text(json.dumps({"categories": CATEGORIES, "annotations": annotations} | content))
    return str(path)
