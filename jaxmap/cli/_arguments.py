"""What several commands take beside their files, grids as text; and how they print tables."""

from __future__ import annotations

import argparse
import math
import pathlib
import shutil
import sys
import textwrap
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from ..protocols import IOU_TYPES, MAX_THRESHOLDS, PROTOCOLS, EvaluationProtocol, get_protocol

__all__ = [
    "STDOUT",
    "add_grids",
    "add_json",
    "add_protocol",
    "grids",
    "progress_on_terminal",
    "protocol_list",
    "protocol_of",
    "table",
    "write_json",
]

STDOUT = "-"  # as the name of a file
_COLUMN_TITLES = {"class_id": "id", "class_name": "class", "num_ground_truths": "objects"}
_TEXT_COLUMNS = ("class_name", "protocol")


def add_protocol(command: argparse.ArgumentParser) -> None:
    """Adds the protocol and what it compares; `protocol_of` gives it."""
    command.epilog = f"protocols:\n{protocol_list()}"
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    add = command.add_argument
    add("--iou-type", choices=sorted(IOU_TYPES), help="what is compared (default: as the protocol says)")
    add("--protocol", choices=sorted(PROTOCOLS), help="definition of AP (default: coco; for keypoints coco-keypoints)")


def add_grids(command: argparse.ArgumentParser) -> None:
    """Adds the protocol and what may replace its grids; `grids` gives them to `evaluate`."""
    add_protocol(command)
    add = command.add_argument
    add("--iou-thresholds", type=_iou_thresholds, metavar="LIST", help="0.5,0.75 or first:last:step, 0.5:0.95:0.05")
    add("--max-detections", type=_max_detections, metavar="LIST", help="limits an image and class, like 1,10,100")
    add("--area-ranges", type=_area_ranges, metavar="LIST", help="square pixels, like small=0:1024,large=1024:inf")
    add("--class-agnostic", action="store_true", help="score all classes as one")


def grids(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns what `add_grids` took, as keyword arguments of `evaluate`."""
    return {
        "protocol": protocol_of(arguments),
        "iou_thresholds": arguments.iou_thresholds,
        "max_detections": arguments.max_detections,
        "area_ranges": arguments.area_ranges,
        "class_agnostic": arguments.class_agnostic or None,  # None leaves it to the protocol
    }


def protocol_of(arguments: argparse.Namespace) -> EvaluationProtocol:
    """Returns the protocol that `--protocol` and `--iou-type` name; COCO for commands that lack them."""
    iou_type = getattr(arguments, "iou_type", None)
    default = "coco-keypoints" if iou_type == "keypoints" else "coco"
    protocol: EvaluationProtocol = get_protocol(getattr(arguments, "protocol", None) or default)
    return protocol.customize(iou_type=iou_type)


def add_json(command: argparse.ArgumentParser, what: str) -> None:
    """Adds `--json`, which `write_json` obeys."""
    text = f"write {what} to OUT; '-' prints it in place of the text"
    command.add_argument("--json", metavar="OUT", help=text)


def write_json(arguments: argparse.Namespace, text: Callable[[], str]) -> bool:
    """Writes the JSON where `--json` says, and returns whether the text is wanted, too."""
    if arguments.json == STDOUT:
        print(text())
    elif arguments.json is not None:
        pathlib.Path(arguments.json).write_text(text() + "\n", encoding="utf-8")
    return arguments.json != STDOUT


def progress_on_terminal() -> Callable[[str], None] | None:
    """Returns what tells a person at a terminal the stage; None where nobody looks."""
    return _tell if sys.stderr.isatty() else None


def protocol_list(protocols: Collection[EvaluationProtocol] = tuple(PROTOCOLS.values())) -> str:
    """Returns protocols, one a paragraph, with what each does, for the width of the terminal."""
    name_width = max(len(protocol.name) for protocol in protocols)
    width = shutil.get_terminal_size().columns - 2
    paragraphs = []
    for protocol in protocols:
        start = f"  {protocol.name:<{name_width}}  "
        paragraphs.append(
            textwrap.fill(protocol.description, width, initial_indent=start, subsequent_indent=" " * len(start))
        )
    return "\n".join(paragraphs)


def table(columns: dict[str, Any]) -> str:
    """Returns columns as aligned text: words to the left, numbers to the right, `-` for NaN."""
    lines: list[str] = []
    for name, values in columns.items():
        cells = [_COLUMN_TITLES.get(name, name), *map(_cell, values)]
        width = max(map(len, cells))
        cells = [cell.ljust(width) if name in _TEXT_COLUMNS else cell.rjust(width) for cell in cells]
        lines = [f"{line}  {cell}" for line, cell in zip(lines, cells, strict=True)] if lines else cells
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):  # np.float64 is one
        return "-" if math.isnan(value) else f"{value:.3f}"
    return str(value)


def _iou_thresholds(text: str) -> list[float]:
    """Parses `0.5,0.75`, or `first:last:step` into the same doubles as COCO's own grid."""
    if ":" not in text:
        return [_number(item) for item in text.split(",")]
    parts = [_number(item) for item in text.split(":")]
    if len(parts) != 3 or not all(map(math.isfinite, parts)) or parts[2] <= 0 or parts[1] < parts[0]:
        raise argparse.ArgumentTypeError(f"{text!r} is no range: write first:last:step, like 0.5:0.95:0.05")
    first, last, step = parts
    if (last - first) / step >= MAX_THRESHOLDS:  # before any of them is made
        raise argparse.ArgumentTypeError(f"{text!r} holds more than {MAX_THRESHOLDS} thresholds: take a larger step")
    count = round((last - first) / step)
    if abs(first + count * step - last) > 1e-6 * step:
        raise argparse.ArgumentTypeError(f"{text!r}: the step must lead from the first to the last threshold")
    return [float(value) for value in np.linspace(first, last, count + 1)]


def _max_detections(text: str) -> list[int]:
    try:
        return [int(item) for item in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers like 1,10,100") from None


def _area_ranges(text: str) -> dict[str, tuple[float, float]]:
    ranges: dict[str, tuple[float, float]] = {}
    for item in text.split(","):
        name, equals, bounds = item.partition("=")
        low, colon, high = bounds.partition(":")
        if not (name and equals and colon):
            raise argparse.ArgumentTypeError(f"{item!r} is no range: write name=low:high, like small=0:1024")
        if name in ranges:
            raise argparse.ArgumentTypeError(f"{name!r} is given twice")
        ranges[name] = (_number(low), _number(high))
    return ranges


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None


def _tell(stage: str) -> None:
    print(f"jaxmap: {stage}", file=sys.stderr)
