"""The options of metrics, checked and normalised at construction."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np

from ..protocols import COCO, EvaluationProtocol, get_protocol
from ..types import BOX_FORMATS
from ._contract import initial_shapes

__all__ = [
    "COCO_OR_OTHER",
    "NamedProtocol",
    "check_bins",
    "check_box_format",
    "check_memory",
    "check_sizes",
    "take_class_group",
    "whole",
]

MAX_BYTES = 2**36  # of a state and its curves; more is a typo, not a large evaluation
MAX_BINS = 2**24  # of equal width: the step of float32 just below 1
MAX_CELLS = 2**31  # of one array of a state, because indices into it are int32


class NamedProtocol:
    """A field of a metric that accepts a protocol or its name, and holds the protocol."""

    def __get__(self, metric: object | None, owner: type | None = None) -> EvaluationProtocol:
        return COCO if metric is None else metric.__dict__["protocol"]

    def __set__(self, metric: object, value: str | EvaluationProtocol) -> None:
        metric.__dict__["protocol"] = get_protocol(value)


COCO_OR_OTHER = NamedProtocol()


def whole(name: str, value: Any) -> int:
    """Returns a count as a Python int; NumPy integers are accepted.

    Raises:
      TypeError: if it is not a whole number.
      ValueError: if it is less than 1, or does not fit int32.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"`{name}` must be a whole number, got {value!r} ({type(value).__name__}).")
    if not 1 <= value < 2**31:
        raise ValueError(f"`{name}` must be {'at least 1' if value < 1 else 'below 2^31'}, got {value}.")
    return int(value)


def check_sizes(metric: Any, *names: str) -> None:
    """Checks fields with `whole`."""
    for name in names:
        object.__setattr__(metric, name, whole(name, getattr(metric, name)))


def check_box_format(metric: Any) -> None:
    """Refuses an unknown box format."""
    if metric.box_format not in BOX_FORMATS:
        raise ValueError(f"`box_format` must be one of {list(BOX_FORMATS)}, got {metric.box_format!r}.")


def check_bins(metric: Any) -> None:
    """Checks `num_bins`, a whole number, and `score_range`, two finite numbers, the lower first.

    Raises:
      TypeError: if the number of bins is no whole number.
      ValueError: if the range is anything else, or there are more bins than float32 tells apart.
    """
    check_sizes(metric, "num_bins")
    if metric.num_bins > MAX_BINS:
        raise ValueError(
            f"`num_bins` must be at most 2^24, got {metric.num_bins}: scores are float32, which tells no more apart."
        )
    try:
        low, high = (float(bound) for bound in metric.score_range)
    except (TypeError, ValueError):
        low, high = math.nan, math.nan
    if not (low < high and math.isfinite(high - low)):
        raise ValueError(
            "`score_range` must be the lowest and the highest score, two finite numbers, the lower first, got "
            f"{metric.score_range!r}."
        )
    object.__setattr__(metric, "score_range", (low, high))


def take_class_group(metric: Any) -> None:
    """Checks the groups of classes: names of the protocol's groups, or empty for a class of no group, as a tuple.

    Raises:
      ValueError: if the protocol has no groups, a name is unknown, or their number is not that of the classes.
    """
    groups, known = metric.class_group, metric.protocol.class_groups
    if groups is None:
        return
    if not known:
        raise ValueError(
            f"`class_group` must be None for the protocol {metric.protocol.name!r}, which has no groups of classes, "
            f"got {len(groups)} names; `protocol.with_class_groups(names)` adds groups."
        )
    if isinstance(groups, str) or len(groups) != metric.num_classes:
        got = repr(groups) if isinstance(groups, str) else len(groups)
        raise ValueError(f"`class_group` must name the group of each of {metric.num_classes} classes, got {got}.")
    for label, name in enumerate(groups):
        if name not in ("", *known):
            raise ValueError(f"`class_group` must hold names among {list(known)}, got {name!r} for class {label}.")
    object.__setattr__(metric, "class_group", tuple(map(str, groups)))


def check_memory(metric: Any, *names: str, curves: bool = False) -> None:
    """Refuses sizes with which a state would not fit into any memory.

    Args:
      metric: the metric, after all other checks.
      names: the fields with its sizes, for the message.
      curves: whether `compute` makes precision and scores `[T, R, K, A, M]`, in float64.

    Raises:
      ValueError: if it would not; the message says how much memory is needed.
    """
    arrays = jax.tree.leaves(initial_shapes(metric))
    num_bytes = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in arrays)
    num_cells = max(math.prod(leaf.shape) for leaf in arrays)
    if curves:
        protocol = metric.protocol
        axes = protocol.iou_thresholds, protocol.recall_points, protocol.area_ranges, protocol.max_detections
        num_bytes += 2 * np.dtype(np.float64).itemsize * metric.num_classes * math.prod(map(len, axes))
    sizes = ", ".join(f"`{name}={getattr(metric, name)}`" for name in names)
    if num_bytes > MAX_BYTES:
        raise ValueError(
            f"{sizes} must need at most {MAX_BYTES // 2**30} GiB{' with the grids of the protocol' if curves else ''}, "
            f"got {num_bytes / 2**30:,.0f} GiB; lower them."
        )
    if num_cells >= MAX_CELLS:
        raise ValueError(f"{sizes} must give arrays of fewer than 2^31 values, got {num_cells:,}; lower them.")
