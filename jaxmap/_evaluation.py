"""`evaluate`: exact numbers from arrays, lists or tables in one call, and the `Evaluation` that it returns."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from ._curves._host import precision_recall
from ._display import Columns, described, html_table
from ._inputs._misread import warn_of_misread
from ._inputs._tables import as_tables, check_class_groups, merge_classes
from ._matching._host import MatchedDataset, match_dataset
from ._planes import read_plane
from ._records._host import DatasetRecords
from ._summary import mean_of_each_class, summarize, summary_columns, summary_lines, summary_table
from .analysis import (
    Explanation,
    ScoreCurve,
    TieBounds,
    explain,
    image_curves,
    operating_points,
    score_curve,
    tie_bounds,
)
from .analysis._confusion import Confusion, confusion_of
from .protocols import EvaluationProtocol, protocol_for
from .types import UNMATCHED, DetectionTable, Floats, HostArray, PrecisionRecall

__all__ = ["Evaluation", "evaluate", "evaluation_of"]


def evaluate(
    detections: Any,
    ground_truths: Any,
    *,
    protocol: str | EvaluationProtocol | None = None,
    box_format: str = "xyxy",
    class_names: Sequence[str] | Mapping[int, str] | None = None,
    num_classes: int | None = None,
    iou_thresholds: Sequence[float] | None = None,
    recall_points: Sequence[float] | None = None,
    area_ranges: Mapping[str, tuple[float, float]] | None = None,
    max_detections: int | Sequence[int] | None = None,
    class_agnostic: bool | None = None,
    iou_type: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Scores detections against ground truths, exactly as pycocotools does, in float64 on the host.

    Args:
      detections: one of: `Detections` or a mapping of its fields, padded to `[I, D, ...]`; a sequence of one mapping
        per image, with `boxes` `[D, 4]`, `scores` `[D]` and `labels` `[D]`; a `DetectionTable`. Arrays are NumPy's or
        JAX's. Masks, keypoints and oriented boxes are given as in `Detections`; masks also as a list of COCO's
        run-length encodings, or of polygons together with the `size` of their image, `[height, width]`.
      ground_truths: likewise, with `boxes`, `labels` and optionally `crowd` (or `iscrowd`), `area`, `ignore`,
        `verified` and `not_exhaustive`.
      protocol: a protocol or its name; None for `coco`, or `coco-keypoints` if `iou_type` is `keypoints`.
      box_format: the format of all boxes, in pixels: `xyxy`, `xywh`, `cxcywh` (centre) or `yxyx`.
      class_names: names of the classes 0 .. K-1, or a mapping from label to name.
      num_classes: K, if no names are given. With neither, the classes are the labels that occur.
      iou_thresholds: instead of the protocol's; ascending, in (0, 1].
      recall_points: instead of the protocol's; ascending, in [0, 1].
      area_ranges: instead of the protocol's, name to (low, high) in square pixels, both ends included.
      max_detections: instead of the protocol's, one or several limits per image and class.
      class_agnostic: score all classes as one.
      iou_type: what is compared, instead of the protocol's: one of `jaxmap.protocols.IOU_TYPES`.
      progress: called with the name of each stage as it starts.

    Returns:
      The evaluation; `print` it for the familiar table.

    Raises:
      ValueError: if an input's shape, length or value is not as described; the message names the image and the field.
      TypeError: if an input has another type, or labels are not integers.

    Example:
      >>> truth = [{"boxes": [[0.0, 0.0, 10.0, 10.0]], "labels": [0]}]
      >>> found = [{"boxes": [[0.0, 0.0, 10.0, 8.0]], "labels": [0], "scores": [0.9]}]
      >>> round(evaluate(found, truth).summary["AP"], 6)  # IoU 0.8 reaches 7 of 10 thresholds
      0.7
    """
    if progress is not None and not callable(progress):
        raise TypeError(f"`progress` must be a function that takes the name of a stage, got {type(progress).__name__}.")
    tell = progress or (lambda stage: None)
    protocol = protocol_for(iou_type, protocol).customize(
        iou_thresholds=iou_thresholds,
        recall_points=recall_points,
        area_ranges=area_ranges,
        max_detections=max_detections,
        class_agnostic=class_agnostic,
        iou_type=iou_type,
    )
    tell("reading inputs")
    found, truth = as_tables(
        detections,
        ground_truths,
        iou_type=protocol.iou_type,
        box_format=box_format,
        class_names=class_names,
        num_classes=num_classes,
    )
    check_class_groups(truth, protocol.class_groups)
    if protocol.class_agnostic:
        found, truth = merge_classes(found, truth)
    were_tables = isinstance(detections, DetectionTable)
    as_written = "xywh" if were_tables else box_format
    warn_of_misread(found, truth, iou_type=protocol.iou_type, box_format=as_written, were_tables=were_tables)
    tell("matching")
    matched = match_dataset(found, truth, protocol)
    tell("integrating curves")
    return evaluation_of(matched.dataset, protocol, matched=matched)


