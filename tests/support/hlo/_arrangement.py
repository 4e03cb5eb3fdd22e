"""Operations that only move elements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from examples.benchmarks.optimized_hlo import Instruction

from ._types import Operation, Run, array_type, named, numbers, windows

__all__ = ["ARRANGEMENT"]


def _copy(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    return operands[0]


def _reshape(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    return operands[0].reshape(array_type(instruction.shape).shape)


def _transpose(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    return operands[0].transpose(numbers(instruction.rest, "dimensions"))


def _broadcast(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    [value], shape = operands, array_type(instruction.shape).shape
    sizes = [1] * len(shape)
    for axis, size in zip(numbers(instruction.rest, "dimensions"), value.shape, strict=True):
        sizes[axis] = size
    return np.broadcast_to(value.reshape(sizes), shape)


def _bitcast(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    """Reads the same memory with another type, shape or layout."""
    [value], after = operands, array_type(instruction.shape)
    dtype, before = after.dtype, run.type_of(instruction.operands[0])
    if value.shape != before.shape:  # scalars of a comparator, which runs on all pairs at once
        return value if dtype == before.dtype else np.array(value, order="C").view(dtype)
    taken, given = (kind.memory[: min(len(before.memory), len(after.memory))] for kind in (before, after))
    real = (taken >= 0) & (given >= 0)  # the rest is padding of a tile
    moved = np.zeros(math.prod(after.shape), value.dtype)
    moved[given[real]] = value.ravel()[taken[real]]
    moved = moved.reshape(after.shape)
    return moved if dtype == before.dtype else np.array(moved, order="C").view(dtype)


def _bitcast_convert(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    return np.array(operands[0], order="C").view(array_type(instruction.shape).dtype)


def _slice(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    return operands[0][windows(instruction.rest)]


def _pad(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    value, filling = operands
    for axis, part in enumerate(named(instruction.rest, "padding").split("x")):
        low, high, *interior = map(int, part.split("_"))
        if any(interior):
            raise NotImplementedError("padding between elements")
        value = np.take(value, range(max(-low, 0), value.shape[axis] - max(-high, 0)), axis)
        widths = [(0, 0)] * value.ndim
        widths[axis] = max(low, 0), max(high, 0)
        value = np.pad(value, widths, constant_values=filling[()])
    return value


def _concatenate(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    return np.concatenate(operands, numbers(instruction.rest, "dimensions")[0])


def _reverse(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    return np.flip(operands[0], numbers(instruction.rest, "dimensions"))


def _corner(value: Any, starts: list[Any], sizes: tuple[int, ...]) -> tuple[slice, ...]:
    """Returns the window of the given sizes that starts at the starts, moved inside if it sticks out."""
    corner = (
        np.clip(start.item(), 0, whole - size) for start, whole, size in zip(starts, value.shape, sizes, strict=True)
    )
    return tuple(slice(start, start + size) for start, size in zip(corner, sizes, strict=True))


def _dynamic_slice(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    value, *starts = operands
    return value[_corner(value, starts, numbers(instruction.rest, "dynamic_slice_sizes"))]


def _dynamic_update_slice(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    value, update, *starts = operands
    result = np.array(value)
    result[_corner(value, starts, update.shape)] = update
    return result


ARRANGEMENT: dict[str, Operation] = {
    **dict.fromkeys(("copy", "optimization-barrier"), _copy),
    "reshape": _reshape,
    "transpose": _transpose,
    "broadcast": _broadcast,
    "bitcast": _bitcast,
    "bitcast-convert": _bitcast_convert,
    "slice": _slice,
    "pad": _pad,
    "concatenate": _concatenate,
    "reverse": _reverse,
    "dynamic-slice": _dynamic_slice,
    "dynamic-update-slice": _dynamic_update_slice,
}
