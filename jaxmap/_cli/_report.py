"""`jaxmap report`: one HTML page with the numbers, their explanation, pictures and a table of all classes."""

from __future__ import annotations

import argparse
import io
import pathlib
from typing import TYPE_CHECKING, Any

from .._outputs import check_output, printable, write_output
from ._arguments import add_class_groups, add_grids, class_groups_of, protocol_of
from ._files import add_inputs, read_inputs
from ._progress import progress_on_terminal
from ._resampling import add_bootstrap, add_slices, slices_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["add_command"]

_COLORS = 128  # colours of the sheet: enough for its few hues and their smooth edges, in a third of the bytes

_DESCRIPTION = "Write one self-contained HTML page that explains the numbers in pictures and tables."


def add_command(commands: Any) -> None:
    """Adds the command to the parser of the program."""
    command = commands.add_parser("report", help="write an HTML page of pictures and tables", description=_DESCRIPTION)
    command.set_defaults(run=_report, name="report")
    add = command.add_argument
    add("-o", "--output", metavar="DIR", required=True, help="folder for index.html; created if it does not exist")
    add("--png", action="store_true", help="also write the pictures on one sheet, overview.png")
    folder = "folder of the images, to show those with the most costly errors"
    add("--images", metavar="DIR", help=folder)
    add_bootstrap(command, "also show")
    add_slices(command)
    add_class_groups(add_grids(command))
    add_inputs(command)


def _report(arguments: argparse.Namespace) -> None:
    from .. import plots

    plots.require_matplotlib()  # before the slow work
    sheet = pathlib.Path(arguments.output, "overview.png")
    for path in (pathlib.Path(arguments.output, "index.html"), *([sheet] if arguments.png else [])):
        check_output(path, make_folder=True)
    if arguments.images is not None and not pathlib.Path(arguments.images).is_dir():
        raise ValueError(f"--images must be a folder of images, but {arguments.images!r} is not a folder")
    progress = progress_on_terminal()
    class_groups = class_groups_of(arguments)
    detections, ground_truths = read_inputs(arguments, progress)
    parts = slices_of(arguments, ground_truths)
    from .._evaluation import evaluate
    from ..report import write_report

    evaluation = evaluate(
        detections, ground_truths, protocol=protocol_of(arguments), class_groups=class_groups, progress=progress
    )
    if progress is not None:
        progress("drawing")
    title, num_replicates = _title(arguments), arguments.bootstrap
    slices = None if parts is None else evaluation.slices(**parts, num_replicates=num_replicates)
    page = write_report(
        evaluation,
        arguments.output,
        title=title,
        num_replicates=num_replicates,
        slices=slices,
        images=arguments.images,
        command=arguments.command_line,
    )
    print(printable(page))
    if arguments.png:
        print(printable(write_output(sheet, _png(plots.overview(evaluation)))))


def _png(figure: Figure) -> bytes:
    from PIL import Image  # matplotlib needs it, too

    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn)
    Image.open(drawn).convert("RGB").quantize(_COLORS).save(small, "png", optimize=True)
    return small.getvalue()


def _title(arguments: argparse.Namespace) -> str:
    if arguments.demo:
        return "The demo scene and its made-up detector"
    names = (printable(pathlib.Path(path).name) for path in (arguments.detections, arguments.ground_truths))
    return " against ".join(names)
