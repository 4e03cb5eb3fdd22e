"""Arrays of other libraries on the host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..types import HostArray

__all__ = ["to_numpy"]


def to_numpy(values: Any) -> HostArray:
    """Returns an input as a NumPy array, including torch tensors.

    torch refuses to convert tensors that have a gradient, are on another device, or are bfloat16.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if "bfloat16" in str(values.dtype):
            values = values.float()
    return np.asarray(values)
