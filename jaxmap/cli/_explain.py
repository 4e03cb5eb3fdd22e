"""`jaxmap explain`: why images score otherwise alone than together, which false positives cost what, and ties."""

from __future__ import annotations

import argparse
import json
import pathlib
from typing import Any

from ._arguments import add_grids, add_inputs, grids, progress_on_terminal, read_inputs

__all__ = ["add_command"]

STDOUT = "-"

_DESCRIPTION = "Explain the difference between the AP of images alone and together, and what each false positive costs."


def add_command(commands: Any) -> None:
    """Adds the command to the parser of the program."""
    command = commands.add_parser("explain", help="explain AP by images and false positives", description=_DESCRIPTION)
    command.set_defaults(run=_explain, name="explain")
    add_inputs(command)
    add_grids(command)
    add = command.add_argument
    add("--json", metavar="OUT", help="write the explanation to OUT as one object; '-' prints it in place of the text")
    add("--top", type=int, default=10, metavar="N", help="false positives and images to list (default: %(default)s)")


def _explain(arguments: argparse.Namespace) -> None:
    if arguments.top < 0:
        raise ValueError(f"--top must be at least 0, got {arguments.top}")
    from ..evaluation import evaluate  # with it comes JAX; --help and mistakes in the arguments need not wait for that

    progress = progress_on_terminal()
    detections, ground_truths = read_inputs(arguments, progress)
    evaluation = evaluate(detections, ground_truths, progress=progress, **grids(arguments))
    explanation, ties = evaluation.explain(), evaluation.tie_bounds()
    if arguments.json is not None:
        text = json.dumps(explanation.to_dict(arguments.top) | {"ties": ties.to_dict()})
        if arguments.json == STDOUT:
            print(text)
            return
        pathlib.Path(arguments.json).write_text(text + "\n", encoding="utf-8")
    print(explanation.to_text(arguments.top))
    if ties.differ or ties.num_contested:
        print(f"\n{ties}")
