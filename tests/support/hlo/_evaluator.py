"""Runs the computations of a module, and calls kernels by name."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from examples.benchmarks.optimized_hlo import Instruction, read
from jaxmap.types import HostArray

from ._arithmetic import Arithmetic
from ._arrangement import ARRANGEMENT
from ._by_rows import BY_ROWS
from ._elementwise import ELEMENTWISE
from ._structure import STRUCTURE
from ._types import ArrayType, Operation, array_type

__all__ = ["Evaluator", "Kernel"]

Kernel = Callable[..., Any]

OPERATIONS: dict[str, Operation] = {**ELEMENTWISE, **ARRANGEMENT, **BY_ROWS, **STRUCTURE}
ROUNDED = ("add", "subtract", "multiply", "divide")
# A product passes through these on its way to the sum that takes it unrounded.
PASSING = ("broadcast", "reshape", "bitcast", "slice", "transpose", "copy", "negate")


class Evaluator:
    """Evaluates an optimized HLO module in NumPy.

    Args:
      text: the module, with large constants in full.
      arithmetic: the model of the device's arithmetic.
      kernels: what computes the same as each Pallas kernel of the program, by the `name` of its `pallas_call`: a
        function of the operands that returns an array, or a tuple of arrays; for example the kernel in interpret mode.
    """

    def __init__(
        self, text: str, arithmetic: Arithmetic | None = None, kernels: Mapping[str, Kernel] | None = None
    ) -> None:
        self.module = read(text)
        self.arithmetic = arithmetic or Arithmetic()
        self.kernels = dict(kernels or {})
        self.divide = self.arithmetic.divide
        self.branches: list[str] = []
        computations = self.module.computations.values()
        self._types = {instruction.name: instruction.shape for each in computations for instruction in each}

    def __call__(self, *arguments: HostArray) -> tuple[HostArray, ...]:
        """Runs the program on its arguments, flattened, and returns its results, flattened."""
        with np.errstate(all="ignore"):
            result = self.call(self.module.entry, [np.asarray(argument) for argument in arguments])
        return result if isinstance(result, tuple) else (result,)

    def call(self, computation: str, operands: Sequence[Any]) -> Any:
        """Runs a computation of the module.

        Raises:
          RuntimeError: if an instruction cannot be evaluated; the message shows it.
        """
        values: dict[str, Any] = {}
        products: dict[str, Any] = {}  # unrounded, in float64
        result = None
        for instruction in self.module.computations[computation]:
            if instruction.opcode == "parameter":
                result = operands[int(instruction.inner)]
            else:
                inputs = [values[name] for name in instruction.operands]
                try:
                    result = self._evaluate(instruction, inputs)
                    if self.arithmetic.contract:
                        result = self._contracted(instruction, inputs, result, products)
                except RuntimeError:  # of a computation that it called
                    raise
                except Exception as error:
                    shown = f"{instruction.shape} {instruction.opcode}({instruction.inner}){instruction.rest}"
                    raise RuntimeError(f"{computation}, {instruction.name}: {shown[:300]}: {error!r}") from error
                if instruction.opcode in ROUNDED and result.dtype == np.float32:
                    result = self.arithmetic.stored(result)
            values[instruction.name] = result
            if instruction.is_root:
                return result
        return result

    def combiner(self, computation: str) -> str:
        """Returns the opcode by which a computation combines its two parameters; `parameter` where it replaces."""
        instructions = {instruction.name: instruction for instruction in self.module.computations[computation]}
        root = next(instruction for instruction in instructions.values() if instruction.is_root)
        while root.opcode in ("convert", "copy", "bitcast"):
            root = instructions[root.operands[0]]
        if root.opcode == "parameter" and root.inner != "1":
            raise NotImplementedError(f"{computation} keeps the old value")
        return root.opcode

    @functools.cache  # noqa: B019  # an evaluator lives as long as its module
    def type_of(self, name: str) -> ArrayType:
        """Returns the type of a named instruction."""
        return array_type(self._types[name])

    def _evaluate(self, instruction: Instruction, inputs: list[Any]) -> Any:
        if instruction.opcode == "custom-call":
            return self._custom_call(instruction, inputs)
        if instruction.opcode not in OPERATIONS:
            raise NotImplementedError(f"the opcode {instruction.opcode}: add it to a table of support.hlo")
        return OPERATIONS[instruction.opcode](self, instruction, inputs)

    def _custom_call(self, instruction: Instruction, inputs: list[Any]) -> Any:
        kernel = re.search(r"([^/]+)/pallas_call", instruction.op_name)
        if kernel:
            if kernel[1] not in self.kernels:
                raise NotImplementedError(f"the kernel {kernel[1]}: pass what computes the same in `kernels`")
            return _on_host(self.kernels[kernel[1]](*inputs))
        dtype, shape, _ = array_type(instruction.shape)
        if instruction.target == "AllocateBuffer":
            return np.zeros(shape, dtype)
        if instruction.target in ("GatherScatterIndicesBitpacked", "AssumeGatherIndicesInBound"):
            return inputs[0].reshape(shape)
        if instruction.target == "ConcatBitcast":
            axes = [axis for axis, size in enumerate(shape) if inputs[0].shape[axis] != size]
            return np.concatenate(inputs, axes[0]) if axes else inputs[0]
        raise NotImplementedError(f"the custom call {instruction.target}: add it to support.hlo")

    def _contracted(self, instruction: Instruction, inputs: list[Any], result: Any, products: dict[str, Any]) -> Any:
        """Returns a sum with its product unrounded, where it has one; remembers products."""
        opcode, names = instruction.opcode, instruction.operands
        if getattr(result, "dtype", None) != np.float32:
            return result
        if opcode == "multiply":
            products[instruction.name] = inputs[0].astype(np.float64) * inputs[1].astype(np.float64)
        elif opcode in PASSING and names[0] in products and self.type_of(names[0]).dtype is np.float32:
            products[instruction.name] = OPERATIONS[opcode](self, instruction, [products[names[0]]])
        elif opcode in ("add", "subtract") and any(name in products for name in names):
            # A multiply-add has one unrounded product.
            first = names[0] in products
            wide = [products[names[0]] if first else inputs[0].astype(np.float64)]
            wide.append(inputs[1].astype(np.float64) if first else products[names[1]])
            return OPERATIONS[opcode](self, instruction, wide).astype(np.float32)
        return result


def _on_host(result: Any) -> Any:
    return tuple(np.asarray(part) for part in result) if isinstance(result, tuple | list) else np.asarray(result)
