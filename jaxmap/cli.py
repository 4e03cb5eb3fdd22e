"""The command `jaxmap`: score a results file against an annotation file, in a shell.

    jaxmap eval instances_val2017.json results.json --per-class
    jaxmap eval --demo --json -

Exit status: 0 when the numbers were written, 2 when the input was at fault, with one line on standard error.
"""

from __future__ import annotations

import argparse
import math
import os
import pathlib
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from . import __version__
from .protocols import PROTOCOLS

if TYPE_CHECKING:
    from .evaluation import Evaluation
    from .types import DetectionTable, GroundTruthTable

__all__ = ["main"]

BAD_INPUT = 2
STDOUT = "-"

_DESCRIPTION = "Exact COCO mean average precision."
_EVAL_DESCRIPTION = "Score detections against ground truths and print the protocol's table."
_COLUMN_TITLES = {"class_id": "id", "class_name": "class", "num_ground_truths": "objects"}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status; `--help` and `--version` leave by SystemExit(0)."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = _show_warning
        try:
            arguments = _parser().parse_args(argv)
            arguments.run(arguments)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader, such as `head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        except (ValueError, TypeError, OSError) as error:
            print(f"jaxmap: error: {_one_line(error)}", file=sys.stderr)
            return BAD_INPUT
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # argparse's own version prints the usage as well and leaves by SystemExit: bad input has one form here.
        raise ValueError(f"{message} (see `{self.prog} --help`)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="jaxmap", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"jaxmap {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    command = commands.add_parser("eval", help="score detections against ground truths", description=_EVAL_DESCRIPTION)
    command.set_defaults(run=_evaluate)
    add = command.add_argument
    add("ground_truths", metavar="GT", nargs="?", help="COCO annotation file, plain or gzip")
    add("detections", metavar="DT", nargs="?", help="COCO results file, plain or gzip")
    add("--demo", action="store_true", help="score a scene that the program makes itself, in place of GT and DT")
    add("--iou-type", choices=["bbox"], default="bbox", help="what is compared (default: %(default)s)")
    add("--protocol", choices=sorted(PROTOCOLS), default="coco", help="definition of AP (default: %(default)s)")
    add("--json", metavar="OUT", help="write the numbers to OUT as one object; '-' prints it in place of the table")
    add("--per-class", action="store_true", help="print a table of all classes as well")
    add("--iou-thresholds", type=_iou_thresholds, metavar="LIST", help="0.5,0.75 or first:last:step, 0.5:0.95:0.05")
    add("--max-detections", type=_max_detections, metavar="LIST", help="limits an image and class, like 1,10,100")
    add("--area-ranges", type=_area_ranges, metavar="LIST", help="square pixels, like small=0:1024,large=1024:inf")
    add("--class-agnostic", action="store_true", help="score all classes as one")
    return parser


def _evaluate(arguments: argparse.Namespace) -> None:
    if arguments.per_class and arguments.json == STDOUT:
        raise ValueError("--per-class prints a table but --json - only JSON: drop one, or name a file for --json")
    from .evaluation import evaluate  # with it comes JAX; --help and mistakes in the arguments need not wait for that

    progress = _tell if sys.stderr.isatty() else None
    detections, ground_truths = _tables(arguments, progress)
    evaluation = evaluate(
        detections,
        ground_truths,
        protocol=arguments.protocol,
        iou_thresholds=arguments.iou_thresholds,
        max_detections=arguments.max_detections,
        area_ranges=arguments.area_ranges,
        class_agnostic=arguments.class_agnostic or None,  # None leaves it to the protocol
        progress=progress,
    )
    _write(evaluation, arguments)


def _tables(
    arguments: argparse.Namespace, progress: Callable[[str], None] | None
) -> tuple[DetectionTable, GroundTruthTable]:
    from .io import demo_scene, read_coco_detections, read_coco_ground_truths

    if arguments.demo:
        if arguments.ground_truths is not None:
            raise ValueError("--demo makes its own scene: leave GT and DT out")
        return demo_scene()
    if arguments.detections is None:
        raise ValueError("eval needs two files, GT and DT, or --demo (see `jaxmap eval --help`)")
    tell = progress or (lambda stage: None)
    tell(f"reading {arguments.ground_truths}")
    ground_truths = read_coco_ground_truths(arguments.ground_truths)
    tell(f"reading {arguments.detections}")
    return read_coco_detections(arguments.detections, ground_truths), ground_truths


def _write(evaluation: Evaluation, arguments: argparse.Namespace) -> None:
    if arguments.json == STDOUT:
        print(evaluation.to_json())
        return
    if arguments.json is not None:
        pathlib.Path(arguments.json).write_text(evaluation.to_json() + "\n", encoding="utf-8")
    print(evaluation)
    if arguments.per_class:
        print()
        print(_table(evaluation.per_class()))


def _table(columns: dict[str, Any]) -> str:
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


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fspath(error.filename)}: {error.strerror}"
    return " ".join(str(error).split())


def _show_warning(message: Warning | str, *_place: Any, **_line: Any) -> None:
    print(f"jaxmap: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _tell(stage: str) -> None:
    print(f"jaxmap: {stage}", file=sys.stderr)
