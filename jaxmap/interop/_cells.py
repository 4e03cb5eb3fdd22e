"""A matched dataset by cells, where a cell is a class in an image, as in the results of other libraries.

In: a `MatchedDataset`. Out: IoU matrices, and pycocotools' list of one dictionary per cell and area range; and back,
from such a list to the records of the curves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._matching._host import MatchedDataset
from .._planes import num_words, plane_bit
from ..types import Bools, DetectionRecords, Floats, GroundTruthRecords, HostArray, Ints, Records, Words

__all__ = ["Cell", "EvalImages", "cell_ious", "eval_images", "read_eval_images", "walk_cells"]


class Cell(NamedTuple):
    """A class in an image, with the rows of its boxes in the sorted detections and ground truths."""

    image_index: int
    label: int
    detections: slice
    ground_truths: slice


class EvalImages(NamedTuple):
    """The axes and ids of the entries of pycocotools' `evalImgs`.

    Attributes:
      image_ids, class_ids, area_ranges: the values on the axes I, K and A.
      limit: how many detections of a cell are included.
      thresholds: the index of the protocol's threshold at each position of T.
      num_thresholds: how many thresholds the protocol has.
      detection_ids, ground_truth_ids: the ids by the `ids` of the tables.
    """

    image_ids: Sequence[Any]
    class_ids: Sequence[Any]
    area_ranges: Sequence[Any]
    limit: int
    thresholds: Ints
    num_thresholds: int
    detection_ids: Sequence[Any]
    ground_truth_ids: Sequence[Any]


def walk_cells(matched: MatchedDataset) -> Iterator[Cell]:
    """Yields every cell with a box, by image, then class."""
    num_classes = max(len(matched.ground_truths.class_ids), 1)
    sides = [side.image_index * num_classes + side.labels for side in (matched.detections, matched.ground_truths)]
    cells = np.union1d(*sides)
    bounds = [np.searchsorted(side, cells, side=end).tolist() for side in sides for end in ("left", "right")]
    for cell, start, stop, truth_start, truth_stop in zip(cells.tolist(), *bounds, strict=True):
        image_index, label = divmod(cell, num_classes)
        yield Cell(image_index, label, slice(start, stop), slice(truth_start, truth_stop))


def cell_ious(matched: MatchedDataset, cell: Cell) -> Floats:
    """Returns `[D, G]` float64, detections by descending score, ground truths in the order of the input."""
    rows, others = (np.arange(side.start, side.stop) for side in (cell.detections, cell.ground_truths))
    pairs = matched.order[np.repeat(rows, len(others))], np.tile(others, len(rows))
    return matched.similarity.of_pairs(*pairs).reshape(len(rows), len(others))


def eval_images(matched: MatchedDataset, names: EvalImages) -> list[dict[str, Any] | None]:
    """Returns pycocotools' `evalImgs`, by class, area range and image; None for cells without boxes.

    References: pycocotools cocoeval.py, evaluateImg.
    """
    found, truth, truth_records = matched.detections, matched.ground_truths, matched.dataset.records.ground_truths
    num_areas, num_images = len(names.area_ranges), len(names.image_ids)
    entries: list[dict[str, Any] | None] = [None] * (len(names.class_ids) * num_areas * num_images)
    detection_ids = [names.detection_ids[row] for row in found.ids.tolist()]
    cells = list(walk_cells(matched))
    truth_cell = truth.image_index * max(len(names.class_ids), 1) + truth.labels
    for area, area_range in enumerate(names.area_ranges):
        order = np.lexsort((~truth_records.counted[:, area], truth_cell))  # ignored ones last
        truth_ids = [names.ground_truth_ids[row] for row in truth.ids[order].tolist()]
        truth_ignored = (~truth_records.counted[order, area]).astype(np.int64)
        partner, truth_partner, ignored = _matches(matched, names, area, detection_ids)
        truth_partner = truth_partner[:, order]
        for cell in cells:
            entries[(cell.label * num_areas + area) * num_images + cell.image_index] = {
                "image_id": names.image_ids[cell.image_index],
                "category_id": names.class_ids[cell.label],
                "aRng": area_range,
                "maxDet": names.limit,
                "dtIds": detection_ids[cell.detections],
                "gtIds": truth_ids[cell.ground_truths],
                "dtMatches": partner[:, cell.detections],
                "gtMatches": truth_partner[:, cell.ground_truths],
                "dtScores": found.scores[cell.detections].tolist(),
                "gtIgnore": truth_ignored[cell.ground_truths],
                "dtIgnore": ignored[:, cell.detections],
            }
    return entries


def read_eval_images(
    entries: Sequence[dict[str, Any] | None],
    *,
    num_classes: int,
    num_areas: int,
    num_images: int,
    num_rows: int,
    thresholds: Ints,
) -> tuple[Records[HostArray], Ints]:
    """Returns the records of `evalImgs`, and the order of the detections for the curves.

    Args:
      entries: by class, area range and image.
      num_classes, num_areas, num_images: K, A and I.
      num_rows: how many rows the entries' `dtMatches` and `dtIgnore` have.
      thresholds: `[T]` int, the rows to read.

    Raises:
      ValueError: if the list does not have one entry per class, area range and image, or an entry lacks a field.
    """
    if len(entries) != num_classes * num_areas * num_images:
        raise ValueError(
            "`evalImgs` must have one entry for each of `params.catIds`, `areaRng` and `imgIds`, "
            f"{num_classes} x {num_areas} x {num_images}, got {len(entries)}."
        )
    labels, images, scores, ranks = ([np.zeros(0, kind)] for kind in (np.int64, np.int64, np.float64, np.int64))
    flags = [np.zeros((2, num_areas, len(thresholds), 0), bool)]  # matched, ignored
    truths: list[tuple[int, int, Bools]] = []
    for label in range(num_classes):
        for image in range(num_images):
            first = label * num_areas * num_images + image
            cell = [
                entry for entry in entries[first : first + num_areas * num_images : num_images] if entry is not None
            ]
            if not cell:
                continue
            try:
                if any(len(entry[name]) != num_rows for entry in cell for name in ("dtMatches", "dtIgnore")):
                    raise ValueError(f"not {num_rows} rows")
                # Each area range has its own order, so a row does not stand for one ground truth; only the counts
                # matter.
                num_counted = [np.count_nonzero(np.asarray(entry["gtIgnore"]) == 0) for entry in cell]
                truths.append((label, image, np.arange(max(num_counted))[:, None] < num_counted))
                scores.append(np.asarray(cell[0]["dtScores"], np.float64))
                matched = [np.asarray(entry["dtMatches"])[thresholds] != 0 for entry in cell]
                ignored = [np.asarray(entry["dtIgnore"], bool)[thresholds] for entry in cell]
                flags.append(np.stack([matched, ignored]))
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise ValueError(
                    f"`evalImgs[{first}]` must hold `gtIgnore`, `dtScores`, and `dtMatches` and `dtIgnore` with a row "
                    f"for each of `params.iouThrs`, {num_rows}; it does not: {error}."
                ) from error
            ranks.append(np.arange(len(scores[-1])))
            labels.append(np.full(len(scores[-1]), label))
            images.append(np.full(len(scores[-1]), image))
    matched_words, ignored_words = _pack(np.concatenate(flags, axis=-1))
    rank = np.concatenate(ranks)
    detections = DetectionRecords(
        scores=np.concatenate(scores),
        labels=np.concatenate(labels),
        image_index=np.concatenate(images),
        position=rank,
        rank=rank,
        matched=matched_words,
        ignored=ignored_words,
        valid=np.ones(len(rank), bool),
    )
    lengths = [len(counted) for _, _, counted in truths]
    ground_truths = GroundTruthRecords(
        labels=np.repeat(np.array([label for label, _, _ in truths], np.int64), lengths),
        image_index=np.repeat(np.array([image for _, image, _ in truths], np.int64), lengths),
        counted=np.concatenate([np.zeros((0, num_areas), bool), *(counted for _, _, counted in truths)]),
    )
    order = np.lexsort((-detections.scores, detections.labels))  # stable: ties stay in order of image and rank
    return Records(detections=detections, ground_truths=ground_truths), order


def _matches(
    matched: MatchedDataset, names: EvalImages, area: int, detection_ids: list[Any]
) -> tuple[Floats, Floats, Bools]:
    """Returns `[T, D]` ids of ground truths, `[T, G]` ids of detections, 0 for none, and `[T, D]` whether ignored."""
    pairs, truth = matched.pairs, matched.ground_truths
    ids = np.array(detection_ids, np.float64)
    truth_ids = np.array([names.ground_truth_ids[row] for row in truth.ids.tolist()], np.float64)
    partner, truth_partner = (np.zeros((len(names.thresholds), len(column))) for column in (ids, truth_ids))
    ignored = np.zeros(partner.shape, bool)
    for place, threshold in enumerate(names.thresholds.tolist()):
        word, bit = plane_bit(area, threshold, names.num_thresholds)
        taken = _bit(matched.chosen[:, word], bit)
        rows, truth_rows = pairs.detection[taken], pairs.ground_truth[taken]
        partner[place, rows] = truth_ids[truth_rows]
        truth_partner[place, truth_rows] = ids[rows]  # of detections that share a crowd the last one stays
        ignored[place] = _bit(matched.dataset.records.detections.ignored[:, word], bit)
    return partner, truth_partner, ignored


def _bit(words: Words, bit: int) -> Bools:
    is_set: Bools = (words & np.uint32(1 << bit)) != 0
    return is_set


def _pack(flags: Bools) -> Words:
    """Packs `[2, A, T, N]` bool into `[2, N, W]` uint32."""
    num_areas, num_thresholds, num_rows = flags.shape[1:]
    words = np.zeros((2, num_rows, num_words(num_thresholds, num_areas)), np.uint32)
    for area in range(num_areas):
        for threshold in range(num_thresholds):
            word, bit = plane_bit(area, threshold, num_thresholds)
            words[..., word] |= np.where(flags[:, area, threshold], np.uint32(1 << bit), np.uint32(0))
    return words
