"""Maps of (class, instance) pairs to maps of segments."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ..._display import short_repr
from ..._integers import as_numbers
from ..._panoptic._host import class_groups
from ..._pytrees import register_container
from ...types import Array
from ._label_maps import check_map

__all__ = ["SegmentMaps", "category_instance_to_segments"]


@register_container
class SegmentMaps(NamedTuple):
    """Segments of a batch of images.

    Attributes:
      segments: `[I, H, W]` int32, the segment of each pixel as an index on S; negative for no segment.
      labels: `[I, S]` int32, the class of each segment; -1 if there is no such segment.
    """

    segments: Array  # [I, H, W]
    labels: Array  # [I, S]

    def __repr__(self) -> str:
        return short_repr(self)


def category_instance_to_segments(
    maps: ArrayLike, *, num_classes: int, max_segments: int, things: tuple[int, ...] | None = None
) -> SegmentMaps:
    """Converts maps of (class, instance) pairs, as in torchmetrics, to segments; jittable.

    Pixels with the same class and instance number are one segment. For stuff, all pixels of a class are one segment.

    Args:
      maps: `[I, H, W, 2]` int, class and instance number of each pixel; classes outside 0 to K - 1 are void.
      num_classes: K.
      max_segments: S, the most segments per image; pixels of further segments get a number of at least S, which
        `PanopticQuality` counts as bad.
      things: the classes whose instances are distinguished; None for all.

    Returns:
      Segments in ascending order of class and instance, and their labels.

    Raises:
      ValueError: if the shape is not as described, a thing is not a class, or an instance number does not fit int32.
      TypeError: if `maps` does not hold integers.

    Example:
      >>> maps = jnp.array([[[[7, 1], [7, 2], [0, 5], [0, 6], [9, 0]]]])
      >>> found = category_instance_to_segments(maps, num_classes=8, max_segments=4, things=(7,))
      >>> found.segments.tolist(), found.labels.tolist()
      ([[[1, 2, 0, 0, -1]]], [[0, 7, 7, -1]])
    """
    maps = maps if isinstance(maps, jax.Array) else np.asarray(maps)
    shape = maps.shape
    if len(shape) != 4 or shape[3] != 2:
        raise ValueError(f"`maps` must have shape [images, height, width, 2], got {list(shape)}.")
    labels = check_map("maps", maps[..., 0])
    instances = as_numbers("maps", maps[..., 1], "number the instances of an image from 0")
    num_images, height, width, _ = shape
    stuff = class_groups(things, num_classes)["_st"]
    segments, of_segment = _numbered(
        labels.reshape(num_images, -1), instances.reshape(num_images, -1), stuff, max_segments=max_segments
    )
    return SegmentMaps(segments.reshape(num_images, height, width), of_segment)


@partial(jax.jit, static_argnames="max_segments")
def _numbered(labels: jax.Array, instances: jax.Array, is_stuff: Array, *, max_segments: int) -> SegmentMaps:
    return jax.vmap(partial(_number_image, is_stuff=is_stuff, max_segments=max_segments))(labels, instances)


def _number_image(labels: jax.Array, instances: jax.Array, *, is_stuff: Array, max_segments: int) -> SegmentMaps:
    """Returns the segment of each pixel `[H * W]` of an image, and the labels `[S]` of its segments."""
    num_classes = len(is_stuff)
    is_class = (labels >= 0) & (labels < num_classes)
    label = jnp.where(is_class, labels, num_classes)  # void comes last
    instance = jnp.where(jnp.append(is_stuff, True)[label], 0, instances)
    order = jnp.lexsort((instance, label))
    label, instance = label[order], instance[order]
    is_new = jnp.concatenate([jnp.ones(1, bool), (label[1:] != label[:-1]) | (instance[1:] != instance[:-1])])
    number = jnp.cumsum(is_new, dtype=jnp.int32) - 1
    of_segment = jnp.full(max_segments, num_classes, jnp.int32).at[number].set(label, mode="drop")
    segments = jnp.zeros_like(label).at[order].set(jnp.where(label < num_classes, number, -1), unique_indices=True)
    return SegmentMaps(segments, jnp.where(of_segment < num_classes, of_segment, -1))
