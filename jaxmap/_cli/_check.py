"""`jaxmap check`: what makes numbers wrong in ground truths and detections, before they are scored."""

from __future__ import annotations

import argparse
import dataclasses
import json
import warnings
from typing import Any

from .._checks._findings import KINDS, DataCheck, Finding
from ._arguments import add_protocol
from ._files import add_inputs_to_check, read_several_inputs
from ._progress import progress_on_terminal
from ._results import add_outputs, write_numbers
from ._tables import Table

__all__ = ["add_command"]

_FOUND = 1  # the exit status
_COLUMNS = ("level", "side", "kind", "message", "where")

_DESCRIPTION = (
    "Look for what makes numbers wrong: repeated ids and objects, boxes outside their image or in another format, "
    "unused classes, and more. The exit status is 0 if there is nothing but notes, 1 if there are warnings, and 2 if a "
    "file cannot be read."
)


def add_command(commands: Any) -> None:
    """Adds the command to the parser of the program."""
    command = commands.add_parser("check", help="find mistakes in files", description=_DESCRIPTION)
    command.set_defaults(run=_run, name="check")
    ignored = f"kinds of findings to leave out, such as outside-image,area (all: {', '.join(KINDS)})"
    command.add_argument("--ignore", type=_kinds, default=[], metavar="LIST", help=ignored)
    add_outputs(command, "the findings as one object")
    add_protocol(command)
    add_inputs_to_check(command)


def _run(arguments: argparse.Namespace) -> int:
    from .._checks._check import check_data
    from ..io._coco import RepeatedIdsWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        [*tables], ground_truths = read_several_inputs(arguments, progress_on_terminal())
    check = check_data(ground_truths, *tables)
    if any(one.kind == "repeated-id" for one in check.findings):  # with the places
        caught = [one for one in caught if not issubclass(one.category, RepeatedIdsWarning)]
    findings = [one for one in (*map(_of_reader, caught), *check.findings) if one.kind not in arguments.ignore]
    check = dataclasses.replace(check, findings=tuple(findings))
    write_numbers(arguments, lambda: json.dumps(check.to_dict()), lambda: [_table(check)])
    return 0 if check.clean else _FOUND


def _table(check: DataCheck) -> Table:
    total = str(check).splitlines()[-1]
    columns = {name: [getattr(one, name) for one in check.findings] for name in _COLUMNS}
    return Table(columns, total, text=str(check))


def _kinds(text: str) -> list[str]:
    """Parses a list of kinds of findings."""
    kinds = text.split(",")
    for kind in kinds:
        if kind not in KINDS:
            raise argparse.ArgumentTypeError(f"{kind!r} is not a kind of finding: {', '.join(KINDS)}")
    return kinds


def _of_reader(warning: warnings.WarningMessage) -> Finding:
    """Returns what the reader of a file said of it, about rows that it left out, too."""
    return Finding(kind="reader", side="files", message=str(warning.message))
