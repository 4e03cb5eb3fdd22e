"""Arguments that several commands share, and the parsing of numbers."""

from __future__ import annotations

import argparse
import math
import os
import shutil
import textwrap
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from .._geometry import GEOMETRIES
from ..protocols import IOU_TYPES, PROTOCOLS, EvaluationProtocol, protocol_for

__all__ = [
    "Options",
    "add_class_groups",
    "add_grids",
    "add_protocol",
    "class_groups_of",
    "may_be_left_out",
    "number",
    "protocol_list",
    "protocol_of",
    "whole_numbers",
]

Options = argparse._ActionsContainer  # a command, or a group of its options in the help
_CUSTOMIZABLE = (
    "iou_type", "keypoint_sigmas", "boundary_ratio", "iou_thresholds", "recall_points", "max_detections", "area_ranges",
    "class_agnostic",
)  # fmt: skip
_MOST_VALUES = 100_001  # of a range, which a typo can make too long for the memory; as for recall points
_LONGEST_LIST = 100_000  # characters in a file of sigmas


def add_protocol(command: argparse.ArgumentParser) -> Options:
    """Adds the options for the protocol, the IoU type and its constants, which `protocol_of` reads; as a group."""
    command.epilog = f"protocols:\n{protocol_list()}"
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    group = command.add_argument_group("what is computed")
    add = group.add_argument
    add("--iou-type", choices=sorted(IOU_TYPES), help="what is compared (default: that of the protocol)")
    add(
        "--protocol",
        choices=sorted(PROTOCOLS),
        help="definition of AP (default: coco, or coco-keypoints for keypoints)",
    )
    sigmas = "standard deviation of each keypoint relative to the object's scale, 0.026,0.025,...; or a file of them"
    add("--keypoint-sigmas", type=_keypoint_sigmas, metavar="LIST", help=sigmas)
    ratio = "width of a boundary, as a share of the image's diagonal (default: 0.02)"
    add("--boundary-ratio", type=number, metavar="SHARE", help=ratio)
    return group


def add_grids(command: argparse.ArgumentParser) -> Options:
    """Adds the options for the protocol and its grids, which `protocol_of` reads; as a group."""
    group = add_protocol(command)
    add = group.add_argument
    add("--iou-thresholds", type=_grid, metavar="LIST", help="0.5,0.75 or first:last:step, 0.5:0.95:0.05")
    add("--recall-points", type=_grid, metavar="LIST", help="likewise, 0:1:0.01")
    add("--max-detections", type=whole_numbers, metavar="LIST", help="limits per image and class, such as 1,10,100")
    add(
        "--area-ranges", type=_area_ranges, metavar="LIST", help="in square pixels, such as small=0:1024,large=1024:inf"
    )
    add("--class-agnostic", action="store_true", default=None, help="score all classes as one")
    return group


def add_class_groups(command: Options) -> None:
    """Adds `--class-groups`, which `class_groups_of` reads."""
    text = (
        "groups of classes to average separately, such as base and novel: a JSON object from group to class names or "
        "ids, or a .csv file with the columns class and group"
    )
    command.add_argument("--class-groups", metavar="FILE", help=text)


def class_groups_of(arguments: argparse.Namespace) -> dict[str, list[str | int]] | None:
    """Returns the groups of classes in the file of `--class-groups`."""
    from .. import io

    return None if arguments.class_groups is None else io.read_class_groups(arguments.class_groups)


def protocol_of(arguments: argparse.Namespace) -> EvaluationProtocol:
    """Returns the protocol of the arguments, with its replaced grids; COCO for commands without such arguments.

    Raises:
      ValueError: if a value is not valid for the protocol, or is for another IoU type.
    """
    given = vars(arguments)
    changes = {name: given[name] for name in _CUSTOMIZABLE if given.get(name) is not None}
    protocol = protocol_for(changes.get("iou_type"), given.get("protocol")).customize(**changes)
    for iou_type, kind in GEOMETRIES.items():
        if kind.constant is not None and kind.constant in changes and protocol.iou_type != iou_type:
            option = f"--{kind.constant.replace('_', '-')}"
            raise ValueError(f"{option} is for --iou-type {iou_type}, not {protocol.iou_type}")
    return protocol


