"""What detectors put out, brought to what `update` takes, inside `jit`; and ground truths that wait on the device.

Two dictionaries cover most JAX code bases: DETR's (queries with logits, and centre boxes in [0, 1]; the scenic family)
and Model Garden's (boxes after non-maximum suppression, yxyx in pixels, and `image_info`; tf/models, axlearn, F-VLM).
Each adapter takes predictions and batch as they are:

    batch = from_detr(predictions, batch)
    state = metric.update(state, batch.detections, batch.ground_truths, image_id=batch.image_id, valid=batch.valid)

All boxes come out as xyxy in pixels of the original image, which is what COCO's area ranges are about, so the metric
keeps its default `box_format`. The ground truths of a batch went through a data pipeline: boxes through normalised
float32, some left out. Numbers to set beside published ones need those of the annotation file: `GroundTruthLookup`
finds them by image id, so that only detections have to flow.
"""

from ._batch import EvaluationBatch
from ._detr import from_detr
from ._lookup import GroundTruthLookup
from ._model_garden import from_model_garden

__all__ = ["EvaluationBatch", "GroundTruthLookup", "from_detr", "from_model_garden"]


def __dir__() -> list[str]:
    return list(__all__)
