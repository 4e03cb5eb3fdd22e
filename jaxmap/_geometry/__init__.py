"""What is compared, and how similar two of them are: a line of the registry and a file for each kind of geometry.

The registry can be read without JAX; the file of a kind is loaded when its record is asked for.

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
    """What can be said of a kind of geometry before its file is loaded.

    Attributes:
      file: the module beside this one whose constant, the name in capitals, is the record.
      description: one line for readers.
      constant: the field of a protocol that only this kind reads, if there is one.
    """

    file: str
    description: str
    constant: str | None = None


GEOMETRIES = {  # by the name that `iou_type` gives
    "bbox": Kind("_boxes", "boxes"),
    "segm": Kind("_masks", "instance masks"),
    "boundary": Kind(
        "_masks", "masks and their boundaries, the lesser of the two; of crowds masks alone", "boundary_ratio"
    ),
    "keypoints": Kind("_keypoints", "keypoints, by object keypoint similarity (OKS)", "keypoint_sigmas"),
    "obb": Kind("_oriented", "oriented boxes"),
    "giou": Kind("_giou", "boxes, by generalized IoU (GIoU); crowds as boxes"),
}


def geometry_of(iou_type: str) -> Geometry:
    """Returns the record of a kind of geometry, one of `GEOMETRIES`."""
    module = importlib.import_module(f".{GEOMETRIES[iou_type].file}", __name__)
    record: Geometry = getattr(module, iou_type.upper())
    return record
