"""`jaxmap operating-points`: the score threshold to deploy, with its precision and recall, for all classes and each."""

from __future__ import annotations

import argparse
import json
from typing import Any

from .._display import Columns
from .._outputs import rounded_down
from ._arguments import add_protocol
from ._files import add_inputs, evaluate_inputs
from ._results import add_outputs, write_numbers
from ._tables import Part, Table

__all__ = ["add_command"]

_DESCRIPTION = (
    "Find the score threshold of the highest F-score, or evaluate a given one: precision and recall from counts."
)
_TITLES = {
    "score_threshold": "score",
    "true_positives": "TP",
    "false_positives": "FP",
    "false_negatives": "FN",
}


def add_command(commands: Any) -> None:
    """Adds the command to the parser of the program."""
    name = "operating-points"
    command = commands.add_parser(name, help="find the score threshold to deploy", description=_DESCRIPTION)
    command.set_defaults(run=_run, name=name)
    add = command.add_argument
    add("--per-class", action="store_true", help="also print a row for every class, each with its own best threshold")
    add_outputs(command, "the numbers as one object")
    add("--iou", type=float, default=0.5, metavar="T", help="IoU threshold (default: %(default)s)")
    add("--beta", type=float, default=1.0, metavar="B", help="weight of recall in the F-score (default: %(default)s)")
    add("--score", type=float, metavar="S", help="use this score threshold in place of the best one")
    add_protocol(command)
    add_inputs(command)


def _run(arguments: argparse.Namespace) -> None:
    evaluation = evaluate_inputs(arguments, arguments.iou)
    columns = evaluation.operating_points(arguments.iou, beta=arguments.beta, score_threshold=arguments.score)
    write_numbers(arguments, lambda: _to_json(columns, arguments), lambda: [_to_table(columns, arguments)])


def _to_table(columns: Columns, arguments: argparse.Namespace) -> Part:
    first = 0 if arguments.per_class else -2  # the last two rows are for all classes
    shown = {_TITLES.get(name, name): values[first:] for name, values in columns.items() if name != "class_id"}
    shown["score"] = list(map(rounded_down, shown["score"]))
    shown[f"F{arguments.beta:g}"] = shown.pop("f_score")
    lead = f"IoU {arguments.iou:g}; micro counts all classes as one, macro is the mean over the classes"
    return Table(shown, f"{lead}; scores are rounded down (--json has all digits)")


def _to_json(columns: Columns, arguments: argparse.Namespace) -> str:
    rows = columns.rows()
    of_all = {row["class_name"]: {name: row[name] for name in list(columns)[2:]} for row in rows[-2:]}
    content: dict[str, Any] = {"iou_threshold": arguments.iou, "beta": arguments.beta} | of_all
    if arguments.per_class:
        content["classes"] = rows[:-2]
    return json.dumps(content)
