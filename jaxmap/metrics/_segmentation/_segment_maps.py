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

COMPARED_AT_ONCE = 16  # segments, with each pixel, so that few passes over the pixels are needed


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
      max_segments: S, the most segments per image; pixels of further segments get the number S, which
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
    columns: Array = maps.transpose(3, 0, 1, 2)
    if isinstance(columns, jax.Array):  # copied as a whole: on a TPU, split where it is used it costs six times as much
        columns = jax.lax.optimization_barrier(columns)  # type: ignore[no-untyped-call]
    labels = check_map("maps", columns[0])
    instances = as_numbers("maps", columns[1], "number the instances of an image from 0")
    numbered: SegmentMaps = _numbered(
        labels, instances, class_groups(things, num_classes)["_st"], max_segments=max_segments
    )
    return numbered


@partial(jax.jit, static_argnames="max_segments")
def _numbered(labels: jax.Array, instances: jax.Array, is_stuff: Array, *, max_segments: int) -> SegmentMaps:
    """Returns the segment of each pixel `[I, H, W]`, and the labels `[I, S]` of the segments.

    A pixel's segment is the number of segments whose pair of class and instance is smaller. The pairs are found in
    ascending order, one per round and image. Sorting the pixels instead takes longer, up to several hundred segments.
    """
    num_classes, last = len(is_stuff), np.iinfo(instances.dtype).max
    is_class = (labels >= 0) & (labels < num_classes)
    pixels = _Pairs(jnp.where(is_class, labels, num_classes), instances)  # void comes last
    is_whole = jnp.append(jnp.asarray(is_stuff), True)  # all pixels of the class are one segment

    def is_missing(carry: tuple[jax.Array, _Pairs, _Pairs]) -> jax.Array:
        number, before, _ = carry
        return (number < max_segments) & (before.label < num_classes).any()

    def find(carry: tuple[jax.Array, _Pairs, _Pairs]) -> tuple[jax.Array, _Pairs, _Pairs]:
        number, before, found = carry
        left = _is_above(pixels, before)
        start = _Pairs(jnp.int32(num_classes), jnp.asarray(last, instances.dtype))
        rest = _Pairs(*(jnp.where(left, values, end) for values, end in zip(pixels, start, strict=True)))
        label, instance = jax.lax.reduce(rest, start, _lesser, (1, 2))
        least = _Pairs(label, jnp.where(is_whole[label], start.instance, instance))
        return number + 1, least, _Pairs(*(all_.at[:, number].set(one) for all_, one in zip(found, least, strict=True)))

    size = -(-max_segments // COMPARED_AT_ONCE) * COMPARED_AT_ONCE
    zeros = _Pairs(*(jnp.zeros_like(values, shape=(len(values), size)) for values in pixels))
    before, none = zeros.label.min(1, initial=-1), _Pairs(zeros.label + num_classes, zeros.instance)
    number, _, found = jax.lax.while_loop(
        is_missing, find, (jnp.int32(0), _Pairs(before, zeros.instance.min(1, initial=0)), none)
    )

    def count(block: jax.Array, segments: jax.Array) -> jax.Array:
        columns = [jax.lax.dynamic_slice_in_dim(all_, block * COMPARED_AT_ONCE, COMPARED_AT_ONCE, 1) for all_ in found]
        for column in range(COMPARED_AT_ONCE):
            segments += _is_above(pixels, _Pairs(*(values[:, column] for values in columns))).astype(jnp.int32)
        return segments

    segments = jax.lax.fori_loop(0, -(-number // COMPARED_AT_ONCE), count, jnp.zeros_like(labels))
    of_segment = found.label[:, :max_segments]
    return SegmentMaps(jnp.where(is_class, segments, -1), jnp.where(of_segment < num_classes, of_segment, -1))


class _Pairs(NamedTuple):
    label: jax.Array  # int32
    instance: jax.Array  # int32, or int64 under x64


def _is_above(pixels: _Pairs, pairs: _Pairs) -> jax.Array:
    """Returns which pixels `[I, H, W]` have a larger pair than the one `[I]` of their image."""
    label, instance = (values[:, None, None] for values in pairs)
    return (pixels.label > label) | ((pixels.label == label) & (pixels.instance > instance))


def _lesser(one: _Pairs, other: _Pairs) -> _Pairs:
    first = (one.label < other.label) | ((one.label == other.label) & (one.instance < other.instance))
    return _Pairs(*(jnp.where(first, mine, theirs) for mine, theirs in zip(one, other, strict=True)))
