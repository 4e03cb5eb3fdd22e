"""How certain the numbers of an evaluation are: bootstrap over images, or over groups of images."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from .._display import Columns, described, html_table
from .._records._host import DatasetRecords
from .._summary import line_texts
from ..protocols import EvaluationProtocol
from ..types import HostArray, Ints
from ._intervals import Interval, check_confidence, columns_of, intervals
from ._replicates import Replicates, WeightedSummary
from ._units import check_count, check_seed, units_of

__all__ = ["Bootstrap", "Resampled", "bootstrap", "resample"]

JACKKNIFE_GROUPS = 200  # enough for the acceleration, which is the skewness of their effects divided by 6


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Bootstrap:
    """Standard errors and confidence intervals of every number; `print` it for a table.

    Attributes:
      summary: the interval of each number of the summary, by name.
      of_class: K intervals, of the first number of the summary (AP) for each class.
      confidence: the share of datasets whose interval should contain the true number.
      num_units: how many images, or groups of images, each replicate draws, with replacement, from as many.
      seed: what they were drawn with.
      replicates: the numbers of all replicates.
      protocol: the protocol as applied.
      class_ids: `[K]`.
      class_names: K names.
    """

    summary: dict[str, Interval]
    of_class: list[Interval]
    confidence: float
    num_units: int
    seed: int
    replicates: Replicates
    protocol: EvaluationProtocol
    class_ids: HostArray
    class_names: tuple[str, ...]

    @property
    def num_replicates(self) -> int:
        """W."""
        return len(self.replicates.summary[0])

    def numbers(self) -> Columns:
        """Returns columns with a row for each number of the summary: `number` and the fields of `Interval`."""
        return Columns({"number": list(self.summary)} | columns_of(self.summary.values()))

    def per_class(self) -> Columns:
        """Returns columns of `[K]`: `class_id`, `class_name` and the fields of `Interval`, for the first number."""
        names = {"class_id": self.class_ids, "class_name": list(self.class_names)}
        return Columns(names | columns_of(self.of_class)).as_lists()

    def to_dict(self) -> dict[str, Any]:
        """Returns plain Python values, ready for JSON; an undefined number is None."""
        settings = {name: getattr(self, name) for name in ("num_replicates", "num_units", "seed", "confidence")}
        return settings | {"summary": self.numbers().rows(), "per_class": self.per_class().rows()}

    def __repr__(self) -> str:
        name, first = next(iter(self.summary.items()))
        settings = {"replicates": self.num_replicates, "confidence": self.confidence}
        return described(self, **settings, **{name: first.value, "low": first.low, "high": first.high})

    def __str__(self) -> str:
        lines = [
            f"{self.confidence:.0%} intervals (BCa) from {self.num_replicates} replicates of {self.num_units} images "
            "or groups of images"
        ]
        for name in line_texts(self.protocol):
            value, error, low, high, *_, undefined = self.summary[name]
            note = f", undefined in {undefined} replicates" if undefined else ""
            lines.append(f" {name:<8} = {value:0.3f} [{low:0.3f}, {high:0.3f}], standard error {error:0.4f}{note}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return html_table(self.numbers().items())


def bootstrap(
    dataset: DatasetRecords,
    protocol: EvaluationProtocol,
    *,
    num_replicates: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    unit: Any = "image",
) -> Bootstrap:
    """Draws images with replacement, again and again; arguments as `Evaluation.bootstrap` takes them."""
    check_confidence(confidence)
    num_replicates, seed = check_count("num_replicates", num_replicates, 2), check_seed(seed)
    index, num_units = units_of(unit, dataset.image_ids)
    run = resample(dataset, protocol, num_replicates, seed, index, num_units)
    estimates = [
        intervals(values[:, 0], drawn, left_out, confidence)
        for values, drawn, left_out in zip(run.whole, run.drawn, run.left_out, strict=True)
    ]
    return Bootstrap(
        summary=dict(zip(run.names, estimates[0], strict=True)),
        of_class=estimates[1],
        confidence=confidence,
        num_units=num_units,
        seed=seed,
        replicates=run.drawn,
        protocol=protocol,
        class_ids=dataset.class_ids,
        class_names=dataset.class_names,
    )


class Resampled(NamedTuple):
    """The numbers of a dataset and of its resamples.

    Attributes:
      names: of the numbers of the summary.
      whole: of the dataset itself, W = 1.
      drawn: of images drawn with replacement.
      left_out: without each of at most `JACKKNIFE_GROUPS` groups of images.
    """

    names: tuple[str, ...]
    whole: Replicates
    drawn: Replicates
    left_out: Replicates


def resample(
    dataset: DatasetRecords, protocol: EvaluationProtocol, num_replicates: int, seed: int, index: Ints, num_units: int
) -> Resampled:
    """Returns the numbers of resamples of units; `index` is `[I]`, the unit of each image."""
    from .._resampling import draw_counts_on_host  # needs JAX, unlike the other analyses

    num_groups = min(num_units, JACKKNIFE_GROUPS)
    group = index % num_groups

    def vectors(first: int, last: int) -> Ints:
        """Returns the weights of replicates, then without each group, then of all images."""
        split = min(max(first, num_replicates), last)
        without = np.arange(split, last)[:, None] - num_replicates
        kept: Ints = (group != without).astype(np.int32)  # all images for the last number, which is no group
        if split == first:
            return kept
        return np.concatenate([draw_counts_on_host(seed, first, split, num_units)[:, index], kept])

    weighted = WeightedSummary(dataset, protocol)
    numbers = weighted(vectors, num_replicates + num_groups + 1)
    edges = [num_replicates, num_replicates + num_groups]
    summary, of_class = (np.split(values, edges, axis=1) for values in numbers)
    drawn, left_out, whole = (Replicates(*parts) for parts in zip(summary, of_class, strict=True))
    return Resampled(weighted.names, whole, drawn, left_out)
