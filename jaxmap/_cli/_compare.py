"""`jaxmap compare-protocols`: one set of detections under several definitions of AP, side by side."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from typing import Any

from ..protocols import ALL_POINT, COCO, VOC2007, VOC2012, SummaryRow, get_protocol
from ._arguments import protocol_list
from ._files import add_inputs, read_inputs
from ._progress import progress_on_terminal
from ._results import add_outputs, write_numbers
from ._tables import Part, Table

__all__ = ["add_command"]

_DESCRIPTION = "Score one set of detections under several protocols, and say how the protocols differ."
# The same numbers for all protocols; a dash if a protocol does not have the threshold. The protocols that need only
# boxes, in an order in which each differs little from the one before.
COMPARED = (COCO, ALL_POINT, VOC2012, VOC2007)
_ROWS = (
    SummaryRow("AP"),
    SummaryRow("AP50", iou_threshold=0.5),
    SummaryRow("AP75", iou_threshold=0.75),
    SummaryRow("AR", "recall"),
)


def add_command(commands: Any) -> None:
    """Adds the command to the parser of the program."""
    name = "compare-protocols"
    command = commands.add_parser(name, help="score under several definitions of AP", description=_DESCRIPTION)
    command.set_defaults(run=_compare, name=name)
    add_outputs(command, "the numbers, one object per protocol,")
    add_inputs(command)


def _compare(arguments: argparse.Namespace) -> None:
    from .._evaluation import evaluate

    tell = progress_on_terminal()
    detections, ground_truths = read_inputs(arguments, tell)
    numbers = {}
    for protocol in COMPARED:
        name = protocol.name
        if tell is not None:
            tell(f"scoring under {name}")
        numbers[name] = evaluate(
            detections, ground_truths, protocol=dataclasses.replace(protocol, summary=_ROWS)
        ).summary
    write_numbers(arguments, lambda: _to_json(numbers), lambda: _parts(numbers))


def _parts(numbers: dict[str, dict[str, float]]) -> list[Part]:
    columns = {row.name: [summary[row.name] for summary in numbers.values()] for row in _ROWS}
    return [Table({"protocol": list(numbers)} | columns), protocol_list(COMPARED)]


def _to_json(numbers: dict[str, dict[str, float]]) -> str:
    return json.dumps(
        {
            name: {"description": get_protocol(name).description}
            | {key: None if math.isnan(value) else value for key, value in summary.items()}
            for name, summary in numbers.items()
        }
    )
