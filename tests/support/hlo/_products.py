"""Products of matrices: `dot`, and the convolutions with windows of one number that a TPU makes of it."""

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
    window = re.search(r"\bwindow=\{([^}]*)\}", instruction.rest)
    if window is not None and set(window[1].replace("size=", "").split("x")) != {"1"}:
        raise NotImplementedError(f"the window {window[1]}")
    found = re.search(r"\bdim_labels=(\w+)_(\w+)->(\w+)", instruction.rest)
    assert found is not None
    # The features of the left side are summed with the inputs of the right one, whose window has one number.
    window_axes = tuple(axis for axis, label in enumerate(found[2]) if label.isdigit())
    kernel = operands[1].squeeze(window_axes)
    names = str.maketrans("0123456789", "pqrstuvwxy")
    left = found[1].replace("f", "i").translate(names)
    right = "".join(label for label in found[2] if not label.isdigit())
    out = found[3].replace("f", "o").translate(names)
    return _product(instruction, (left, right, out), [operands[0], kernel])


PRODUCTS: dict[str, Operation] = {"dot": _dot, "convolution": _convolution}
