"""`jaxmap eval`: the protocol's table, JSON, and a table of all classes; for sets without scores, other numbers."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from ._arguments import STDOUT, add_grids, add_json, progress_on_terminal, protocol_of, table, write_numbers
from ._files import add_inputs, read_inputs

if TYPE_CHECKING:
    from .._evaluation import Evaluation

__all__ = ["add_command"]

_DESCRIPTION = (
    "Score detections against ground truths and print the protocol's table. For detections without scores, print "
    "precision, recall and F1 in its place, cgF1, and the bounds of AP over all orders."
)


def add_command(commands: Any) -> None:
    """Adds the command to the parser of the program."""
    command = commands.add_parser("eval", help="score detections against ground truths", description=_DESCRIPTION)
    command.set_defaults(run=_evaluate, name="eval")
    add_inputs(command)
    add_grids(command)
    add_json(command, "the numbers as one object")
    command.add_argument("--per-class", action="store_true", help="also print a table of all classes")
    text = "print precision, recall and F1 of the detections from this score on, in place of AP"
    command.add_argument("--score-threshold", type=float, metavar="S", help=text)


def _evaluate(arguments: argparse.Namespace) -> None:
    if arguments.per_class and arguments.json == STDOUT:
        raise ValueError(
            "--per-class prints a table and --json - only JSON: drop one of them, or name a file for --json"
        )
    progress = progress_on_terminal()
    detections, ground_truths = read_inputs(arguments, progress)
    from .._evaluation import evaluate

    evaluation = evaluate(detections, ground_truths, protocol=protocol_of(arguments), progress=progress)
    if arguments.score_threshold is not None or not evaluation.dataset.ranked:
        _write_sets(evaluation, arguments)
    else:
        write_numbers(arguments, evaluation.to_json, lambda: _to_text(evaluation, arguments.per_class))


def _to_text(evaluation: Evaluation, per_class: bool) -> str:
    from .._summary import shown_columns

    if not per_class:
        return str(evaluation)
    return f"{evaluation}\n\n{table(shown_columns(evaluation.per_class(), evaluation.protocol))}"


def _write_sets(evaluation: Evaluation, arguments: argparse.Namespace) -> None:
    score = arguments.score_threshold
    rates = evaluation.precision_recall_f1(score_threshold=score, area=evaluation.protocol.area_ranges[0].name)
    concepts = evaluation.cgf1() if score is None else evaluation.cgf1(score)
    content, parts = rates.to_dict() | {"cgf1": concepts.to_dict()}, [str(rates), str(concepts)]
    if not evaluation.dataset.ranked:
        ties = evaluation.tie_bounds()
        content |= {"ties": ties.to_dict()}
        parts.append(str(ties))
    if arguments.per_class:
        parts.append(table(rates.per_class()))
    write_numbers(arguments, lambda: json.dumps(content), lambda: "\n\n".join(parts))
