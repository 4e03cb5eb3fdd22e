"""Metrics whose arithmetic runs inside `jit`."""

from ._average_precision import average_precision

__all__ = ["average_precision"]
