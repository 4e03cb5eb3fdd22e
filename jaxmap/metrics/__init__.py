"""Metrics with explicit state: `init`, `update`, `merge`, `compute` inside `jit`, `summarize` on the host."""

from ._average_precision import AveragePrecision, average_precision
from ._histogram import HistogramAveragePrecision, HistogramState
from ._host import HostAveragePrecision, HostState
from ._result import AveragePrecisionResult
from ._state import AveragePrecisionState

__all__ = [
    "AveragePrecision",
    "AveragePrecisionResult",
    "AveragePrecisionState",
    "HistogramAveragePrecision",
    "HistogramState",
    "HostAveragePrecision",
    "HostState",
    "average_precision",
]
