"""Maps of (class, instance) pairs to maps of segments."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ..._display import short_repr
from ..._integers import as_numbers
from ..._lowering import by_backend
from ..._panoptic._host import class_groups
from ..._pytrees import register_container
from ...types import Array
from ._label_maps import check_map

__all__ = ["SegmentMaps", "category_instance_to_segments"]

COMPARED_AT_ONCE = 16  # segments, with each pixel, so that few passes over the pixels are needed
# On a TPU: rows at once, and the memory on the chip for an image, of which classes, instances and segments are held
# twice.
ROWS, IMAGE_BYTES = 8, 14 << 20


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
    num_classes = len(is_stuff)
    classes = jnp.where((labels >= 0) & (labels < num_classes), labels, num_classes)  # void comes last
    is_whole = jnp.append(jnp.asarray(is_stuff), True)  # all pixels of the class are one segment
    in_passes = partial(_in_passes, max_segments=max_segments)
    on_tpu = partial(_on_tpu, max_segments=max_segments) if _fits_tpu(instances, max_segments) else in_passes
    segments, found = by_backend(
        *(_Pairs(classes, instances), is_whole),
        tpu=partial(by_backend, default=on_tpu, partitioned=in_passes),
        default=in_passes,
    )
    return SegmentMaps(segments, found)


def _in_passes(pixels: _Pairs, is_whole: jax.Array, *, max_segments: int) -> tuple[jax.Array, jax.Array]:
    num_classes, last = len(is_whole) - 1, np.iinfo(pixels.instance.dtype).max

    def is_missing(carry: tuple[jax.Array, _Pairs, _Pairs]) -> jax.Array:
        number, before, _ = carry
        return (number < max_segments) & (before.label < num_classes).any()

    def find(carry: tuple[jax.Array, _Pairs, _Pairs]) -> tuple[jax.Array, _Pairs, _Pairs]:
        number, before, found = carry
        left = _is_less(_of_images(before), pixels)
        start = _Pairs(jnp.int32(num_classes), jnp.asarray(last, pixels.instance.dtype))
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
            pairs = _of_images(_Pairs(*(values[:, column] for values in columns)))
            segments += _is_less(pairs, pixels).astype(jnp.int32)
        return segments

    segments = jax.lax.fori_loop(0, -(-number // COMPARED_AT_ONCE), count, jnp.zeros_like(pixels.label))
    of_segment = found.label[:, :max_segments]
    return (
        jnp.where(pixels.label < num_classes, segments, -1),
        jnp.where(of_segment < num_classes, of_segment, -1),
    )


def _on_tpu(
    pixels: _Pairs, is_whole: jax.Array, *, max_segments: int, interpret: bool = False
) -> tuple[jax.Array, jax.Array]:
    """Like `_in_passes`, as one kernel for a TPU: the pixels of an image stay on the chip from pass to pass."""
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import tpu as pltpu

    num_classes, last = len(is_whole) - 1, np.int32(np.iinfo(np.int32).max)
    num_images, height, width = pixels.label.shape
    rows = ((0, 0), (0, -height % ROWS), (0, 0))
    padded = _Pairs(jnp.pad(pixels.label, rows, constant_values=num_classes), jnp.pad(pixels.instance, rows))
    blocks = padded.label.shape[1] // ROWS

    def kernel(is_whole: Any, labels: Any, instances: Any, segments: Any, found: Any) -> None:
        def rows_of(block: jax.Array) -> Any:
            return 0, pl.ds(block * ROWS, ROWS)

        segments[...] = jnp.full(segments.shape, -1, jnp.int32)
        found[...] = jnp.full(found.shape, -1, jnp.int32)
        number_of = jax.lax.broadcasted_iota(jnp.int32, found.shape, 2)

        def find(carry: tuple[jax.Array, _Pairs]) -> tuple[jax.Array, _Pairs]:
            number, before = carry

            def over(block: jax.Array, least: _Pairs) -> _Pairs:
                mine = _Pairs(labels[rows_of(block)], instances[rows_of(block)])
                is_left = _is_less(before, mine)
                segments[rows_of(block)] += is_left.astype(jnp.int32)
                first = is_left & _is_less(mine, least)
                return _Pairs(*(jnp.where(first, one, other) for one, other in zip(mine, least, strict=True)))

            start = _Pairs(*(jnp.full((ROWS, width), value, jnp.int32) for value in (num_classes, last)))
            least = jax.lax.fori_loop(np.int32(0), np.int32(blocks), over, start)
            label = least.label.min()
            instance = jnp.where(least.label == label, least.instance, last).min()
            instance = jnp.where(is_whole[label] != 0, last, instance)
            found[...] = jnp.where((number_of == number) & (label < num_classes), label, found[...])
            return number + 1, _Pairs(label, instance)

        # The pass that finds a pair counts for the pair before it. So there is one more, for the last pair.
        jax.lax.while_loop(
            lambda carry: (carry[0] <= max_segments) & (carry[1].label < num_classes),
            find,
            (jnp.int32(0), _Pairs(jnp.int32(-1), jnp.int32(0))),
        )

        @pl.loop(0, blocks)
        def _(block: jax.Array) -> None:
            is_class = labels[rows_of(block)] < num_classes
            segments[rows_of(block)] = jnp.where(is_class, segments[rows_of(block)], np.int32(-1))

    def of_image(*shape: int) -> Any:
        return pl.BlockSpec((1, *shape), lambda image: (image, 0, 0))

    def shape_of(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(  # type: ignore[no-untyped-call]
            (num_images, *shape),
            jnp.int32,
            manual_axis_type=jax.typeof(padded.label).manual_axis_type,  # as `shard_map` demands
        )

    of_pixels, of_segments = padded.label.shape[1:], (1, max_segments)
    segments, found = pl.pallas_call(
        kernel,
        grid=(num_images,),
        in_specs=[pl.BlockSpec(memory_space=pltpu.SMEM), of_image(*of_pixels), of_image(*of_pixels)],
        out_specs=(of_image(*of_pixels), of_image(*of_segments)),
        out_shape=(shape_of(*of_pixels), shape_of(*of_segments)),
        interpret=interpret,
        name="jaxmap_segments",
    )(is_whole.astype(jnp.int32), *padded)
    return segments[:, :height], found[:, 0]


def _fits_tpu(instances: jax.Array, max_segments: int) -> bool:
    """Returns whether `_on_tpu` can take maps `[I, H, W]`."""
    height, width = instances.shape[1:]
    size = 4 * 6 * (height + -height % ROWS) * (width + -width % 128)
    return instances.dtype == jnp.int32 and 0 < size <= IMAGE_BYTES and max_segments > 0 and len(instances) > 0


class _Pairs(NamedTuple):
    label: jax.Array  # int32
    instance: jax.Array  # int32, or int64 under x64


def _of_images(pairs: _Pairs) -> _Pairs:
    """Returns pairs `[I]` as `[I, 1, 1]`, to compare with the pixels of each image."""
    return _Pairs(*(values[:, None, None] for values in pairs))


def _is_less(one: _Pairs, other: _Pairs) -> jax.Array:
    return (one.label < other.label) | ((one.label == other.label) & (one.instance < other.instance))


def _lesser(one: _Pairs, other: _Pairs) -> _Pairs:
    return _Pairs(*(jnp.where(_is_less(one, other), mine, theirs) for mine, theirs in zip(one, other, strict=True)))
