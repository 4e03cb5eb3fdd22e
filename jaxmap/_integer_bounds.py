"""Narrow integers: the largest value of each, and what keeps values below it.

| where | integer | largest value | ensured by |
|---|---|---|---|
| levels of pairs | int8, or int16 from 128 thresholds on | T, at most 1000 | `level_dtype`, `MAX_THRESHOLDS` |
| planes of pairs | bits of uint32 words | any T x A | as many words as are needed |
| area ranges of a ground truth, in a state | bits of uint8 or uint32 | 32 ranges | `metrics` refuses more |
| labels and ranks in a state | int16, or int32 | K, and the slots of an image | chosen by their number |
| rows, and flat indices, inside `jit` | int32 | 2^31 - 1 | `check_int32`, while tracing |
| places of pairs in a confusion matrix | int32 | 2^30 pairs of an image | `check_int32`, while tracing |
| counts of rows, inside `jit` | int32 | 2^31 - 1 | the number of rows |
| counts under image weights, inside `jit` | int32 | 2^30 | `precision_recall` refuses larger weights that it sees |
| counts of a class in states that add up | int32 | 2^31 - 1 | `add_counts` stops there, `summarize` raises |
| true positives that reach a recall point, inside `jit` | int32 | 2^31 - 1 | quotient and remainder of q, in `curves` |
| sums of precisions, inside `jit` | uint32 and their carries | 2^31 - 1 true positives | `curves` |
| counts of pixels and of segments | two words of uint32 | 2^64 - 1 | `metrics`, whose batches hold below 2^32 |
| limits of detections; ranks on the host | int32 | 2^31 - 1, which stands for all | `protocols` |
| which limit a row is within, on the host | uint8 or uint16 | M, at most 1000 | chosen by their number |
"""

from __future__ import annotations

import numpy as np

__all__ = ["INT32_MAX", "check_int32", "level_dtype"]

INT32_MAX = 2**31 - 1


def level_dtype(num_thresholds: int) -> type[np.signedinteger]:
    """Returns the integer dtype of levels, 0 to T."""
    return np.int8 if num_thresholds <= np.iinfo(np.int8).max else np.int16


def check_int32(what: str, size: int, advice: str) -> None:
    """Checks that a number of items fits int32; called while tracing, where sizes are known.

    Raises:
      ValueError: if it does not.
    """
    if size > INT32_MAX:
        raise ValueError(f"{what} must be at most 2^31 - 1, got {size}; {advice}.")
