"""A replacement of the `COCOEvaluator` of tf/models (Model Garden) and axlearn, with the same names; boxes only.

Neither these libraries nor TensorFlow or pycocotools are needed. Arrays may be NumPy's, JAX's or eager tensors.

>>> import numpy as np
>>> evaluator = COCOEvaluator(annotation_file=None, include_mask=False, need_rescale_bboxes=False)
>>> box, size = np.array([[[20.0, 16.0, 60.0, 48.0]]]), np.array([100])
>>> truth = {"source_id": [7], "height": size, "width": size, "boxes": box, "classes": [[18]], "num_detections": [1]}
>>> evaluator.update_state(truth, {
...     "source_id": [7], "num_detections": [1], "detection_boxes": box, "detection_classes": [[18]],
...     "detection_scores": [[0.9]],
... })
>>> float(evaluator.result()["AP"])
1.0

References: tf/models official/vision/evaluation/coco_evaluator.py and coco_utils.py; axlearn vision/coco_evaluator.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._evaluation import Evaluation
from ..io import read_coco_ground_truths
from ._garden_batches import ImageTruth, as_table, read_batch, read_ids, read_image_truths, yxyx_to_xywh
from ._image_tables import ImageDetections, evaluate_images, floats, integers, plain

__all__ = ["COCOEvaluator"]

CATEGORY_NAMES = {
    "Precision mAP ByCategory": "AP",
    "Precision mAP ByCategory@50IoU": "AP50",
    "Precision mAP ByCategory@75IoU": "AP75",
    "Precision mAP ByCategory (small)": "APs",
    "Precision mAP ByCategory (medium)": "APm",
    "Precision mAP ByCategory (large)": "APl",
    "Recall AR@1 ByCategory": "AR1",
    "Recall AR@10 ByCategory": "AR{ten}",
    "Recall AR@100 ByCategory": "AR{last}",
    "Recall AR (small) ByCategory": "ARs",
    "Recall AR (medium) ByCategory": "ARm",
    "Recall AR (large) ByCategory": "ARl",
}
PREDICTION_FIELDS = ("source_id", "num_detections", "detection_classes", "detection_scores", "detection_boxes")


class COCOEvaluator:
    """COCO metrics of Model Garden's batches, against an annotation file or the ground truths of the batches.

    The numbers equal those of the originals, except:
      * Only the first `num_detections` rows of an image are detections; the originals score all rows.
      * A repeated image is ignored; the originals count it twice. * An image is padding, and ignored, if its
      `source_id` is negative, or is 0 and no ground truths have an image 0;
        with ground truths of the batches also if its height is 0. Any other unknown image is an error.
      * Numbers of a category are at the largest limit on detections; axlearn averages them over all three limits, with
      -1 for undefined ones. The keys are those of tf/models; axlearn has a space before the slash in `(small) /name`
      and similar keys. * With `max_num_eval_detections` other than 100, `AP` is at that limit; the originals return -1.
      Below 10 it also limits `ARmax10`. * Masks and keypoints are not supported yet, boxes have one class, and paths
      are local.
    """

    def __init__(
        self,
        annotation_file: str | None,
        include_mask: bool,
        need_rescale_bboxes: bool = True,
        per_category_metrics: bool = False,
        max_num_eval_detections: int = 100,
        *,
        include_keypoint: bool = False,
        need_rescale_keypoints: bool = False,
        kpt_oks_sigmas: Sequence[float] | None = None,
    ) -> None:
        """Reads the annotation file, if there is one; the arguments have axlearn's order.

        Args:
          annotation_file: a COCO annotation file; None to take the ground truths from the batches.
          include_mask: must be False.
          need_rescale_bboxes: whether predicted boxes are divided by the scale in `image_info`.
          per_category_metrics: whether to also report the numbers of every category.
          max_num_eval_detections: the limit on detections per image and class.
          include_keypoint: must be False.
          need_rescale_keypoints: not used without keypoints.
          kpt_oks_sigmas: likewise.

        Raises:
          ValueError: if an argument is not as described, or the file is not valid.
          FileNotFoundError: if it does not exist.
        """
        for name, value in (("include_mask", include_mask), ("include_keypoint", include_keypoint)):
            if value:
                raise ValueError(f"`{name}` must be False: only boxes are supported yet, got {value!r}.")
        if type(max_num_eval_detections) is not int or max_num_eval_detections < 1:
            raise ValueError(f"`max_num_eval_detections` must be a positive integer, got {max_num_eval_detections!r}.")
        self._file_truth = read_coco_ground_truths(annotation_file) if annotation_file else None
        self._file_ids = set(self._file_truth.image_ids.tolist()) if self._file_truth else set()
        self._need_rescale_bboxes, self._per_category_metrics = need_rescale_bboxes, per_category_metrics
        self.max_num_eval_detections = max_num_eval_detections
        self.reset_states()

    @property
    def name(self) -> str:
        """The name of the metric in logs."""
        return "coco_metric"

    def reset_states(self) -> None:
        """Removes all images; the annotation file stays."""
        self._predictions: dict[Any, ImageDetections] = {}
        self._groundtruths: dict[Any, ImageTruth] = {}

    def update_state(self, groundtruths: Mapping[str, Any] | None, predictions: Mapping[str, Any]) -> None:
        """Adds a batch of B images; tuples of arrays, one per replica, are concatenated.

        Args:
          groundtruths: not used with an annotation file. Otherwise `source_id` `[B]`, `height` and `width` `[B]`,
            `num_detections` `[B]`, `boxes` `[B, G, 4]` as yxyx in pixels of the original image, `classes` `[B, G]`, and
            optionally `is_crowds` and `areas` `[B, G]`.
          predictions: `source_id` `[B]`, `num_detections` `[B]`, `detection_boxes` `[B, D, 4]` as yxyx in pixels,
            `detection_classes` and `detection_scores` `[B, D]`, and `image_info` `[B, 4, 2]` if boxes are rescaled.

        Raises:
          ValueError: if a key is missing, shapes do not fit, or a predicted image has no ground truths.
        """
        rescale = ("image_info",) if self._need_rescale_bboxes else ()
        found = read_batch(predictions, "predictions", PREDICTION_FIELDS + rescale, "detection_boxes")
        truths = self._groundtruths
        if self._file_truth is None:
            truths = read_image_truths(groundtruths or {}) | truths  # an earlier image stays
        known = self._file_ids or truths.keys()
        as_text = isinstance(next(iter(known), 0), str)
        images: dict[Any, ImageDetections] = {}
        counts = integers(found["num_detections"], "predictions['num_detections']")
        for index, image_id in enumerate(read_ids(found["source_id"], "predictions", as_text)):
            if image_id not in known:
                if not as_text and image_id <= 0:
                    continue
                raise ValueError(
                    f"`predictions['source_id'][{index}]` must be an image of the ground truths, got {image_id!r}; "
                    "padding images must be 0 or negative."
                )
            rows = slice(max(int(counts[index]), 0))
            boxes = floats(found["detection_boxes"][index, rows])
            if self._need_rescale_bboxes:  # in float32, like the originals
                boxes = (boxes / np.tile(found["image_info"][index, 2], 2)).astype(np.float32)
            detections = ImageDetections(
                boxes=yxyx_to_xywh(boxes),
                scores=floats(found["detection_scores"][index, rows]),
                class_ids=integers(found["detection_classes"][index, rows], "predictions['detection_classes']"),
            )
            images.setdefault(image_id, detections)
        self._predictions = images | self._predictions
        self._groundtruths = truths

    def result(self) -> dict[str, np.float32]:
        """Returns the numbers of all images, and removes the images."""
        numbers = self.evaluate()
        self.reset_states()
        return numbers

    def evaluate(self) -> dict[str, np.float32]:
        """Returns the numbers of all images by name, float32; -1 for undefined ones."""
        truth = as_table(self._groundtruths) if self._file_truth is None else self._file_truth
        largest = self.max_num_eval_detections
        run = evaluate_images(
            self._predictions, truth, max_detections=sorted({min(limit, largest) for limit in (1, 10, largest)})
        )
        names = {name: name for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")}
        names |= {f"ARmax{limit}": f"AR{min(limit, largest)}" for limit in (1, 10, largest)}
        names |= {name: name for name in ("ARs", "ARm", "ARl")}
        numbers = {name: np.float32(plain(run.summary[number])) for name, number in names.items()}
        return numbers | (self._of_categories(run) if self._per_category_metrics else {})

    def _of_categories(self, run: Evaluation) -> dict[str, np.float32]:
        columns = run.per_class()
        limits = {"ten": min(10, self.max_num_eval_detections), "last": self.max_num_eval_detections}
        return {
            f"{key}/{name}": np.float32(plain(columns[number.format(**limits)][index]))
            for index, name in enumerate(columns["class_name"])
            for key, number in CATEGORY_NAMES.items()
        }
