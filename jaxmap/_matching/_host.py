"""The host route up to records: a whole dataset sorted, its candidates found and matched.

tables -order-> groups -similarity-> pairs -match-> planes of each pair -> records
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from .._candidates._host import Groups, Pairs, find_pairs
from .._display import described
from .._geometry._host import PairSimilarity, pair_similarity
from .._ordering import inverse, order_by_score, order_stably, rank_in_group, starts_of_runs, take_rows
from .._planes import WORD_BITS, area_words, level_words, read_plane
from .._records._host import DatasetRecords, are_ranked
from .._threads import in_threads
from ..protocols import EvaluationProtocol
from ..types import (
    UNMATCHED,
    Bools,
    DetectionRecords,
    DetectionTable,
    Floats,
    GroundTruthRecords,
    GroundTruthTable,
    HostArray,
    Ints,
    Records,
    Words,
)
from ._rounds_host import match_by_rounds

__all__ = ["MatchedDataset", "common_groups", "match_dataset", "require_matched"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MatchedDataset:
    """A dataset after matching: everything that curves and analyses read.

    Attributes:
      source: all detections, in the order of the input.
      order: `[N]` int64, the rows of the included ones, sorted by image, class, and descending score.
      ground_truths: sorted by image and class.
      similarity: the similarity of rows of `source` and of `ground_truths`.
      dataset: the records of the detections that are included, and of the ground truths.
      pairs: the pairs that reach the lowest threshold.
      chosen: `[P, W]` uint32, the planes in which each pair is a match.
    """

    source: DetectionTable
    order: Ints
    ground_truths: GroundTruthTable
    similarity: PairSimilarity
    dataset: DatasetRecords
    pairs: Pairs
    chosen: Words

    def __repr__(self) -> str:
        counts = {"detections": len(self.order), "ground_truths": len(self.ground_truths.labels)}
        return described(self, **counts, pairs=len(self.chosen))

    @functools.cached_property
    def detections(self) -> DetectionTable:
        """The included detections, in sorted order."""
        return take_rows(self.source, self.order)

    def countable(self, protocol: EvaluationProtocol) -> Bools:
        """Returns `[N, A]` bool, whether an included detection is a false positive if nothing takes it."""
        rows = self.dataset.records.detections
        return _countable(self.source, self.order, rows.image_index, rows.labels, self.ground_truths, protocol)

    def partners(self, area: int, threshold: int, num_thresholds: int) -> tuple[Ints, Floats]:
        """Returns the row of the ground truth that each included detection matched in a plane, and their similarity.

        Returns:
          `[N]` int64, `UNMATCHED` without one; `[N]` float64, NaN without one.
        """
        partner, similarity = np.full(len(self.order), UNMATCHED), np.full(len(self.order), np.nan)
        rows, partner_of_row, similarity_of_row = self.matches(area, threshold, num_thresholds)
        partner[rows], similarity[rows] = partner_of_row, similarity_of_row
        return partner, similarity

    def ground_truth_ids(self, rows: Ints) -> HostArray:
        """Returns the ids of ground truths `[n]`, int64 or text, given by their rows; `UNMATCHED` stays."""
        ids = self.ground_truths.ids
        return np.append(ids.astype(object) if ids.dtype.kind == "U" else ids, UNMATCHED)[rows]

    def matches(self, area: int, threshold: int, num_thresholds: int) -> tuple[Ints, Ints, Floats]:
        """Returns the matches of one plane: rows of the detections and of the ground truths, and their similarity."""
        taken = read_plane(self.chosen, area, threshold, num_thresholds)
        return self.pairs.detection[taken], self.pairs.ground_truth[taken], self.pairs.similarity[taken]


def require_matched(matched: MatchedDataset | None, method: str) -> MatchedDataset:
    """Returns the matches; a `ValueError` names the method if there are none, only records."""
    if matched is None:
        raise ValueError(
            f"`{method}` needs the boxes of both sides, which the state of a metric does not keep, nor a part of an "
            "evaluation; call `jaxmap.evaluate` on the detections and the ground truths."
        )
    return matched


def match_dataset(
    detections: DetectionTable, ground_truths: GroundTruthTable, protocol: EvaluationProtocol
) -> MatchedDataset:
    """Matches every image and class of a dataset for all thresholds and area ranges.

    Args:
      detections: the detections, in any order; ties in score are broken by image, then by the order of the rows.
      ground_truths: the ground truths, in any order; of equally similar ones the later row of an image is preferred, or
        the first if the protocol only uses the best.
      protocol: the protocol, with its grids, limits and rules.
    """
    grid = len(protocol.iou_thresholds), len(protocol.area_ranges)
    num_classes = len(ground_truths.class_ids)
    order, position, rank, by_class, group = _sort_detections(detections, ground_truths, protocol)
    truth_group = ground_truths.image_index * num_classes + ground_truths.labels
    truth_order = order_stably(truth_group)
    if protocol.absorbing == "none":
        truth_order = truth_order[~(ground_truths.crowd | ground_truths.ignore)[truth_order]]
    ground_truths, truth_group = take_rows(ground_truths, truth_order), truth_group[truth_order]

    if protocol.absorbing == "ignored":  # then crowds do not differ from other ignored ground truths
        nowhere, ignore = np.zeros_like(ground_truths.crowd), ground_truths.crowd | ground_truths.ignore
        ground_truths = dataclasses.replace(ground_truths, crowd=nowhere, ignore=ignore)
    ranged = _ranged(ground_truths.area, ground_truths.image_index, ground_truths, protocol)
    counted = _inside(ranged, protocol) & ~(ground_truths.crowd | ground_truths.ignore)[:, None]
    counted_words = _spread(counted, area_words(*grid))
    groups = common_groups(group, truth_group)
    del group, truth_group  # memory is short while pairs are matched
    similarity = pair_similarity(detections, ground_truths, protocol)
    best_only = protocol.candidates == "best"
    pairs = find_pairs(
        detections, order, ground_truths, groups, similarity, protocol.iou_thresholds, best_only=best_only
    )
    chosen = match_by_rounds(
        pairs, counted_words, ground_truths.crowd, level_words(*grid), ignored_absorb=protocol.ignored_absorb
    )
    ignorable = chosen & ~counted_words[pairs.ground_truth]  # matches that leave a detection out
    if protocol.absorbing == "groups":
        whole = _inside(ranged, protocol) & ground_truths.crowd[:, None]  # groups, which count as one ground truth
        by_group = chosen & _spread(whole, area_words(*grid))[pairs.ground_truth]
        ignorable &= ~_first_in_groups(by_group, pairs.ground_truth)
        counted |= whole

    columns: Sequence[HostArray] = (detections.image_index, detections.labels, detections.scores)
    taken = in_threads(lambda column: column.take(order), columns, num_rows=len(order))
    image_index, labels = (taken.pop(0).astype(np.int32) for _ in range(2))
    scores = taken.pop()
    matched = np.zeros((counted_words.shape[1], len(rank)), np.uint32).T  # each word is contiguous over all rows
    ignored = _spread(_countable(detections, order, image_index, labels, ground_truths, protocol), area_words(*grid))
    np.bitwise_not(ignored, out=ignored)
    if len(pairs.detection):
        first = starts_of_runs(pairs.detection)
        rows = pairs.detection[first]
        matched[rows] = np.bitwise_or.reduceat(chosen, first)
        on_ignored = np.bitwise_or.reduceat(ignorable, first)
        ignored[rows] = on_ignored | (ignored[rows] & ~matched[rows])
    dataset = DatasetRecords(
        records=Records(
            detections=DetectionRecords(
                scores=scores,
                labels=labels,
                image_index=image_index,
                position=position,
                rank=rank,
                matched=matched,
                ignored=ignored,
                valid=np.broadcast_to(np.True_, rank.shape),
            ),
            ground_truths=GroundTruthRecords(
                labels=ground_truths.labels, image_index=ground_truths.image_index, counted=counted
            ),
        ),
        by_class=by_class,
        source_ids=detections.ids,
        source_rows=order,
        image_ids=ground_truths.image_ids,
        class_ids=ground_truths.class_ids,
        class_names=ground_truths.class_names,
        class_group=ground_truths.class_group,
        ranked=are_ranked(detections.scores),  # also of those that a limit excludes
    )
    return MatchedDataset(
        source=detections,
        order=order,
        ground_truths=ground_truths,
        similarity=similarity,
        dataset=dataset,
        pairs=pairs,
        chosen=chosen,
    )


def _sort_detections(
    detections: DetectionTable, ground_truths: GroundTruthTable, protocol: EvaluationProtocol
) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """Returns the rows of the included detections, by group and score, and their position, rank, order and group.

    A group is an image and class. The order is by class, then by descending score, image and position.
    """
    image_index, labels, scores = detections.image_index, detections.labels, detections.scores
    arrival = None
    if (image_index[1:] < image_index[:-1]).any():
        arrival = inverse(order_stably(image_index))
    by_class = order_by_score(labels, scores, arrival)
    place = order_stably(image_index.take(by_class))
    calls: tuple[Callable[[Ints], Ints], ...] = (by_class.take, inverse)
    order, by_class = in_threads(lambda call: call(place), calls, num_rows=len(place))
    group = image_index.take(order) * len(ground_truths.class_ids) + labels.take(order)
    if protocol.limit_scope == "image":
        by_image = order_by_score(image_index, scores, arrival)
        rank = rank_in_group(image_index.take(by_image)).take(inverse(by_image)).take(order)
    else:
        rank = rank_in_group(group)
    kept = rank < protocol.max_detections[-1]
    if ground_truths.verified is not None:
        kept &= ground_truths.verified[image_index.take(order), labels.take(order)]
    if not kept.all():
        order, rank, group = order[kept], rank[kept], group[kept]
        by_class = (np.cumsum(kept) - 1).take(by_class[kept.take(by_class)])
    return order, order if arrival is None else arrival.take(order), rank.astype(np.int32), by_class, group


def _countable(
    detections: DetectionTable,
    order: Ints,
    image_index: Ints,
    labels: Ints,
    ground_truths: GroundTruthTable,
    protocol: EvaluationProtocol,
) -> Bools:
    """Returns `[N, A]` bool: the area of a detection is inside, and its class is annotated completely in its image."""
    countable = _inside(_ranged(_areas(detections).take(order), image_index, ground_truths, protocol), protocol)
    if ground_truths.not_exhaustive is not None:
        countable &= ~ground_truths.not_exhaustive[image_index, labels][:, None]
    return countable


def _areas(detections: DetectionTable) -> Floats:
    return detections.boxes[:, 2] * detections.boxes[:, 3] if detections.area is None else detections.area


def _ranged(area: Floats, image_index: Ints, ground_truths: GroundTruthTable, protocol: EvaluationProtocol) -> Floats:
    """Returns `[N]` float64, the quantity of the protocol's area ranges."""
    if protocol.range_of == "area":
        return area
    if ground_truths.crowd_index is None:
        raise ValueError(f"`ground_truths` must have the column `crowd_index` for the protocol {protocol.name!r}.")
    return ground_truths.crowd_index.take(image_index)


