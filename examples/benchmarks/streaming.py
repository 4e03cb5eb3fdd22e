"""Batches of predictions on a device, fetched and scored by hotcoco."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

import jaxmap

__all__ = ["annotations", "categories", "quiet", "rows", "stream"]


def stream(
    data: Sequence[tuple[Any, ...]], known: Sequence[tuple[Any, Any]], num_classes: int, *, summarizes: bool = True
) -> Any:
    """Fetches batches one after another, gives them to a new `StreamingEval`, and returns it.

    Args:
      data: detections, ground truths and image ids of each batch.
      known: of each batch, what `annotations` returns.
      num_classes: K.
      summarizes: whether to score them.
    """
    from hotcoco import StreamingEval

    evaluator = StreamingEval(categories(num_classes))
    for (found, _, ids), (images, truth) in zip(data, known, strict=True):
        evaluator.update(images, truth, rows(*jax.device_get((found, ids))))
    if summarizes:
        evaluator = evaluator.finalize()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator


def categories(num_classes: int) -> list[dict[str, Any]]:
    """Returns the categories as a COCO file holds them."""
    return [{"id": label + 1, "name": f"class {label}"} for label in range(num_classes)]


def rows(found: jaxmap.Detections, ids: np.ndarray) -> np.ndarray:
    """Returns fetched detections as hotcoco takes them: image id, x, y, width, height, score, category id."""
    valid = np.asarray(found.valid)
    image = np.broadcast_to(ids[:, None], valid.shape)
    columns = image[..., None], found.boxes, found.scores[..., None], found.labels[..., None] + 1
    return np.concatenate([np.asarray(column)[valid] for column in columns], axis=1, dtype=np.float64)


def annotations(truth: jaxmap.GroundTruths, ids: np.ndarray) -> tuple[list[Any], list[Any]]:
    """Returns the images and the annotations of a batch as a COCO file holds them."""
    images = [{"id": int(image), "width": 640, "height": 640} for image in ids]
    columns = (np.asarray(column).tolist() for column in (truth.boxes, truth.labels, truth.area, truth.crowd))
    filled, slots = np.asarray(truth.valid).tolist(), truth.valid.shape[1]
    rows = [
        {
            "id": 1 + int(image) * slots + place,
            "image_id": int(image),
            "category_id": label + 1,
            "bbox": box,
            "area": area,
            "iscrowd": int(crowd),
        }
        for image, valid, *columns_of_image in zip(ids, filled, *columns, strict=True)
        for place, (box, label, area, crowd) in enumerate(zip(*columns_of_image, strict=True))
        if valid[place]
    ]
    return images, rows


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Sends what is printed inside, also by native code, nowhere."""
    sys.stdout.flush()
    kept = os.dup(1)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
