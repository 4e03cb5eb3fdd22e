"""The host route up to records: a whole dataset sorted, its candidates found, packed and matched.

tables -order-> groups -candidates-> pairs -packing-> cells -match, in jit-> planes of each pair -> records
"""

from __future__ import annotations

import dataclasses
import functools
from collections import deque
from functools import partial

import jax
import numpy as np

from .host import (
    Groups,
    Pairs,
    components,
    find_pairs,
    in_threads,
    inverse,
    order_by_score,
    order_within,
    rank_in_group,
    starts_of_runs,
    take_rows,
)
from .matching import match
from .packing import Cells, pack_cells
from .planes import area_words, level_words
from .protocols import EvaluationProtocol
from .types import Candidates, DetectionTable, GroundTruthTable, Records

__all__ = ["MatchedDataset", "match_dataset"]

CHUNKS_AT_ONCE = 8  # on their way through the device; more would only hold memory
DROPPED = -1  # place of a row that is beyond the limit


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MatchedDataset:
    """A dataset after matching: everything that curves and analyses read.

    Attributes:
      detections: those that take part, sorted by image, class, and descending score.
      ground_truths: sorted by image and class.
      records: a row for each detection.
      by_class: `[N]` int64, the rows of the detections by class, then by descending score, image and position.
      pairs: the pairs that reach the lowest threshold.
      chosen: `[P, W]` uint32, the planes in which each pair is a match.
      counted: `[G, A]` bool, whether each ground truth counts in each area range.
    """

    detections: DetectionTable
    ground_truths: GroundTruthTable
    records: Records
    by_class: np.ndarray
    pairs: Pairs
    chosen: np.ndarray
    counted: np.ndarray

    @functools.cached_property
    def score_place(self) -> np.ndarray:
        """`[N]` int64, each detection's place among all, by descending score, image and position."""
        rows = self.records
        one_class = np.zeros_like(rows.labels)
        return inverse(order_by_score(one_class, rows.scores, inverse(np.argsort(rows.position))))


def match_dataset(
    detections: DetectionTable, ground_truths: GroundTruthTable, protocol: EvaluationProtocol
) -> MatchedDataset:
    """Matches every image and class of a dataset under all thresholds and area ranges.

    Args:
      detections: in any order; ties in score go by image, then by the order of the rows.
      ground_truths: in any order; of equally similar ones the later row of an image is preferred, or the first where
        the protocol looks only at the best.
      protocol: its grids, limits and rules.
    """
    grid = len(protocol.iou_thresholds), len(protocol.area_ranges)
    num_classes = len(ground_truths.class_ids)
    detections, position, rank, by_class = _sort_detections(detections, num_classes, protocol.max_detections[-1])
    truth_group = ground_truths.image_index * num_classes + ground_truths.labels
    order = order_within(truth_group, np.arange(len(truth_group)))
    ground_truths, truth_group = take_rows(ground_truths, order), truth_group[order]

    ignored_absorb = protocol.absorbing == "ignored"
    if ignored_absorb:  # then nothing sets a crowd apart from other ignored ground truths
        nowhere, ignore = np.zeros_like(ground_truths.crowd), ground_truths.crowd | ground_truths.ignore
        ground_truths = dataclasses.replace(ground_truths, crowd=nowhere, ignore=ignore)
    counted = _inside(ground_truths.area, protocol) & ~(ground_truths.crowd | ground_truths.ignore)[:, None]
    counted_words = _spread(counted, area_words(*grid))
    groups = _common_groups(detections.image_index * num_classes + detections.labels, truth_group)
    best_only = protocol.candidates == "best"
    pairs = find_pairs(detections, ground_truths, groups, protocol.iou_thresholds, best_only=best_only)
    chosen = _match_pairs(pairs, counted_words, ground_truths.crowd, level_words(*grid), ignored_absorb=ignored_absorb)

    matched = np.zeros((counted_words.shape[1], len(rank)), np.uint32).T  # a word of all rows is contiguous
    ignored = _spread(_inside(detections.boxes[:, 2] * detections.boxes[:, 3], protocol), area_words(*grid))
    np.bitwise_not(ignored, out=ignored)
    if len(pairs.detection):
        first = starts_of_runs(pairs.detection)
        rows = pairs.detection[first]
        matched[rows] = np.bitwise_or.reduceat(chosen, first)
        on_ignored = np.bitwise_or.reduceat(chosen & ~counted_words[pairs.ground_truth], first)
        ignored[rows] = on_ignored | (ignored[rows] & ~matched[rows])
    records = Records(
        scores=detections.scores,
        labels=detections.labels,
        image_index=detections.image_index,
        position=position,
        rank=rank,
        matched=matched,
        ignored=ignored,
        valid=np.ones(len(rank), bool),
    )
    return MatchedDataset(
        detections=detections,
        ground_truths=ground_truths,
        records=records,
        by_class=by_class,
        pairs=pairs,
        chosen=chosen,
        counted=counted,
    )


