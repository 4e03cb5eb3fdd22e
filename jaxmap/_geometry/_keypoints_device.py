"""Object keypoint similarity of one image, inside `jit`."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ._boxes import box_geometry
from ._device import DenseSimilarity, dense_similarity, single
from ._keypoints import keypoint_similarity
from ._record import Constants

__all__ = ["image_similarity"]


def image_similarity(
    shapes: dict[str, jax.Array],
    ground_truth_shapes: dict[str, jax.Array],
    crowd: jax.Array,
    area: jax.Array | None,
    *,
    constants: Constants,
    box_format: str,
) -> DenseSimilarity:
    """Returns the similarity of the keypoints of one image."""
    keypoints, other_keypoints = shapes["keypoints"], ground_truth_shapes["keypoints"]
    geometry = box_geometry(ground_truth_shapes["boxes"], box_format)
    scale = (geometry.area if area is None else single(area)).hi
    x, y = geometry.x, geometry.y
    xywh = jnp.stack([x.start.hi, y.start.hi, x.size.hi, y.size.hi], axis=-1)
    similarity = keypoint_similarity(
        keypoints[:, None],
        other_keypoints[None, :],
        xywh[None, :],
        scale[None, :],
        jnp.asarray(constants.keypoint_sigmas, jnp.float32),
    )
    corners = jnp.concatenate([keypoints[..., :2].min(-2), keypoints[..., :2].max(-2)], axis=-1)
    return dense_similarity(single(similarity), box_geometry(corners, "xyxy").area, geometry.area, area)
