"""Padding of tables: every row arrives, in its order, and nothing else does."""

from __future__ import annotations

import dataclasses

import numpy as np

import jaxmap
from jaxmap import io
from jaxmap._matching._padding import pad_detections, pad_ground_truths


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