def protocol_list(protocols: Collection[EvaluationProtocol] = tuple(PROTOCOLS.values())) -> str:
    """Returns a list of protocols with their descriptions, wrapped to the width of the terminal."""
    name_width = max(len(protocol.name) for protocol in protocols)
    width = shutil.get_terminal_size().columns - 2
    paragraphs = []
    for protocol in protocols:
        start = f"  {protocol.name:<{name_width}}  "
        lines = textwrap.fill(
            protocol.description,
            width,
            initial_indent=start,
            subsequent_indent=" " * len(start),
            break_on_hyphens=False,  # names of protocols have them
        )
        paragraphs.append(lines)
    return "\n".join(paragraphs)


def whole_numbers(text: str) -> list[int]:
    """Parses a list such as 1,10,100."""
    try:
        return [int(item) for item in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers such as 1,10,100") from None


def may_be_left_out(option: str, parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Returns a parser for an option whose value may be left out, which takes a file that follows it for its value."""

    def parse_or_advise(text: str) -> Any:
        try:
            return parse(text)
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(
                f"{error}; write {option} after the files to leave out its value"
            ) from None

    return parse_or_advise


def _grid(text: str) -> list[float]:
    """Parses `0.5,0.75`, or `first:last:step` into the same doubles as COCO's grid."""
    if ":" not in text:
        return [number(item) for item in text.split(",")]
    parts = [number(item) for item in text.split(":")]
    if len(parts) != 3 or not all(map(math.isfinite, parts)) or parts[2] <= 0 or parts[1] < parts[0]:
        raise argparse.ArgumentTypeError(f"{text!r} is not a range: write first:last:step, such as 0.5:0.95:0.05")
    first, last, step = parts
    steps = (last - first) / step
    if steps >= _MOST_VALUES:  # before they are made
        raise argparse.ArgumentTypeError(
            f"{text!r} is a range of {steps + 1:.4g} values; at most {_MOST_VALUES:,} are allowed"
        )
    count = round(steps)
    if abs(first + count * step - last) > 1e-6 * step:
        raise argparse.ArgumentTypeError(f"{text!r}: the step must lead from the first to the last value")
    return [float(value) for value in np.linspace(first, last, count + 1)]


def _keypoint_sigmas(text: str) -> list[float]:
    """Parses a list, or a file of numbers separated by commas or blanks, with or without brackets."""
    if os.path.isfile(text):
        with open(text, encoding="utf-8-sig") as file:
            words = file.read(_LONGEST_LIST).strip().strip("[]")
    else:
        words = text
    try:
        return [float(word) for word in words.replace(",", " ").split()]
    except ValueError as error:
        expected = "neither a file nor a list of numbers such as 0.026,0.025"
        if words is not text:
            expected = "not a file of numbers such as 0.026,0.025"
        raise argparse.ArgumentTypeError(f"{text!r} is {expected}: {error}") from None


def _area_ranges(text: str) -> dict[str, tuple[float, float]]:
    ranges: dict[str, tuple[float, float]] = {}
    for item in text.split(","):
        name, equals, bounds = item.partition("=")
        low, colon, high = bounds.partition(":")
        if not (name and equals and colon):
            raise argparse.ArgumentTypeError(f"{item!r} is not a range: write name=low:high, such as small=0:1024")
        if name in ranges:
            raise argparse.ArgumentTypeError(f"{name!r} is given twice")
        ranges[name] = (number(low), number(high))
    return ranges


def number(text: str) -> float:
    """Parses a number as JSON has it."""
    try:
        return float(text if "_" not in text and text.isascii() else "no number")  # Python reads 1_0 and other digits
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
