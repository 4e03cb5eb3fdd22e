"""Operations that combine rows: reductions, sorts, gathers and scatters."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from examples.benchmarks.optimized_hlo import Instruction

from ._elementwise import COMBINERS
from ._types import Operation, Run, number, numbers

__all__ = ["BY_ROWS"]


def _reduce(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    count = len(operands) // 2
    axes, computation = numbers(instruction.rest, "dimensions"), instruction.attribute("to_apply")
    rows = []
    for value in operands[:count]:
        moved = np.moveaxis(value, axes, range(len(axes)))
        rows.append(moved.reshape(-1, *moved.shape[len(axes) :]))
    combiner = run.combiner(computation)
    # The order of a sum of floats is the order of the rows; of the others it does not matter.
    if count == 1 and combiner in COMBINERS and (combiner not in ("add", "multiply") or rows[0].dtype.kind in "iu"):
        combine = COMBINERS[combiner]
        return combine(combine.reduce(rows[0], axis=0, dtype=rows[0].dtype), operands[1])
    result = [np.broadcast_to(start, rows[0].shape[1:]) for start in operands[count:]]
    for place in range(len(rows[0])):
        step = run.call(computation, [*result, *(row[place] for row in rows)])
        result = list(step) if isinstance(step, tuple) else [step]
    return tuple(result) if count > 1 else result[0]


def _reduce_window(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    value, start = operands
    found = re.search(r"\bwindow=\{([^}]*)\}", instruction.rest)
    window = dict(part.split("=") for part in found[1].split()) if found else {}
    if set(window) - {"size", "pad", "stride"} or set(window.get("stride", "1").split("x")) != {"1"}:
        raise NotImplementedError(f"the window {window}")
    size = tuple(map(int, window["size"].split("x")))
    widths = [tuple(map(int, part.split("_"))) for part in window["pad"].split("x")] if "pad" in window else (0, 0)
    padded = np.pad(value, widths, constant_values=start[()])
    views = np.lib.stride_tricks.sliding_window_view(padded, size)
    combine = COMBINERS[run.combiner(instruction.attribute("to_apply"))]
    return combine.reduce(views.reshape(*views.shape[: len(size)], -1), axis=-1, dtype=value.dtype)


def _sort(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    """Sorts by the comparator's word on all pairs; equal rows keep their order."""
    [axis], computation = numbers(instruction.rest, "dimensions"), instruction.attribute("to_apply")
    moved = [np.moveaxis(value, axis, -1) for value in operands]
    flat = [value.reshape(-1, value.shape[-1]) for value in moved]
    sorted_ = [np.empty_like(value) for value in flat]
    count = flat[0].shape[1]
    earlier = np.arange(count)[:, None] < np.arange(count)
    for row in range(len(flat[0])):
        pairs = []
        for value in flat:
            pairs += [np.broadcast_to(side, (count, count)) for side in (value[row][:, None], value[row])]
        less = np.broadcast_to(run.call(computation, pairs), (count, count))
        rank = (less | (~less & ~less.T & earlier)).sum(0)
        if not (np.sort(rank) == np.arange(count)).all():
            raise ValueError(f"{computation} orders rows in a circle")
        for value, result in zip(flat, sorted_, strict=True):
            result[row, rank] = value[row]
    results = [np.moveaxis(part.reshape(whole.shape), -1, axis) for part, whole in zip(sorted_, moved, strict=True)]
    return tuple(results) if len(results) > 1 else results[0]


def _indices(
    starts: Any, sizes: list[int], mapped: tuple[int, ...], window: list[int], batching: dict[int, int]
) -> list[Any]:
    """Returns, for each axis of the operand, the indices `[rows..., window...]` of a gather or a scatter.

    Args:
      starts: `[rows..., index]`.
      sizes: of the window, per axis of the operand.
      mapped: the axis of the operand that each entry of an index is for.
      window: the axes of the operand that windows keep.
      batching: the axis of the rows that an axis of the operand runs along with.
    """
    rows = starts.shape[:-1]
    result = []
    for axis, size in enumerate(sizes):
        if axis in batching:
            place = np.indices(rows)[batching[axis]]
        else:
            place = starts[..., mapped.index(axis)] if axis in mapped else np.zeros(rows, np.int64)
        place = place.reshape(*rows, *(1,) * len(window))
        if axis in window:
            shape = [1] * len(window)
            shape[window.index(axis)] = size
            place = place + np.arange(size).reshape(*(1,) * len(rows), *shape)
        result.append(place)
    return result


def _starts(instruction: Instruction, starts: Any) -> Any:
    axis = number(instruction.rest, "index_vector_dim")
    moved = starts[..., None] if axis == starts.ndim else np.moveaxis(starts, axis, -1)
    return moved.astype(np.int64)


def _gather(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    rest, (value, starts) = instruction.rest, operands
    starts = _starts(instruction, starts)
    sizes, mapped = list(numbers(rest, "slice_sizes")), numbers(rest, "start_index_map")
    batching = dict(
        zip(numbers(rest, "operand_batching_dims"), numbers(rest, "start_indices_batching_dims"), strict=True)
    )
    gone = {*numbers(rest, "collapsed_slice_dims"), *batching}
    window = [axis for axis in range(value.ndim) if axis not in gone]
    # A window that sticks out is moved inside.
    starts = np.clip(starts, 0, [value.shape[axis] - sizes[axis] for axis in mapped])
    rows = value[tuple(np.broadcast_arrays(*_indices(starts, sizes, mapped, window, batching)))]
    first = starts.ndim - 1
    return np.moveaxis(rows, range(first, first + len(window)), numbers(rest, "offset_dims"))


def _scatter(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    rest, (value, starts, updates) = instruction.rest, operands
    starts = _starts(instruction, starts)
    mapped, kept = numbers(rest, "scatter_dims_to_operand_dims"), numbers(rest, "update_window_dims")
    batching = dict(
        zip(numbers(rest, "input_batching_dims"), numbers(rest, "scatter_indices_batching_dims"), strict=True)
    )
    gone = {*numbers(rest, "inserted_window_dims"), *batching}
    window = [axis for axis in range(value.ndim) if axis not in gone]
    updates = updates.transpose(*(axis for axis in range(updates.ndim) if axis not in kept), *kept)
    first = starts.ndim - 1
    sizes = [updates.shape[first + window.index(axis)] if axis in window else 1 for axis in range(value.ndim)]
    # A window that sticks out is dropped.
    last = [value.shape[axis] - sizes[axis] for axis in mapped]
    inside = ((starts >= 0) & (starts <= last)).all(-1).reshape(*starts.shape[:-1], *(1,) * len(window))
    inside = np.broadcast_to(inside, updates.shape)
    places = _indices(starts, sizes, mapped, window, batching)
    index = tuple(np.broadcast_to(place, updates.shape)[inside] for place in places)
    result, combiner = np.array(value), run.combiner(instruction.attribute("to_apply"))
    if combiner == "parameter":
        result[index] = updates[inside]
    else:
        COMBINERS[combiner].at(result, index, updates[inside])
    return result


BY_ROWS: dict[str, Operation] = {
    "reduce": _reduce,
    "reduce-window": _reduce_window,
    "sort": _sort,
    "gather": _gather,
    "scatter": _scatter,
}
