"""What other libraries hand over goes into `evaluate` as it is, or by one line that this file shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap import io

FOUND = {"boxes": [[0.0, 0.0, 10.0, 9.0]], "scores": [0.5], "labels": [0]}  # nine tenths of the object
TRUTH = {"boxes": [[0.0, 0.0, 10.0, 10.0]], "labels": [0]}
AP = pytest.approx(0.9)  # nine of ten thresholds


def ap(detections: Any, ground_truths: Any, **options: Any) -> float:
    return jaxmap.evaluate(detections, ground_truths, **options).summary["AP"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_torch_tensors_with_gradients_are_read_in_any_dtype(dtype: str) -> None:
    torch = pytest.importorskip("torch", reason="is not needed by jaxmap")

    def tensors(image: dict[str, Any]) -> dict[str, Any]:
        kinds = {"labels": torch.int64}
        made = {name: torch.tensor(one, dtype=kinds.get(name, getattr(torch, dtype))) for name, one in image.items()}
        return {name: one.requires_grad_(name != "labels") for name, one in made.items()}

    found, truth = tensors(FOUND), tensors(TRUTH)
    assert ap([found], [truth]) == AP
    padded = [{name: one[None] for name, one in side.items()} for side in (found, truth)]
    assert ap(*padded) == AP
    assert ap([found], [TRUTH]) == AP
    nothing = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.int64)}
    assert ap([nothing], [TRUTH]) == 0


def test_supervision_detections_are_read() -> None:
    supervision = pytest.importorskip("supervision", reason="is not needed by jaxmap")
    found = supervision.Detections(
        xyxy=np.array(FOUND["boxes"]), confidence=np.array(FOUND["scores"]), class_id=np.array([0])
    )
    truth = supervision.Detections(xyxy=np.array(TRUTH["boxes"]), class_id=np.array([0]))
    assert ap([found], [truth]) == AP
    assert ap([found, supervision.Detections.empty()], [truth, truth]) == pytest.approx(0.9 * 51 / 101)
    mask = np.zeros((1, 12, 12), bool)
    mask[:, :10, :10] = True
    found.mask, truth.mask = mask & (np.arange(12) < 9)[:, None], mask
    assert ap([found], [truth], iou_type="segm") == AP
    unlabelled = supervision.Detections(xyxy=np.array(TRUTH["boxes"]))
    with pytest.raises(ValueError, match=r"`ground_truths\[0\]` must have the fields \['labels'\]"):
        ap([found], [unlabelled])


def test_detections_as_supervision_lays_them_out_are_read() -> None:
    class Detections:  # the attributes that it documents
        xyxy, confidence, class_id, mask, tracker_id = FOUND["boxes"], FOUND["scores"], [0], None, None

    assert ap([Detections()], [TRUTH]) == AP


def test_post_processed_outputs_of_transformers_are_read() -> None:
    transformers = pytest.importorskip("transformers", reason="is not needed by jaxmap")
    torch = pytest.importorskip("torch", reason="transformers computes with it")
    from transformers.models.detr.modeling_detr import DetrObjectDetectionOutput

    logits = torch.tensor([[[4.0, 0.0], [0.0, 4.0]]], requires_grad=True)  # an object and nothing
    boxes = torch.tensor([[[0.25, 0.225, 0.5, 0.45], [0.5, 0.5, 0.1, 0.1]]])
    output = DetrObjectDetectionOutput(logits=logits, pred_boxes=boxes)
    processor = transformers.DetrImageProcessor()
    found = processor.post_process_object_detection(output, threshold=0.5, target_sizes=[(20, 20)])
    assert found[0]["scores"].requires_grad
    assert ap(found, [TRUTH]) == AP


def test_rows_of_a_dataset_of_coco_style_are_one_line_away() -> None:
    datasets = pytest.importorskip("datasets", reason="is not needed by jaxmap")
    objects = {"id": [1], "area": [100.0], "bbox": [[0.0, 0.0, 10.0, 10.0]], "category": [0]}
    rows = datasets.Dataset.from_list([{"image_id": 7, "width": 20, "height": 20, "objects": objects}])
    truth = [{"boxes": row["bbox"], "labels": row["category"], "area": row["area"]} for row in rows["objects"]]
    assert ap([FOUND], truth, box_format="xywh") == AP  # at the corner, both formats are the same


def test_data_frames_of_results_are_one_call_away() -> None:
    pandas = pytest.importorskip("pandas", reason="is not needed by jaxmap")
    truth = io.coco_ground_truths(
        {
            "images": [{"id": 7}],
            "categories": [{"id": 1}],
            "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [0, 0, 10, 10], "area": 100}],
        }
    )
    frame = pandas.DataFrame({"image_id": [7], "category_id": [1], "bbox": [[0, 0, 10, 9]], "score": [0.5]})
    assert ap(io.coco_detections(frame.to_dict("records"), truth), truth) == AP
    with pytest.raises(ValueError, match=r"got a DataFrame; give the rows of a table by `\.to_dict\('records'\)`"):
        io.coco_detections(frame, truth)
    columns = pandas.DataFrame({"x1": [0.0], "y1": [0.0], "x2": [10.0], "y2": [9.0], "score": [0.5], "label": [0]})
    found = {"boxes": columns[["x1", "y1", "x2", "y2"]], "scores": columns["score"], "labels": columns["label"]}
    assert ap([found], [TRUTH]) == AP
