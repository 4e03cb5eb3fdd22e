"""What the numbers of a summary measure: one row for each quantity, which every stage and table reads.

A new quantity is a new row; `SummaryRow` takes its name, and tables and plots its title.

A quantity has a value for each class at each IoU threshold, area range and limit; the summary averages them. It is read
from the interpolated curves, or it is the best value of a function of the counts over all scores that occur. Such a
function is plain arithmetic on floats, so the host calls it with NumPy arrays and `jit` with JAX's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["QUANTITIES", "OfCounts", "Quantity", "f_score"]

OfCounts = Callable[[Any, Any, Any], Any]  # of true positives, true and false positives, ground truths


def f_score(true_positives: Any, reported: Any, num_ground_truths: Any, beta: float = 1.0) -> Any:
    """Returns the weighted harmonic mean of precision and recall; `reported` counts true and false positives."""
    return (1 + beta**2) * true_positives / (reported + beta**2 * num_ground_truths)


class Quantity(NamedTuple):
    """One row of the table.

    Attributes:
      name: as `SummaryRow` takes it.
      title: as tables show it.
      short: its abbreviation in tables.
      unit: of its values.
      source: where it is defined.
      fields: the fields of the curves that hold it; the first that the protocol fills is read.
      of_counts: in place of fields: a function of the true positives, the true and false positives, and the ground
        truths; the quantity is its largest value over all score thresholds, and 0 without detections.
    """

    name: str
    title: str
    short: str
    unit: str
    source: str
    fields: tuple[str, ...] = ()
    of_counts: OfCounts | None = None

    @property
    def heading(self) -> str:
        """The title and its abbreviation, as pycocotools aligns them."""
        return f"{self.title:<18} ({self.short})"

    def values(self, curves: Any) -> Any:
        """Returns `[T, ...]`, its values in curves or in what has the same fields."""
        if self.of_counts is not None:
            return curves.at_best_score[self.name]
        return next(value for field in self.fields if (value := getattr(curves, field)) is not None)


_SHARE = "share, 0 to 1"

QUANTITIES = {
    quantity.name: quantity
    for quantity in (
        Quantity("precision", "Average Precision", "AP", _SHARE, "pycocotools cocoeval.py, accumulate; VOCap.m",
                 fields=("average_precision", "precision")),
        Quantity("recall", "Average Recall", "AR", _SHARE, "pycocotools cocoeval.py, accumulate", fields=("recall",)),
        Quantity("f1", "Best F1", "F1", _SHARE, "van Rijsbergen, Information Retrieval, 1979", of_counts=f_score),
    )
}  # fmt: skip
