"""COCO files as a loop sees them: padded float32 arrays, and the same float32 numbers back in the form of the files."""

from __future__ import annotations

from typing import Any

import numpy as np

import jaxmap
from jaxmap import io


def pad_coco(
    dataset: dict[str, Any],
    results: list[dict[str, Any]],
    *,
    num_images: int | None = None,
    num_detections: int | None = None,
    num_ground_truths: int | None = None,
) -> tuple[jaxmap.Detections, jaxmap.GroundTruths]:
    """Returns NumPy arrays `[I, D, ...]` and `[I, G, ...]`: xywh, labels from 0, images by id; padding holds NaN.

    Args:
      dataset, results: the content of the files.
      num_images, num_detections, num_ground_truths: I, D and G; by default as many as there are.
    """
    truth = io.coco_ground_truths(dataset)
    found = io.coco_detections(results, truth)
    num_images = len(truth.image_ids) if num_images is None else num_images
    return (
        jaxmap.Detections(
            **_pad(
                found.image_index,
                num_images,
                num_detections,
                boxes=found.boxes.astype(np.float32),
                scores=found.scores.astype(np.float32),
                labels=found.labels.astype(np.int32),
            )
        ),
        jaxmap.GroundTruths(
            **_pad(
                truth.image_index,
                num_images,
                num_ground_truths,
                boxes=truth.boxes.astype(np.float32),
                labels=truth.labels.astype(np.int32),
                area=truth.area.astype(np.float32),
                crowd=truth.crowd,
            )
        ),
    )


def round_coco(dataset: dict[str, Any], results: list[dict[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns the files' content with every box, area and score rounded to float32."""

    def rounded(row: dict[str, Any]) -> dict[str, Any]:
        numbers = {name: float(np.float32(row[name])) for name in ("area", "score") if name in row}
        return row | numbers | {"bbox": [float(np.float32(value)) for value in row["bbox"]]}

    annotations = [rounded(row) for row in dataset["annotations"]]
    return {**dataset, "annotations": annotations}, [rounded(row) for row in results]


def _pad(image: np.ndarray, num_images: int, length: int | None, **columns: np.ndarray) -> dict[str, np.ndarray]:
    """Returns `[num_images, length, ...]` columns and `valid`; rows keep their order within an image."""
    order = np.argsort(image, kind="stable")
    image = image[order]
    place = np.arange(len(image)) - np.searchsorted(image, image)
    length = int(place.max(initial=-1)) + 1 if length is None else length
    padded = {"valid": np.zeros((num_images, length), bool)}
    padded["valid"][image, place] = True
    for name, column in columns.items():
        fill = np.nan if column.dtype.kind == "f" else True if column.dtype.kind == "b" else -7
        padded[name] = np.full((num_images, length, *column.shape[1:]), fill, column.dtype)
        padded[name][image, place] = column[order]
    return padded
