"""Tables to COCO's detection files; reading them gives the same numbers, bit for bit: the inverse of `_coco.py`.

Reference: the data format at cocodataset.org; lvis-api lvis.py for LVIS's additions. What these files cannot hold is
refused, so that no number changes unnoticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .._geometry._keypoints import keypoints_extent, num_labelled
from .._geometry._rle import coco_masks
from ..protocols import LVIS
from ..types import Bools, DetectionTable, GroundTruthTable, HostArray, Ints

__all__ = ["to_coco_ground_truths", "to_coco_results"]

_MOST = 2**53  # of ids, which other programs may read as doubles


def to_coco_ground_truths(ground_truths: GroundTruthTable) -> dict[str, Any]:
    """Returns ground truths as the content of a COCO annotation file; the inverse of `coco_ground_truths`.

    Ids that are no whole numbers are replaced by 1, 2, ... in their order: those of images, which then have theirs as
    `file_name` unless they have one, and of classes. So are the ids of annotations if they are not distinct and above
    0. Masks are written run-length encoded.

    Args:
      ground_truths: a table, as the readers in `jaxmap.io` return. With LVIS's verified classes and frequencies, the
        content is that of an LVIS file, which `lvis_ground_truths` reads.

    Returns:
      An object with `images`, `categories` and `annotations`, of plain Python values.

    Raises:
      ValueError: if COCO's files cannot hold the table: oriented boxes; ignored objects, as VOC's difficult ones;
        verified classes or groups of classes that are not LVIS's.

    Example:
      >>> from jaxmap.io import demo_scene
      >>> _, truth = demo_scene(num_images=3)
      >>> content = to_coco_ground_truths(truth)
      >>> content["images"][0], content["categories"][1]
      ({'id': 1, 'height': 480, 'width': 640}, {'id': 2, 'name': 'car'})
      >>> sorted(content["annotations"][0])
      ['area', 'bbox', 'category_id', 'id', 'image_id', 'iscrowd']
    """
    truth, lvis = ground_truths, _is_lvis(ground_truths)
    _refuse(truth, lvis)
    image_ids, class_ids = _whole_ids(truth.image_ids), _whole_ids(truth.class_ids)
    images: dict[str, Sequence[Any]] = {"id": image_ids}
    if truth.image_files is not None:
        images["file_name"] = truth.image_files.tolist()
    elif truth.image_ids.dtype.kind not in "iu":
        images["file_name"] = truth.image_ids.tolist()
    if truth.image_sizes is not None:
        images["height"], images["width"] = truth.image_sizes.T.tolist()
    if truth.crowd_index is not None:
        images["crowdIndex"] = truth.crowd_index.tolist()
    categories: dict[str, Sequence[Any]] = {"id": class_ids, "name": truth.class_names}
    ids = truth.ids if _are_annotation_ids(truth.ids) else np.arange(1, len(truth.ids) + 1)
    annotations = {"id": ids.tolist()} | _places(truth, image_ids, class_ids) | {"area": truth.area.tolist()}
    annotations |= _shapes(truth) | {"bbox": truth.boxes.tolist()}
    if truth.keypoints is not None:  # objects without labelled keypoints are ignored
        annotations["num_keypoints"] = np.where(truth.ignore, 0, np.maximum(num_labelled(truth.keypoints), 1)).tolist()
    if lvis is None:
        annotations["iscrowd"] = truth.crowd.astype(int).tolist()
    else:
        labelled = np.zeros_like(lvis.verified)
        labelled[truth.image_index, truth.labels] = True
        images["neg_category_ids"] = _listed(lvis.verified & ~labelled, class_ids)
        images["not_exhaustive_category_ids"] = _listed(lvis.not_exhaustive, class_ids)
        categories["frequency"] = lvis.frequency.tolist()
        annotations["ignore"] = truth.ignore.astype(int).tolist()
    return {"images": _rows(images), "categories": _rows(categories), "annotations": _rows(annotations)}


def to_coco_results(detections: DetectionTable, ground_truths: GroundTruthTable) -> list[dict[str, Any]]:
    """Returns detections as the content of a COCO results file; the inverse of `coco_detections`.

    Args:
      detections: a table that was read with these ground truths.
      ground_truths: the ground truths, whose ids are replaced as by `to_coco_ground_truths`.

    Returns:
      One object per detection with `image_id`, `category_id`, `score` and its shape, of plain Python values.

    Raises:
      ValueError: if COCO's files cannot hold the table: oriented boxes, or areas other than those of the shapes.
    """
    found = detections
    if found.oriented is not None:
        raise ValueError(_NO_ORIENTED.format("detections"))
    shapes = _shapes(found) or {"bbox": found.boxes.tolist()}
    if found.area is not None:
        boxes = found.boxes if found.keypoints is None else keypoints_extent(found.keypoints)
        area = boxes[:, 2] * boxes[:, 3] if found.masks is None else found.masks.area
        if other := np.count_nonzero(found.area != area):
            raise ValueError(
                f"`detections`: {other} of {len(area)} have another area than their shape, as if a results file has "
                "boxes beside masks or keypoints; COCO's files cannot hold it. Remove `bbox` from the results."
            )
    image_ids, class_ids = _whole_ids(ground_truths.image_ids), _whole_ids(ground_truths.class_ids)
    return _rows(_places(found, image_ids, class_ids) | shapes | {"score": found.scores.tolist()})


class _Lvis(NamedTuple):
    """What LVIS's files have in addition."""

    verified: Bools  # [I, K]
    not_exhaustive: Bools  # [I, K]
    frequency: HostArray  # [K]


