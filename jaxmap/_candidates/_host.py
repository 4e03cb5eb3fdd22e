"""Candidates of a whole dataset in float64: the pairs within an image and class that reach the lowest threshold.

Only image-class groups with both detections and ground truths are considered, and of their pairs only those whose boxes
overlap are fully computed: on COCO a few per cent of the pairs, and far less than one per mille of all combinations.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from .._geometry._host import PairSimilarity
from .._integer_bounds import level_dtype
from .._ordering import starts_of_runs
from .._ragged import blocks, ranges
from .._threads import in_threads
from ..types import Bools, DetectionTable, Floats, GroundTruthTable, Ints

__all__ = ["Groups", "Pairs", "find_pairs"]

PAIRS_AT_ONCE = 1 << 17  # temporaries of a block take a few MB, which fit into the cache of a core


class Groups(NamedTuple):
    """The image-class groups with both detections and ground truths, as runs of rows sorted by group.

    Attributes:
      detection_start: `[n]`, first row of each group among the sorted detections.
      detection_count: `[n]`.
      ground_truth_start: `[n]`, first row of each group among the sorted ground truths.
      ground_truth_count: `[n]`.
    """

    detection_start: Ints
    detection_count: Ints
    ground_truth_start: Ints
    ground_truth_count: Ints


class Pairs(NamedTuple):
    """Pairs that reach the lowest threshold; each detection's pairs are adjacent, the preferred one first.

    Attributes:
      detection: `[P]`, row among the sorted detections, ascending.
      ground_truth: `[P]`, row among the sorted ground truths.
      similarity: `[P]` float64.
      level: `[P]` int8 or int16, how many thresholds it reaches.
    """

    detection: Ints
    ground_truth: Ints
    similarity: Floats
    level: Ints


def find_pairs(
    detections: DetectionTable,
    order: Ints,
    ground_truths: GroundTruthTable,
    groups: Groups,
    similarity: PairSimilarity,
    iou_thresholds: tuple[float, ...],
    *,
    best_only: bool = False,
) -> Pairs:
    """Finds all pairs that reach the lowest threshold, with their level, in order of preference.

    Args:
      detections: the detections, in any order.
      order: their rows, sorted by group, then by descending score.
      ground_truths: the ground truths, sorted by group, then in the order of the input.
      groups: which runs of sorted rows are compared.
      similarity: the similarity of their rows.
      iou_thresholds: T thresholds, ascending.
      best_only: for each detection, keep only the pair with the highest IoU, of equal ones the first; separately for
        crowds and for other ground truths.

    References: pycocotools cocoeval.py, evaluateImg: a match needs IoU >= min(t, 1 - 1e-10), the highest IoU is
    preferred, and of equal ones the later. VOCdevkit VOCevaldet.m for `best_only`.
    """
    bounds = np.minimum(iou_thresholds, 1 - 1e-10)
    search = partial(_reaching, detections, order, ground_truths, groups, similarity, bounds[0])
    found = in_threads(search, blocks(groups.detection_count * groups.ground_truth_count, PAIRS_AT_ONCE))
    nothing = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    detection, ground_truth, values = map(np.concatenate, zip(nothing, *found, strict=True))
    # Pairs are grouped by detection; only detections with several pairs need sorting.
    several = np.zeros(len(detection) + 1, bool)
    several[1:-1] = detection[1:] == detection[:-1]
    again = np.flatnonzero(several[1:] | several[:-1])
    place, crowd = ground_truth[again], ground_truths.crowd[ground_truth[again]]
    keys = (place, -values[again], crowd) if best_only else (-place, -values[again])
    rows = again[np.lexsort((*keys, detection[again]))]
    ground_truth[again], values[again] = ground_truth[rows], values[rows]
    if best_only:
        kept = starts_of_runs(2 * detection + ground_truths.crowd[ground_truth])
        detection, ground_truth, values = detection[kept], ground_truth[kept], values[kept]
    level = np.searchsorted(bounds, values, side="right").astype(level_dtype(len(bounds)))
    return Pairs(detection, ground_truth, values, level)


def _reaching(
    detections: DetectionTable,
    order: Ints,
    ground_truths: GroundTruthTable,
    groups: Groups,
    similarity: PairSimilarity,
    bound: float,
    block: tuple[int, int],
) -> tuple[Ints, Ints, Floats]:
    """Returns sorted detection, ground truth and similarity of the pairs of a block that reach the bound."""
    first, last = block
    counts, other_counts = groups.detection_count[first:last], groups.ground_truth_count[first:last]
    rows = ranges(groups.detection_start[first:last], counts)
    others = ranges(groups.ground_truth_start[first:last], other_counts)
    table_rows = order.take(rows)
    # Every detection is compared with a run of `others`: all of its group, or, in a crowded scene, those near it along
    # x.
    start, width = np.repeat(np.cumsum(other_counts) - other_counts, counts), np.repeat(other_counts, counts)
    boxes = detections.boxes.take(table_rows, axis=0)
    if similarity.at_most_box_iou and len(counts) == 1 and len(rows) * len(others) > PAIRS_AT_ONCE:
        others = others[np.argsort(ground_truths.boxes[others, 0])]
        start, width = _near(boxes, ground_truths.boxes[others], ground_truths.crowd[others], bound)
    axes = zip(_extents(boxes), _extents(ground_truths.boxes.take(others, axis=0)), strict=True)
    extents = list(axes) if similarity.needs_overlap else []
    edges = np.concatenate([[0], np.cumsum(width)])
    cuts = np.searchsorted(edges, np.arange(PAIRS_AT_ONCE, edges[-1], PAIRS_AT_ONCE))
    found = []
    for ends in pairwise([0, *cuts.tolist(), len(rows)]):
        piece = slice(*ends)
        detection = np.repeat(np.arange(*ends), width[piece])
        ground_truth = ranges(start[piece], width[piece])
        # The overlap along y, then along x, decides most pairs at a fraction of the cost; the arithmetic is that of
        # `box_iou_pairs`.
        for (low, high), (other_low, other_high) in extents:
            overlap = np.minimum(high.take(detection), other_high.take(ground_truth))
            overlap -= np.maximum(low.take(detection), other_low.take(ground_truth))
            near = np.flatnonzero(overlap > 0)
            detection, ground_truth = detection.take(near), ground_truth.take(near)
        if similarity.bound is not None:
            near = np.flatnonzero(similarity.bound(table_rows.take(detection), others.take(ground_truth)) >= bound)
            detection, ground_truth = detection.take(near), ground_truth.take(near)
        values = similarity.of_pairs(table_rows.take(detection), others.take(ground_truth))
        reaches = np.flatnonzero(values >= bound)
        found.append((rows.take(detection[reaches]), others.take(ground_truth[reaches]), values[reaches]))
    detection, ground_truth, values = map(np.concatenate, zip(*found, strict=True))
    return detection, ground_truth, values


def _near(boxes: Floats, other_boxes: Floats, crowd: Bools, bound: float) -> tuple[Ints, Ints]:
    """Returns the run of ground truths, ascending in x, that contains all that can reach the bound with each detection.

    An IoU is at most the overlap along x divided by the larger width. So with a bound t, neither box is wider than the
    width of the other divided by t, and the ground truth starts at most (1 - t) widths of the detection after it and at
    most (1 - t) / t widths before it. A crowd may have any width. A detection of zero or negative width overlaps
    nothing: its run is empty.
    """
    x, width, other_x, other_width = boxes[:, 0], boxes[:, 2], other_boxes[:, 0], other_boxes[:, 2]
    bound = 0.999 * bound  # with `rounding`, that of an overlap, it covers all steps of the arithmetic
    rounding = 4 * np.spacing(np.abs(x) + np.maximum(width, other_width.max(initial=0.0)))
    before = np.maximum(((1 - bound) * width + rounding) / bound, other_width[crowd].max(initial=0.0) + rounding)
    start = np.searchsorted(other_x, x - before)
    count = np.searchsorted(other_x, x + (1 - bound) * width + rounding, side="right") - start
    return start, np.where(width > 0, count, 0)


def _extents(boxes: Floats) -> list[tuple[Floats, Floats]]:
    """Returns where boxes start and end along y and along x, four contiguous `[N]`."""
    x, y, w, h = boxes.T
    return [(np.ascontiguousarray(low), low + size) for low, size in ((y, h), (x, w))]
