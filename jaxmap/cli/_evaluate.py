"""`jaxmap eval`: the protocol's table, JSON, and a table of all classes."""

from __future__ import annotations

import argparse
import pathlib
from typing import TYPE_CHECKING, Any

from ._arguments import add_grids, add_inputs, grids, progress_on_terminal, read_inputs, table

if TYPE_CHECKING:
    from ..evaluation import Evaluation

__all__ = ["add_command"]

STDOUT = "-"

_DESCRIPTION = "Score detections against ground truths and print the protocol's table."


def add_command(commands: Any) -> None:
    """Adds the command to the parser of the program."""
    command = commands.add_parser("eval", help="score detections against ground truths", description=_DESCRIPTION)
    command.set_defaults(run=_evaluate, name="eval")
    add_inputs(command)
    add_grids(command)
    command.add_argument(
        "--json", metavar="OUT", help="write the numbers to OUT as one object; '-' prints it in place of the table"
    )
    command.add_argument("--per-class", action="store_true", help="print a table of all classes as well")


def _evaluate(arguments: argparse.Namespace) -> None:
    if arguments.per_class and arguments.json == STDOUT:
        raise ValueError("--per-class prints a table but --json - only JSON: drop one, or name a file for --json")
    progress = progress_on_terminal()
    detections, ground_truths = read_inputs(arguments, progress)
    from ..evaluation import evaluate  # with it comes JAX; --help and mistakes in the arguments need not wait for that

    _write(evaluate(detections, ground_truths, progress=progress, **grids(arguments)), arguments)


def _write(evaluation: Evaluation, arguments: argparse.Namespace) -> None:
    if arguments.json == STDOUT:
        print(evaluation.to_json())
        return
    if arguments.json is not None:
        pathlib.Path(arguments.json).write_text(evaluation.to_json() + "\n", encoding="utf-8")
    print(evaluation)
    if arguments.per_class:
        print()
        print(table(evaluation.per_class()))
