"""What the numbers of a summary measure: a table with one row per quantity, which every stage reads.

A new quantity is a new row: `SummaryRow` accepts its name, and tables and plots show its title.

A quantity has a value for each class at each IoU threshold, area range and limit; the summary averages them. It is a
field of the interpolated curves, or the best value of a function of the counts over all score thresholds. Such a
function is plain arithmetic on floats: the host calls it with NumPy arrays, and `jit` with JAX arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["MISS_RATE_POINTS", "QUANTITIES", "OfCounts", "Quantity", "f_score", "log_average"]

OfCounts = Callable[[Any, Any, Any], Any]  # of the numbers of TP, TP + FP, and ground truths

# False positives per image, in ten-thousandths, so that they can be compared in integers: nine numbers from 0.01 to 1,
# evenly spaced on a logarithmic scale, rounded as in CrowdHuman's evaluation.
MISS_RATE_POINTS = (100, 178, 316, 562, 1000, 1778, 3162, 5623, 10000)


def f_score(true_positives: Any, reported: Any, num_ground_truths: Any, beta: float = 1.0) -> Any:
    """Returns the weighted harmonic mean of precision and recall; `reported` counts true and false positives."""
    return (1 + beta**2) * true_positives / (reported + beta**2 * num_ground_truths)


def log_average(miss_rates: Any) -> Any:
    """Returns the geometric mean over the first axis; 0 if any is 0."""
    return (miss_rates ** (1 / len(miss_rates))).prod(0)  # roots first, or small rates underflow in float32


class Quantity(NamedTuple):
    """One row of the table.

    Attributes:
      name: the name that `SummaryRow` accepts.
      title: its title in tables.
      short: its abbreviation in tables.
      unit: the unit of its values.
      source: where it is defined.
      fields: the fields of the curves that contain it; the first one that the protocol fills is used.
      of_counts: in place of `fields`: a function of the numbers of true positives, of true and false positives, and of
        ground truths. The quantity is its largest value over all score thresholds, and 0 without detections.
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
        """The title and the abbreviation, aligned as in pycocotools."""
        return f"{self.title:<18} ({self.short})"

    def values(self, curves: Any) -> Any:
        """Returns its values `[T, ...]` in curves, or in another object with the same fields."""
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
        Quantity("miss_rate", "Average Miss Rate", "MR", f"{_SHARE}, lower is better",
                 "Dollar et al., Pedestrian Detection, 2012; CrowdDet database.py, eval_MR", fields=("miss_rate",)),
    )
}  # fmt: skip
