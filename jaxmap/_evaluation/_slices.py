"""Parts of a dataset, each with the evaluation of its images."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .._display import Columns, described, html_table
from .._outputs import printable
from ..analysis import Bootstrap

if TYPE_CHECKING:
    from ._result import Evaluation

__all__ = ["Slice", "Slices"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Slice:
    """A part of the images.

    Attributes:
      evaluation: that of its images; it has no matches.
      bootstrap: the intervals of its numbers; None if they were not asked for, or it has fewer than two images.
    """

    evaluation: Evaluation
    bootstrap: Bootstrap | None

    @property
    def summary(self) -> dict[str, float]:
        """Its numbers, by name."""
        return self.evaluation.summary

    @property
    def num_images(self) -> int:
        """The number of its images."""
        return len(self.evaluation.image_ids)

    def __repr__(self) -> str:
        return described(self, images=self.num_images, **dict(list(self.summary.items())[:1]))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Slices:
    """The numbers of several parts of a dataset; `print` it for a table.

    Attributes:
      slices: the parts by name; `all` is the whole dataset.
    """

    slices: dict[str, Slice]

    def __getitem__(self, name: str) -> Slice:
        return self.slices[name]

    @property
    def _headline(self) -> str:
        return next(iter(next(iter(self.slices.values())).summary))

    def numbers(self) -> Columns:
        """Returns a row for each slice.

        Returns:
          Columns `slice`, `num_images`, `num_ground_truths`, each number of the summary, and `low`, `high` and
          `standard_error` of the first of them; NaN for slices without an interval.
        """
        rows = list(self.slices.values())
        first = self._headline
        ends = [None if one.bootstrap is None else one.bootstrap.summary[first] for one in rows]
        columns: dict[str, Any] = {
            "slice": list(self.slices),
            "num_images": np.array([one.num_images for one in rows]),
            "num_ground_truths": np.array([one.evaluation.dataset.num_ground_truths[:, 0].sum() for one in rows]),
        }
        columns |= {name: np.array([one.summary[name] for one in rows]) for name in rows[0].summary}
        for name in ("low", "high", "standard_error"):
            columns[name] = np.array([math.nan if end is None else getattr(end, name) for end in ends])
        return Columns(columns)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain Python values, ready for JSON; an undefined number is None."""
        return {"slices": self.numbers().rows()}

    def __repr__(self) -> str:
        return described(self, **{name: one.num_images for name, one in self.slices.items()})

    def __str__(self) -> str:
        names = [printable(name) for name in self.slices]
        width = max(map(len, names))
        first = self._headline
        lines = [f"{'slice':<{width}}  images  objects  {first:>6}  interval"]
        for name, row in zip(names, self.numbers().rows(), strict=True):
            ends = "" if row["low"] is None else f"[{row['low']:.3f}, {row['high']:.3f}]"
            value = "-" if row[first] is None else f"{row[first]:.3f}"
            lines.append(f"{name:<{width}}  {row['num_images']:>6}  {row['num_ground_truths']:>7}  {value:>6}  {ends}")
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        return html_table(self.numbers().items())
