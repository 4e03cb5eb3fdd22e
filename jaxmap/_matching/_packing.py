"""Packing of ragged tables into padded arrays; the only place that pads.

For `update`, tables become arrays with one row of slots per image. For matching, candidate pairs become cells of a few
fixed shapes: a cell holds one component, the detections and ground truths that pairs connect. Every new shape must be
compiled, so cells have the smallest fitting size of a short list, and chunks have a fixed number of cells. Only
detections and ground truths in pairs get a slot.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..types import (
    Bools,
    Candidates,
    Detections,
    DetectionTable,
    GroundTruths,
    GroundTruthTable,
    HostArray,
    Ints,
    Words,
)

__all__ = ["Cells", "pack_cells", "pad_detections", "pad_ground_truths"]

# Sizes of cells: 2, 16, 128, ... detections and ground truths, and as many candidates per detection.
SMALLEST, GROWTH = 2, 8
STEPS = 16  # more than any size needs
CANDIDATES_AT_ONCE = 1 << 15  # detections in a chunk


class Cells(NamedTuple):
    """A chunk of `n` cells of one shape, and the origin of its pairs.

    Attributes:
      candidates: `[n, D, C]`.
      counted: `[n, G, W]` uint32.
      crowd: `[n, G]` bool.
      pairs: `[p]` int64, the pairs in the chunk.
      places: three `[p]` arrays: cell, detection and candidate of each.
    """

    candidates: Candidates[HostArray]
    counted: Words
    crowd: Bools
    pairs: Ints
    places: tuple[Ints, Ints, Ints]


def pack_cells(
    group: Ints,
    detection: Ints,
    ground_truth: Ints,
    level: Ints,
    *,
    counted: Words,
    crowd: Bools,
) -> Iterator[Cells]:
    """Packs pairs into cells, one per component.

    Args:
      group: `[P]` int64, ascending; the cell of each pair.
      detection: `[P]` int64, ascending; pairs of a detection are in order of preference.
      ground_truth: `[P]` int64.
      level: `[P]` int8 or int16.
      counted: `[N, W]` uint32, for every ground truth.
      crowd: `[N]` bool, for every ground truth.
    """
    if not len(group):
        return
    cell, first_of_cell = _number_runs(group)
    row, first_of_row = _number_runs(detection)
    detection_place = row - row[first_of_cell][cell]
    candidate_place = np.arange(len(row)) - first_of_row[row]
    # Each ground truth is in one cell; numbering them by cell keeps those of a cell together.
    cell_of = np.full(len(crowd), -1)
    cell_of[ground_truth] = cell
    used = np.flatnonzero(cell_of >= 0)
    number = np.empty(len(crowd), np.int64)
    number[used[np.argsort(cell_of[used], kind="stable")]] = np.arange(len(used))
    number = number[ground_truth]
    ground_truth_place = number - np.minimum.reduceat(number, first_of_cell)[cell]

    def largest(places: Ints) -> Ints:
        return np.maximum.reduceat(places, first_of_cell) + 1

    step = _steps(np.maximum(largest(detection_place), largest(ground_truth_place)))
    # Few cells are large, and each shape must be compiled: large cells have no shape for the shortest lists.
    lists = np.maximum(_steps(largest(candidate_place)), step > 1)
    shape = step * STEPS + lists
    for value in np.unique(shape):
        side = SMALLEST * GROWTH ** int(value // STEPS)
        num_candidates = min(SMALLEST * GROWTH ** int(value % STEPS), side)
        num_cells = max(CANDIDATES_AT_ONCE // (side * num_candidates), 1)
        cells = np.flatnonzero(shape == value)
        place_of_cell = np.full(len(shape), -1)
        place_of_cell[cells] = np.arange(len(cells))
        of_shape = np.flatnonzero(shape[cell] == value)
        chunks = np.searchsorted(place_of_cell[cell[of_shape]], np.arange(0, len(cells) + num_cells, num_cells))
        for start, stop in pairwise(chunks):
            pairs = of_shape[start:stop]
            places = (place_of_cell[cell[pairs]] % num_cells, detection_place[pairs], candidate_place[pairs])
            index = np.zeros((num_cells, side, num_candidates), np.int32)
            levels = np.zeros((num_cells, side, num_candidates), level.dtype)
            index[places], levels[places] = ground_truth_place[pairs], level[pairs]
            chunk_counted = np.zeros((num_cells, side, counted.shape[1]), np.uint32)
            chunk_crowd = np.zeros((num_cells, side), bool)
            chunk_counted[places[0], ground_truth_place[pairs]] = counted[ground_truth[pairs]]
            chunk_crowd[places[0], ground_truth_place[pairs]] = crowd[ground_truth[pairs]]
            yield Cells(Candidates(index=index, level=levels), chunk_counted, chunk_crowd, pairs, places)


def pad_detections(table: DetectionTable, num_images: int) -> Detections:
    """Returns a table as `[I, D, ...]` NumPy arrays, boxes (xywh) and scores in float32; D is the most per image."""
    columns = {
        "boxes": table.boxes.astype(np.float32),
        "scores": table.scores.astype(np.float32),
        "labels": table.labels.astype(np.int32),
    }
    return Detections(**_pad(table.image_index, num_images, columns))


def pad_ground_truths(table: GroundTruthTable) -> GroundTruths:
    """Returns a table as `[I, G, ...]` NumPy arrays, boxes (xywh) and areas in float32; G is the most per image."""
    columns = {
        "boxes": table.boxes.astype(np.float32),
        "labels": table.labels.astype(np.int32),
        "crowd": table.crowd,
        "area": table.area.astype(np.float32),
        "ignore": table.ignore,
    }
    return GroundTruths(**_pad(table.image_index, len(table.image_ids), columns))


def _pad(image_index: Ints, num_images: int, columns: dict[str, HostArray]) -> dict[str, HostArray]:
    """Copies rows to `[I, slots, ...]`, in order within each image, with `valid`; unused slots are 0."""
    order = np.argsort(image_index, kind="stable")
    image = image_index[order]
    slot = np.arange(len(image)) - np.searchsorted(image, image)
    shape = (num_images, int(slot.max(initial=0)) + 1)
    padded = {name: np.zeros(shape + column.shape[1:], column.dtype) for name, column in columns.items()}
    padded["valid"] = np.zeros(shape, bool)
    padded["valid"][image, slot] = True
    for name, column in columns.items():
        padded[name][image, slot] = column[order]
    return padded


def _steps(sizes: Ints) -> Ints:
    """Returns the index of the smallest fitting size."""
    return np.searchsorted(SMALLEST * GROWTH ** np.arange(STEPS), sizes)


def _number_runs(values: Ints) -> tuple[Ints, Ints]:
    """Returns the run number of each value, `[n]`, and the start of each run."""
    new = np.concatenate([[True], values[1:] != values[:-1]])
    return np.cumsum(new) - 1, np.flatnonzero(new)
