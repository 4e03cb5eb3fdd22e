"""Named numbers from curves, by the protocol's own table.

>>> from jaxmap.protocols import COCO
>>> [line.name for line in summary_lines(COCO)]
['AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'AR1', 'AR10', 'AR100', 'ARs', 'ARm', 'ARl']
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ._outputs import printable
from .protocols import QUANTITIES, EvaluationProtocol, Quantity, limit_text
from .types import UNDEFINED, Array, Bools, Floats, HostArray, PrecisionRecall

if TYPE_CHECKING:
    import jax

__all__ = [
    "LineText",
    "SummaryLine",
    "belongs",
    "line_texts",
    "mean_of_each_class",
    "precision_cells",
    "shown_columns",
    "summarize",
    "summarize_on_device",
    "summary_columns",
    "summary_lines",
    "summary_table",
]


class SummaryLine(NamedTuple):
    """One named number and the indices of the curve entries that it averages.

    Attributes:
      name: for example `AP50`.
      quantity: what it averages.
      thresholds: the indices on T that it averages; empty if the protocol lacks its threshold, and the number is
        undefined.
      area_index: index on A.
      limit_index: index on M.
      class_group: the group of classes that it averages; None for all classes.
    """

    name: str
    quantity: Quantity
    thresholds: tuple[int, ...]
    area_index: int
    limit_index: int
    class_group: str | None = None


def summary_lines(protocol: EvaluationProtocol) -> list[SummaryLine]:
    """Expands a protocol's table into one line per number."""
    lines = []
    for number in protocol.numbers():
        wanted, thresholds = number.row.iou_threshold, tuple(range(len(protocol.iou_thresholds)))
        if wanted is not None:
            nearest = protocol.threshold_index(wanted)
            thresholds = () if nearest is None else (nearest,)
        places = number.area_index, number.limit_index, number.class_group
        lines.append(SummaryLine(number.name, QUANTITIES[number.row.quantity], thresholds, *places))
    return lines


def precision_cells(protocol: EvaluationProtocol) -> set[tuple[int, int]]:
    """Returns the area ranges and limits, by index, whose precision the protocol's numbers average."""
    precision = QUANTITIES["precision"]
    return {(line.area_index, line.limit_index) for line in summary_lines(protocol) if line.quantity is precision}


def summarize(
    curves: PrecisionRecall[Array], protocol: EvaluationProtocol, class_group: Sequence[str] | HostArray | None = None
) -> dict[str, float]:
    """Returns the protocol's numbers in float64; NaN for undefined ones.

    Args:
      curves: NumPy arrays with NaN in entries without ground truth.
      protocol: the protocol, for its table of results.
      class_group: `[K]` names, the group of each class; without it the numbers of groups are NaN.

    Raises:
      ValueError: if `class_group` does not name a group for every class.
    """
    numbers = {}
    for line in summary_lines(protocol):
        values = np.asarray(select(curves, line))
        if line.class_group is not None:
            values = values[..., belongs(line.class_group, class_group, values.shape[-1])]
        numbers[line.name] = _mean(values)
    return numbers


def summarize_on_device(
    curves: PrecisionRecall[Array], protocol: EvaluationProtocol, class_group: Sequence[str] | HostArray | None = None
) -> dict[str, jax.Array]:
    """Returns the protocol's numbers as float32 scalars, inside `jit`; `UNDEFINED` (-1) for undefined ones.

    Args:
      curves: with `UNDEFINED` in entries without ground truth.
      protocol: the protocol, for its table of results.
      class_group: as `summarize` takes it, static.

    Raises:
      ValueError: if `class_group` does not name a group for every class.
    """
    import jax.numpy as jnp  # the numbers of the host need no JAX

    numbers = {}
    for line in summary_lines(protocol):
        if not line.thresholds:
            numbers[line.name] = jnp.float32(UNDEFINED)
            continue
        values = jnp.asarray(select(curves, line))
        defined = (values != UNDEFINED).reshape(-1, values.shape[-1])[0]  # a class is defined everywhere or nowhere
        if line.class_group is not None:
            defined &= belongs(line.class_group, class_group, len(defined))
        while values.ndim > 1:
            values = values.mean(0)  # axis by axis: one float32 sum over tens of thousands would lose digits
        mean = jnp.where(defined, values, 0.0).sum() / jnp.maximum(defined.sum(dtype=jnp.float32), 1.0)
        numbers[line.name] = jnp.where(defined.any(), mean, UNDEFINED)
    return numbers


