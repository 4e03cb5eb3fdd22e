"""The numbers of an evaluation: summary, per class, per image."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import warnings
from typing import Any, Self

import numpy as np

from .._curves._host import precision_recall
from .._display import Columns, described, html_table
from .._matching._host import MatchedDataset, require_matched
from .._records._host import DatasetRecords, of_images
from .._scalars import to_scalars
from .._summary import mean_of_each_class, precision_cells, summarize, summary_columns, summary_lines, summary_table
from ..analysis import image_curves, tie_bounds
from ..protocols import EvaluationProtocol
from ..types import Floats, HostArray, PrecisionRecall

__all__ = ["Numbers", "curves_of"]


def curves_of(
    dataset: DatasetRecords, protocol: EvaluationProtocol, *, of_summary: bool = False
) -> PrecisionRecall[HostArray]:
    """Integrates the records of a dataset; only as far as the summary needs if asked for."""
    return precision_recall(
        dataset.records,
        protocol=protocol,
        num_classes=len(dataset.class_ids),
        order=dataset.by_class,
        num_images=len(dataset.image_ids),
        cells=precision_cells(protocol) if of_summary else None,
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Numbers:
    """The fields of an `Evaluation`, its numbers, and its tables."""

    protocol: EvaluationProtocol
    summary_curves: PrecisionRecall[HostArray]
    dataset: DatasetRecords
    matched: MatchedDataset | None = None

    @functools.cached_property
    def curves(self) -> PrecisionRecall[HostArray]:
        """Precision, recall and scores of all area ranges and limits, integrated when they are first asked for."""
        return curves_of(self.dataset, self.protocol)

    @property
    def precision(self) -> Floats:
        """`[T, R, K, A, M]` float64; NaN where a class has no ground truth in an area range."""
        return self.curves.precision

    @property
    def recall(self) -> Floats:
        """`[T, K, A, M]` float64; NaN where a class has no ground truth in an area range."""
        return self.summary_curves.recall

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
        """The protocol's named numbers; the limit on detections is in the name (`AR10`) or the largest (`AP`).

        Without scores a `UserWarning` gives the bounds of AP, if it depends on the order of the rows.
        """
        self._warn_without_scores()
        return summarize(self.summary_curves, self.protocol, self.dataset.class_group)

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

    def to_scalars(self, prefix: str = "", per_class: bool = False) -> dict[str, float]:
        """Returns the summary as one flat dictionary of Python floats, for loggers, without undefined numbers.

        Args:
          prefix: the start of all names, for example `val/`.
          per_class: whether to add the numbers of each class, as `val/AP/person`; `jaxmap.to_scalars` says how names
            of classes are made safe.
        """
        return to_scalars(self.summary, prefix, per_class=self.per_class() if per_class else None)

    def per_class(self) -> dict[str, list[Any]]:
        """Returns columns of `[K]`: `class_id`, `class_name`, `num_ground_truths` and the numbers of the summary.

        They are lists of plain Python values, for `json.dumps`, `pandas.DataFrame` and the like; undefined numbers are
        NaN.
        """
        self._warn_without_scores()
        columns: dict[str, Any] = {
            "class_id": self.class_ids,
            "class_name": list(self.class_names),
            "num_ground_truths": np.asarray(self.summary_curves.num_ground_truths)[:, 0],
        }
        no_groups = dataclasses.replace(self.protocol, class_groups=())  # undefined for one class
        return Columns(columns | mean_of_each_class(self.summary_curves, summary_lines(no_groups))).as_lists()

    def per_image(self) -> dict[str, HostArray]:
        """Returns columns over all images, each scored as if it were the whole dataset.

        Per-image AP averages only over the classes with ground truths in that image and ranks only the detections of
        that image, so its mean over images is not the pooled number.

        Returns:
          `image_id`, `num_ground_truths` (counted ones), `num_detections` (within the largest limit), then the
          summary's numbers for the first area range at that limit (for COCO `AP`, `AP50`, `AP75`, `AR100`), each `[I]`.
        """
        self._warn_without_scores()
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

    def of_images(self, images: Any) -> Self:
        """Returns the evaluation of some of the images, as `evaluate` gives it for them; the classes stay.

        It has no matches: methods that need boxes raise.

        Args:
          images: `[I]` bool, in the order of `image_ids`.

        Raises:
          ValueError: if it is not of that shape and type.
        """
        keep = np.asarray(images)
        if keep.shape != self.image_ids.shape or keep.dtype != bool:
            raise ValueError(
                f"`images` must be bool of shape {list(self.image_ids.shape)}, one for each of `image_ids`, got "
                f"{keep.dtype} of shape {list(keep.shape)}."
            )
        part = of_images(self.dataset, keep)
        of_part = curves_of(part, self.protocol, of_summary=True)
        return dataclasses.replace(self, dataset=part, summary_curves=of_part, matched=None)

    def _warn_without_scores(self) -> None:
        """Warns once that AP is an accident of the order of the rows, if it is."""
        if self.dataset.ranked or "_warned" in vars(self):
            return
        vars(self)["_warned"] = True  # the fields of a frozen dataclass stay as they are
        if not (bounds := tie_bounds(self.dataset, self.protocol)).differ:
            return
        warnings.warn(
            "the detections have no scores (all are 1), so AP depends on the order of the rows: from "
            f"{bounds.lowest:.4f} to {bounds.highest:.4f}. Use `precision_recall_f1()`, which does not.",
            UserWarning,
            stacklevel=3,
        )

    def require_matched(self, method: str) -> MatchedDataset:
        """Returns the matches; a `ValueError` names the method if there are none, only records."""
        return require_matched(self.matched, method)
