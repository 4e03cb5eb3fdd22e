"""Padding of tables and of cells: every row arrives, in its order, and nothing else does."""

from __future__ import annotations

import dataclasses

import numpy as np

import jaxmap
from jaxmap import io
from jaxmap._matching._packing import pack_cells, pad_detections, pad_ground_truths


def test_padded_tables_evaluate_to_the_numbers_of_the_tables():
    found, truth = io.demo_scene(40)
    # To float32 first, since padding goes there: the numbers of both forms are then the same to the last bit.
    detections, ground_truths = pad_detections(found, len(truth.image_ids)), pad_ground_truths(truth)
    evaluation = jaxmap.evaluate(detections, ground_truths, num_classes=len(truth.class_ids), box_format="xywh")
    rounded = [
        dataclasses.replace(
            table,
            **{
                name: getattr(table, name).astype(np.float32).astype(np.float64)
                for name in ("boxes", "scores", "area")
                if getattr(table, name, None) is not None
            },
        )
        for table in (found, truth)
    ]
    np.testing.assert_array_equal(evaluation.precision, jaxmap.evaluate(*rounded).precision)


def test_rows_keep_their_order_within_an_image_and_images_without_rows_are_empty():
    table = jaxmap.DetectionTable(
        image_index=np.array([2, 0, 2]),
        labels=np.array([5, 6, 7]),
        boxes=np.arange(12.0).reshape(3, 4),
        scores=np.array([0.1, 0.2, 0.3]),
        ids=np.arange(3),
    )
    padded = pad_detections(table, 3)
    assert padded.valid.tolist() == [[True, False], [False, False], [True, True]]
    assert padded.labels.tolist() == [[6, 0], [0, 0], [5, 7]]
    assert padded.boxes.dtype == np.float32


def test_every_pair_stands_in_one_cell_at_its_detection_and_candidate():
    # Group 0: two detections share ground truth 0, the first prefers 1. Group 7: one pair. Then one of 9 detections,
    # which needs a larger cell.
    group = np.array([0, 0, 0, 7, *[9] * 9])
    detection = np.array([0, 0, 1, 4, *range(10, 19)])
    ground_truth = np.array([1, 0, 0, 3, *[5] * 9])
    level = np.arange(1, 14).astype(np.int8)
    counted = np.arange(6, dtype=np.uint32)[:, None]
    seen = []
    for cells in pack_cells(
        group, detection, ground_truth, level, counted=counted, crowd=np.array([0, 1, 0, 0, 0, 1], bool)
    ):
        assert cells.candidates.level[cells.places].tolist() == level[cells.pairs].tolist()
        assert np.count_nonzero(cells.candidates.level) == len(cells.pairs)
        slot = cells.candidates.index[cells.places]
        assert cells.counted[cells.places[0], slot, 0].tolist() == ground_truth[cells.pairs].tolist()
        assert cells.crowd[cells.places[0], slot].tolist() == np.isin(ground_truth[cells.pairs], (1, 5)).tolist()
        seen.extend(cells.pairs.tolist())
    assert sorted(seen) == list(range(13))


def test_nothing_packs_into_nothing():
    none = np.zeros(0, np.int64)
    counted = np.zeros((0, 1), np.uint32)
    assert list(pack_cells(none, none, none, none.astype(np.int8), counted=counted, crowd=none.astype(bool))) == []