_NO_ORIENTED = "`{}` have oriented boxes, which COCO's files cannot hold; keep the files in the format of DOTA."


def _is_lvis(truth: GroundTruthTable) -> _Lvis | None:
    """Returns LVIS's additions, if the table has all of them and nothing that LVIS's files cannot hold."""
    verified, not_exhaustive, groups = truth.verified, truth.not_exhaustive, truth.class_group
    if verified is None or not_exhaustive is None or groups is None or truth.keypoints is not None:
        return None
    if truth.crowd.any() or (truth.area <= 0).any() or not np.isin(groups, LVIS.class_groups).all():
        return None
    return _Lvis(verified, not_exhaustive, groups)


def _refuse(truth: GroundTruthTable, lvis: _Lvis | None) -> None:
    """Refuses what COCO's files cannot hold, and LVIS's if it is not in one."""
    if truth.oriented is not None:
        raise ValueError(_NO_ORIENTED.format("ground_truths"))
    if lvis is not None:
        return
    ignored = 0 if truth.keypoints is not None else np.count_nonzero(truth.ignore)
    own = "keep the files in their own format"
    of_ignored = (
        "mark them as crowds, or leave them out, as `jaxmap convert --ignored` does, and the numbers may differ"
    )
    faults = [
        (
            ignored > 0,
            f"{ignored} of {len(truth.ignore)} objects are ignored, such as VOC's difficult ones",
            of_ignored,
        ),
        (truth.verified is not None and not truth.verified.all(), "not all classes are verified in all images", own),
        (truth.not_exhaustive is not None and truth.not_exhaustive.any(), "not all objects may be annotated", own),
        (truth.class_group is not None and any(truth.class_group.tolist()), "classes have groups", own),
    ]
    for is_there, fault, advice in faults:
        if is_there:
            raise ValueError(f"`ground_truths`: {fault}, which COCO's files cannot hold; {advice}.")


def _places(table: DetectionTable | GroundTruthTable, image_ids: list[int], class_ids: list[int]) -> dict[str, Any]:
    return {
        "image_id": np.array(image_ids, np.int64)[table.image_index].tolist(),
        "category_id": np.array(class_ids, np.int64)[table.labels].tolist(),
    }


def _shapes(table: DetectionTable | GroundTruthTable) -> dict[str, Any]:
    """Returns the fields of masks or keypoints; none for boxes."""
    if table.masks is not None:
        return {"segmentation": [one | {"counts": one["counts"].decode()} for one in coco_masks(table.masks)]}
    if table.keypoints is not None:
        num_rows, num_keypoints, _ = table.keypoints.shape
        return {"keypoints": table.keypoints.reshape(num_rows, 3 * num_keypoints).tolist()}
    return {}


def _whole_ids(ids: HostArray) -> list[int]:
    """Returns ids of images or classes as they are, or 1, 2, ... for text."""
    whole: list[int] = ids.tolist() if ids.dtype.kind in "iu" else list(range(1, len(ids) + 1))
    return whole


def _are_annotation_ids(ids: HostArray) -> bool:
    is_whole = ids.dtype.kind in "iu" and len(ids) > 0 and ids.min() > 0 and ids.max() < _MOST
    return bool(is_whole) and len(np.unique(ids)) == len(ids)


def _listed(flags: Bools, class_ids: list[int]) -> list[list[int]]:
    """Returns the ids of the classes with a flag, for each image."""
    ids: Ints = np.array(class_ids, np.int64)
    return [ids[row].tolist() for row in flags]


def _rows(columns: dict[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Returns one object per row, without fields that are None."""
    rows = (zip(columns, values, strict=True) for values in zip(*columns.values(), strict=True))
    return [{name: value for name, value in row if value is not None} for row in rows]
