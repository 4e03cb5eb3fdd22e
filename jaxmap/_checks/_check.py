"""All checks of ground truths and detections."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .._geometry import GEOMETRIES, geometry_of
from .._geometry._record import Geometry
from .._inputs._misread import misread, misread_images
from ..types import DetectionTable, GroundTruthTable, HostArray
from ._findings import DataCheck, Finding
from ._rows import (
    MOST_EXAMPLES,
    equal_detections,
    equal_ground_truths,
    of_areas,
    of_ids,
    of_scores,
    of_shapes,
)

__all__ = ["check_data"]


def check_data(ground_truths: GroundTruthTable, detections: DetectionTable | None = None) -> DataCheck:
    """Looks for what makes numbers wrong: repeated ids and objects, boxes in another format, unused classes, and more.

    Findings are warnings, or notes about what is often as it should be. These kinds of warnings exist:
    `repeated-id`, `annotated-twice` (an IoU above 0.95 within a class), `area` (larger than the box, or far from that
    of the mask); of both sides `no-area`, `outside-image`, `empty-mask`, `box-format` (corners in place of width and
    height), `fractions` (in place of pixels); of detections `detected-twice`, `equal-scores`, `score-range`,
    `misread` (what `evaluate` warns of, too), `shifted-images`. The kinds of notes are `unused-class`,
    `class-only-detected`, `image-without-ground-truths` and `image-without-detections`.

    Boxes can lie outside an image, and be recognised as fractions, only if the size of all images is known.

    Args:
      ground_truths: a table, as the readers in `jaxmap.io` return; of arrays, `evaluate(...).matched.ground_truths`.
      detections: a table that was read with these ground truths; None to check only the ground truths.

    Returns:
      The findings, which print as text, one to a line; `clean` says whether there is no warning.

    Raises:
      TypeError: if an argument is not such a table.

    Example:
      >>> import numpy as np
      >>> from jaxmap import io
      >>> truth = io.coco_ground_truths({
      ...     "images": [{"id": 7, "width": 100, "height": 100}],
      ...     "categories": [{"id": 18, "name": "dog"}],
      ...     "annotations": [{"id": 1, "image_id": 7, "category_id": 18, "bbox": [60, 60, 90, 90], "area": 900}],
      ... })
      >>> print(check_data(truth))
      warning: ground truths: 1 of 1 boxes reach beyond their image by more than a pixel (1 in image 7) [outside-image]
      1 warning and 0 notes about 1 ground truth of 1 image
    """
    if not isinstance(ground_truths, GroundTruthTable) or not isinstance(detections, DetectionTable | None):
        raise TypeError(
            "`ground_truths` must be a GroundTruthTable and `detections` a DetectionTable or None, as the readers in "
            f"`jaxmap.io` return, got {type(ground_truths).__name__} and {type(detections).__name__}."
        )
    iou_type = _iou_type_of(ground_truths)
    geometry = geometry_of(iou_type)
    findings = list(_of_ground_truths(ground_truths, geometry))
    if detections is not None:
        findings += _of_detections(detections, ground_truths, iou_type)
    return DataCheck(
        findings=tuple(findings),
        num_images=len(ground_truths.image_ids),
        num_ground_truths=len(ground_truths.labels),
        num_detections=None if detections is None else len(detections.labels),
    )


def _of_ground_truths(truth: GroundTruthTable, geometry: Geometry) -> Iterator[Finding]:
    yield from of_ids(truth)
    yield from of_shapes(truth, truth, "ground_truths", geometry)
    yield from of_areas(truth)
    yield from equal_ground_truths(truth)
    unused = np.bincount(truth.labels, minlength=len(truth.class_ids)) == 0
    classes = np.array(truth.class_names, object)[unused]
    yield from _note("unused-class", "ground_truths", classes, f"{{}} of {len(unused):,} classes are not used")
    empty = np.bincount(truth.image_index, minlength=len(truth.image_ids)) == 0
    what = f"{{}} of {len(empty):,} images have no ground truth"
    yield from _note("image-without-ground-truths", "ground_truths", truth.image_ids[empty], what)


def _of_detections(found: DetectionTable, truth: GroundTruthTable, iou_type: str) -> Iterator[Finding]:
    geometry = geometry_of(iou_type)
    yield from of_shapes(found, truth, "detections", geometry)
    yield from of_scores(found, truth)
    yield from equal_detections(found, truth)
    if (message := misread(found, truth, iou_type=iou_type)) is not None:
        yield Finding(kind="misread", side="detections", message=message)
    elif geometry.boxes_fit and (message := misread_images(found, truth)) is not None:
        yield Finding(kind="shifted-images", side="detections", message=message)
    num_classes, num_images = len(truth.class_ids), len(truth.image_ids)
    of_truth, of_found = (np.bincount(table.labels, minlength=num_classes) for table in (truth, found))
    classes = np.array(truth.class_names, object)[(of_truth == 0) & (of_found > 0)]
    what = f"{{}} of {num_classes:,} classes have detections and no ground truth"
    yield from _note("class-only-detected", "detections", classes, what)
    empty = np.bincount(found.image_index, minlength=num_images) == 0
    what = f"{{}} of {num_images:,} images have no detection"
    yield from _note("image-without-detections", "detections", truth.image_ids[empty], what)


def _note(kind: str, side: str, ids: HostArray, message: str) -> Iterator[Finding]:
    """Yields a finding about some images or classes, if there are any; the message has a place for their number."""
    if len(ids):
        text, examples = message.format(f"{len(ids):,}"), tuple(ids[:MOST_EXAMPLES].tolist())
        yield Finding(kind=kind, side=side, message=text, count=len(ids), examples=examples)


def _iou_type_of(truth: GroundTruthTable) -> str:
    """Returns the first kind of geometry that a table has."""
    held = [name for name in ("masks", "keypoints", "oriented") if getattr(truth, name) is not None]
    column = held[0] if held else "boxes"
    return next(name for name in GEOMETRIES if geometry_of(name).shape.column == column)
