"""Products of matrices: `dot`, and the convolutions that a TPU makes of it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from examples.benchmarks.optimized_hlo import Instruction

from ._types import Operation, Run, array_type, numbers

__all__ = ["PRODUCTS"]


def _product(instruction: Instruction, labels: tuple[str, str, str], operands: list[Any]) -> Any:
    """Sums in float64: the products of the metrics are exact, in any order of the sum and with any contraction."""
    left, right = (value.astype(np.float64) for value in operands)
    total = np.einsum(f"{labels[0]},{labels[1]}->{labels[2]}", left, right)
    result = total.astype(array_type(instruction.shape).dtype)
    if not np.array_equal(total, result):
        raise NotImplementedError("a product of matrices that is rounded, in an unknown order")
    return result


def _dot(_: Run, instruction: Instruction, operands: list[Any]) -> Any:
    names = iter("abcdefghijklmnopqrstuvwxyz")
    sides = [[next(names) for _ in range(value.ndim)] for value in operands]
    kinds = {}
    for kind in ("batch", "contracting"):
        pairs = [numbers(instruction.rest, f"{side}_{kind}_dims") for side in ("lhs", "rhs")]
        kinds[kind] = pairs[0]
        for mine, other in zip(*pairs, strict=True):
            sides[1][other] = sides[0][mine]
    shared = [sides[0][axis] for axis in kinds["batch"]]
    summed = [sides[0][axis] for axis in kinds["contracting"]]
    kept = [name for side in sides for name in side if name not in (*shared, *summed)]
    left, right, out = map("".join, (*sides, shared + kept))
    return _product(instruction, (left, right, out), operands)


def _convolution(_: Run, instruction: Instruction, operands: list[Any]) -> Any:
    found = re.search(r"\bdim_labels=(\w+)_(\w+)->(\w+)", instruction.rest)
    assert found is not None
    left, right, out = found[1].replace("f", "i"), found[2], found[3].replace("f", "o")
    # Along each axis the window has one number, or all: then it is summed, and the result has one number. Or each place
    # of the window meets one number only, that of the same place: then both sides and the result share the axis.
    for axis, (size, is_shared) in _window(instruction).items():
        place = right.index(axis)
        if is_shared:
            continue
        if size == 1:
            operands = [operands[0], operands[1].squeeze(place)]
            right = right.replace(axis, "")
        elif size == operands[0].shape[left.index(axis)]:
            out = out.replace(axis, "")
        else:
            raise NotImplementedError(f"a window of {size} numbers along one of {operands[0].shape}")
    names = str.maketrans("0123456789", "pqrstuvwxy")
    product = _product(instruction, (left.translate(names), right.translate(names), out.translate(names)), operands)
    return product.reshape(array_type(instruction.shape).shape)


def _window(instruction: Instruction) -> dict[str, tuple[int, bool]]:
    """Returns the size of the window along each axis, by its label, and whether the axis is shared.

    Nothing is padded, skipped or reversed, but along a shared axis: there N numbers, N apart, meet a window of N that
    moves on by N - 1.
    """
    window = re.search(r"\bwindow=\{([^}]*)\}", instruction.rest)
    if window is None:
        return {}
    sizes = re.fullmatch(r"size=([\dx]+)(?: stride=([\dx]+) lhs_dilate=([\dx]+))?", window[1])
    if sizes is None:
        raise NotImplementedError(f"the window {window[1]}")
    ones = re.sub(r"\d+", "1", sizes[1])
    found = {}
    for axis, steps in enumerate(zip(*((part or ones).split("x") for part in sizes.groups()), strict=True)):
        size, stride, dilation = map(int, steps)
        is_shared = size > 1 and (stride, dilation) == (size - 1, size)
        if not is_shared and (stride, dilation) != (1, 1):
            raise NotImplementedError(f"the window {window[1]}")
        found[str(axis)] = size, is_shared
    return found


PRODUCTS: dict[str, Operation] = {"dot": _dot, "convolution": _convolution}
