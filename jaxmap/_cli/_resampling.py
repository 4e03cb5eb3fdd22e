"""Options of commands that draw images again and again."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ._arguments import Options, may_be_left_out, whole_numbers

if TYPE_CHECKING:
    from ..types import GroundTruthTable

__all__ = [
    "add_bootstrap",
    "add_resampling",
    "add_sizes",
    "add_slices",
    "draws_images",
    "resampling_of",
    "slices_of",
    "whole_number",
]

_LARGEST_SEED = 2**32 - 1


def add_bootstrap(command: Options, what: str) -> None:
    """Adds `--bootstrap [N]`."""
    text = f"{what} standard errors and intervals, from N replicates of drawn images (default: 1000)"
    count = may_be_left_out("--bootstrap", whole_number(2))
    command.add_argument("--bootstrap", type=count, nargs="?", const=1000, metavar="N", help=text)


def add_resampling(command: Options) -> None:
    """Adds the options that `resampling_of` reads."""
    add = command.add_argument
    seed = whole_number(0, _LARGEST_SEED)
    add("--seed", type=seed, default=0, metavar="N", help="which images are drawn (default: %(default)s)")
    confidence = "share of datasets whose interval should contain the true number (default: %(default)s)"
    add("--confidence", type=_confidence, default=0.95, metavar="SHARE", help=confidence)
    group = "CSV file with image_id (or file_name) and group: draw groups of images, such as videos, not single images"
    add("--group", metavar="FILE", help=group)


def draws_images(arguments: argparse.Namespace) -> bool:
    """Returns whether the command will draw images, for which it needs JAX."""
    return arguments.name == "compare" or getattr(arguments, "bootstrap", None) is not None


def add_sizes(command: Options, option: str, what: str) -> None:
    """Adds an option of ascending numbers of images, such as `--learning-curve [LIST]`; empty if there is no list."""
    text = f"{what}, at each number of images of a list such as 100,500 (default: about 10 that double)"
    sizes = may_be_left_out(option, whole_numbers)
    command.add_argument(option, type=sizes, nargs="?", const=[], metavar="LIST", help=text)


def add_slices(command: Options) -> None:
    """Adds the options that `slices_of` reads."""
    slices = "also score parts of the images: a CSV file with image_id (or file_name) and columns such as weather"
    command.add_argument("--slices", metavar="FILE", help=slices)
    by = "the columns of --slices to use, such as weather,hour (default: all)"
    command.add_argument("--by", metavar="LIST", help=by)


def slices_of(arguments: argparse.Namespace, ground_truths: GroundTruthTable) -> dict[str, Any] | None:
    """Returns the arguments of `Evaluation.slices` that the options give; None if there are no slices."""
    from .. import io

    if arguments.slices is None:
        if arguments.by is not None:
            raise ValueError("--by names columns of --slices FILE, which is missing")
        return None
    by = None if arguments.by is None else arguments.by.split(",")
    return {"table": io.read_image_table(arguments.slices, ground_truths), "by": by}


def resampling_of(arguments: argparse.Namespace, ground_truths: GroundTruthTable) -> dict[str, Any]:
    """Returns the arguments of `Evaluation.bootstrap` and `jaxmap.compare` that the options give."""
    from .. import io

    given = {"seed": arguments.seed, "confidence": arguments.confidence}
    if arguments.group is not None:
        given["unit"] = io.read_image_groups(arguments.group, ground_truths)
    return given


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """Returns a parser of whole numbers from `least` to `most`."""
    limits = f"of at least {least}" if most is None else f"from {least} to {most}"

    def parse(text: str) -> int:
        number = int(text) if text.isdecimal() and text.isascii() and len(text) < 20 else -1
        if number < least or (most is not None and number > most):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {limits}")
        return number

    return parse


def _confidence(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1, such as 0.95")
    return share
