"""`jaxmap lrp`: the LRP error and its localisation, precision and recall parts, as a mean and for each class."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

from .._display import Columns
from .._outputs import rounded_down
from ._arguments import add_protocol
from ._files import add_inputs, evaluate_inputs
from ._results import add_outputs, write_numbers
from ._tables import Part, Table

__all__ = ["add_command"]

_DESCRIPTION = (
    "Compute the LRP error, which is badly placed boxes, false positives and missed objects in one number from 0, the "
    "best, to 1: at the best score threshold of each class (oLRP, moLRP) or at a given one."
)
_TITLES = {
    "score_threshold": "score",
    "true_positives": "TP",
    "false_positives": "FP",
    "false_negatives": "FN",
    "lrp_loc": "1 - IoU",
    "lrp_fp": "1 - precision",
    "lrp_fn": "1 - recall",
}


def add_command(commands: Any) -> None:
    """Adds the command to the parser of the program."""
    command = commands.add_parser("lrp", help="compute localisation recall precision (LRP)", description=_DESCRIPTION)
    command.set_defaults(run=_run, name="lrp")
    add = command.add_argument
    add("--per-class", action="store_true", help="also print a row for every class")
    add_outputs(command, "the numbers, also of every class, as one object")
    add("--iou", type=float, default=0.5, metavar="T", help="IoU threshold, less than 1 (default: %(default)s)")
    add("--score", type=float, metavar="S", help="use this score threshold in place of the best one of each class")
    add_protocol(command)
    add_inputs(command)


def _run(arguments: argparse.Namespace) -> None:
    evaluation = evaluate_inputs(arguments, arguments.iou)
    columns = evaluation.localisation_recall_precision(arguments.iou, score_threshold=arguments.score)
    write_numbers(arguments, lambda: _to_json(columns, arguments), lambda: [_to_table(columns, arguments)])


def _to_table(columns: Columns, arguments: argparse.Namespace) -> Part:
    first = 0 if arguments.per_class else -1  # the last row is for all classes
    best = arguments.score is None
    titles = _TITLES | {"lrp": "oLRP" if best else "LRP"}
    shown = {titles.get(name, name): values[first:] for name, values in columns.items() if name != "class_id"}
    shown["score"] = ["-" if math.isnan(value) else rounded_down(value) for value in shown["score"]]
    how = (
        "the best score threshold of each class; the mean is moLRP" if best else f"score threshold {arguments.score:g}"
    )
    lead = f"IoU {arguments.iou:g}, {how}"
    return Table(shown, f"{lead}; lower is better")


def _to_json(columns: Columns, arguments: argparse.Namespace) -> str:
    *classes, mean = columns.rows()
    of_all = {name: value for name, value in mean.items() if name not in ("class_id", "class_name")}
    return json.dumps({"iou_threshold": arguments.iou, "mean": of_all, "classes": classes})
