"""Options of commands that draw images again and again."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..types import GroundTruthTable

__all__ = ["add_bootstrap", "add_resampling", "resampling_of", "whole_number"]

_LARGEST_SEED = 2**32 - 1


def add_bootstrap(command: argparse.ArgumentParser, what: str) -> None:
    """Adds `--bootstrap [N]`."""
    text = f"{what} standard errors and intervals, from N replicates of drawn images (default: 1000)"
    command.add_argument("--bootstrap", type=_replicates, nargs="?", const=1000, metavar="N", help=text)


def add_resampling(command: argparse.ArgumentParser) -> None:
    """Adds the options that `resampling_of` reads."""
    add = command.add_argument
    seed = whole_number(0, _LARGEST_SEED)
    add("--seed", type=seed, default=0, metavar="N", help="which images are drawn (default: %(default)s)")
    confidence = "share of datasets whose interval should contain the true number (default: %(default)s)"
    add("--confidence", type=_confidence, default=0.95, metavar="SHARE", help=confidence)
    group = "CSV file with image_id (or file_name) and group: draw groups of images, such as videos, not single images"
    add("--group", metavar="FILE", help=group)


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


def _replicates(text: str) -> int:
    try:
        return whole_number(2)(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}; write --bootstrap after the files to leave out N") from None


def _confidence(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1, such as 0.95")
    return share
