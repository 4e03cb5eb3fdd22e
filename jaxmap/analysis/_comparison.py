"""Whether one detector is better than another on the same images, or only luckier."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np

from .._display import Columns, described, html_table
from .._matching._host import MatchedDataset, require_matched
from .._outputs import printable
from .._records._host import DatasetRecords
from .._summary import line_texts
from ..protocols import EvaluationProtocol
from ..types import Floats, HostArray, Ints
from ._changes import changed_ground_truths, same_ground_truths
from ._images import image_curves
from ._influence import influence_of_images
from ._intervals import SAME, Interval, columns_of

__all__ = ["Comparison", "Difference"]


class Difference(NamedTuple):
    """How much a number of another model differs from that of the first; NaN where undefined.

    Attributes:
      first: the number of the first model.
      other: that of the other model.
      difference: the other minus the first, with its standard error and intervals from paired replicates: both models
        are scored on the same images.
      p_value: how often images drawn anew would show a difference of the opposite sign, two-sided.
      p_permutation: how often models that are exchanged at random in each image differ by at least as much; NaN if this
        test was left out.
      p_holm: `p_value` corrected for the number of classes, by Holm's method; `p_value` itself for a number of the
        summary.
    """

    first: float
    other: float
    difference: Interval
    p_value: float
    p_permutation: float
    p_holm: float


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """The differences of one or several models from the first, image by image; `print` it for a table.

    Attributes:
      names: the names of the models, the first one first.
      summary: for each other model, by name, the difference of each number of the summary, by name.
      of_class: for each other model, by name, K differences of the first number of the summary (AP).
      datasets: the records of the N models.
      matched: their matches; None for one whose records came without boxes, from the state of a metric.
      confidence: the share of comparisons whose interval should contain the true difference, before it is corrected for
        `num_looks`.
      num_looks: how many times the comparison is made while images come in.
      num_replicates: how many times images were drawn, and models exchanged.
      num_units: how many images, or groups of images, were drawn from.
      protocol: the protocol as applied.
      class_ids: `[K]`.
      class_names: K names.
    """

    names: tuple[str, ...]
    summary: dict[str, dict[str, Difference]]
    of_class: dict[str, list[Difference]]
    datasets: tuple[DatasetRecords, ...]
    matched: tuple[MatchedDataset | None, ...]
    confidence: float
    num_looks: int
    num_replicates: int
    num_units: int
    protocol: EvaluationProtocol
    class_ids: HostArray
    class_names: tuple[str, ...]

    @property
    def image_ids(self) -> HostArray:
        """`[I]`."""
        return self.datasets[0].image_ids

    @property
    def lowest_p_holm(self) -> float:
        """The lowest `p_holm` that the number of replicates allows for so many classes; more replicates lower it."""
        num_classes = max(np.count_nonzero(~np.isnan([one.p_value for one in rows])) for rows in self.of_class.values())
        return min(2 * num_classes * self.num_looks / (self.num_replicates + 1), 1.0)

    @functools.cached_property
    def per_image(self) -> Floats:
        """`[N, I]` float64, the per-image AP of each model; NaN without ground truth."""
        return np.stack([_per_image(dataset, self.protocol) for dataset in self.datasets])

    @functools.cached_property
    def influence(self) -> Floats:
        """`[N, I]` float64, what each image adds to the first number of the summary (AP) of each model."""
        return np.stack([influence_of_images(dataset, self.protocol)[1][0] for dataset in self.datasets])

    def numbers(self) -> Columns:
        """Returns a row for each other model and number of the summary.

        Returns:
          Columns `model`, `number`, `first`, `other`, `difference`, the fields of its `Interval`, `p_value` and
          `p_permutation`.
        """
        rows = [(model, name, one) for model, table in self.summary.items() for name, one in table.items()]
        names = {"model": [model for model, _, _ in rows], "number": [name for _, name, _ in rows]}
        return Columns(names | _columns([one for _, _, one in rows], holm=False))

    def per_class(self) -> Columns:
        """Returns a row for each other model and class: `model`, `class_id`, `class_name`, then as `numbers`.

        `p_holm` is corrected for the number of classes.
        """
        count = len(self.of_class)
        names = {
            "model": [model for model in self.of_class for _ in self.class_names],
            "class_id": np.tile(self.class_ids, count),
            "class_name": list(self.class_names) * count,
        }
        return Columns(
            names | _columns([one for table in self.of_class.values() for one in table], holm=True)
        ).as_lists()

    def wins(self) -> Columns:
        """Returns in how many images, classes and objects each other model is better than the first, worse, the same.

        A model is better in an image or a class in which its AP is higher, and in an object that only it finds at the
        protocol's IoU threshold nearest to 0.5.

        Returns:
          Columns `model`, `of` (`images`, `classes` or `objects`), `wins`, `losses`, `ties`. Images and classes without
          ground truth are excluded. Objects are left out if the records came from the state of a metric, or if the
          ids of the two sides differ.
        """
        rows: list[tuple[Any, ...]] = []
        for index, (model, table) in enumerate(self.of_class.items(), 1):
            of_class = np.array([one.difference.value for one in table])
            for what, change in (("images", self.per_image[index] - self.per_image[0]), ("classes", of_class)):
                counts = [int(flags.sum()) for flags in (change > SAME, change < -SAME, np.abs(change) <= SAME)]
                rows.append((model, what, *counts))
            first, other = self.matched[0], self.matched[index]
            if first is not None and other is not None and same_ground_truths(first, other):
                kinds = self._changes(index, self.protocol.threshold_near_half)["change"]
                found, lost = (int(np.count_nonzero(kinds == kind)) for kind in ("found", "lost"))
                objects = int(self.datasets[0].num_ground_truths[:, 0].sum())
                rows.append((model, "objects", found, lost, objects - found - lost))
        return Columns(zip(("model", "of", "wins", "losses", "ties"), map(list, zip(*rows, strict=True)), strict=True))

    def changes(self, iou_threshold: float | None = None, top: int | None = None) -> Columns:
        """Returns the objects that only one of two models finds, and the detections that find them.

        Args:
          iou_threshold: one of the protocol's; None for the one nearest to 0.5.
          top: how many to return of each model and kind of change; None for all.

        Returns:
          A row for each other model and object in the first area range: `model`, `image_id`, `class_id`, `ground_truth`
          (annotation id, or row in the image), `change` (`found` if the first model misses it, `lost` if only the first
          finds it), and of the detection that finds it `detection` (position in its file, or row in its image), `score`
          and `iou`. Those found come first, each kind by descending score.

        Raises:
          ValueError: if the protocol has no such threshold, or the records came from the state of a metric.
        """
        iou_threshold = self.protocol.threshold_near_half if iou_threshold is None else iou_threshold
        tables = {model: self._changes(index, iou_threshold, top) for index, model in enumerate(self.names[1:], 1)}
        columns: dict[str, Any] = {"model": [model for model, table in tables.items() for _ in table["change"]]}
        for name in next(iter(tables.values())):
            columns[name] = np.concatenate([table[name] for table in tables.values()])
        return Columns(columns)

    def _changes(self, index: int, iou_threshold: float, top: int | None = None) -> Columns:
        first, other = (require_matched(self.matched[place], "changes") for place in (0, index))
        area, threshold = self.protocol.locate(self.protocol.area_ranges[0].name, iou_threshold)
        return changed_ground_truths(first, other, (area, threshold, len(self.protocol.iou_thresholds)), top)

    def images(self, top: int | None = None) -> Columns:
        """Returns the images that decide each difference, by how much each adds to it, the largest share first.

        Args:
          top: how many for each other model; None for all.

        Returns:
          Columns `model`, `image_id`, `influence` (the difference of the first number of the summary minus that without
          the image), `first` and `other` (per-image AP of the models, NaN without ground truth).
        """
        parts: list[tuple[Ints, Ints, Floats]] = []
        for index in range(1, len(self.names)):
            influence = self.influence[index] - self.influence[0]
            order = np.argsort(-np.abs(np.nan_to_num(influence)), kind="stable")[:top]
            parts.append((np.full(len(order), index), order, influence[order]))
        number, rows, influence = map(np.concatenate, zip(*parts, strict=True))
        return Columns(
            model=[self.names[index] for index in number.tolist()],
            image_id=self.image_ids[rows],
            influence=influence,
            first=self.per_image[0, rows],
            other=self.per_image[number, rows],
        )

    def to_dict(self, top: int = 10) -> dict[str, Any]:
        """Returns plain Python values, ready for JSON; an undefined number is None."""
        tables = {"summary": self.numbers(), "per_class": self.per_class(), "wins": self.wins()}
        settings = {name: getattr(self, name) for name in ("num_replicates", "confidence", "num_looks")}
        tables["images"] = self.images(top)
        return {"models": list(self.names)} | settings | {name: table.rows() for name, table in tables.items()}

    def __repr__(self) -> str:
        changes = {}
        for model, table in self.summary.items():
            number, one = next(iter(table.items()))
            changes[f"{number} of {model} - first"] = one.difference.value
        return described(self, first=self.names[0], **changes)

    def __str__(self) -> str:
        return "\n\n".join(self._text(model, table) for model, table in self.summary.items())

    def _repr_html_(self) -> str:
        return html_table(self.numbers().items())

    def _text(self, model: str, table: dict[str, Difference]) -> str:
        looks = f", corrected for {self.num_looks} looks" if self.num_looks > 1 else ""
        lines = [
            f"{printable(model)} minus {printable(self.names[0])}: {self.confidence:.0%} intervals (BCa){looks}, "
            f"{self.num_replicates} paired replicates"
        ]
        for name in line_texts(self.protocol):
            one = table[name]
            low, high = one.difference.low, one.difference.high
            verdict = "" if not (low > 0 or high < 0) else " *"
            lines.append(
                f" {name:<8} {one.first:0.3f} -> {one.other:0.3f}: {one.difference.value:+0.4f} "
                f"[{low:+0.4f}, {high:+0.4f}], p = {one.p_value:.3g}{verdict}"
            )
        lines.append(" * the interval excludes zero")
        wins = [row for row in self.wins().rows() if row["model"] == model]
        titles = {"objects": f"objects at IoU {self.protocol.threshold_near_half:.2f}"}
        for row in wins:
            what, counts = titles.get(row["of"], row["of"]), [f"{row[name]:,}" for name in ("wins", "losses", "ties")]
            lines.append(f" {what}: {counts[0]} better, {counts[1]} worse, {counts[2]} the same")
        return "\n".join(lines)


def _columns(rows: list[Difference], *, holm: bool) -> dict[str, Any]:
    """Returns the fields of differences as columns."""
    change = columns_of([one.difference for one in rows])
    columns: dict[str, Any] = {name: np.array([getattr(one, name) for one in rows]) for name in ("first", "other")}
    columns |= {"difference": change.pop("value")} | change
    p_values = ("p_value", "p_permutation", "p_holm") if holm else ("p_value", "p_permutation")
    return columns | {name: np.array([getattr(one, name) for one in rows]) for name in p_values}


def _per_image(dataset: DatasetRecords, protocol: EvaluationProtocol) -> Floats:
    """Returns `[I]` float64, per-image AP over the first area range and the largest limit."""
    curves = image_curves(dataset, protocol)
    return curves.mean_per_image(curves.average_precision.mean(axis=0), len(dataset.image_ids))
