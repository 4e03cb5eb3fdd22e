"""AP of every class on the VOC 2007 test set, with the 87,765 detections of a YOLOv3, equals the plain definition.

The means are those that chainercv 0.13.1, `eval_detection_voc`, gives for the same boxes, ties broken by image and by
line; class by class it and jaxmap differ by less than 5e-15, however corners are read, at IoU 0.3, 0.5 and 0.75.
"""

from __future__ import annotations

import functools
import pathlib

import numpy as np
import pytest

import jaxmap
from jaxmap import VOC2007, VOC2012, io
from jaxmap.protocols import EvaluationProtocol
from jaxmap.types import DetectionTable, GroundTruthTable
from support.voc_devkit import Found, Real, average_precision

NUM_IMAGES, NUM_OBJECTS, NUM_DIFFICULT, NUM_DETECTIONS = 4952, 14976, 2944, 87765


@functools.cache
def load(folder: pathlib.Path) -> tuple[DetectionTable, GroundTruthTable]:
    archive, image_list = folder / "annotations_xml.tar.gz", folder / "test.txt.gz"
    ground_truths = io.read_voc_ground_truths(archive, image_list=image_list)
    return io.read_voc_detections(folder / "yolov3_detections.tar.gz", ground_truths), ground_truths


@pytest.mark.slow
@pytest.mark.parametrize(
    ("protocol", "chainercv"), [(VOC2007, 0.6774832454120603), (VOC2012, 0.6967566756851649)], ids=["2007", "2012"]
)
def test_every_class_equals_the_plain_definition(
    protocol: EvaluationProtocol, chainercv: float, shared_data: pathlib.Path
) -> None:
    detections, ground_truths = load(shared_data / "voc2007")
    assert len(ground_truths.image_ids) == NUM_IMAGES
    assert (len(ground_truths.ignore), int(ground_truths.ignore.sum())) == (NUM_OBJECTS, NUM_DIFFICULT)
    assert len(detections.scores) == NUM_DETECTIONS
    evaluation = jaxmap.evaluate(detections, ground_truths, protocol=protocol)
    theirs = [
        average_precision(*of_class(detections, ground_truths, label), pixel=1, eleven_points=protocol is VOC2007)
        for label in range(20)
    ]
    # Both work in float64, and sum up to 12,000 steps of recall in another order.
    np.testing.assert_allclose(evaluation.per_class()["AP"], theirs, rtol=0, atol=1e-12)
    assert evaluation.summary["AP"] == pytest.approx(chainercv, abs=1e-12)


def of_class(
    detections: DetectionTable, ground_truths: GroundTruthTable, label: int
) -> tuple[list[Found], dict[int, list[Real]]]:
    """Returns one class in the form of the plain definition, with the corners as the files have them."""

    def corners(boxes: np.ndarray) -> list[list[float]]:
        return np.concatenate([boxes[:, :2] + 1, boxes[:, :2] + boxes[:, 2:]], axis=1).tolist()

    rows = np.flatnonzero(detections.labels == label)
    rows = rows[np.argsort(detections.image_index[rows], kind="stable")]
    images, scores = detections.image_index[rows].tolist(), detections.scores[rows].tolist()
    found = list(map(Found, images, scores, corners(detections.boxes[rows])))
    real: dict[int, list[Real]] = {}
    rows = np.flatnonzero(ground_truths.labels == label)
    images, difficult = ground_truths.image_index[rows].tolist(), ground_truths.ignore[rows].tolist()
    for image, box, flag in zip(images, corners(ground_truths.boxes[rows]), difficult, strict=True):
        real.setdefault(image, []).append(Real(box, flag))
    return found, real
