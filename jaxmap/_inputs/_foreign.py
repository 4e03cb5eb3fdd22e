"""Arrays of other libraries, on the host."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["to_numpy"]


def to_numpy(values: Any) -> np.ndarray:
    """Returns NumPy's view of what was handed in, also of torch's tensors, for each of which it is one and the same.

    torch itself refuses to convert what has a gradient, is on another device, or is bfloat16.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if "bfloat16" in str(values.dtype):
            values = values.float()
    return np.asarray(values)
