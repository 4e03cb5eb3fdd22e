"""The connected components of detections and ground truths: the pairs that can influence each other."""

from __future__ import annotations

import numpy as np

from .._ordering import starts_of_runs
from ..types import Ints

__all__ = ["components"]


def components(detection: Ints, ground_truth: Ints, num_ground_truths: int) -> Ints:
    """Returns `[P]` int64, the component of each pair, given by the first of its ground truths.

    Labels are propagated to neighbours, and every label is replaced by the label of that label, until nothing changes,
    which takes a few rounds.

    Args:
      detection: `[P]` int64, ascending.
      ground_truth: `[P]` int64.
      num_ground_truths: the number of ground truths.
    """
    label = np.arange(num_ground_truths)
    starts = starts_of_runs(detection)
    counts = np.diff(starts, append=len(detection))
    joining = np.repeat(counts > 1, counts)  # a detection with one pair connects nothing
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
