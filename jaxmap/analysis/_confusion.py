"""The confusion matrix of a detector, from arrays, lists or tables in one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._display import html_table, short_repr
from .._inputs._misread import warn_of_misread
from .._inputs._tables import as_tables
from .._ordering import take_rows
from .._pairing._host import check_confusion_options, count_confusion, normalize_confusion
from ..protocols import COCO, EvaluationProtocol, get_protocol
from ..types import DetectionTable, GroundTruthTable, HostArray, Ints

__all__ = ["Confusion", "confusion_matrix", "confusion_of"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Confusion:
    """The confusion matrix of all detections above a score.

    Attributes:
      counts: `[K + 1, K + 1]` int64; rows are the classes of ground truths, columns those of detections, and the last
        of each is the background. The last column counts missed ground truths, the last row false positives on the
        background; the last entry is 0.
      matrix: `[K + 1, K + 1]`, the counts, or float64 shares if `normalize` was given.
      class_ids: `[K]`, the label or category id of each index.
      class_names: K names.
      num_left_out: detections that matched only a crowd or an ignored ground truth; they are in no entry.
    """

    counts: Ints  # [K + 1, K + 1]
    matrix: HostArray  # [K + 1, K + 1]
    class_ids: Ints  # [K]
    class_names: tuple[str, ...]
    num_left_out: int

    __repr__ = short_repr

    def _repr_html_(self) -> str:
        names = [*self.class_names, "background"]
        return html_table([("ground truth \\ detected as", names), *zip(names, self.matrix.T, strict=True)])


def confusion_matrix(
    detections: Any,
    ground_truths: Any,
    *,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.25,
    pairing: str = "score",
    normalize: str | None = None,
    box_format: str = "xyxy",
    class_names: Sequence[str] | Mapping[int, str] | None = None,
    num_classes: int | None = None,
    protocol: str | EvaluationProtocol = COCO,
) -> Confusion:
    """Counts which class each ground truth was detected as, in float64 on the host.

    Unlike average precision, which matches within a class, it pairs detections and ground truths of any classes. Pairs
    have an IoU of at least the threshold, and each detection and ground truth is in at most one pair. Tools differ in
    how they choose pairs:

    - `score`: in descending order of score, each detection takes the most similar ground truth that is still free, as
      in average precision with all classes as one. hotcoco 1.3, faster-coco-eval 1.8, Ultralytics 8.4.190.
    - `iou`: the most similar pair first.
    - `class_first`: pairs of the same class first, then the others, each by descending similarity. supervision 0.31.
    - `best_only`: the most similar pair first, but a detection whose most similar ground truth is taken gets no other.
      YOLOv5, and Ultralytics to 8.4.0 at least.

    hotcoco and faster-coco-eval choose the same pairs, including ties; the others break ties differently, and exclude
    pairs whose IoU equals the threshold. Here equal scores are ordered by class, then by position; of equally similar
    pairs, that of the earlier detection comes first, then that of the later ground truth.

    Crowds and ignored ground truths are in no pair and are never missed. An unpaired detection that reaches the
    threshold with one of them (with a crowd: by the share of the detection inside) is left out.

    Args:
      detections: as `evaluate` takes them.
      ground_truths: as `evaluate` takes them; `area` is used only for keypoints, and `verified` is not used.
      iou_threshold: the least IoU of a pair, in (0, 1].
      score_threshold: the least score of a detection that is included; -inf for all.
      pairing: `score`, `iou`, `class_first` or `best_only`.
      normalize: `true` for shares of each row, `pred` of each column, `all` of the total; NaN where that is 0.
      box_format: the format of all boxes, in pixels: `xyxy`, `xywh`, `cxcywh` (centre) or `yxyx`.
      class_names: as `evaluate` takes them.
      num_classes: as `evaluate` takes it.
      protocol: its `iou_type` says what is compared; nothing else of it is used.

    Raises:
      ValueError: if an option or an input is not as described; the message names the image and the field.
      TypeError: if an input has another type, or labels are not integers.

    Example:
      >>> truth = [{"boxes": [[0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0]], "labels": [0, 1]}]
      >>> found = [{"boxes": [[0.0, 0.0, 10.0, 9.0]], "labels": [1], "scores": [0.9]}]
      >>> confusion_matrix(found, truth).matrix.tolist()  # class 0 detected as class 1, class 1 missed
      [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
    """
    check_confusion_options(iou_threshold, score_threshold, pairing)
    protocol = get_protocol(protocol)
    found, truth = as_tables(
        detections,
        ground_truths,
        iou_type=protocol.iou_type,
        box_format=box_format,
        class_names=class_names,
        num_classes=num_classes,
    )
    were_tables = isinstance(detections, DetectionTable)
    as_written = "xywh" if were_tables else box_format
    warn_of_misread(found, truth, iou_type=protocol.iou_type, box_format=as_written, were_tables=were_tables)
    return confusion_of(
        found,
        truth,
        protocol,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        pairing=pairing,
        normalize=normalize,
    )


def confusion_of(
    found: DetectionTable,
    truth: GroundTruthTable,
    protocol: EvaluationProtocol,
    *,
    iou_threshold: float,
    score_threshold: float,
    pairing: str,
    normalize: str | None,
) -> Confusion:
    """Counts the confusion matrix of tables that were checked before; raises like `confusion_matrix`."""
    check_confusion_options(iou_threshold, score_threshold, pairing)
    found = take_rows(found, np.flatnonzero(found.scores >= score_threshold))
    counts, num_left_out = count_confusion(
        found, truth, protocol=protocol, iou_threshold=iou_threshold, pairing=pairing
    )
    return Confusion(
        counts=counts,
        matrix=normalize_confusion(counts, normalize),
        class_ids=truth.class_ids,
        class_names=truth.class_names,
        num_left_out=num_left_out,
    )
