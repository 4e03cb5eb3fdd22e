"""What explains the numbers of an evaluation: matches, curves, operating points, ties, errors, the confusion matrix."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Sequence

from numpy.typing import ArrayLike

from .._display import Columns
from .._planes import read_plane
from ..analysis import (
    Calibration,
    ConceptF1,
    ErrorTypes,
    Explanation,
    PrecisionRecallF1,
    ScoreCurve,
    TieBounds,
    calibration,
    concept_f1,
    error_types,
    explain,
    localisation_recall_precision,
    operating_points,
    precision_recall_f1,
    score_curve,
    tie_bounds,
)
from ..analysis._confusion import Confusion, confusion_of
from ..analysis._precision_recall_f1 import matching_for
from ..types import UNMATCHED, HostArray
from ._numbers import Numbers

__all__ = ["Explanations"]


class Explanations(Numbers):
    """The methods of an `Evaluation` that explain its numbers."""

    def explain(self) -> Explanation:
        """Returns why pooled and per-image AP differ, and what each false positive costs.

        `print` the result to read it as text; its `to_dict` is ready for JSON.

        Example:
          >>> from jaxmap import evaluate
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
        found = matched.detections
        partner, iou = matched.partners(*plane)
        columns = {
            "image_id": self.image_ids[found.image_index],
            "class_id": self.class_ids[found.labels],
            "detection": found.ids,
            "score": found.scores,
            "matched": partner != UNMATCHED,
            "ground_truth": matched.ground_truth_ids(partner),
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
          >>> from jaxmap import evaluate
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
    ) -> Columns:
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

    def localisation_recall_precision(
        self,
        iou_threshold: float = 0.5,
        *,
        area: str = "all",
        max_detections: int | None = None,
        score_threshold: float | None = None,
    ) -> Columns:
        """Returns the LRP error of each class and their mean, with its localisation, precision and recall parts.

        Without `score_threshold`, each class has the threshold of its lowest LRP, and `lrp` is its oLRP; that of the
        last row is moLRP. A lower error is better; see `jaxmap.analysis.localisation_recall_precision`.

        Args:
          iou_threshold, area, max_detections: as `curve` takes them; the threshold must be less than 1.
          score_threshold: the threshold of every class; None for the best of each.

        Returns:
          Columns of `[K + 1]`: `class_id`, `class_name`, `num_ground_truths`, `score_threshold`, `true_positives`,
          `false_positives`, `false_negatives`, `lrp`, `lrp_loc` (mean of 1 - IoU), `lrp_fp` (1 - precision) and
          `lrp_fn` (1 - recall); NaN where undefined. The last row is `mean`, with class id -1.

        Raises:
          ValueError: if one of the arguments is not as described, or the records came from the state of a metric.

        Example:
          >>> truth = [{"boxes": [[0.0, 0.0, 10.0, 10.0]], "labels": [0]}]
          >>> found = [{"boxes": [[0.0, 0.0, 10.0, 8.0]] * 2, "labels": [0, 0], "scores": [0.9, 0.4]}]
          >>> import jaxmap
          >>> columns = jaxmap.evaluate(found, truth).localisation_recall_precision()
          >>> round(float(columns["lrp"][0]), 6), float(columns["score_threshold"][0])  # 1 - 0.8 of the allowed 0.5
          (0.4, 0.9)
        """
        return localisation_recall_precision(
            self.require_matched("localisation_recall_precision"),
            self.protocol,
            iou_threshold=iou_threshold,
            area=area,
            max_detections=max_detections,
            score_threshold=score_threshold,
        )

    def calibration(
        self,
        iou_threshold: float = 0.5,
        *,
        num_bins: int | Sequence[int] = 10,
        binning: str = "width",
        by: Sequence[str] = (),
        image_sizes: ArrayLike | None = None,
        score_threshold: float = 0.0,
        class_id: Hashable | None = None,
        area: str = "all",
        max_detections: int | None = None,
    ) -> Calibration:
        """Returns how far scores are from precision: ECE and MCE, for all detections and per class, and the bins.

        Args:
          iou_threshold, area, max_detections: as `curve` takes them.
          num_bins: the number of bins of every dimension, or one number for each.
          binning: `width` for bins of equal width, `quantile` for bins of about equal counts.
          by: `position`, `size` or both, to bin also by where boxes lie and how large they are, as shares of the image
            (D-ECE); this needs boxes, which the state of a metric does not keep.
          image_sizes: `[2]` or `[I, 2]`, height and width, for `by`; None for those of the ground truths.
          score_threshold: the lowest score that is included.
          class_id: one of `class_ids`; None for all classes.

        Raises:
          ValueError: if one of the arguments is not as described, or a score does not lie in [0, 1].

        Example:
          >>> truth = [{"boxes": [[0.0, 0.0, 10.0, 10.0]], "labels": [0]}]
          >>> found = [{"boxes": [[0.0, 0.0, 10.0, 8.0]] * 2, "labels": [0, 0], "scores": [0.9, 0.4]}]
          >>> import jaxmap
          >>> calibration = jaxmap.evaluate(found, truth).calibration()
          >>> round(calibration.ece, 6), calibration.mce  # gaps of 0.1 and 0.4
          (0.25, 0.4)
        """
        return calibration(
            self.dataset,
            self.protocol,
            self.require_matched("calibration(by=...)") if by else None,
            iou_threshold=iou_threshold,
            num_bins=num_bins,
            binning=binning,
            by=by,
            image_sizes=image_sizes,
            score_threshold=score_threshold,
            class_id=class_id,
            area=area,
            max_detections=max_detections,
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

    def precision_recall_f1(
        self, *, matching: str | None = None, score_threshold: float | None = None, area: str = "all"
    ) -> PrecisionRecallF1:
        """Returns precision, recall and F1 of the detections of each image as a set, at every IoU threshold.

        `print` the result to read it; `per_class()` and `per_threshold()` are its tables.

        Args:
          matching: `optimal` finds the most true positives that any matching of each image and class has, so that the
            order of rows does not matter; it needs boxes. `score` counts those of AP. None for `score`, or `optimal` if
            the detections have no scores.
          score_threshold: the lowest score that is included; None for all detections.
          area: the name of one of the protocol's area ranges.

        Raises:
          ValueError: if an argument is not as described, or `optimal` is asked of the state of a metric.
          ImportError: if scipy is missing, which `optimal` needs.

        Example:
          >>> import jaxmap
          >>> truth = [{"boxes": [[0.0, 0.0, 10.0, 10.0], [50.0, 0.0, 60.0, 10.0]], "labels": [0, 0]}]
          >>> found = [{"boxes": [[0.0, 0.0, 10.0, 8.0]], "labels": [0]}]  # without scores
          >>> rates = jaxmap.evaluate(found, truth).precision_recall_f1().per_class(iou_threshold=0.5)
          >>> rates["precision"], rates["recall"]  # of class 0, micro and macro
          ([1.0, 1.0, 1.0], [0.5, 0.5, 0.5])
        """
        optimal = matching_for(self.dataset, matching) == "optimal"
        return precision_recall_f1(
            self.dataset,
            self.protocol,
            self.require_matched("precision_recall_f1(matching='optimal')") if optimal else None,
            score_threshold=score_threshold,
            area=area,
        )

    def cgf1(self, score_threshold: float = 0.5) -> ConceptF1:
        """Returns SAM 3's cgF1 and its factors; every class in every image is a query (see `jaxmap/analysis/_cgf1.py`).

        Args:
          score_threshold: the lowest score that is included.

        Raises:
          ValueError: if it is NaN, or the records came from the state of a metric.
          ImportError: if scipy is missing.
        """
        return concept_f1(self.require_matched("cgf1"), self.protocol, score_threshold=score_threshold)

    def error_types(self, iou_threshold: float = 0.5, background_threshold: float = 0.1) -> ErrorTypes:
        """Returns the type of every error, and the AP gained by fixing all errors of each type, as TIDE defines them.

        Every false positive is a `classification`, `localization`, `both`, `duplicate` or `background` error, and a
        ground truth is `missed` if no detection would match it even if the first two were fixed. `print` the result for
        a table; `jaxmap/analysis/README.md` has the definitions, and how they differ from those of tidecv.

        Args:
          iou_threshold: one of the protocol's thresholds.
          background_threshold: the IoU below which a detection is on the background, between 0 and `iou_threshold`.

        Raises:
          ValueError: if a threshold is not as described, or the records came from the state of a metric.

        Example:
          >>> truth = [{"boxes": [[0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0]], "labels": [0, 0]}]
          >>> found = [{"boxes": [[0.0, 0.0, 10.0, 8.0], [20.0, 0.0, 24.0, 10.0]], "labels": [0, 0]}]
          >>> found[0]["scores"] = [0.9, 0.8]
          >>> import jaxmap
          >>> errors = jaxmap.evaluate(found, truth).error_types()
          >>> errors.count["localization"], round(errors.gain["localization"], 3)
          (1, 0.495)
        """
        matched = self.require_matched("error_types")
        return error_types(
            matched, self.protocol, iou_threshold=iou_threshold, background_threshold=background_threshold
        )
