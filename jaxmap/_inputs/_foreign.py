"""Arrays of other libraries, on the host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..types import HostArray

__all__ = ["to_numpy"]


def to_numpy(values: Any) -> HostArray:
    """Returns NumPy's view of what was handed in, also of torch's tensors, for each of which it is one and the same.

    torch itself refuses to convert what has a gradient, is on another device, or is bfloat16.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if "bfloat16" in str(values.dtype):
            values = values.float()
    return np.asarray(values)
