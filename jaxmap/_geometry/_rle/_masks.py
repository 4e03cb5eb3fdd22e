"""Computations on the edges of masks: joins, areas, boxes, intersections; conversion of dense masks to edges and back.

Edges are sorted by mask and pixel like their keys `mask << 32 | pixel`, so most functions are one sort of such keys, or
none.

References: pycocotools maskApi.c.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..._ragged import blocks, ranges
from ..._threads import in_threads
from ...types import Bools, Floats, HostArray, Ints, Masks

__all__ = [
    "AT_ONCE",
    "PIXEL_BITS",
    "areas",
    "dense_mask",
    "edges_of",
    "encode_masks",
    "join_masks",
    "make_masks",
    "mask_boxes",
    "mask_iou",
    "mask_iou_bound",
    "masks_of_keys",
    "odd_ones",
    "running_sums",
    "united",
]

AT_ONCE = 1 << 17  # edges of a block: temporaries of a megabyte each, which fit into the cache of a core
PIXELS_AT_ONCE = 1 << 24
PIXEL_BITS = 32


def make_masks(edges: Ints, counts: Ints, size: Ints, split: Bools | None = None) -> Masks:
    """Returns masks from consecutive edges.

    Args:
      edges: `[E]` int32, an even number for each mask, ascending within it.
      counts: `[N]`, the number of edges of each mask.
      size: `[N, 2]` int64, heights and widths.
      split: `[N]` bool, as in `Masks`; None means that no mask is split.
    """
    stop = np.cumsum(counts, dtype=np.int64)
    start, area = stop - counts, np.zeros(len(counts))
    for first, last in blocks(counts, AT_ONCE):
        area[first:last] = areas(edges[start[first] : stop[last - 1]], counts[first:last])
    split = np.zeros(len(counts), bool) if split is None else split
    return Masks(edges=edges, start=start, stop=stop, sizes=size, area=area, split=split)


def areas(edges: Ints, counts: Ints) -> Ints:
    """Returns `[N]`, the pixels of masks from their consecutive edges and the number of each."""
    return _sums(edges[1::2] - edges[::2], counts // 2)


def masks_of_keys(keys: Ints, size: Ints) -> Masks:
    """Returns the masks of ascending keys, `mask << 32 | pixel`, an even number for each."""
    counts = np.diff(np.searchsorted(keys, np.arange(len(size) + 1) << PIXEL_BITS))
    return make_masks(keys.astype(np.int32), counts, size)  # which keeps the lower half of each


def join_masks(parts: Sequence[Masks]) -> Masks:
    """Returns the masks of all parts, one after the other."""
    offset, starts, stops = 0, [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for part in parts:
        starts.append(part.start + offset)
        stops.append(part.stop + offset)
        offset += len(part.edges)
    return Masks(
        edges=np.concatenate([np.zeros(0, np.int32), *(part.edges for part in parts)]),
        start=np.concatenate(starts),
        stop=np.concatenate(stops),
        sizes=np.concatenate([np.zeros((0, 2), np.int64), *(part.sizes for part in parts)]),
        area=np.concatenate([np.zeros(0), *(part.area for part in parts)]),
        split=np.concatenate([np.zeros(0, bool), *(part.split for part in parts)]),
    )


def edges_of(masks: Masks) -> Ints:
    """Returns the edges of the masks, one mask after the other."""
    if len(masks) and np.array_equal(masks.start[1:], masks.stop[:-1]):  # in the order of the edges: nothing to gather
        return masks.edges[masks.start[0] : masks.stop[-1]]
    return masks.edges.take(ranges(masks.start, masks.stop - masks.start))


def encode_masks(dense: HostArray) -> Masks:
    """Encodes dense masks, `[N, H, W]`; values other than 0 are set."""
    num_masks, height, width = dense.shape
    num_pixels = height * width
    step = max(PIXELS_AT_ONCE // (num_pixels + 1), 1)
    keys = [np.zeros(0, np.int64)]
    for first in range(0, num_masks, step):
        planes = (dense[first : first + step] != 0).transpose(0, 2, 1).reshape(-1, num_pixels)
        padded = np.zeros((len(planes), num_pixels + 2), bool)
        padded[:, 1:-1] = planes
        changes = np.flatnonzero(padded[:, 1:] != padded[:, :-1])
        mask, pixel = np.divmod(changes, num_pixels + 1)
        keys.append((mask + first) << PIXEL_BITS | pixel)
    return masks_of_keys(np.concatenate(keys), np.tile([height, width], (num_masks, 1)))


def dense_mask(masks: Masks, row: int) -> NDArray[np.uint8]:
    """Returns one mask as `[H, W]` uint8, 0 and 1."""
    height, width = masks.sizes[row].tolist()
    flips = np.zeros(height * width + 1, np.uint8)
    flips[masks.edges[masks.start[row] : masks.stop[row]]] = 1
    dense: NDArray[np.uint8] = np.bitwise_xor.accumulate(flips)[:-1].reshape(width, height).T
    return dense


def mask_boxes(masks: Masks) -> Floats:
    """Returns the box around each mask, `[N, 4]` float64 xywh; zeros for an empty mask.

    References: maskApi.c, rleToBbox.
    """
    boxes = np.zeros((len(masks), 4))
    counts = masks.stop - masks.start

    def enclose(ends: tuple[int, int]) -> None:
        rows = ends[0] + np.flatnonzero(counts[slice(*ends)])
        if not len(rows):
            return
        block = masks.take(rows)
        height = block.sizes[:, 0].astype(np.float64)
        edges, num_runs = edges_of(block), counts[rows] // 2
        begin = np.cumsum(num_runs) - num_runs
        of_run, top, bottom = np.repeat(height, num_runs), edges[::2].astype(np.float64), edges[1::2].astype(np.float64)
        # A fractional quotient of integers below 2^31 is too far from an integer to be rounded to it.
        before = np.floor(top / of_run) * of_run  # pixels in columns before that of the run
        top -= before
        bottom -= before
        top, bottom = np.minimum.reduceat(top, begin), np.maximum.reduceat(bottom, begin)
        spans = bottom > height  # a run continues in the next column
        top[spans], bottom[spans] = 0, height[spans]
        left = np.floor(block.edges[block.start] / height)
        right = np.floor((block.edges[block.stop - 1] - 1) / height) + 1
        boxes[rows] = np.stack([left, top, right - left, bottom - top], axis=1)

    in_threads(enclose, blocks(counts, AT_ONCE))
    return boxes


def mask_iou(masks: Masks, other_masks: Masks, crowd: Bools) -> Floats:
    """Returns the IoU of pairs of masks, `[P]` float64, or for crowds the share of the first inside the other.

    Args:
      masks: `[P]`, detections.
      other_masks: `[P]`, ground truths of the same sizes.
      crowd: `[P]` bool.

    References: maskApi.c, rleIou.
    """
    intersection = (masks.area + other_masks.area - _difference_areas(masks, other_masks)) / 2
    iou = _ratio(masks.area, other_masks.area, crowd, intersection)
    both = np.flatnonzero(masks.split & other_masks.split)
    if len(both):
        iou[both] = _iou_until_both_split(masks.take(both), other_masks.take(both), crowd[both])
    return iou


def mask_iou_bound(area: Floats, other_area: Floats, crowd: Bools, overlap: Floats, both_split: Bools) -> Floats:
    """Returns an upper bound `[P]` of the IoU of pairs, from their areas and the `overlap` `[P]` of their boxes."""
    bound = _ratio(area, other_area, crowd, np.minimum(np.minimum(area, other_area), overlap))
    bound[both_split] = 1  # only some of them may be counted
    return bound


def _ratio(area: Floats, other_area: Floats, crowd: Bools, intersection: Floats) -> Floats:
    union = np.where(crowd, area, area + other_area - intersection)
    return np.divide(intersection, union, out=np.zeros(len(union)), where=intersection > 0)


def _iou_until_both_split(masks: Masks, other_masks: Masks, crowd: Bools) -> Floats:
    """Returns the IoU of pairs up to the first pixel where both masks split a run, at which pycocotools stops counting.

    References: maskApi.c, rleIou, whose loop ends when both remaining run lengths are 0.
    """
    keys = np.sort(np.concatenate([_keys(masks), _keys(other_masks)]))
    met = keys[np.flatnonzero(keys[3:] == keys[:-3])]  # an end and a start in each
    pair, first = np.unique(met >> PIXEL_BITS, return_index=True)
    limit = masks.sizes.prod(axis=1)
    limit[pair] = met[first] & ((1 << PIXEL_BITS) - 1)
    cut, other_cut = (_cut(one, limit) for one in (masks, other_masks))
    intersection = (cut.area + other_cut.area - _difference_areas(cut, other_cut)) / 2
    return _ratio(np.where(crowd, masks.area, cut.area), other_cut.area, crowd, intersection)


def _cut(masks: Masks, limit: Ints) -> Masks:
    """Returns the part of each mask before a pixel; its other runs have length 0."""
    counts = masks.stop - masks.start
    return make_masks(np.minimum(edges_of(masks), np.repeat(limit, counts)), counts, masks.sizes)


def _difference_areas(masks: Masks, other_masks: Masks) -> Floats:
    """Returns `[P]` float64, the number of pixels that are in exactly one mask of each pair.

    The sorted edges of both masks of a pair are alternately the starts and ends of that region.
    """
    counts, other_counts = masks.stop - masks.start, other_masks.stop - other_masks.start
    areas = np.zeros(len(masks))
    for first, last in blocks(counts + other_counts, AT_ONCE):
        here = slice(first, last)
        both = np.concatenate([_keys(masks[here]), _keys(other_masks[here])])
        both.sort(kind="stable")  # two ascending runs, which a stable sort merges quickly
        lengths = both[1::2] - both[::2]
        areas[here] = _sums(lengths, (counts[here] + other_counts[here]) // 2)
    return areas


def _keys(masks: Masks) -> Ints:
    """Returns the edges as ascending keys."""
    return edges_of(masks) + np.repeat(np.arange(len(masks)) << PIXEL_BITS, masks.stop - masks.start)


def odd_ones(keys: Ints) -> Ints:
    """Returns the ascending keys that occur an odd number of times: the edges of the symmetric difference."""
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, np.int64)
    odd: Ints = keys.take(first[(np.diff(first, append=len(keys)) & 1).astype(bool)])
    return odd


def united(masks: Masks, of_union: Ints, size: Ints, least: int = 1) -> Masks:
    """Returns unions of masks, or the pixels that are in at least some number of the masks of each union.

    Args:
      masks: `[N]`; the masks of a union have the same size.
      of_union: `[N]`, the union of each mask, ascending.
      size: `[U, 2]`, the sizes of the unions.
      least: that number; the number of the masks for their intersection.

    References: maskApi.c, rleMerge.
    """
    num_edges = masks.stop - masks.start
    keys = edges_of(masks) + np.repeat(of_union << PIXEL_BITS, num_edges)
    ends = np.arange(len(keys)) & 1  # at equal pixels starts come first, so that touching masks form one run
    keys = np.sort(keys << 1 | ends, kind="stable")  # mostly ascending, which a stable sort makes use of
    starts = 1 - (keys & 1)
    depth = np.cumsum(2 * starts - 1)
    edges = keys[depth == least - 1 + starts] >> 1
    return masks_of_keys(edges if least == 1 else odd_ones(edges), size)  # without runs that end where they start


def running_sums(values: Ints) -> Ints:
    """Returns `[N + 1]`, the sum of the values before each place and of all, in their dtype, in which it may wrap."""
    sums = np.zeros(len(values) + 1, values.dtype)
    sums[1:] = values
    return np.cumsum(sums, out=sums)  # of contiguous values it is twice as fast


def _sums(values: Ints, counts: Ints) -> Ints:
    """Returns the sums of consecutive runs of values, some of which may be empty; each must fit the dtype."""
    some = np.flatnonzero(counts)
    of_each: Ints = np.zeros(len(counts), values.dtype)
    if len(some):
        of_each[some] = np.add.reduceat(values, (np.cumsum(counts) - counts)[some], dtype=values.dtype)
    return of_each
