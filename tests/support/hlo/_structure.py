"""Operations that call others, tuples, and copies that run in the background."""

from __future__ import annotations

from typing import Any

from examples.benchmarks.optimized_hlo import Instruction

from ._types import Operation, Run, number, windows

__all__ = ["STRUCTURE"]


def _call(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    return run.call(instruction.called[0], operands)


def _while(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    [value] = operands
    condition, body = instruction.attribute("condition"), instruction.attribute("body")
    while run.call(condition, [value]):
        value = run.call(body, [value])
    return value


def _conditional(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    branches, chosen = instruction.called, operands[0].item()
    if isinstance(chosen, bool):  # the branch of True is written first
        chosen = 0 if chosen else 1
    chosen = chosen if 0 <= chosen < len(branches) else len(branches) - 1
    return run.call(branches[chosen], [operands[1 + chosen]])


def _tuple(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    return tuple(operands)


def _element(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    return operands[0][number(instruction.rest, "index")]


def _start_copy(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    return operands[0], operands[0]


def _start_slice(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    return operands[0], operands[0][windows(instruction.rest)]


def _start_call(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    computation = instruction.called[0]
    if not operands:  # they come with `call-update`
        return computation, None
    return operands, run.call(computation, operands)


def _update_call(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    (computation, _), *given = operands
    return given, run.call(computation, given)


def _done(run: Run, instruction: Instruction, operands: list[Any]) -> Any:
    return operands[0][1]


STRUCTURE: dict[str, Operation] = {
    **dict.fromkeys(("fusion", "call"), _call),
    "while": _while,
    "conditional": _conditional,
    "tuple": _tuple,
    "get-tuple-element": _element,
    "copy-start": _start_copy,
    "slice-start": _start_slice,
    **dict.fromkeys(("async-start", "call-start"), _start_call),
    "call-update": _update_call,
    **dict.fromkeys(("copy-done", "slice-done", "async-done", "call-done"), _done),
}
