"""Tensors of torch, whatever torch itself refuses to convert, in `evaluate` and in the shells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap.interop.model_garden import COCOEvaluator
from jaxmap.interop.torchmetrics import MeanAveragePrecision

torch = pytest.importorskip("torch")

BOXES = [[0.0, 0.0, 16.0, 16.0], [32.0, 32.0, 64.0, 64.0]]
SCORES = [0.5, 0.75]  # which bfloat16 holds


def sides(tensor: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    labels = torch.tensor([0, 1])
    found = {"boxes": tensor(BOXES), "scores": tensor(SCORES), "labels": labels}
    return [found], [{"boxes": tensor([BOXES[0], [32.0, 32.0, 64.0, 48.0]]), "labels": labels}]


KINDS = {
    "plain": torch.tensor,
    "with a gradient": lambda values: torch.tensor(values, requires_grad=True),
    "bfloat16": lambda values: torch.tensor(values, dtype=torch.bfloat16),
    "bfloat16 with a gradient": lambda values: torch.tensor(values, dtype=torch.bfloat16, requires_grad=True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_are_arrays(kind: str) -> None:
    expected = (1.0 + 0.1) / 2  # the second pair has IoU 0.5
    found, truth = sides(KINDS[kind])
    assert jaxmap.evaluate(found, truth).summary["AP"] == pytest.approx(expected)
    metric = MeanAveragePrecision()
    metric.update(found, truth)
    assert metric.compute()["map"] == pytest.approx(expected)


def test_list_of_tensors_that_cannot_be_converted_is_named() -> None:
    found, truth = sides(torch.tensor)
    found[0]["scores"] = [torch.tensor(score, requires_grad=True) for score in SCORES]
    with pytest.raises(TypeError, match=r"`detections\[0\]\['scores'\]` cannot be read as a NumPy array .*detach"):
        jaxmap.evaluate(found, truth)


@pytest.mark.parametrize(
    ("field", "value"), [("source_id", [7.5]), ("num_detections", [0.5]), ("detection_classes", [[1.5]])]
)
def test_fractions_are_no_integers_in_the_model_garden_shell(field: str, value: Any) -> None:
    evaluator = COCOEvaluator(annotation_file=None, include_mask=False, need_rescale_bboxes=False)
    box, size = np.array([[[20.0, 16.0, 60.0, 48.0]]]), np.array([100])
    truth = {"source_id": [7], "height": size, "width": size, "boxes": box, "classes": [[18]], "num_detections": [1]}
    found = {"source_id": [7.0], "num_detections": [1], "detection_boxes": torch.tensor(box, requires_grad=True)}
    found |= {"detection_classes": [[18.0]], "detection_scores": [[0.9]]}
    with pytest.raises(ValueError, match=rf"`predictions\['{field}'\]` must hold integers of 64 bits, got"):
        evaluator.update_state(truth, found | {field: value})
    evaluator.update_state(truth, found)  # whole floats are the integers that they are
    assert evaluator.result()["AP"] == 1.0


@pytest.mark.parametrize(("label", "dtype"), [(2**31 - 1, np.int32), (2**31, np.int64), (2**62, np.int64)])
def test_large_labels_keep_their_numbers_in_the_torchmetrics_shell(label: int, dtype: type) -> None:
    box = np.float32([[0, 0, 10, 10]])
    metric = MeanAveragePrecision()
    metric.update(
        [{"boxes": box, "scores": np.float32([0.5]), "labels": np.array([label])}],
        [{"boxes": box, "labels": np.array([label])}],
    )
    numbers = metric.compute()
    assert (numbers["map"], int(numbers["classes"]), numbers["classes"].dtype) == (1.0, label, dtype)


def test_wide_ids_stay_apart_in_the_model_garden_shell() -> None:
    evaluator = COCOEvaluator(annotation_file=None, include_mask=False, need_rescale_bboxes=False)
    boxes = np.array([[[20.0, 16.0, 60.0, 48.0]], [[10.0, 10.0, 30.0, 30.0]]])
    ids, sizes = np.array([1, 2**32 + 1]), np.array([100, 100])
    truth = {"source_id": ids, "height": sizes, "width": sizes, "boxes": boxes, "num_detections": [1, 1]}
    truth |= {"classes": np.array([[18], [18]])}
    found = {"source_id": ids[::-1], "num_detections": [1, 1], "detection_boxes": boxes[::-1]}
    found |= {"detection_classes": truth["classes"], "detection_scores": np.array([[0.9], [0.8]])}
    evaluator.update_state(truth, found)
    assert evaluator.result()["AP"] == 1.0
    with pytest.raises(ValueError, match=r"`groundtruths\['source_id'\]` must hold integers of 64 bits, got 1844"):
        evaluator.update_state(truth | {"source_id": [str(2**64), "1"]}, found)
