"""Metrics with explicit state: `init`, `update`, `merge`, `compute` inside `jit`, `summarize` on the host."""

from ._average_precision import AveragePrecision, AveragePrecisionResult, average_precision
from ._state import AveragePrecisionState

__all__ = ["AveragePrecision", "AveragePrecisionResult", "AveragePrecisionState", "average_precision"]
