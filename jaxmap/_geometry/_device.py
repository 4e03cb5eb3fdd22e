"""The similarities of one image's detections and ground truths: what every later stage asks of their shapes."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..protocols import EvaluationProtocol
from . import _double_float as df
from ._boxes import BoxGeometry, approximate_iou, box_geometry, exact_iou
from ._double_float import DoubleFloat
from ._keypoints import keypoint_similarity
from ._masks import boundary_of, mask_iou
from ._oriented import oriented_iou

__all__ = ["BoxSimilarity", "DenseSimilarity", "image_similarity"]


class BoxSimilarity(NamedTuple):
    """IoU of boxes: cheap for all pairs, exact for those that are asked for."""

    detections: BoxGeometry  # [D]
    ground_truths: BoxGeometry  # [G]
    crowd: jax.Array  # [G]
    area: DoubleFloat  # [D]
    ground_truth_area: DoubleFloat  # [G]

    def approximate(self) -> jax.Array:
        """`[D, G]` float32, within `MARGIN` of the exact values."""
        return approximate_iou(self.detections, self.ground_truths, self.crowd)

    def exact(self, index: jax.Array) -> DoubleFloat:
        """The similarities of each detection with the ground truths of its row, for `[D, C]` int32."""
        detections = self.detections.select(np.s_[:, None])
        return exact_iou(detections, self.ground_truths.select(index), self.crowd[index])

    def reorder(self, rows: jax.Array, ground_truth_rows: jax.Array | None) -> BoxSimilarity:
        """Returns the similarity of the detections `rows` and the ground truths `ground_truth_rows`, None for all."""
        others = slice(None) if ground_truth_rows is None else ground_truth_rows
        return BoxSimilarity(
            self.detections.select(rows),
            self.ground_truths.select(others),
            self.crowd[others],
            self.area.select(rows),
            self.ground_truth_area.select(others),
        )


class DenseSimilarity(NamedTuple):
    """A similarity that is computed for all pairs at once."""

    values: DoubleFloat  # [D, G]
    area: DoubleFloat  # [D]
    ground_truth_area: DoubleFloat  # [G]

    def approximate(self) -> jax.Array:
        """`[D, G]` float32."""
        return self.values.hi

    def exact(self, index: jax.Array) -> DoubleFloat:
        """The similarities of each detection with the ground truths of its row, for `[D, C]` int32."""
        return DoubleFloat(*(jnp.take_along_axis(part, index, axis=-1) for part in self.values))

    def reorder(self, rows: jax.Array, ground_truth_rows: jax.Array | None) -> DenseSimilarity:
        """Returns the similarity of the detections `rows` and the ground truths `ground_truth_rows`, None for all."""
        others = slice(None) if ground_truth_rows is None else ground_truth_rows
        values = self.values.select(rows).select((slice(None), others))
        return DenseSimilarity(values, self.area.select(rows), self.ground_truth_area.select(others))


def image_similarity(
    shapes: dict[str, jax.Array],
    ground_truth_shapes: dict[str, jax.Array],
    crowd: jax.Array,
    area: jax.Array | None,
    *,
    protocol: EvaluationProtocol,
    box_format: str,
) -> BoxSimilarity | DenseSimilarity:
    """Returns what the protocol compares.

    Masks are compared to the last pixel, boxes to about 45 bits; oriented boxes within 1e-5, keypoints within 1e-6.

    Args:
      shapes: the fields of `Detections` that hold shapes, `[D, ...]`.
      ground_truth_shapes: those of `GroundTruths`, `[G, ...]`; keypoints need boxes, too.
      crowd: `[G]` bool.
      area: `[G]` float32, the ground truths' areas; None for those of their shapes.
      protocol: names the similarity.
      box_format: of axis-aligned boxes.
    """
    given = None if area is None else _single(area)

    def dense(values: DoubleFloat, own: DoubleFloat, other: DoubleFloat) -> DenseSimilarity:
        return DenseSimilarity(values, own, other if given is None else given)

    if protocol.iou_type == "bbox":
        geometry = box_geometry(shapes["boxes"], box_format)
        other = box_geometry(ground_truth_shapes["boxes"], box_format)
        return BoxSimilarity(geometry, other, crowd, geometry.area, other.area if given is None else given)
    if protocol.iou_type == "obb":
        boxes, other_boxes = shapes["boxes"], ground_truth_shapes["boxes"]
        iou = oriented_iou(boxes[:, None], other_boxes[None, :], crowd[None, :])
        return dense(_single(iou), _size_area(boxes), _size_area(other_boxes))
    if protocol.iou_type == "keypoints":
        keypoints, other_keypoints = shapes["keypoints"], ground_truth_shapes["keypoints"]
        geometry = box_geometry(ground_truth_shapes["boxes"], box_format)
        scale = (geometry.area if given is None else given).hi
        xywh = jnp.concatenate([geometry.start.hi, geometry.size.hi], axis=-1)
        similarity = keypoint_similarity(
            keypoints[:, None],
            other_keypoints[None, :],
            xywh[None, :],
            scale[None, :],
            jnp.asarray(protocol.keypoint_sigmas, jnp.float32),
        )
        corners = jnp.concatenate([keypoints[..., :2].min(-2), keypoints[..., :2].max(-2)], axis=-1)
        return dense(_single(similarity), box_geometry(corners, "xyxy").area, geometry.area)
    masks, other_masks = shapes["masks"], ground_truth_shapes["masks"]
    values, own_area, other_area = mask_iou(masks, other_masks, crowd)
    if protocol.iou_type == "boundary":
        edges, other_edges = (boundary_of(side, protocol.boundary_ratio) for side in (masks, other_masks))
        of_edges, _, _ = mask_iou(edges, other_edges, crowd)
        values = df.where(crowd[None, :] | (df.difference(values, of_edges) <= 0), values, of_edges)
    return dense(values, own_area, other_area)


def _single(values: jax.Array) -> DoubleFloat:
    return DoubleFloat(df.rounded(values), jnp.zeros_like(values))


def _size_area(boxes: jax.Array) -> DoubleFloat:
    """Width times height of `[N, 4]` xywh or `[N, 5]` oriented boxes."""
    zero = jnp.zeros_like(boxes[:, 0])
    return df.multiply(DoubleFloat(boxes[:, 2], zero), DoubleFloat(boxes[:, 3], zero))
