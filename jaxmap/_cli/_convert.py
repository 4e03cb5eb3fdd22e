"""`jaxmap convert`: files of any format as COCO's, with the same numbers."""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from .._outputs import check_output, printable, write_output
from ._arguments import add_protocol
from ._files import add_inputs_to_check, read_several_inputs
from ._progress import progress_on_terminal
from ._results import refuse_to_overwrite

__all__ = ["add_command"]

_DESCRIPTION = (
    "Write files of any format as COCO's JSON, or LVIS's if they are of LVIS. They give the same numbers, bit for bit; "
    "what such files cannot hold is refused. COCO, LVIS, YOLO, Ultralytics and KITTI are written as they are; VOC with "
    "difficult objects and WIDER FACE with invalid faces need --ignored; Open Images only if all classes are verified "
    "in all images; DOTA's oriented boxes never. Only the shapes that are compared (--iou-type) are written."
)
_CROWD, _LEAVE_OUT = "crowd", "leave-out"


def add_command(commands: Any) -> None:
    """Adds the command to the parser of the program."""
    command = commands.add_parser("convert", help="write files of any format as COCO's", description=_DESCRIPTION)
    command.set_defaults(run=_run, name="convert")
    add = command.add_argument
    folder = "folder for ground_truths.json and, with DT, detections.json (see --results); created if it does not exist"
    add("-o", "--output", metavar="DIR", required=True, help=folder)
    ignored = (
        "write ignored objects (VOC's difficult ones, WIDER FACE's invalid ones) as crowds, or leave them out: then "
        "the numbers may differ (default: refuse them)"
    )
    add("--ignored", choices=(_CROWD, _LEAVE_OUT), help=ignored)
    form = "file format of the detections: parquet (needs pyarrow) and npz (no masks) are read several times faster"
    add("--results", choices=("json", "jsonl", "npz", "parquet"), default="json", help=form)
    add_protocol(command)
    add_inputs_to_check(command)


def _run(arguments: argparse.Namespace) -> None:
    from .. import io
    from .._ordering import take_rows

    names = ("ground_truths.json", f"detections.{arguments.results}")[: 1 + len(arguments.detections)]
    paths = [pathlib.Path(arguments.output, name) for name in names]
    for path in paths:
        refuse_to_overwrite(f"--output {arguments.output}", path, arguments, but="output")
        check_output(path, make_folder=True)
    tables, truth = read_several_inputs(arguments, progress_on_terminal())
    if arguments.ignored == _CROWD:
        truth = dataclasses.replace(truth, crowd=truth.crowd | truth.ignore, ignore=np.zeros_like(truth.ignore))
    elif arguments.ignored == _LEAVE_OUT:
        truth = take_rows(truth, np.flatnonzero(~truth.ignore))
    content = io.to_coco_ground_truths(truth)
    results = [io.to_coco_results(table, truth) for table in tables]
    pathlib.Path(arguments.output).mkdir(parents=True, exist_ok=True)
    written = [io.write_results(path, rows) for path, rows in zip(paths[1:], results, strict=True)]
    for path in (write_output(paths[0], json.dumps(content)), *written):
        print(printable(path))
