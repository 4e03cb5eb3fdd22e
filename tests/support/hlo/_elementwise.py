"""Operations on each element of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from examples.benchmarks.optimized_hlo import Instruction

from ._types import Operation, Run, array_type, named

__all__ = ["COMBINERS", "ELEMENTWISE"]

COMBINERS: dict[str, np.ufunc] = {
    "add": np.add,
    "multiply": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}
_PLAIN: dict[str, Callable[..., Any]] = {
    **COMBINERS,
    "subtract": np.subtract,
    "power": np.power,
    "negate": np.negative,
    "abs": np.abs,
    "cosine": np.cos,
    "sine": np.sin,
    "sqrt": np.sqrt,
    "exponential": np.exp,
    "floor": np.floor,
    "ceil": np.ceil,
    "sign": np.sign,
    "round-nearest-even": np.rint,
    "is-finite": np.isfinite,
    "not": np.invert,
    "select": np.where,
    "clamp": lambda low, value, high: np.minimum(np.maximum(value, low), high),
}
_COMPARISONS = {
    "EQ": np.equal,
    "NE": np.not_equal,
    "LT": np.less,
    "LE": np.less_equal,
    "GT": np.greater,
    "GE": np.greater_equal,
}


def _constant(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    dtype, shape, *_ = array_type(instruction.shape)
    if "..." in instruction.inner:
        raise ValueError("the text must hold large constants in full (`print_large_constants`)")
    without_places = re.sub(r"/\*.*?\*/", "", instruction.inner)
    words = re.findall(r"-?inf|-?nan|true|false|-?[\d.]+(?:e[+-]?\d+)?", without_places)
    whole = np.dtype(dtype).kind in "iu"
    values = [word == "true" if word in ("true", "false") else int(word) if whole else float(word) for word in words]
    return np.array(values).astype(dtype).reshape(shape)


def _iota(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    dtype, shape, *_ = array_type(instruction.shape)
    axis = int(named(instruction.rest, "iota_dimension"))
    line = np.arange(shape[axis]).astype(dtype)
    return np.broadcast_to(line.reshape([-1 if place == axis else 1 for place in range(len(shape))]), shape)


def _convert(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    dtype: Any = array_type(instruction.shape).dtype
    [value] = operands
    if value.dtype.kind == "f" and np.issubdtype(dtype, np.integer):  # saturates; NaN becomes 0
        limits = np.iinfo(dtype)
        whole = np.clip(np.trunc(value.astype(np.float64)), limits.min, limits.max)
        return np.where(np.isnan(value), 0, whole).astype(dtype)
    return value.astype(dtype)


def _compare(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    if "type=TOTALORDER" in instruction.rest:
        operands = [_total_order(value) if value.dtype == np.float32 else value for value in operands]
    return _COMPARISONS[named(instruction.rest, "direction")](*operands)


def _total_order(value: Any) -> Any:
    """Returns integers in the order of floats with -0 below 0 and NaN outside."""
    bits = np.array(value, order="C").view(np.int32).reshape(value.shape)
    return np.where(bits < 0, np.int32(0x7FFFFFFF) ^ bits, bits)


def _divide(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    a, b = operands
    if a.dtype == np.float32:
        return run.divide(a, b)
    one, other = a.astype(np.int64), b.astype(np.int64)
    quotient = np.abs(one) // np.maximum(np.abs(other), 1)  # towards 0, as in C
    return (quotient * np.sign(one) * np.sign(other)).astype(a.dtype)


def _remainder(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    a, b = operands
    return np.fmod(a, np.where(b == 0, 1, b).astype(b.dtype))


def _shift(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    value, places = operands[0], operands[1].astype(np.int64)
    bits = value.dtype.itemsize * 8
    inside, places = places < bits, np.minimum(places, bits - 1)
    if instruction.opcode == "shift-right-arithmetic":
        return np.right_shift(value, places.astype(value.dtype))
    unsigned = value.astype(f"u{value.dtype.itemsize}")
    move = np.left_shift if instruction.opcode == "shift-left" else np.right_shift
    return np.where(inside, move(unsigned, places.astype(unsigned.dtype)), 0).astype(value.dtype)


def _count_bits(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    return np.bitwise_count(operands[0]).astype(array_type(instruction.shape).dtype)


def _count_leading_zeros(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    bits = operands[0].dtype.itemsize * 8
    _, length = np.frexp(operands[0].astype(f"u{bits // 8}").astype(np.float64))
    return (bits - length).astype(operands[0].dtype)


def _plain(function: Callable[..., Any]) -> Operation:
    return lambda run, instruction, operands: function(*operands)


ELEMENTWISE: dict[str, Operation] = {
    **{opcode: _plain(function) for opcode, function in _PLAIN.items()},
    **dict.fromkeys(("shift-left", "shift-right-logical", "shift-right-arithmetic"), _shift),
    "constant": _constant,
    "iota": _iota,
    "convert": _convert,
    "compare": _compare,
    "divide": _divide,
    "remainder": _remainder,
    "popcnt": _count_bits,
    "count-leading-zeros": _count_leading_zeros,
}
