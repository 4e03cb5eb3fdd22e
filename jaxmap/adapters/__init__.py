"""Conversion of detector outputs to the arguments of `update`, inside `jit`, and lookup of ground truths on the device.

Two dictionaries cover most JAX code bases: DETR's (queries with logits, and centre boxes in [0, 1]; the scenic family)
and Model Garden's (boxes after non-maximum suppression, yxyx in pixels, and `image_info`; tf/models, axlearn, F-VLM).
Each adapter takes the predictions and the batch unchanged:

    batch = from_detr(predictions, batch)
    state = metric.update(state, batch.detections, batch.ground_truths, image_id=batch.image_id, valid=batch.valid)

All boxes are returned as xyxy in pixels of the original image, to which COCO's area ranges refer, so the metric keeps
its default `box_format`. The ground truths of a batch have passed through a data pipeline, which rounds boxes to
normalised float32 and drops some. To compare with published numbers, use the ground truths of the annotation file:
`GroundTruthLookup` finds them by image id, so that the batch needs no ground truths.
"""

from ._batch import EvaluationBatch
from ._detr import from_detr
from ._lookup import GroundTruthLookup
from ._model_garden import from_model_garden

__all__ = ["EvaluationBatch", "GroundTruthLookup", "from_detr", "from_model_garden"]


def __dir__() -> list[str]:
    return list(__all__)
