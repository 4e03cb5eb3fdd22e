"""How similar a detection and a ground truth are, in float64: one function of pairs for every `iou_type`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..types import DetectionTable, Floats, GroundTruthTable, Ints
from . import geometry_of
from ._record import Constants

__all__ = ["PairSimilarity", "pair_similarity"]


class PairSimilarity(NamedTuple):
    """A similarity of pairs, and what the enclosing boxes say of it.

    Attributes:
      of_pairs: from rows of the detections and rows of the ground truths, each `[P]`, to `[P]` float64.
      needs_overlap: True if it reaches no threshold where the boxes do not overlap.
      at_most_box_iou: True if it is the IoU of the boxes themselves, or less.
      bound: what it is at most, far sooner computed, from the same rows; None where there is none.
    """

    of_pairs: Callable[[Ints, Ints], Floats]
    needs_overlap: bool = True
    at_most_box_iou: bool = False
    bound: Callable[[Ints, Ints], Floats] | None = None


def pair_similarity(detections: DetectionTable, ground_truths: GroundTruthTable, protocol: Constants) -> PairSimilarity:
    """Returns what the protocol compares.

    Raises:
      ValueError: if a table lacks the shapes that it compares.
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
