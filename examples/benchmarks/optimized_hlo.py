"""Reads the text of a compiled program: what runs how often, and what it costs by the compiler's own estimate.

The text is XLA's optimized HLO, as `compiled.as_text()` returns it. `Module.steps` lists what the device executes one
after another: the instructions of the entry, of the bodies of loops (times their trips) and of the branches of
conditionals. What is fused into an instruction is part of it (`Module.inside`).

Of a conditional on data, the cheapest branch counts as the ordinary one. The others are marked as overflow.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping

__all__ = ["ROW_OPCODES", "Instruction", "Module", "Step", "read", "shape_of"]

ROW_OPCODES = ("gather", "scatter", "sort")  # the TPU compiler estimates no cycles for them
_HEADER = re.compile(r"(ENTRY )?%?([\w.\-]+) .*\{$")
_NAME = re.compile(r"(ROOT )?%?([\w.\-]+) = ")
_CALLED = re.compile(r"\b(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")
_OPERAND = re.compile(r"%([\w.\-]+)")
_ORDERS = {"LT": 0, "LE": 1}  # trips of a loop from 0 beyond its limit


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
      name: unique in the module.
      opcode: such as `fusion`.
      shape: the text of its type, such as `f32[64,100]{1,0}`.
      operands: the names of its operands.
      inner: the text between its parentheses: a constant's value, a parameter's number.
      rest: the text behind them: attributes and metadata.
      is_root: whether it is what its computation returns.
    """

    name: str
    opcode: str
    shape: str
    operands: tuple[str, ...]
    inner: str
    rest: str
    is_root: bool

    @functools.cached_property
    def called(self) -> tuple[str, ...]:
        """The names of the computations that it calls; of a conditional, its branches."""
        branches = _BRANCHES.search(self.rest)
        if branches:
            return tuple(name.strip().lstrip("%") for name in branches[1].split(","))
        return tuple(_CALLED.findall(self.rest))

    @property
    def cycles(self) -> int:
        """The cycles that the TPU compiler estimates; 0 where it gives no estimate."""
        found = re.search(r'"estimated_cycles":"(\d+)"', self.rest)
        return int(found[1]) if found else 0

    @property
    def op_name(self) -> str:
        """Where it comes from in the Python code."""
        found = re.search(r'op_name="([^"]*)"', self.rest)
        return found[1] if found else ""

    @property
    def target(self) -> str:
        """What a custom call calls."""
        found = re.search(r'custom_call_target="([^"]*)"', self.rest)
        return found[1] if found else ""

    @property
    def kind(self) -> str:
        """Its opcode; that of a sort for the TPU compiler's own way to find the largest elements."""
        return "sort" if self.target == "TopK" else self.opcode

    def attribute(self, name: str) -> str:
        """Returns the name of the computation in one attribute, such as `body`."""
        found = re.search(rf"\b{name}=%?([\w.\-]+)", self.rest)
        if not found:
            raise ValueError(f"{self.name}: expected the attribute {name}")
        return found[1]


@dataclasses.dataclass(frozen=True)
class Step:
    """An instruction that the device executes by itself.

    Attributes:
      instruction: which.
      times: how often one call of the program executes it.
      overflow: whether only a branch does that ordinary data do not take.
    """

    instruction: Instruction
    times: int
    overflow: bool


def shape_of(text: str) -> tuple[str, tuple[int, ...]]:
    """Returns the type of the elements and the shape of an array; of a tuple, those of its first array.

    Example:
      >>> shape_of("f32[64,100]{1,0:T(8,128)}")
      ('f32', (64, 100))
    """
    found = re.search(r"(\w+)\[([\d,]*)\]", text)
    if not found:
        raise ValueError(f"expected a shape such as f32[64,100], got {text!r}")
    return found[1], tuple(int(size) for size in found[2].split(",") if size)


