"""LVIS annotation files to tables: COCO's format, with verified classes per image and frequencies of classes.

Only LVIS's additions are here; its results files are COCO's (`read_coco_detections`). The verified classes of an image
are those of its annotations and its `neg_category_ids`; those of its `not_exhaustive_category_ids` may not be annotated
completely. Annotations with an area of 0 are dropped.

References: lvis-api eval.py, `LVISEval._prepare`, `evaluate_img`; lvis.py, `get_ann_ids`; results.py. Deviations: an
annotation with the id 0 counts like any other; a result of a category that the ground truths do not list does not count
towards the limit of 300 per image.
"""

from __future__ import annotations

import dataclasses
import reprlib
import warnings
from collections.abc import Mapping
from itertools import chain, compress
from typing import Any

import numpy as np

from ..protocols import LVIS
from ..types import Bools, GroundTruthTable
from ._coco import ground_truth_columns, ground_truth_layouts, ground_truth_table, read_ground_truth_columns
from ._coco_shapes import names_of
from ._files import PathLike
from ._identifiers import identifier, index_of
from ._json import Entries
from ._json_fast import Columns, Layout

__all__ = ["lvis_ground_truths", "read_lvis_ground_truths"]

_NEGATIVE, _NOT_EXHAUSTIVE = "neg_category_ids", "not_exhaustive_category_ids"


def read_lvis_ground_truths(path: PathLike, *, iou_type: str = "bbox") -> GroundTruthTable:
    """Reads an LVIS annotation file; `read_coco_detections` reads its results.

    Args:
      path: a JSON file, plain or gzip-compressed.
      iou_type: what will be compared, which decides the fields to read: boxes or masks. LVIS reports `segm` first.

    Returns:
      One row per annotation of a known category, in the order of the file.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is not JSON, or not as described in `lvis_ground_truths`.
    """
    columns = read_ground_truth_columns(path, _layouts(iou_type))
    columns["annotations"] = _with_area(columns["annotations"], str(path))
    return _with_federation(ground_truth_table(columns, iou_type, str(path)), columns, str(path))


def lvis_ground_truths(
    data: Mapping[str, Any], *, iou_type: str = "bbox", source: str = "ground truths"
) -> GroundTruthTable:
    """Returns the table of a parsed LVIS annotation file.

    Args:
      data: as in `coco_ground_truths`. Images also have the lists `neg_category_ids` and `not_exhaustive_category_ids`,
        and categories their `frequency`, `r`, `c` or `f`. Annotations may have `ignore`; `iscrowd` is not read, because
        LVIS has no crowds.
      iou_type: what will be compared, which decides the fields to read: boxes or masks.
      source: the name of the data in messages.

    Returns:
      One row per annotation of a known category with an area above 0, in their order, with `verified`, `not_exhaustive`
      and `class_group`.

    Raises:
      ValueError: as in `coco_ground_truths`, or if one of these fields is missing or has a wrong type.

    Example:
      >>> table = lvis_ground_truths({
      ...     "images": [{"id": 7, "neg_category_ids": [2], "not_exhaustive_category_ids": [1]}],
      ...     "categories": [{"id": 1, "frequency": "f"}, {"id": 2, "frequency": "r"}, {"id": 3, "frequency": "r"}],
      ...     "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [0, 0, 20, 10], "area": 150}],
      ... })
      >>> table.verified.tolist(), table.not_exhaustive.tolist(), table.class_group.tolist()
      ([[True, True, False]], [[True, False, False]], ['f', 'r', 'r'])
    """
    columns = ground_truth_columns(data, _layouts(iou_type), source)
    columns["annotations"] = _with_area(columns["annotations"], source)
    return _with_federation(ground_truth_table(columns, iou_type, source), columns, source)


def _layouts(iou_type: str) -> dict[str, Layout]:
    if iou_type not in (known := names_of("boxes", "masks")):
        *others, last = known
        raise ValueError(f"`iou_type` must be {', '.join(others)} or {last} for LVIS files, got {iou_type!r}.")
    layouts = ground_truth_layouts(iou_type)
    layouts["images"] = layouts["images"] | {_NEGATIVE: Entries.objects, _NOT_EXHAUSTIVE: Entries.objects}
    layouts["categories"] = layouts["categories"] | {"frequency": Entries.objects}
    annotations = {field: reader for field, reader in layouts["annotations"].items() if field != "iscrowd"}
    layouts["annotations"] = annotations | {"ignore": Entries.flags}
    return layouts


def _with_area(annotations: Columns, source: str) -> Columns:
    """Returns the annotations with an area above 0, or without an area."""
    kept = ~(annotations["area"] <= 0)
    if not kept.all():
        warnings.warn(
            f"{source}: ignored {int((~kept).sum())} of {len(kept)} `annotations`, whose `area` is not above 0.",
            UserWarning,
            stacklevel=3,
        )
    return {
        field: column[kept] if isinstance(column, np.ndarray) else list(compress(column, kept))
        for field, column in annotations.items()
    }


def _with_federation(table: GroundTruthTable, columns: Mapping[str, Columns], source: str) -> GroundTruthTable:
    """Returns the table with LVIS's additions: verified and not exhaustive classes, and frequencies."""
    images, categories = columns["images"], columns["categories"]
    image_index, _ = index_of(images["id"], table.image_ids)

    def flags(field: str) -> Bools:
        lists = images[field]
        for row, ids in enumerate(lists):
            plain = isinstance(ids, list) and {int, str}.issuperset(map(type, ids))
            if not plain and (not isinstance(ids, list) or None in map(identifier, ids)):
                raise ValueError(
                    f"{source}: `images[{row}].{field}` must be a list of category ids, got {reprlib.repr(ids)}."
                )
        flat = Entries(items=[{field: one} for one in chain.from_iterable(lists)], name="images", source=source)
        label, known = index_of(flat.identifiers(field), table.class_ids)
        result = np.zeros((len(table.image_ids), len(table.class_ids)), bool)
        result[np.repeat(image_index, list(map(len, lists)))[known], label[known]] = True
        return result

    verified = flags(_NEGATIVE)
    verified[table.image_index, table.labels] = True
    frequency = categories["frequency"]
    for row, group in enumerate(frequency):
        if group not in LVIS.class_groups:
            raise ValueError(
                f"{source}: `categories[{row}].frequency` must be one of {list(LVIS.class_groups)}, got "
                f"{reprlib.repr(group)}."
            )
    class_group = np.array(frequency)[np.argsort(categories["id"])]
    return dataclasses.replace(table, verified=verified, not_exhaustive=flags(_NOT_EXHAUSTIVE), class_group=class_group)
