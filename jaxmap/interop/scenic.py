"""A replacement of scenic's `DetrGlobalEvaluator`, with the same names; neither scenic nor pycocotools is needed.

>>> import json, tempfile
>>> import numpy as np
>>> box = {"id": 1, "image_id": 7, "category_id": 18, "bbox": [16, 20, 32, 40], "area": 1000}
>>> with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
...     json.dump({"images": [{"id": 7}], "categories": [{"id": 18}], "annotations": [box]}, file)
...     file.flush()
...     evaluator = DetrGlobalEvaluator("coco", annotations_loc=file.name)
>>> prediction = {"pred_boxes": np.array([[0.5, 0.4, 0.5, 0.4]]), "pred_probs": np.array([[0.2, 0.8]])}
>>> evaluator.add_example(prediction, {"image/id": 7, "orig_size": (100, 64)})
>>> round(evaluator.compute_metrics()["AP"], 6)
1.0

References: scenic projects/baselines/detr/train_utils.py, `DetrGlobalEvaluator`; dataset_lib/coco_dataset/coco_eval.py,
`DetectionEvaluator`. scenic's evaluator for Deformable DETR, which scores every class of every query, is another class
and is not replaced.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from .._outputs import write_output
from ..io import coco_ground_truths, load_json
from ..io._files import PathLike
from ..io._json import Entries
from ..types import HostArray
from ._image_tables import ImageDetections, evaluate_images, floats, integers, plain

__all__ = ["DetrGlobalEvaluator"]

NAMES = {
    "AP": "AP",
    "AP_50": "AP50",
    "AP_75": "AP75",
    "AP_small": "APs",
    "AP_medium": "APm",
    "AP_large": "APl",
    "AR_max_1": "AR1",
    "AR_max_10": "AR10",
    "AR_max_100": "AR100",
    "AR_small": "ARs",
    "AR_medium": "ARm",
    "AR_large": "ARl",
}


class DetrGlobalEvaluator:
    """COCO metrics of DETR's outputs, one detection per query, against an annotation file.

    The numbers equal those of scenic, except:
      * An image without remaining detections is not an error; its ground truths count as missed. * A repeated image is
      ignored; scenic counts its detections twice. * `included_image_ids` excludes detections of other images, where
      scenic raises, and only affects this call. * An unknown image, a class without a category and missing boxes are
      errors of `add_example`; scenic replaces missing boxes by boxes of its own. * Of equal scores, the later query
      always comes first; in scenic this depends on NumPy's sort. * `len` is 0 after every method that clears. * There
      is no default annotation file, panoptic files are not read, and paths are local.
    """

    def __init__(
        self,
        dataset_name: str,
        annotations_loc: PathLike | None = None,
        threshold: float = 0.0,
        disable_output: bool = True,
    ) -> None:
        """Reads the ground truths.

        Args:
          dataset_name: not used.
          annotations_loc: a COCO annotation file; label 1 of the model is its first category, in the order of the file.
          threshold: the lowest score that is kept.
          disable_output: if False, the table of numbers is printed.

        Raises:
          ValueError: if no file is given, or it is not valid.
          FileNotFoundError: if it does not exist.
        """
        if annotations_loc is None:
            raise ValueError("`annotations_loc` must be the path of a COCO annotation file, got None.")
        data, source = load_json(annotations_loc), str(annotations_loc)
        self._truth = coco_ground_truths(data, source=source)
        self._class_ids = Entries(items=data["categories"], name="categories", source=source).identifiers("id")
        self._known_ids = set(self._truth.image_ids.tolist())
        self._images: dict[int, ImageDetections] = {}
        self.threshold, self.disable_output = threshold, disable_output

    def add_example(self, prediction: Mapping[str, Any], target: Mapping[str, Any]) -> None:
        """Adds one image; each query is a detection of its best class except the background, class 0.

        Args:
          prediction: has `pred_boxes` `[D, 4]`, centre, width and height in [0, 1], and `pred_probs` `[D, 1 + K]`, or
            `pred_logits` `[D, 1 + K]` to which softmax is applied.
          target: has `image/id` and `orig_size`, the height and width of the image in pixels.

        Raises:
          ValueError: if a field is missing or has another shape, the image is not in the file, or the class of a
            detection is beyond the categories of the file.
        """
        name = "pred_probs" if "pred_probs" in prediction else "pred_logits"
        for side, mapping, fields in (
            ("prediction", prediction, ("pred_boxes", name)),
            ("target", target, ("image/id", "orig_size")),
        ):
            missing = [field for field in fields if field not in mapping]
            if missing:
                raise ValueError(f"`{side}` must have {missing}, got only {sorted(mapping)}.")
        ids = integers(target["image/id"], "target['image/id']")
        if ids.size != 1:  # some pipelines use [1]
            raise ValueError(f"`target['image/id']` must be one id, got {ids.tolist()}.")
        image_id = int(ids.item())
        if image_id not in self._known_ids:
            raise ValueError(f"`target['image/id']` must be an image of the annotation file, got {image_id}.")
        boxes, scores = floats(prediction["pred_boxes"]), floats(prediction[name])
        if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.ndim != 2 or len(scores) != len(boxes):
            raise ValueError(
                f"`pred_boxes` and `{name}` of image {image_id} must have shapes [D, 4] and [D, 1 + K], got "
                f"{list(boxes.shape)} and {list(scores.shape)}."
            )
        if scores.shape[1] < 2:
            raise ValueError(
                f"`{name}` of image {image_id} must have the background and at least one class, got {scores.shape[1]}."
            )
        detections = self._detections(
            image_id,
            _to_xywh(boxes) * np.tile(np.asarray(target["orig_size"])[::-1], 2),
            (scores if name == "pred_probs" else _softmax(scores))[:, 1:],
        )
        self._images.setdefault(image_id, detections)

    def compute_metrics(
        self, included_image_ids: Collection[int] | None = None, clear_annotations: bool | None = True
    ) -> dict[str, Any]:
        """Returns the twelve numbers over the images that were added; -1 for undefined ones.

        Args:
          included_image_ids: the images to include; None for all that were added.
          clear_annotations: whether to remove all images afterwards.
        """
        included = set(self._images)
        if included_image_ids is not None:
            included &= set(integers(list(included_image_ids), "included_image_ids").ravel().tolist())
        images = {image_id: image for image_id, image in self._images.items() if image_id in included}
        run = evaluate_images(images, self._truth)
        if not self.disable_output:
            print(run)
        if clear_annotations:
            self.clear()
        return {name: plain(run.summary[number]) for name, number in NAMES.items()}

    def clear(self) -> None:
        """Removes all images."""
        self._images = {}

    def clear_annotations(self) -> None:
        """Removes all images; scenic's inner evaluator has `clear` under this name."""
        self.clear()

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self._images)

    def write_pred_annotations_to_file(
        self, path: PathLike, fname_app: str | None = None, clear_annotations: bool | None = True
    ) -> None:
        """Writes all detections as a COCO results file, `predictions{fname_app}.json`.

        Args:
          path: the folder; it is created if it does not exist.
          fname_app: the end of the file name before `.json`.
          clear_annotations: whether to remove all images afterwards.
        """
        results = [
            {"image_id": image_id, "category_id": class_id, "bbox": box, "score": score}
            for image_id, image in self._images.items()
            for class_id, box, score in zip(
                image.class_ids.tolist(), image.boxes.tolist(), image.scores.tolist(), strict=True
            )
        ]
        os.makedirs(path, exist_ok=True)
        write_output(pathlib.Path(path, f"predictions{fname_app or ''}.json"), json.dumps(results))
        if clear_annotations:
            self.clear()

    def _detections(self, image_id: int, boxes: HostArray, scores: HostArray) -> ImageDetections:
        labels = np.argmax(scores, axis=1)
        scores = scores[np.arange(len(labels)), labels]
        kept = np.flatnonzero(~(scores < self.threshold))  # NaN is kept: the evaluation reports it
        kept = kept[np.argsort(scores[kept], kind="stable")[::-1]]
        if (labels[kept] >= len(self._class_ids)).any():
            raise ValueError(
                f"image {image_id} has a detection of class {int(labels[kept].max()) + 1}; classes must be 1 to "
                f"{len(self._class_ids)}, the number of the annotation file's categories."
            )
        return ImageDetections(boxes[kept], scores[kept], self._class_ids[labels[kept]])


def _to_xywh(boxes: HostArray) -> HostArray:
    """Returns x, y, width, height via corners and in the dtype of the input, for the same rounding as scenic."""
    centre, half = boxes[:, :2], 0.5 * boxes[:, 2:]
    return np.concatenate([centre - half, (centre + half) - (centre - half)], axis=1)


def _softmax(logits: HostArray) -> HostArray:
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: HostArray = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return shares
