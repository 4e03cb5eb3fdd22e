"""A replacement of `torchmetrics.detection.MeanAveragePrecision`, with the same names.

Where torchmetrics is installed, the metric is a `torchmetrics.Metric`: it works in a `MetricCollection`, with
Lightning's `self.log`, `.to`, `clone`, `state_dict`, `plot`, and synchronises processes. Where it is not, the metric
works alone, without these. Arrays may be NumPy's, JAX's or torch's; the numbers are tensors if those passed last to
`update` were, and else NumPy's. Neither pycocotools nor torchvision is needed.

The numbers equal those of pycocotools, and so differ from those of torchmetrics by about 1e-3, because its default
thresholds are rounded to float32: an IoU of exactly 0.6 is below its third threshold. (To use them, pass
`iou_thresholds=np.linspace(0.5, 0.95, 10).astype(np.float32).tolist()`.) If the largest of `max_detection_thresholds`
is not 100, `map` is the number at the largest limit; torchmetrics' default backend returns -1. If only masks are
compared, detections on images without ground truth are false positives, and nothing detected at all is an AP of 0;
torchmetrics excludes such images, and returns -1. `coco_to_tm` reads all images of the ground truths, by ascending id,
so that the numbers are those of the files; torchmetrics leaves out images without ground truth.

>>> import numpy as np
>>> metric = MeanAveragePrecision()
>>> metric.update(
...     [{"boxes": np.float32([[258, 41, 606, 285]]), "scores": np.float32([0.536]), "labels": np.array([0])}],
...     [{"boxes": np.float32([[214, 41, 562, 285]]), "labels": np.array([0])}],
... )
>>> numbers = metric.compute()
>>> [round(float(numbers[name]), 4) for name in ("map", "map_50", "map_75", "map_small", "mar_100")]
[0.6, 1.0, 1.0, -1.0, 0.6]
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._evaluation import Evaluation, evaluate
from .._geometry import geometry_of
from ..protocols import COCO
from ..types import HostArray, Ints, Masks
from ._axes import Axes
from ._cells import cell_ious, walk_cells
from ._image_tables import integers
from ._torch_files import read_coco, write_coco
from ._torch_images import Image, check_values, read_batch
from ._torch_states import STATES, Alone, any_tensor, as_tensors, images_of, states_of

__all__ = ["MeanAveragePrecision"]

BOX_FORMATS = ("xyxy", "xywh", "cxcywh")
IOU_TYPES = ("segm", "bbox")
NAMES = {
    "map": "AP",
    "map_50": "AP50",
    "map_75": "AP75",
    "map_small": "APs",
    "map_medium": "APm",
    "map_large": "APl",
    "mar_{0}": "AR{0}",
    "mar_{1}": "AR{1}",
    "mar_{2}": "AR{2}",
    "mar_small": "ARs",
    "mar_medium": "ARm",
    "mar_large": "ARl",
}

if TYPE_CHECKING:
    Base = Alone
else:
    try:
        from torchmetrics import Metric as Base
    except (ImportError, RuntimeError):  # missing, or torch and torchvision do not fit each other
        Base = Alone


class MeanAveragePrecision(Base):
    """Mean average precision and recall of boxes, masks or both, over all images passed to `update`.

    Attributes:
      warn_on_many_detections: whether to warn about images with more detections than the largest limit.
    """

    is_differentiable: bool = False
    higher_is_better: bool = True
    full_state_update: bool = False
    plot_lower_bound: float = 0.0
    plot_upper_bound: float = 1.0
    warn_on_many_detections: bool = True

    def __init__(
        self,
        box_format: str = "xyxy",
        iou_type: str | Sequence[str] = "bbox",
        iou_thresholds: list[float] | None = None,
        rec_thresholds: list[float] | None = None,
        max_detection_thresholds: list[int] | None = None,
        class_metrics: bool = False,
        extended_summary: bool = False,
        average: str = "macro",
        backend: str = "pycocotools",
        **kwargs: Any,
    ) -> None:
        """Checks and keeps the options, in torchmetrics' order and with its messages.

        Args:
          box_format: `xyxy`, `xywh` or `cxcywh`.
          iou_type: `bbox`, `segm`, or a tuple of both, whose names then start with `bbox_` and `segm_`.
          iou_thresholds: None for 0.5, 0.55, ..., 0.95.
          rec_thresholds: None for 0, 0.01, ..., 1.
          max_detection_thresholds: three limits on detections per image and class; None for 1, 10 and 100.
          class_metrics: whether to also report the numbers of every class.
          extended_summary: whether to also report IoUs and curves.
          average: `macro`, or `micro`, which scores all classes as one.
          backend: accepted for compatibility; jaxmap computes in any case.
          **kwargs: torchmetrics' options of every metric; those that request synchronisation are refused without it.

        Raises:
          ValueError: if an option is not as described.
        """
        super().__init__(**kwargs)
        if box_format not in BOX_FORMATS:
            raise ValueError(f"Expected argument `box_format` to be one of {BOX_FORMATS} but got {box_format}")
        self.iou_type = _iou_types(iou_type)
        for name, values, kind in (
            ("iou_thresholds", iou_thresholds, "floats"),
            ("rec_thresholds", rec_thresholds, "floats"),
            ("max_detection_thresholds", max_detection_thresholds, "ints"),
        ):
            if values is not None and not isinstance(values, list):
                raise ValueError(f"Expected argument `{name}` to either be `None` or a list of {kind} but got {values}")
        if max_detection_thresholds is not None and len(max_detection_thresholds) != 3:
            raise ValueError(
                "When providing a list of max detection thresholds it should have length 3."
                f" Got value {len(max_detection_thresholds)}"
            )
        if not isinstance(class_metrics, bool):
            raise ValueError("Expected argument `class_metrics` to be a boolean")
        if not isinstance(extended_summary, bool):
            raise ValueError("Expected argument `extended_summary` to be a boolean")
        if average not in ("macro", "micro"):
            raise ValueError(f"Expected argument `average` to be one of ('macro', 'micro') but got {average}")
        if backend not in ("pycocotools", "faster_coco_eval"):
            raise ValueError(
                f"Expected argument `backend` to be one of ('pycocotools', 'faster_coco_eval') but got {backend}"
            )
        self.box_format = box_format
        self.iou_thresholds = iou_thresholds or list(COCO.iou_thresholds)
        self.rec_thresholds = rec_thresholds or list(COCO.recall_points)
        self.max_detection_thresholds = sorted(max_detection_thresholds or COCO.max_detections)
        self.class_metrics, self.extended_summary, self.average = class_metrics, extended_summary, average
        self._axes = Axes.of(self.iou_thresholds, self.rec_thresholds, self.max_detection_thresholds)
        self._tensors = Base is not Alone  # whether the numbers are tensors: the kind of the last input
        for name in STATES:
            self.add_state(name, default=[], dist_reduce_fx=None)

    def update(self, preds: Any, target: Any) -> None:
        """Adds a batch of images.

        Args:
          preds: one dictionary per image (or a single one) with `boxes` `[D, 4]` or `masks` `[D, H, W]` or both,
            depending on `iou_type`, `scores` `[D]` and `labels` `[D]`.
          target: likewise with `boxes` `[G, 4]` or `masks` `[G, H, W]` or both, `labels` `[G]` and optionally `iscrowd`
            `[G]` and `area` `[G]`; an area that is not positive is replaced by that of the mask, or of the box without
            masks.

        Raises:
          ValueError: if a field is missing, is not an array, or differs in length.
        """
        for image in self._read(preds, target):
            for name, values in states_of(image).items():
                getattr(self, name).append(values if Base is Alone else as_tensors(values, self.device))

    def compute(self) -> dict[str, Any]:
        """Returns the numbers of all images under torchmetrics' keys, float32, on the CPU; -1 for undefined ones.

        Raises:
          ValueError: if boxes do not have four numbers, labels are not integers or scores are not floats.
        """
        numbers = self._score(self._images())
        return as_tensors(numbers) if self._tensors else numbers

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Plots numbers with torchmetrics, and returns the figure and the axes.

        Args:
          val: what `compute` or a call returned, or a list of those; None for the numbers of all images.
          ax: matplotlib's axes; None for those of a new figure.

        Raises:
          ImportError: if torchmetrics is missing.
        """
        if Base is Alone:
            return self._plot(val, ax)  # which says what is missing
        values = self.compute() if val is None else val
        return self._plot([as_tensors(one) for one in values] if isinstance(values, list) else as_tensors(values), ax)

    def tm_to_coco(self, name: str = "tm_map_input") -> None:
        """Writes all images to COCO files, `name_preds.json` and `name_target.json`.

        Raises:
          ValueError: as from `compute`.
        """
        images = self._images()
        check_values(images)
        write_coco(images, name)

    def coco_to_tm(
        self, coco_preds: str, coco_target: str, iou_type: str | Sequence[str] = "bbox", backend: str = "pycocotools"
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Returns the inputs of `update` from COCO files, with boxes as xywh; tensors where torchmetrics is installed.

        Args:
          coco_preds, coco_target: the paths of the results and of the ground truths.
          iou_type: `bbox`, `segm` or both.
          backend: accepted for compatibility.

        Raises:
          ValueError: if a file or an option is not valid.
        """
        found, truth = read_coco(coco_preds, coco_target, _iou_types(iou_type))
        if Base is Alone:
            return found, truth
        return [as_tensors(image) for image in found], [as_tensors(image) for image in truth]

    def _images(self) -> list[Image]:
        return images_of({name: getattr(self, name) for name in STATES})

    def _read(self, preds: Any, target: Any) -> list[Image]:
        images = read_batch(preds, target, self.box_format, self.iou_type)
        if images:
            self._tensors = any_tensor([*_listed(preds), *_listed(target)])
        limit = self.max_detection_thresholds[-1]
        if self.warn_on_many_detections and any(len(image.scores) > limit for image in images):
            warnings.warn(
                f"Encountered more than {limit} detections in a single image. This means that certain detections with"
                " the lowest scores will be ignored, that may have an undesirable impact on performance. Please"
                " consider adjusting the `max_detection_threshold` to suit your use case. To disable this warning,"
                " set attribute class `warn_on_many_detections=False`, after initializing the metric.",
                UserWarning,
                stacklevel=3,
            )
        return images

    def _score(self, images: list[Image]) -> dict[str, Any]:
        check_values(images)
        labels = [integers(side, "labels") for image in images for side in (image.labels, image.true_labels)]
        classes = np.unique(np.concatenate([np.zeros(0, np.int64), *labels]))
        result: dict[str, Any] = {}
        for iou_type in self.iou_type:
            prefix = "" if len(self.iou_type) == 1 else f"{iou_type}_"
            numbers = self._numbers(images, classes, iou_type)
            result |= {f"{prefix}{name}": value for name, value in numbers.items()}
        fit = not len(classes) or np.iinfo(np.int32).min <= classes[0] <= classes[-1] <= np.iinfo(np.int32).max
        return result | {"classes": _plain(classes, np.int32 if fit else np.int64)}

    def _numbers(self, images: list[Image], classes: HostArray, iou_type: str) -> dict[str, Any]:
        limits = self.max_detection_thresholds
        names = {name.format(*limits): number.format(*limits) for name, number in NAMES.items()}
        if not images:
            return {name: np.float32(-1) for name in names}
        run = self._evaluate(images, None if self.average == "micro" else classes, iou_type)
        asked = self._as_asked(run)
        result = {name: _plain(asked.summary[number]) for name, number in names.items()}
        if self.extended_summary:
            ids = [0] if self.average == "micro" else classes.tolist()
            result["ious"] = _ious(run, ids)
            curves = self._axes.spread(run.curves)
            result["precision"] = _plain(curves.precision[:, :, : len(ids)], np.float64)
            result["recall"] = _plain(curves.recall[:, : len(ids)], np.float64)
            result["scores"] = _plain(curves.scores[:, :, : len(ids)], np.float64)
        columns: Mapping[str, Any] = {}
        if self.class_metrics:
            per_class = run if self.average == "macro" else self._evaluate(images, classes, iou_type)
            columns = self._as_asked(per_class).per_class()
        for name, number in (("map", "AP"), (f"mar_{limits[-1]}", f"AR{limits[-1]}")):
            result[f"{name}_per_class"] = _plain(columns[number][: len(classes)] if columns else -1.0)
        return result

    def _evaluate(self, images: list[Image], classes: HostArray | None, iou_type: str) -> Evaluation:
        """Scores the images over the given classes, ascending; None scores all classes as one."""

        def places(labels: HostArray) -> Ints:
            return np.zeros(len(labels), np.int64) if classes is None else np.searchsorted(classes, labels)

        field = geometry_of(iou_type).shape.field
        return evaluate(
            [
                {field: _widened(one.shapes[field]), "scores": one.scores, "labels": places(one.labels)}
                for one in images
            ],
            [
                {
                    field: _widened(one.true_shapes[field]),
                    "labels": places(one.true_labels),
                    "crowd": one.crowd,
                    "area": one.true_area(),
                }
                for one in images
            ],
            protocol=self._axes.protocol,
            iou_type=iou_type,
            box_format="xywh",
            num_classes=1 if classes is None else max(len(classes), 1),
        )

    def _as_asked(self, run: Evaluation) -> Evaluation:
        """Returns the evaluation with numbers for the thresholds as given: a repeated one counts twice."""
        curves = self._axes.spread(run.summary_curves)
        return dataclasses.replace(run, protocol=self._axes.asked(), summary_curves=curves)


def _iou_types(iou_type: str | Sequence[str]) -> Sequence[str]:
    kinds = (iou_type,) if isinstance(iou_type, str) else iou_type
    if any(kind not in IOU_TYPES for kind in kinds):
        raise ValueError(f"Expected argument `iou_type` to be one of {IOU_TYPES} or a tuple of, but got {kinds}")
    return kinds


def _listed(side: Any) -> Any:
    return [side] if isinstance(side, Mapping) else side


def _plain(values: Any, kind: type[np.generic] = np.float32) -> Any:
    """Returns an array, or a scalar for a single value, with -1 for undefined values."""
    array = np.asarray(values)
    if array.dtype.kind == "f":
        array = np.where(np.isnan(array), -1.0, array)
    array = array.astype(kind)
    return array.reshape(())[()] if array.size == 1 else array


def _widened(shapes: Any) -> Any:
    return shapes if isinstance(shapes, Masks) else shapes.astype(np.float64)


def _ious(run: Evaluation, class_ids: list[int]) -> dict[tuple[int, int], Any]:
    """Returns IoUs `[D, G]` float32 by (image, class), and an empty list if either side is empty."""
    ious: dict[tuple[int, int], Any] = {
        (image, label): [] for image in range(len(run.image_ids)) for label in class_ids
    }
    matched = run.require_matched("ious")
    for cell in walk_cells(matched):
        values = cell_ious(matched, cell)
        if values.size:
            ious[cell.image_index, class_ids[cell.label]] = _plain(values)
    return ious
