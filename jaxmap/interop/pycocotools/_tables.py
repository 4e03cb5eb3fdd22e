"""The rows of pycocotools' datasets, completed as in its `loadRes`, and converted to tables.

References: pycocotools coco.py, `COCO.loadRes`, `COCO.annToRLE`; cocoeval.py, `COCOeval._prepare`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..._geometry._rle import box_polygon
from ...io._coco_shapes import CocoShapes, coco_shapes
from ...io._json import Entries
from ...types import DetectionTable, GroundTruthTable, Ints

__all__ = ["complete_results", "detection_table", "ground_truth_table", "segmentation_of"]

Row = dict[str, Any]
Images = Mapping[Any, Mapping[str, Any]]
Places = Mapping[Any, int]


def complete_results(rows: list[Row], images: Images) -> list[Row]:
    """Returns copies of results with `id`, `iscrowd`, `area` and `bbox`; the first one decides the source of the area.

    Captions only get an `id`.

    Args:
      rows: the results in order; their ids are 1, 2, ...
      images: the images by id.

    Raises:
      ValueError: if a result lacks a field that the first one has, or its geometry is invalid.
    """
    if not rows:
        return []
    entries = Entries(items=rows, name="results", source="loadRes")
    if "caption" in rows[0]:
        return [{**row, "id": number} for number, row in enumerate(rows, 1)]
    if np.size(rows[0].get("bbox", ())):
        sides = entries.boxes("bbox")[:, 2:]
        added = {"area": (sides[:, 0] * sides[:, 1]).tolist()}
    else:
        iou_type = "segm" if "segmentation" in rows[0] else "keypoints" if "keypoints" in rows[0] else None
        if iou_type is None:
            raise ValueError(
                "loadRes: `results[0]` must have a `bbox`, a `segmentation`, `keypoints` or a `caption`, got only "
                f"{sorted(map(str, rows[0]))}."
            )
        shapes = _detection_shapes(entries, iou_type, images)
        added = {"area": shapes["area"].tolist(), "bbox": shapes["boxes"].tolist()}
        if iou_type == "segm":
            added["bbox"] = [row.get("bbox", box) for row, box in zip(rows, added["bbox"], strict=True)]
    columns = (dict(zip(added, values, strict=True)) for values in zip(*added.values(), strict=True))
    return [
        {**row, **values, "id": number, "iscrowd": 0}
        for number, (row, values) in enumerate(zip(rows, columns, strict=True), 1)
    ]


def segmentation_of(row: Row) -> Any:
    """Returns the `segmentation` of an annotation; if it has only a box, the box as a polygon."""
    if "segmentation" in row or "bbox" not in row:
        return row["segmentation"]
    return box_polygon(row["bbox"])


def detection_table(rows: list[Row], images: Images, places: tuple[Places, Places], iou_type: str) -> DetectionTable:
    """Returns the table of results.

    Args:
      rows: the results, as returned by `complete_results`.
      images: the images by id.
      places: the indices of image ids and of category ids on their axes.
      iou_type: what will be compared.

    Raises:
      ValueError: if a row lacks a required field; the message names the row.
    """
    entries = Entries(items=rows, name="annotations", source="cocoDt")
    shapes = _detection_shapes(entries, iou_type, images)
    if all("area" in row for row in rows):
        shapes["area"] = entries.numbers("area")
    return DetectionTable(
        image_index=_places(rows, "image_id", places[0]),
        labels=_places(rows, "category_id", places[1]),
        scores=entries.numbers("score"),
        ids=np.arange(len(rows)),
        **shapes,
    )


def ground_truth_table(
    rows: list[Row], images: Images, places: tuple[Places, Places], iou_type: str
) -> GroundTruthTable:
    """Returns the table of annotations; arguments and errors as in `detection_table`."""
    entries = Entries(items=rows, name="annotations", source="cocoGt")
    kind = coco_shapes(iou_type)
    layout = {"id": Entries.names, "area": Entries.numbers} | kind.annotations
    columns = {field: read(entries, field) for field, read in layout.items()}
    shapes = kind.of_annotations(columns, *_sizes(entries, kind, images), entries.source, True)
    image_places, class_places = places
    return GroundTruthTable(
        image_index=_places(rows, "image_id", image_places),
        labels=_places(rows, "category_id", class_places),
        crowd=entries.flags("iscrowd"),
        ids=np.arange(len(rows)),
        image_ids=np.arange(len(image_places)),
        class_ids=np.arange(len(class_places)),
        class_names=tuple(map(str, class_places)),
        **shapes,
    )


def _detection_shapes(entries: Entries, iou_type: str, images: Images) -> dict[str, Any]:
    kind = coco_shapes(iou_type)
    columns = {field: read(entries, field) for field, read in kind.results.items()}
    return kind.of_results(columns, *_sizes(entries, kind, images), entries.source)


def _sizes(entries: Entries, kind: CocoShapes, images: Images) -> tuple[Ints, Ints | None]:
    """Returns the index of the image size of each row, and the sizes, which only masks need."""
    ids = [row["image_id"] for row in entries.items]
    place = {image_id: index for index, image_id in enumerate(dict.fromkeys(ids))}
    index = np.array([place[image_id] for image_id in ids], np.int64)
    if not kind.images.keys() >= {"height", "width"}:
        return index, None
    sizes = Entries(items=[images[image_id] for image_id in place], name="images", source=entries.source)
    return index, np.stack([sizes.integers("height"), sizes.integers("width")], axis=1)


def _places(rows: list[Row], field: str, places: Places) -> Ints:
    return np.array([places[row[field]] for row in rows], np.int64)