def _sort_detections(
    detections: DetectionTable, num_classes: int, limit: int
) -> tuple[DetectionTable, np.ndarray, np.ndarray, np.ndarray]:
    """Returns the detections within the limit, by group and score, with position, rank, and their order by class."""
    image_index = detections.image_index
    arrival = np.arange(len(image_index))
    if (image_index[1:] < image_index[:-1]).any():
        arrival = inverse(order_within(image_index, arrival))
    order, rank, by_class = _orders(detections, arrival, num_classes, limit)
    return take_rows(detections, order), arrival.take(order), rank, by_class


def _orders(
    detections: DetectionTable, arrival: np.ndarray, num_classes: int, limit: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the order of detections within the limit by group and score, their rank, and their order by class."""
    group = detections.image_index * num_classes + detections.labels
    by_class, order = in_threads(
        lambda labels: order_by_score(labels, detections.scores, arrival), (detections.labels, group)
    )
    rank = rank_in_group(group.take(order))
    kept = rank < limit
    if kept.all():
        return order, rank, inverse(order).take(by_class)
    order, rank = order[kept], rank[kept]
    sorted_row = np.full(len(group), DROPPED)
    sorted_row[order] = np.arange(len(order))
    by_class = sorted_row.take(by_class)
    return order, rank, by_class[by_class != DROPPED]


def _common_groups(detection_group: np.ndarray, truth_group: np.ndarray) -> Groups:
    """Returns the groups that hold both kinds of box; both inputs are sorted."""
    first, truth_first = starts_of_runs(detection_group), starts_of_runs(truth_group)
    _, in_detections, in_truths = np.intersect1d(
        detection_group[first], truth_group[truth_first], assume_unique=True, return_indices=True
    )
    count, truth_count = np.diff(first, append=len(detection_group)), np.diff(truth_first, append=len(truth_group))
    return Groups(first[in_detections], count[in_detections], truth_first[in_truths], truth_count[in_truths])


def _match_pairs(
    pairs: Pairs, counted: np.ndarray, crowd: np.ndarray, levels: np.ndarray, *, ignored_absorb: bool
) -> np.ndarray:
    """Returns `[P, W]` uint32: the planes in which each pair is a match."""
    chosen = np.zeros((len(pairs.level), counted.shape[1]), np.uint32)
    run = partial(_match_cells, ignored_absorb=ignored_absorb)
    # Only detections that share a ground truth, directly or through others, can be in each other's way.
    cell = components(pairs.detection, pairs.ground_truth, len(crowd))
    order = order_within(cell, np.arange(len(cell)))
    taken = (column.take(order) for column in (cell, pairs.detection, pairs.ground_truth, pairs.level))
    running: deque[tuple[Cells, jax.Array]] = deque()

    def collect() -> None:
        cells, planes = running.popleft()
        chosen[order[cells.pairs]] = np.asarray(planes)[cells.places]

    for cells in pack_cells(*taken, counted=counted, crowd=crowd):
        running.append((cells, run(cells.candidates, cells.counted, cells.crowd, levels)))  # not waited for
        if len(running) > CHUNKS_AT_ONCE:
            collect()
    while running:
        collect()
    return chosen


@partial(jax.jit, static_argnames="ignored_absorb")
def _match_cells(
    candidates: Candidates, counted: jax.Array, crowd: jax.Array, levels: jax.Array, *, ignored_absorb: bool
) -> jax.Array:
    one = partial(match, levels=levels, ignored_absorb=ignored_absorb)
    return jax.vmap(lambda c, g, r: one(c, counted=g, crowd=r))(candidates, counted, crowd)


def _inside(area: np.ndarray, protocol: EvaluationProtocol) -> np.ndarray:
    """Returns `[N, A]` bool: which ranges hold each area, both ends included."""
    return np.stack([(area >= one.low) & (area <= one.high) for one in protocol.area_ranges]).T


def _spread(counted: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Spreads `[N, A]` flags over the planes, `[N, W]` uint32; the host's `records.counted_words`."""
    words = np.zeros((areas.shape[1], len(counted)), np.uint32)
    for flags, area in zip(counted.T, areas, strict=True):
        for word, planes in zip(words, area, strict=True):
            if planes:
                word |= flags * planes
    return words.T
