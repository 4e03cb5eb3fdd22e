"""The kinds of geometry and their similarities: one line of the registry and one file per kind.

The registry can be read without JAX; the file of a kind is imported when its record is first used.

>>> geometry_of("keypoints").shape.field
'keypoints'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ._record import Geometry

__all__ = ["GEOMETRIES", "Kind", "geometry_of"]


class Kind(NamedTuple):
    """A kind of geometry, as far as it is known before its file is imported.

    Attributes:
      file: the module in this package that defines the record, as a constant with the name of the kind in capitals.
      description: one line of description.
      constant: the field of a protocol that only this kind reads; None if there is none.
    """

    file: str
    description: str
    constant: str | None = None


GEOMETRIES = {  # by `iou_type`
    "bbox": Kind("_boxes_host", "boxes"),
    "segm": Kind("_masks", "instance masks"),
    "boundary": Kind(
        "_masks", "the smaller of the IoUs of masks and of their boundaries; for crowds only masks", "boundary_ratio"
    ),
    "keypoints": Kind("_keypoints", "keypoints, by object keypoint similarity (OKS)", "keypoint_sigmas"),
    "obb": Kind("_oriented", "oriented boxes"),
    "giou": Kind("_giou", "boxes, by generalized IoU (GIoU); crowds as for boxes"),
}


def geometry_of(iou_type: str) -> Geometry:
    """Returns the record of a kind of geometry, one of `GEOMETRIES`."""
    module = importlib.import_module(f".{GEOMETRIES[iou_type].file}", __name__)
    record: Geometry = getattr(module, iou_type.upper())
    return record
