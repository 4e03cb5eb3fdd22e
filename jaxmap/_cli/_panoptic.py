"""`jaxmap panoptic`: panoptic quality of COCO's panoptic files, as a table or JSON, also per class."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from .._display import Columns
from ._arguments import number
from ._progress import progress_on_terminal
from ._results import add_outputs, write_numbers
from ._tables import Part, Table

if TYPE_CHECKING:
    from .._panoptic._quality import PanopticEvaluation

__all__ = ["add_command"]

_DESCRIPTION = (
    "Score panoptic segmentation: PQ, SQ and RQ over all classes, things and stuff, in per cent. Needs the extra "
    "`panoptic` (Pillow)."
)
_TITLES = {"true_positives": "TP", "false_positives": "FP", "false_negatives": "FN"}


def add_command(commands: Any) -> None:
    """Adds the command to the parser of the program."""
    command = commands.add_parser("panoptic", help="score panoptic segmentation", description=_DESCRIPTION)
    command.set_defaults(run=_run, name="panoptic")
    add = command.add_argument
    add("ground_truths", metavar="GT", help="COCO panoptic annotation file, plain or gzip")
    add("predictions", metavar="DT", help="COCO panoptic file of the predictions")
    stuff = "score stuff at any IoU: modified PQ (PQ†), which divides by the number of true segments"
    add("--modified", action="store_true", help=stuff)
    boundary = "boundary PQ: the IoU is the lesser of that of two segments and that of their boundaries"
    add("--boundary", action="store_const", const=0.02, dest="boundary_ratio", help=boundary)
    ratio = "likewise, with another width of boundaries than 0.02, as a share of the image's diagonal"
    add("--boundary-ratio", type=number, metavar="SHARE", help=ratio)
    add("--per-class", action="store_true", help="also print a table of all classes, as fractions")
    add_outputs(command, "the numbers, as fractions, as one object")
    add("--gt-folder", metavar="DIR", help="PNG files of GT (default: GT without .json)")
    add("--dt-folder", metavar="DIR", help="PNG files of DT (default: DT without .json)")


def _run(arguments: argparse.Namespace) -> None:
    from .. import io
    from .._panoptic._quality import panoptic_quality

    tell = progress_on_terminal() or (lambda stage: None)
    tell(f"reading {arguments.ground_truths}")
    truths = io.read_coco_panoptic_ground_truths(arguments.ground_truths, folder=arguments.gt_folder)
    tell(f"reading {arguments.predictions}")
    found = io.read_coco_panoptic_predictions(arguments.predictions, truths, folder=arguments.dt_folder)
    tell(f"comparing {len(truths)} images")
    evaluation = panoptic_quality(found, truths, modified=arguments.modified, boundary_ratio=arguments.boundary_ratio)
    write_numbers(
        arguments,
        lambda: _to_json(evaluation, arguments.per_class),
        lambda: _parts(evaluation, arguments.per_class),
    )


def _to_json(evaluation: PanopticEvaluation, per_class: bool) -> str:
    content: dict[str, Any] = json.loads(evaluation.to_json())
    if per_class:
        content["per_class"] = Columns(evaluation.per_class()).rows()
    return json.dumps(content)


def _parts(evaluation: PanopticEvaluation, per_class: bool) -> list[Part]:
    of_all = Table({name: [value] for name, value in evaluation.summary.items()}, text=str(evaluation))
    if not per_class:
        return [of_all]
    columns = {_TITLES.get(name, name): values for name, values in evaluation.per_class().items()}
    return [of_all, Table(columns)]
