"""Similarity of boxes by generalized IoU, which subtracts the empty share of their hull from the IoU.

    GIoU = IoU - (hull - union) / hull,   hull: area of the smallest box around both

It is in (-1, 1], is at most the IoU, and is positive only for boxes that overlap, so that only these reach a threshold.
For crowds it is the intersection over the area of the detection, as for `bbox`. It is 0 for boxes of zero or negative
width or height.

References: Rezatofighi et al. 2019, Generalized Intersection over Union.

>>> boxes, other_boxes = np.array([[0.0, 0.0, 10.0, 10.0]]), np.array([[5.0, 0.0, 10.0, 20.0]])
>>> round(float(giou_pairs(boxes, other_boxes, np.array([False]))[0]), 6)  # IoU 50 / 250, hull 300
0.033333
"""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ..types import Bools, DetectionTable, Floats, GroundTruthTable, Ints
from . import _double_float as df
from ._boxes import (
    BoxGeometry,
    BoxSimilarity,
    approximate_extents,
    approximate_iou,
    box_similarity,
    exact_intersection,
    exact_iou,
)
from ._boxes_host import BBOX, box_iou_pairs, overlap_pairs
from ._double_float import DoubleFloat
from ._host import PairSimilarity
from ._record import Constants

__all__ = ["GIOU", "giou_pairs"]


def giou_pairs(boxes: Floats, other_boxes: Floats, crowd: Bools) -> Floats:
    """Returns the GIoU of pairs of boxes in float64, rounded once if areas and their products are exact, as for pixels.

    So equal values compare as equal, and a value equal to a threshold reaches it.

    Args:
      boxes: `[P, 4]` float64 xywh, detections.
      other_boxes: `[P, 4]` float64 xywh, ground truths.
      crowd: `[P]` bool; where True, the value is the intersection over the area of the detection.

    Returns:
      `[P]` float64.
    """
    start = np.minimum(boxes[:, :2], other_boxes[:, :2])
    size = np.maximum(boxes[:, :2] + boxes[:, 2:], other_boxes[:, :2] + other_boxes[:, 2:]) - start
    unit = np.exp2(-np.frexp(size.max(axis=1, initial=0.0))[1])  # scale of lengths, so that no product overflows
    width, height = (np.maximum(overlap, 0) * unit for overlap in overlap_pairs(boxes, other_boxes))
    area, other_area, hull = ((w * unit) * (h * unit) for w, h in (boxes[:, 2:].T, other_boxes[:, 2:].T, size.T))
    shared = width * height
    union = area + other_area - shared
    solid = (boxes[:, 2:] > 0).all(axis=1) & (other_boxes[:, 2:] > 0).all(axis=1)
    giou = np.divide(shared * hull - (hull - union) * union, union * hull, out=np.zeros(len(boxes)), where=solid)
    return np.where(crowd, box_iou_pairs(boxes, other_boxes, crowd), giou)


class GiouSimilarity(BoxSimilarity):
    """The GIoU of all boxes of one image."""

    def approximate(self) -> jax.Array:
        """`[D, G]` float32, within `MARGIN` of the exact values."""
        one, other = self.detections.select(np.s_[:, None]), self.ground_truths.select(np.s_[None, :])
        iou = approximate_iou(self.detections, self.ground_truths, self.crowd)
        (width, hull_width), (height, hull_height) = approximate_extents(one, other)
        union = one.area.hi + other.area.hi - jnp.maximum(width, 0.0) * jnp.maximum(height, 0.0)
        hull, has_hull = hull_width * hull_height, one.is_solid & other.is_solid & ~self.crowd[None, :]
        return iou - jnp.where(has_hull, (hull - union) / jnp.where(has_hull, hull, 1.0), 0.0)

    def of_pairs(self, ground_truths: BoxGeometry, crowd: jax.Array) -> DoubleFloat:
        """The similarities of each detection with the ground truths of its row, `[D, n]`, or with those of one row."""
        one, other = self.detections.select(np.s_[:, None]), ground_truths
        nothing = df.constant(0.0)
        shared, touches = exact_intersection(one, other)
        union = df.add(df.add(one.area, other.area), df.negate(df.where(touches, shared, nothing)))
        width, height = (
            df.add(df.maximum(mine.stop, theirs.stop), df.negate(df.minimum(mine.start, theirs.start)))
            for mine, theirs in ((one.x, other.x), (one.y, other.y))
        )
        hull, has_hull = df.multiply(width, height), one.is_solid & other.is_solid & ~crowd
        beside = df.divide(df.add(hull, df.negate(union)), df.where(has_hull, hull, df.constant(1.0)))
        return df.add(exact_iou(one, other, crowd), df.negate(df.where(has_hull, beside, nothing)))


def _giou(one: DetectionTable, other: GroundTruthTable, rows: Ints, others: Ints) -> Floats:
    return giou_pairs(one.boxes.take(rows, axis=0), other.boxes.take(others, axis=0), other.crowd.take(others))


def _pairs(detections: DetectionTable, ground_truths: GroundTruthTable, _: Constants) -> PairSimilarity:
    return PairSimilarity(partial(_giou, detections, ground_truths), at_most_box_iou=True)


GIOU = dataclasses.replace(BBOX, pairs=_pairs, image=partial(box_similarity, GiouSimilarity))
