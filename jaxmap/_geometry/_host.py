"""The similarity of detections and ground truths in float64: one function of pairs for every `iou_type`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..types import DetectionTable, Floats, GroundTruthTable, Ints
from . import geometry_of
from ._record import Constants

__all__ = ["PairSimilarity", "pair_similarity"]


class PairSimilarity(NamedTuple):
    """A similarity of pairs, and its relation to the enclosing boxes.

    Attributes:
      of_pairs: the similarity `[P]` float64 of rows `[P]` of the detections and rows `[P]` of the ground truths.
      needs_overlap: True if it reaches no threshold unless the boxes overlap.
      at_most_box_iou: True if it is at most the IoU of the boxes.
      bound: an upper bound, from the same rows, that is much faster to compute; None if there is none.
    """

    of_pairs: Callable[[Ints, Ints], Floats]
    needs_overlap: bool = True
    at_most_box_iou: bool = False
    bound: Callable[[Ints, Ints], Floats] | None = None


def pair_similarity(detections: DetectionTable, ground_truths: GroundTruthTable, protocol: Constants) -> PairSimilarity:
    """Returns the similarity of the protocol's `iou_type`.

    Raises:
      ValueError: if a table lacks the geometry that it compares.
    """
    geometry = geometry_of(protocol.iou_type)
    column = geometry.shape.column
    for side, table in (("detections", detections), ("ground_truths", ground_truths)):
        if getattr(table, column) is None:
            raise ValueError(
                f"`{side}` must have the column `{column}` for `iou_type={protocol.iou_type!r}`; read its file with "
                "that `iou_type`, or fill the column."
            )
    geometry.check_tables(detections, ground_truths, protocol)
    return geometry.pairs(detections, ground_truths, protocol)