def evaluation_of(
    dataset: DatasetRecords, protocol: EvaluationProtocol, *, matched: MatchedDataset | None = None
) -> Evaluation:
    """Integrates the records of a dataset; without the matches behind them, methods that need boxes raise."""
    num_classes = len(dataset.class_ids)
    curves = precision_recall(dataset.records, protocol=protocol, num_classes=num_classes, order=dataset.by_class)
    return Evaluation(protocol=protocol, curves=curves, dataset=dataset, matched=matched)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """The numbers of one evaluation and the matches behind them; undefined numbers are NaN.

    Attributes:
      protocol: the protocol as applied, with its grids: `iou_thresholds`, `recall_points`, `area_ranges`,
        `max_detections`.
      curves: precision, recall and scores over them.
      dataset: the records of all images, from which the numbers are computed.
      matched: which detection matched which ground truth; None if the records came from the state of a metric, which
        keeps no boxes. Then `matches` and `confusion_matrix` raise, and ties that could change matches are not counted.
    """

    protocol: EvaluationProtocol
    curves: PrecisionRecall[HostArray]
    dataset: DatasetRecords
    matched: MatchedDataset | None = None

    @property
    def precision(self) -> Floats:
        """`[T, R, K, A, M]` float64; NaN where a class has no ground truth in an area range."""
        return self.curves.precision

    @property
    def recall(self) -> Floats:
        """`[T, K, A, M]` float64; NaN where a class has no ground truth in an area range."""
        return self.curves.recall

    @property
    def scores(self) -> Floats:
        """`[T, R, K, A, M]` float64, the score that reaches each recall point; 0 where none does."""
        return self.curves.scores

    @property
    def class_ids(self) -> HostArray:
        """`[K]`, the label or category id of each index on the class axis."""
        return self.dataset.class_ids

    @property
    def class_names(self) -> tuple[str, ...]:
        """K names."""
        return self.dataset.class_names

    @property
    def image_ids(self) -> HostArray:
        """`[I]`, the ids of all images, including those without boxes."""
        return self.dataset.image_ids

    @functools.cached_property
    def summary(self) -> dict[str, float]:
        """The protocol's named numbers; the limit on detections is in the name (`AR10`) or the largest (`AP`)."""
        return summarize(self.curves, self.protocol, self.dataset.class_group)

    def __str__(self) -> str:
        return summary_table(self.summary, self.protocol)

    def __repr__(self) -> str:
        images, classes, found = len(self.image_ids), len(self.class_ids), len(self.dataset.by_class)
        first = dict(list(self.summary.items())[:1])
        return described(self, protocol=self.protocol, images=images, classes=classes, detections=found, **first)

    def _repr_html_(self) -> str:
        return html_table(summary_columns(self.summary, self.protocol).items())

    def to_json(self) -> str:
        """Returns the summary as one flat JSON object; undefined numbers are null."""
        return json.dumps({name: None if math.isnan(value) else value for name, value in self.summary.items()})

    def per_class(self) -> dict[str, Any]:
        """Returns columns of `[K]`: `class_id`, `class_name`, `num_ground_truths` and the numbers of the summary."""
        columns: dict[str, Any] = {
            "class_id": self.class_ids,
            "class_name": list(self.class_names),
            "num_ground_truths": np.asarray(self.curves.num_ground_truths)[:, 0],
        }
        no_groups = dataclasses.replace(self.protocol, class_groups=())  # undefined for one class
        return Columns(columns | mean_of_each_class(self.curves, summary_lines(no_groups)))

    def per_image(self) -> dict[str, HostArray]:
        """Returns columns over all images, each scored as if it were the whole dataset.

        Per-image AP averages only over the classes with ground truths in that image and ranks only the detections of
        that image, so its mean over images is not the pooled number.

        Returns:
          `image_id`, `num_ground_truths` (counted ones), `num_detections` (within the largest limit), then the
          summary's numbers for the first area range at that limit (for COCO `AP`, `AP50`, `AP75`, `AR100`), each `[I]`.
        """
        num_images = len(self.image_ids)
        alone = image_curves(self.dataset, self.protocol)
        columns = {
            "image_id": self.image_ids,
            "num_ground_truths": np.bincount(np.repeat(alone.image, alone.num_ground_truths), minlength=num_images),
            "num_detections": np.bincount(self.dataset.records.detections.image_index, minlength=num_images),
        }
        area, limit = self.protocol.area_ranges[:1], self.protocol.max_detections[-1:]
        overall = dataclasses.replace(self.protocol, area_ranges=area, max_detections=limit, class_groups=())
        for line in summary_lines(overall):
            cells = line.quantity.values(alone)
            means = cells[list(line.thresholds)].mean(axis=0) if line.thresholds else np.full(len(alone.image), np.nan)
            columns[line.name] = alone.mean_per_image(means, num_images)
        return Columns(columns)

    def explain(self) -> Explanation:
        """Returns why pooled and per-image AP differ, and what each false positive costs.

        `print` the result to read it as text; its `to_dict` is ready for JSON.

        Example:
          >>> there, nowhere = [0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]
          >>> truth = [{"boxes": [there], "labels": [0]}] * 2
          >>> first = {"boxes": [there], "labels": [0], "scores": [0.5]}
          >>> second = {"boxes": [there, nowhere], "labels": [0, 0], "scores": [0.95, 0.9]}
          >>> print(str(evaluate([first, second], truth).explain()).splitlines()[0])
          The mean per-image AP of 2 images is 1.0000; the pooled AP is 0.8350, 0.1650 lower.
        """
        return self._explanation

    @functools.cached_property
    def _explanation(self) -> Explanation:
        return explain(self.dataset, self.protocol)

    def tie_bounds(self) -> TieBounds:
        """Returns the lowest and the highest AP over all orders of equal scores, and that of the conventional order."""
        return tie_bounds(self.dataset, self.protocol, self.matched)

    def matches(self, iou_threshold: float = 0.5, area: str = "all") -> dict[str, HostArray]:
        """Returns which detection matched which ground truth: rows by image, class and descending score.

        Args:
          iou_threshold: one of the protocol's thresholds.
          area: the name of one of its area ranges.

        Returns:
          Columns `image_id`, `class_id`, `detection` (position in the file, or row in the image), `score`, `matched`,
          `ground_truth` (annotation id, or row in the image; -1 where unmatched), `iou` (NaN where unmatched) and
          `ignored` (neither a true nor a false positive). Detections beyond the largest limit are excluded.

        Raises:
          ValueError: if the protocol has no such threshold or area range.
        """
        plane = (*self.protocol.locate(area, iou_threshold), len(self.protocol.iou_thresholds))
        matched = self.require_matched("matches")
        found, truth, pairs = matched.detections, matched.ground_truths, matched.pairs
        taken = read_plane(matched.chosen, *plane)
        rows = pairs.detection[taken]
        partner = np.full(len(found.scores), UNMATCHED, object if truth.ids.dtype.kind == "U" else np.int64)
        iou = np.full(len(found.scores), np.nan)
        partner[rows], iou[rows] = truth.ids[pairs.ground_truth[taken]], pairs.similarity[taken]
        columns = {
            "image_id": self.image_ids[found.image_index],
            "class_id": self.class_ids[found.labels],
            "detection": found.ids,
            "score": found.scores,
            "matched": ~np.isnan(iou),
            "ground_truth": partner,
            "iou": iou,
            "ignored": read_plane(self.dataset.records.detections.ignored, *plane),
        }
        return Columns(columns)

    def curve(
        self,
        iou_threshold: float = 0.5,
        class_id: Hashable | None = None,
        *,
        area: str = "all",
        max_detections: int | None = None,
        beta: float = 1.0,
        average: str = "micro",
    ) -> ScoreCurve:
        """Returns precision, recall and F against the score, from raw counts, for one class or all classes.

        Its `best` is the operating point of the highest F; `at(score)` returns that of any other threshold.

        Args:
          iou_threshold, area, max_detections: values of the protocol; `max_detections` None for the largest limit.
          class_id: one of `class_ids`; None for all classes.
          beta: the weight of recall relative to precision.
          average: how classes are combined: `micro` adds up their counts, `macro` is the mean of their rates.

        Raises:
          ValueError: if one of the arguments is not as described.

        Example:
          >>> truth = [{"boxes": [[0.0, 0.0, 10.0, 10.0]], "labels": [0]}]
          >>> found = [{"boxes": [[0.0, 0.0, 10.0, 8.0]] * 2, "labels": [0, 0], "scores": [0.9, 0.4]}]
          >>> curve = evaluate(found, truth).curve()
          >>> curve.precision.tolist(), curve.best.score_threshold
          ([1.0, 0.5], 0.9)
        """
        return score_curve(
            self.dataset,
            self.protocol,
            iou_threshold=iou_threshold,
            class_id=class_id,
            area=area,
            max_detections=max_detections,
            beta=beta,
            average=average,
        )

    def operating_points(
        self,
        iou_threshold: float = 0.5,
        *,
        area: str = "all",
        max_detections: int | None = None,
        beta: float = 1.0,
        score_threshold: float | None = None,
    ) -> dict[str, Any]:
        """Returns the best score threshold of each class and of all classes, with its counts, precision, recall and F.

        Args:
          iou_threshold, area, max_detections, beta: as `curve` takes them.
          score_threshold: the threshold of every row; None for the one with the highest F in each row.

        Returns:
          Columns of `[K + 2]`: `class_id`, `class_name`, `num_ground_truths`, `score_threshold`, `true_positives`,
          `false_positives`, `false_negatives`, `precision`, `recall`, `f_score`. The last two rows, `micro` and `macro`
          with class id -1, use one threshold for all classes.

        Raises:
          ValueError: if one of the arguments is not as described.
        """
        return operating_points(
            self.dataset,
            self.protocol,
            iou_threshold=iou_threshold,
            area=area,
            max_detections=max_detections,
            beta=beta,
            score_threshold=score_threshold,
        )

    def confusion_matrix(
        self,
        iou_threshold: float = 0.5,
        *,
        score_threshold: float = 0.25,
        pairing: str = "score",
        normalize: str | None = None,
    ) -> Confusion:
        """Returns which class each ground truth was detected as; arguments as `jaxmap.confusion_matrix` takes them.

        Only detections within the largest max-detections limit of their image and class are included.
        """
        matched = self.require_matched("confusion_matrix")
        return confusion_of(
            matched.detections,
            matched.ground_truths,
            self.protocol,
            iou_threshold=iou_threshold,
            score_threshold=score_threshold,
            pairing=pairing,
            normalize=normalize,
        )

    def require_matched(self, method: str) -> MatchedDataset:
        """Returns the matches; a `ValueError` names the method if the records came from the state of a metric."""
        if self.matched is None:
            raise ValueError(
                f"`{method}` needs the boxes of both sides, which the state of a metric does not keep; call "
                "`jaxmap.evaluate` on the detections and the ground truths."
            )
        return self.matched
