"""Assignments of detections to ground truths that do not depend on the order of rows, by scipy."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from ..types import Bools, Floats, Ints

__all__ = ["heaviest_assignment", "in_largest_matching"]


def in_largest_matching(detection: Ints, ground_truth: Ints, shape: tuple[int, int]) -> Bools:
    """Returns `[N]` bool: the detections of a largest set of pairs in which no detection or ground truth is twice.

    Args:
      detection: `[P]`, the rows of the detections of the pairs that are allowed.
      ground_truth: `[P]`, those of the ground truths.
      shape: the numbers of detections and of ground truths.

    Raises:
      ImportError: if scipy is missing.
    """
    pairs = np.ones(len(detection), np.int8), (detection, ground_truth)
    graph = _scipy("sparse").csr_array(pairs, shape=shape)
    partner = _scipy("sparse.csgraph").maximum_bipartite_matching(graph, perm_type="column")
    matched: Bools = partner >= 0
    return matched


def heaviest_assignment(weights: Floats) -> tuple[Ints, Ints]:
    """Returns the rows and columns of the assignment with the largest total of `[D, G]` weights.

    Raises:
      ImportError: if scipy is missing.
    """
    rows, columns = _scipy("optimize").linear_sum_assignment(weights, maximize=True)
    return rows, columns


def _scipy(module: str) -> Any:
    try:
        return importlib.import_module(f"scipy.{module}")
    except ImportError as error:
        raise ImportError("optimal matching needs scipy, which is not installed: pip install 'jaxmap[sets]'") from error
