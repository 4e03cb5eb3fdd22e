"""What several commands take: files or the demo scene, grids as text; and how they print tables."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..protocols import PROTOCOLS

if TYPE_CHECKING:
    from ..types import DetectionTable, GroundTruthTable

__all__ = ["add_grids", "add_inputs", "grids", "progress_on_terminal", "read_inputs", "table"]

_COLUMN_TITLES = {"class_id": "id", "class_name": "class", "num_ground_truths": "objects"}


def add_inputs(command: argparse.ArgumentParser) -> None:
    """Adds the two files that a command reads, or `--demo` in their place."""
    add = command.add_argument
    add("ground_truths", metavar="GT", nargs="?", help="COCO annotation file, plain or gzip")
    add("detections", metavar="DT", nargs="?", help="COCO results file, plain or gzip")
    add("--demo", action="store_true", help="score a scene that the program makes itself, in place of GT and DT")


def add_grids(command: argparse.ArgumentParser) -> None:
    """Adds the protocol and what may replace its grids; `grids` gives them to `evaluate`."""
    add = command.add_argument
    add("--iou-type", choices=["bbox"], default="bbox", help="what is compared (default: %(default)s)")
    add("--protocol", choices=sorted(PROTOCOLS), default="coco", help="definition of AP (default: %(default)s)")
    add("--iou-thresholds", type=_iou_thresholds, metavar="LIST", help="0.5,0.75 or first:last:step, 0.5:0.95:0.05")
    add("--max-detections", type=_max_detections, metavar="LIST", help="limits an image and class, like 1,10,100")
    add("--area-ranges", type=_area_ranges, metavar="LIST", help="square pixels, like small=0:1024,large=1024:inf")
    add("--class-agnostic", action="store_true", help="score all classes as one")


def grids(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns what `add_grids` took, as keyword arguments of `evaluate`."""
    return {
        "protocol": arguments.protocol,
        "iou_thresholds": arguments.iou_thresholds,
        "max_detections": arguments.max_detections,
        "area_ranges": arguments.area_ranges,
        "class_agnostic": arguments.class_agnostic or None,  # None leaves it to the protocol
    }


def progress_on_terminal() -> Callable[[str], None] | None:
    """Returns what tells a person at a terminal the stage; None where nobody looks."""
    return _tell if sys.stderr.isatty() else None


def read_inputs(
    arguments: argparse.Namespace, progress: Callable[[str], None] | None
) -> tuple[DetectionTable, GroundTruthTable]:
    """Reads the two files, or makes the demo scene."""
    from ..io import demo_scene, read_coco_detections, read_coco_ground_truths

    if arguments.demo:
        if arguments.ground_truths is not None:
            raise ValueError("--demo makes its own scene: leave GT and DT out")
        return demo_scene()
    if arguments.detections is None:
        raise ValueError(
            f"{arguments.name} needs two files, GT and DT, or --demo (see `jaxmap {arguments.name} --help`)"
        )
    tell = progress or (lambda stage: None)
    tell(f"reading {arguments.ground_truths}")
    ground_truths = read_coco_ground_truths(arguments.ground_truths)
    tell(f"reading {arguments.detections}")
    return read_coco_detections(arguments.detections, ground_truths), ground_truths


def table(columns: dict[str, Any]) -> str:
    """Returns columns as aligned text: words to the left, numbers to the right, `-` for NaN."""
    lines: list[str] = []
    for name, values in columns.items():
        cells = [_COLUMN_TITLES.get(name, name), *map(_cell, values)]
        width = max(map(len, cells))
        is_text = name == "class_name"
        cells = [cell.ljust(width) if is_text else cell.rjust(width) for cell in cells]
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
