"""`jaxmap explain`: why pooled and per-image AP differ, what each false positive costs, and ties."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ._arguments import add_grids
from ._files import add_inputs, evaluate_inputs
from ._results import add_outputs, write_numbers

__all__ = ["add_command"]

_DESCRIPTION = "Explain why pooled and per-image AP differ, and how much AP is lost to each false positive."


def add_command(commands: Any) -> None:
    """Adds the command to the parser of the program."""
    brief = "explain why pooled and per-image AP differ"
    command = commands.add_parser("explain", help=brief, description=_DESCRIPTION)
    command.set_defaults(run=_explain, name="explain")
    text = "number of false positives and images to list (default: %(default)s)"
    command.add_argument("--top", type=int, default=10, metavar="N", help=text)
    add_outputs(command, "the explanation as one object")
    add_grids(command)
    add_inputs(command)


def _explain(arguments: argparse.Namespace) -> None:
    if arguments.top < 0:
        raise ValueError(f"--top must be at least 0, got {arguments.top}")
    evaluation = evaluate_inputs(arguments)
    explanation, ties = evaluation.explain(), evaluation.tie_bounds()
    notes = [str(ties)] if ties.differ or ties.num_contested else []
    write_numbers(
        arguments,
        lambda: json.dumps(explanation.to_dict(arguments.top) | {"ties": ties.to_dict()}),
        lambda: [explanation.to_text(arguments.top), *notes],
    )
