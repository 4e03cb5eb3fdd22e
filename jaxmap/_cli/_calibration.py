"""`jaxmap calibration`: how far scores are from precision, in bins of scores, for all classes and each."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from ._arguments import add_protocol, whole_numbers
from ._files import add_inputs, evaluate_inputs
from ._results import add_outputs, write_numbers
from ._tables import Part, Table

if TYPE_CHECKING:
    from ..analysis import Calibration

__all__ = ["add_command"]

_DESCRIPTION = (
    "Compare scores with precision: the expected (ECE) and the maximum calibration error (MCE), and precision in bins."
)
_TITLES = {
    "score_low": "from score",
    "score_high": "to",
    "num_detections": "detections",
    "mean_score": "mean score",
    "ece": "ECE",
    "mce": "MCE",
}


def add_command(commands: Any) -> None:
    """Adds the command to the parser of the program."""
    command = commands.add_parser("calibration", help="compare scores with precision", description=_DESCRIPTION)
    command.set_defaults(run=_run, name="calibration")
    add = command.add_argument
    add("--per-class", action="store_true", help="also print a row for every class")
    add_outputs(command, "the numbers, also of every class, as one object")
    add("--iou", type=float, default=0.5, metavar="T", help="IoU threshold (default: %(default)s)")
    bins = "number of bins, or with --by one number for each of score, x, y, width, height (default: 10)"
    add("--bins", type=whole_numbers, default=[10], metavar="LIST", help=bins)
    add("--binning", choices=("width", "quantile"), default="width", help="bins of equal width (default) or counts")
    by = "bin also by position, size, or position,size of the boxes, as shares of the image (D-ECE)"
    add("--by", type=lambda text: text.split(","), default=[], metavar="LIST", help=by)
    add("--score", type=float, default=0.0, metavar="S", help="the lowest score to include (default: %(default)s)")
    add_protocol(command)
    add_inputs(command)


def _run(arguments: argparse.Namespace) -> None:
    evaluation = evaluate_inputs(arguments, arguments.iou)
    calibration = evaluation.calibration(
        arguments.iou,
        num_bins=arguments.bins[0] if len(arguments.bins) == 1 else arguments.bins,
        binning=arguments.binning,
        by=arguments.by,
        score_threshold=arguments.score,
    )
    write_numbers(
        arguments,
        lambda: json.dumps(calibration.to_dict()),
        lambda: _parts(calibration, by_boxes=bool(arguments.by), per_class=arguments.per_class),
    )


def _parts(calibration: Calibration, *, by_boxes: bool, per_class: bool) -> list[Part]:
    counts = f"{calibration.num_detections:,} detections, {len(calibration.bins['gap']):,} bins with detections"
    errors = f"ECE {calibration.ece:.4f}, MCE {calibration.mce:.4f}".replace("nan", "-")
    parts: list[Part] = [f"{errors} at IoU {calibration.iou_threshold:g}: {counts}"]
    if not by_boxes:  # with boxes, there are too many bins to read
        parts.append(_table(calibration.bins))
    if per_class:
        parts.append(_table({name: values for name, values in calibration.classes.items() if name != "class_id"}))
    return parts


def _table(columns: dict[str, Any]) -> Table:
    return Table({_TITLES.get(name, name): values for name, values in columns.items()})