@dataclasses.dataclass(frozen=True)
class Module:
    """A compiled program.

    Attributes:
      computations: their instructions by name.
      entry: the name of the computation that runs.
    """

    computations: Mapping[str, tuple[Instruction, ...]]
    entry: str

    @functools.cached_property
    def instructions(self) -> dict[str, Instruction]:
        """All instructions by name."""
        return {
            instruction.name: instruction for computation in self.computations.values() for instruction in computation
        }

    def inside(self, instruction: Instruction) -> Iterator[Instruction]:
        """Yields an instruction and everything that is fused into it."""
        yield instruction
        for name in instruction.called:
            for inner in self.computations.get(name, ()):
                yield from self.inside(inner)

    def trips(self, loop: Instruction) -> int | None:
        """Returns how often the body of a loop runs; None where it depends on the data."""
        known = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.rest)
        if known:
            return int(known[1])
        condition = self.computations[loop.attribute("condition")]
        root = next(instruction for instruction in condition if instruction.is_root)
        compares = [inner for inner in self.inside(root) if inner.opcode == "compare"]
        steps = [inner for inner in self.inside(root) if inner.opcode in ("and", "or", "reduce")]
        places = [*root.operands, *(compares[0].operands if compares else ())]
        limits = [limit for limit in map(self._constant, places) if limit is not None]
        direction = re.search(r"direction=(\w+)", compares[0].rest) if len(compares) == 1 else None
        start = self._start(loop, places)
        if not direction or direction[1] not in _ORDERS or steps or not limits or start is None:
            return None
        return max(limits[0] + _ORDERS[direction[1]] - start, 0)

    def _start(self, loop: Instruction, places: list[str]) -> int | None:
        """Returns the constant with which the counter of a loop starts: the element that its condition reads."""
        for place in places:
            found = re.search(r"\bindex=(\d+)", self.instructions[place].rest)
            initial = self.instructions[loop.operands[0]]
            if self.instructions[place].opcode == "get-tuple-element" and found and initial.opcode == "tuple":
                return self._constant(initial.operands[int(found[1])])
        return None

    def _constant(self, name: str) -> int | None:
        """Returns the value of an integer constant, also through copies; None for anything else."""
        instruction = self.instructions[name]
        while instruction.opcode in ("copy", "bitcast") and instruction.operands:
            instruction = self.instructions[instruction.operands[0]]
        is_integer = instruction.opcode == "constant" and re.fullmatch(r"-?\d+", instruction.inner.strip())
        return int(instruction.inner) if is_integer else None

    def unread_loops(self) -> list[Instruction]:
        """Returns the loops whose number of trips depends on the data."""
        loops = [instruction for instruction in self.instructions.values() if instruction.opcode == "while"]
        return [loop for loop in loops if self.trips(loop) is None]

    def steps(self, weight: Callable[[Instruction], int], assumed_trips: int = 1) -> list[Step]:
        """Returns what one call of the program executes.

        Args:
          weight: the cost of an instruction, by which the cheapest branch of a conditional is found.
          assumed_trips: of the loops whose number depends on the data.
        """
        return list(self._run(self.entry, weight, assumed_trips))

    def _run(self, computation: str, weight: Callable[[Instruction], int], assumed_trips: int) -> Iterator[Step]:
        for instruction in self.computations[computation]:
            yield Step(instruction, 1, False)
            if instruction.opcode == "while":
                known = self.trips(instruction)
                trips = assumed_trips if known is None else known
                inner = list(self._run(instruction.attribute("body"), weight, assumed_trips))
                if known is None:  # otherwise the condition need not be computed
                    inner += self._run(instruction.attribute("condition"), weight, assumed_trips)
                yield from (dataclasses.replace(step, times=step.times * trips) for step in inner)
            elif instruction.opcode == "conditional":
                branches = [list(self._run(name, weight, assumed_trips)) for name in instruction.called]
                costs = [math.fsum(weight(step.instruction) * step.times for step in branch) for branch in branches]
                ordinary = costs.index(min(costs))
                for number, branch in enumerate(branches):
                    yield from (
                        dataclasses.replace(step, overflow=step.overflow or number != ordinary) for step in branch
                    )
            elif instruction.opcode in ("call", "async-start"):
                for name in instruction.called:
                    yield from self._run(name, weight, assumed_trips)

    def rows(self, instruction: Instruction) -> int:
        """Returns how many rows a gather reads, a scatter writes or a sort orders."""
        operands = [self.instructions[name] for name in instruction.operands]
        if instruction.kind == "sort":
            return math.prod(shape_of(operands[0].shape)[1])
        indices = operands[len(operands) // 2]  # of a gather: the second of two; of a scatter: between N and N arrays
        shape = list(shape_of(indices.shape)[1])
        axis = re.search(r"index_vector_dim=(\d+)", instruction.rest)
        if axis and int(axis[1]) < len(shape):
            del shape[int(axis[1])]
        return math.prod(shape)


def read(text: str) -> Module:
    """Reads the text of an optimized HLO module.

    Raises:
      ValueError: if the text has no entry computation.
    """
    computations: dict[str, list[Instruction]] = {}
    current: list[Instruction] | None = None
    entry = ""
    for line in text.splitlines():
        if not line.startswith(" "):
            header = _HEADER.match(line)
            current = None
            if header and not line.startswith("HloModule"):
                current = computations.setdefault(header[2], [])
                entry = header[2] if header[1] else entry
        elif current is not None:
            instruction = _instruction(line.strip())
            current += [instruction] if instruction else []
    if not entry:
        raise ValueError("expected the text of an HLO module with an ENTRY computation, found none")
    return Module({name: tuple(instructions) for name, instructions in computations.items()}, entry)


def _instruction(line: str) -> Instruction | None:
    start = _NAME.match(line)
    if not start:
        return None
    text = line[start.end() :]
    end = _closing(text) + 1 if text.startswith("(") else text.index(" ")
    shape, call = text[:end], text[end:].lstrip()
    opcode, _, _ = call.partition("(")
    close = len(opcode) + _closing(call[len(opcode) :])
    inner = call[len(opcode) + 1 : close]
    operands = () if opcode in ("constant", "parameter") else tuple(_OPERAND.findall(inner))
    return Instruction(start[2], opcode, shape, operands, inner, call[close + 1 :], bool(start[1]))


def _closing(text: str) -> int:
    """Returns the place of the parenthesis that closes the one with which a text starts."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if not depth:
            return place
    raise ValueError(f"expected a closing parenthesis: {text[:80]!r}")