def select(curves: PrecisionRecall[Array], line: SummaryLine) -> Array:
    """Returns the values that a number averages: `[T, R, K]` for interpolated precision, `[T, K]` for all others.

    T has only the thresholds of that number.
    """
    values: Array = line.quantity.values(curves)
    return values[np.array(line.thresholds, int), ..., line.area_index, line.limit_index]


class LineText(NamedTuple):
    """One line of a table in words: what it measures, its IoU thresholds, ranges or classes, and its limit."""

    quantity: Quantity
    iou: str
    which: str
    limit: str


def line_texts(protocol: EvaluationProtocol) -> dict[str, LineText]:
    """Returns the words for every number of the summary that tables show; of equal numbers only the first is shown.

    Numbers of thresholds that are not in the protocol are left out, and so are repeats: with the one threshold 0.5,
    AP50 is AP.
    """
    texts: dict[str, LineText] = {}
    for line in summary_lines(protocol):
        if line.thresholds:
            ends = dict.fromkeys([line.thresholds[0], line.thresholds[-1]])  # one or two, in order
            iou = ":".join(f"{protocol.iou_thresholds[index]:.2f}" for index in ends)
            which = line.class_group or protocol.area_ranges[line.area_index].name
            limit = limit_text(protocol.max_detections[line.limit_index])
            text = LineText(line.quantity, iou, which, limit)
            if text not in texts.values():
                texts[line.name] = text
    return texts


def shown_columns(columns: Mapping[str, Any], protocol: EvaluationProtocol) -> dict[str, Any]:
    """Returns the columns of a per-class table, without the numbers of the summary that tables leave out."""
    hidden = {line.name for line in summary_lines(protocol)} - line_texts(protocol).keys()
    return {name: values for name, values in columns.items() if name not in hidden}


def summary_columns(summary: dict[str, float], protocol: EvaluationProtocol) -> dict[str, list[Any]]:
    """Returns the table of results as columns."""
    texts = line_texts(protocol)
    return {
        "number": list(texts),
        "value": [summary[name] for name in texts],
        "IoU": [text.iou for text in texts.values()],
        "of": [text.which for text in texts.values()],
        "detections": [text.limit for text in texts.values()],
        "what": [text.quantity.title for text in texts.values()],
    }


def summary_table(summary: dict[str, float], protocol: EvaluationProtocol) -> str:
    """Returns the familiar table of pycocotools; an undefined number reads `nan`."""
    lines = []
    for name, (quantity, iou, which, limit) in line_texts(protocol).items():
        ranges = {"area": "area", "crowd_index": "crowd"}[protocol.range_of]
        axis = "class" if which in protocol.class_groups else ranges
        where = f"IoU={iou:<9} | {axis}={printable(which):>6s} | maxDets={limit:>3s}"
        lines.append(f" {quantity.heading} @[ {where} ] = {summary[name]:0.3f}")
    return "\n".join(lines)


def belongs(group: str | None, class_group: Sequence[str] | HostArray | None, num_classes: int) -> Bools:
    """Returns `[K]` bool, the classes of a group; all classes for None."""
    if group is None or class_group is None:
        return np.full(num_classes, group is None)
    if len(class_group) != num_classes:
        raise ValueError(f"`class_group` must name the group of each of {num_classes} classes, got {len(class_group)}.")
    belongs: Bools = np.asarray(class_group) == group
    return belongs


def _mean(values: Array) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of no defined entry is NaN, as intended
        return float(np.nanmean(np.asarray(values)))


def mean_of_each_class(curves: PrecisionRecall[Array], lines: list[SummaryLine]) -> dict[str, Floats]:
    """Returns each number of the summary for each curve, `[S]`; NaN where undefined."""
    columns = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the threshold is not in the protocol: the mean of nothing
        for line in lines:
            cells = np.asarray(select(curves, line))
            columns[line.name] = cells.mean(axis=tuple(range(cells.ndim - 1)))
    return columns
