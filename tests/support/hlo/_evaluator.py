"""Runs the computations of a module, and calls kernels by name."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from examples.benchmarks.optimized_hlo import Instruction, read
from jaxmap.types import Floats, HostArray

from ._arithmetic import Arithmetic
from ._arrangement import ARRANGEMENT
from ._by_rows import BY_ROWS
from ._elementwise import ELEMENTWISE
from ._products import PRODUCTS
from ._structure import STRUCTURE
from ._types import ArrayType, Operation, array_type

__all__ = ["Evaluator", "Kernel"]

Kernel = Callable[..., Any]

OPERATIONS: dict[str, Operation] = {**ELEMENTWISE, **ARRANGEMENT, **BY_ROWS, **PRODUCTS, **STRUCTURE}
ROUNDED = ("add", "subtract", "multiply", "divide")
# A product passes through these on its way to the sum that takes it unrounded.
PASSING = {*ARRANGEMENT, "negate", "select", "gather"} - {"bitcast-convert"}


class Evaluator:
    """Evaluates an optimized HLO module in NumPy.

    Args:
      text: the module, with large constants in full.
      arithmetic: the model of the device's arithmetic.
      kernels: what computes the same as each Pallas kernel of the program, by the `name` of its `pallas_call`: a
        function of the operands that returns an array, or a tuple of arrays; for example the kernel in interpret mode.
        Under `jax.vmap`, the operands are those of all images.
    """

    def __init__(
        self, text: str, arithmetic: Arithmetic | None = None, kernels: Mapping[str, Kernel] | None = None
    ) -> None:
        self.module = read(text)
        self.arithmetic = arithmetic or Arithmetic()
        self.kernels = dict(kernels or {})
        self._products: dict[int, tuple[Any, Any]] = {}  # by the id of the rounded product: itself, and in float64
        computations = self.module.computations.values()
        self._types = {instruction.name: instruction.shape for each in computations for instruction in each}

    def __call__(self, *arguments: HostArray) -> tuple[HostArray, ...]:
        """Runs the program on its arguments, flattened, and returns its results, flattened."""
        self._products.clear()
        with np.errstate(all="ignore"):
            result = self.call(self.module.entry, [np.asarray(argument) for argument in arguments])
        return result if isinstance(result, tuple) else (result,)

    def call(self, computation: str, operands: Sequence[Any]) -> Any:
        """Runs a computation of the module.

        Raises:
          RuntimeError: if an instruction cannot be evaluated; the message shows it.
        """
        values: dict[str, Any] = {}
        result = None
        for instruction in self.module.computations[computation]:
            if instruction.opcode == "parameter":
                result = operands[int(instruction.inner)]
            else:
                try:
                    result = self._evaluate(instruction, [values[name] for name in instruction.operands])
                except RuntimeError:  # of a computation that it called
                    raise
                except Exception as error:
                    shown = f"{instruction.shape} {instruction.opcode}({instruction.inner}){instruction.rest}"
                    raise RuntimeError(f"{computation}, {instruction.name}: {shown[:300]}: {error!r}") from error
            values[instruction.name] = result
            if instruction.is_root:
                return result
        return result

    def divide(self, a: Floats, b: Floats) -> Floats:
        """Returns the quotient of two float32 arrays, as the device computes it."""
        return self.arithmetic.divide(a, b)

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
        opcode = instruction.opcode
        if opcode == "custom-call":
            return self._custom_call(instruction, inputs)
        if opcode not in OPERATIONS:
            raise NotImplementedError(f"the opcode {opcode}: add it to a table of support.hlo")
        result = OPERATIONS[opcode](self, instruction, inputs)
        if getattr(result, "dtype", None) != np.float32:
            return result
        if self.arithmetic.contract:
            result = self._contracted(instruction, inputs, result)
        return self.arithmetic.stored(result) if opcode in ROUNDED else result

    def _custom_call(self, instruction: Instruction, inputs: list[Any]) -> Any:
        kernel = re.search(r"([\w.\-]+)\)*/pallas_call", instruction.op_name)  # `name/`, or `vmap(name)/`
        if kernel:
            if kernel[1] not in self.kernels:
                raise NotImplementedError(f"the kernel {kernel[1]}: pass what computes the same in `kernels`")
            return _on_host(self.kernels[kernel[1]](*inputs))
        dtype, shape, *_ = array_type(instruction.shape)
        if instruction.target == "AllocateBuffer":
            return np.zeros(shape, dtype)
        if instruction.target in ("GatherScatterIndicesBitpacked", "AssumeGatherIndicesInBound"):
            return inputs[0].reshape(shape)
        if instruction.target == "ConcatBitcast":
            axes = [axis for axis, size in enumerate(shape) if inputs[0].shape[axis] != size]
            return np.concatenate(inputs, axes[0]) if axes else inputs[0]
        raise NotImplementedError(f"the custom call {instruction.target}: add it to support.hlo")

    def _contracted(self, instruction: Instruction, inputs: list[Any], result: Any) -> Any:
        """Returns a sum with a product unrounded, where it has one; remembers products.

        A product also reaches the sums of other fusions, because a compiler may compute it anew in each.
        """
        opcode, operation = instruction.opcode, OPERATIONS[instruction.opcode]
        unrounded = [self._products[id(value)][1] if id(value) in self._products else None for value in inputs]
        if opcode == "multiply":
            product = np.multiply(*(value.astype(np.float64) for value in inputs))
        elif all(product is None for product in unrounded):
            return result
        elif opcode in ("add", "subtract"):  # a multiply-add takes one product
            taken = 0 if unrounded[0] is not None else 1
            wide = [unrounded[k] if k == taken else value.astype(np.float64) for k, value in enumerate(inputs)]
            return operation(self, instruction, wide).astype(np.float32)
        elif opcode in PASSING and result is not inputs[0]:
            wide = [value if product is None else product for value, product in zip(inputs, unrounded, strict=True)]
            product = operation(self, instruction, wide)
        else:
            return result
        self._products[id(result)] = result, product  # with the result, so that no other value gets its id
        return result


def _on_host(result: Any) -> Any:
    return tuple(np.asarray(part) for part in result) if isinstance(result, tuple | list) else np.asarray(result)
