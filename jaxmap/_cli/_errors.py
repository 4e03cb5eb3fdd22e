"""`jaxmap errors`: the types of a detector's errors, and the AP gained by fixing each, for all classes and each."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from ._arguments import add_protocol
from ._files import add_inputs, evaluate_inputs
from ._results import add_outputs, write_numbers
from ._tables import Part, Table

if TYPE_CHECKING:
    from ..analysis import ErrorTypes

__all__ = ["add_command"]

_DESCRIPTION = "Sort the errors of a detector into types, and find how much AP each type costs (TIDE)."


def add_command(commands: Any) -> None:
    """Adds the command to the parser of the program."""
    command = commands.add_parser("errors", help="find which types of errors cost AP", description=_DESCRIPTION)
    command.set_defaults(run=_run, name="errors")
    add = command.add_argument
    add("--per-class", action="store_true", help="also print the AP of every class, and how much each type costs it")
    add_outputs(command, "the numbers of all classes and of each as one object")
    add("--iou", type=float, default=0.5, metavar="T", help="IoU threshold (default: %(default)s)")
    background = "IoU below which a detection is on the background (default: %(default)s)"
    add("--background", type=float, default=0.1, metavar="T", help=background)
    add_protocol(command)
    add_inputs(command)


def _run(arguments: argparse.Namespace) -> None:
    errors = evaluate_inputs(arguments, arguments.iou).error_types(arguments.iou, arguments.background)
    write_numbers(
        arguments, lambda: json.dumps(errors.to_dict()), lambda: _parts(errors, per_class=arguments.per_class)
    )


def _parts(errors: ErrorTypes, *, per_class: bool) -> list[Part]:
    lead = f"AP at IoU {errors.iou_threshold:g} is {errors.average_precision:.4f}"
    of_all = Table(errors.table(), lead, text=str(errors))
    if not per_class:
        return [of_all]
    columns = errors.per_class()
    shown = {name: columns[name] for name in ("class_name", "num_ground_truths", "AP")}
    shown |= {name.replace("_", " "): columns[f"{name}_gain"] for name in errors.gain}
    return [of_all, Table(shown, "AP of each class, and its gain if all errors of one type are fixed:")]