def common_groups(detection_group: Ints, truth_group: Ints) -> Groups:
    """Returns the groups with both detections and ground truths; both inputs are sorted."""
    first, truth_first = starts_of_runs(detection_group), starts_of_runs(truth_group)
    _, in_detections, in_truths = np.intersect1d(
        detection_group[first], truth_group[truth_first], assume_unique=True, return_indices=True
    )
    count, truth_count = np.diff(first, append=len(detection_group)), np.diff(truth_first, append=len(truth_group))
    return Groups(first[in_detections], count[in_detections], truth_first[in_truths], truth_count[in_truths])


def _first_in_groups(taken: Words, group: Ints) -> Words:
    """Returns `[P, W]` uint32, the planes in which each pair is the first of its group; pairs by descending score."""
    first = np.zeros_like(taken)
    for word, bit in np.ndindex(taken.shape[1], WORD_BITS):
        plane = np.uint32(1 << bit)
        rows = np.flatnonzero(taken[:, word] & plane)
        first[rows[np.unique(group[rows], return_index=True)[1]], word] |= plane
    return first


def _inside(area: Floats, protocol: EvaluationProtocol) -> Bools:
    """Returns `[N, A]` bool, which ranges contain each area, both ends included."""
    return np.stack([(area >= one.low) & (area <= one.high) for one in protocol.area_ranges]).T


def _spread(counted: Bools, areas: Words) -> Words:
    """Expands `[N, A]` flags to planes, `[N, W]` uint32; the host's `counted_words`."""
    words = np.zeros((areas.shape[1], len(counted)), np.uint32)
    for flags, area in zip(counted.T, areas, strict=True):
        for word, planes in zip(words, area, strict=True):
            if planes:
                word |= flags * planes
    return words.T
