"""Which pairs can influence each other: the connected components of detections and ground truths."""

from __future__ import annotations

import numpy as np

from .._ordering import starts_of_runs
from ..types import Ints

__all__ = ["components"]


def components(detection: Ints, ground_truth: Ints, num_ground_truths: int) -> Ints:
    """Returns `[P]` int64: the component of each pair, named by the first of its ground truths.

    Labels of neighbours spread, and every label is replaced by its own label, until nothing changes: a few rounds.

    Args:
      detection: `[P]` int64, ascending.
      ground_truth: `[P]` int64.
      num_ground_truths: how many rows there are.
    """
    label = np.arange(num_ground_truths)
    starts = starts_of_runs(detection)
    counts = np.diff(starts, append=len(detection))
    joining = np.repeat(counts > 1, counts)  # a detection of one pair joins nothing
    member, counts = ground_truth[joining], counts[counts > 1]
    first = np.cumsum(counts) - counts
    while len(member):
        lowest = np.minimum.reduceat(label[member], first)
        if (np.repeat(lowest, counts) == label[member]).all():
            break
        np.minimum.at(label, label[member], np.repeat(lowest, counts))
        while (label[label] != label).any():
            label = label[label]
    return label[ground_truth]
