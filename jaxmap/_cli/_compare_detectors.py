"""`jaxmap compare`: several detectors on the same images, and whether their differences are more than luck."""

from __future__ import annotations

import argparse
import json
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .._outputs import check_output, printable
from ._arguments import (
    add_class_groups,
    add_grids,
    add_json,
    class_groups_of,
    progress_on_terminal,
    protocol_of,
    signed,
    table,
    write_numbers,
)
from ._files import add_several_inputs, read_several_inputs
from ._resampling import add_resampling, resampling_of, whole_number

if TYPE_CHECKING:
    from ..analysis import Comparison

__all__ = ["add_command"]

_DESCRIPTION = (
    "Compare detectors on the same images: paired differences from the first, with intervals and p-values, for every "
    "number and class."
)
_SUFFIXES = (".gz", ".bz2", ".xz", ".json", ".csv", ".tar", ".tgz")


def add_command(commands: Any) -> None:
    """Adds the command to the parser of the program."""
    brief = "compare detectors, with intervals and p-values"
    command = commands.add_parser("compare", help=brief, description=_DESCRIPTION)
    command.set_defaults(run=_run, name="compare")
    add_several_inputs(command)
    add_grids(command)
    add_class_groups(command)
    add = command.add_argument
    add("--names", metavar="LIST", help="names of the detectors, separated by commas (default: those of the files)")
    replicates = "how many times images are drawn (default: %(default)s)"
    add("--replicates", type=whole_number(2), default=1000, metavar="N", help=replicates)
    add_resampling(command)
    looks = "how many times you compare while images come in, to stop at the first difference (default: %(default)s)"
    add("--looks", type=whole_number(1), default=1, metavar="N", help=looks)
    add("--no-permutation", action="store_true", help="leave out the test that exchanges the detectors image by image")
    report = "also write index.html, a page of tables and plots, into the folder DIR, created if it does not exist"
    add("--report", metavar="DIR", help=report)
    add_json(command, "the numbers, also of all classes and of the deciding images, as one object")
    add("--per-class", action="store_true", help="also print the difference of every class")
    top = "number of images to list for each detector (default: %(default)s)"
    add("--top", type=whole_number(0), default=10, metavar="N", help=top)


def _run(arguments: argparse.Namespace) -> None:
    paths = arguments.detections
    if len(paths) < 2:
        raise ValueError(f"compare needs two or more files of detections, got only {paths[0]}")
    names = _names_of(paths) if arguments.names is None else arguments.names.split(",")
    if len(names) != len(paths) or len(set(names)) < len(names):
        raise ValueError(f"--names must be {len(paths)} different names, one for each DT, got {arguments.names!r}")
    names = list(map(printable, names))
    if arguments.report is not None:
        from ..plots import require_matplotlib

        require_matplotlib()  # before the slow work
        check_output(pathlib.Path(arguments.report, "index.html"), make_folder=True)
    from .._evaluation import compare, evaluate

    tell = progress_on_terminal()
    tables, ground_truths = read_several_inputs(arguments, tell)
    settings = resampling_of(arguments, ground_truths)
    scored: dict[str, Any] = {"protocol": protocol_of(arguments), "class_groups": class_groups_of(arguments)}
    evaluations = [evaluate(one, ground_truths, **scored, progress=tell) for one in tables]
    if tell is not None:
        tell(f"drawing images {arguments.replicates} times")
    comparison = compare(
        *evaluations,
        names=names,
        num_replicates=arguments.replicates,
        num_looks=arguments.looks,
        permutation=not arguments.no_permutation,
        **settings,
    )
    try:
        if arguments.report is not None:
            from ..report import write_comparison

            write_comparison(comparison, arguments.report)
    finally:  # numbers that took minutes are not lost to a full disk
        write_numbers(
            arguments,
            lambda: json.dumps(comparison.to_dict(arguments.top)),
            lambda: _to_text(comparison, top=arguments.top, per_class=arguments.per_class),
        )


def _names_of(paths: Sequence[str]) -> list[str]:
    """Returns the names of the files without folder and suffix; or as given if two of these are equal, or numbered."""
    short = []
    for path in paths:
        name = pathlib.PurePath(path).name
        while name.lower().endswith(_SUFFIXES):
            name = name.rpartition(".")[0]
        short.append(name)
    for names in (short, list(paths)):
        if all(names) and len(set(names)) == len(names):
            return names
    return [f"model {number}" for number in range(1, len(paths) + 1)]


def _to_text(comparison: Comparison, *, top: int, per_class: bool) -> str:
    parts, first = [str(comparison)], next(iter(comparison.protocol.numbers())).name
    if top:
        images = comparison.images(top)
        shown = {"model": images["model"], "image": images["image_id"].tolist()}
        shown["adds"] = [signed(value, 5) for value in images["influence"].tolist()]
        shown |= {f"{first} of {comparison.names[0]}": images["first"], f"{first} of model": images["other"]}
        lead = f"Images that decide the difference in {first}: how much each adds to it, and its own {first}"
        parts.append(f"{lead}\n{table(shown)}")
    if per_class:
        columns = comparison.per_class()
        shown = {name: columns[name] for name in ("model", "class_id", "class_name", "first", "other")}
        shown |= {name: list(map(signed, columns[name])) for name in ("difference", "low", "high")}
        shown |= {"p": columns["p_value"], "p (Holm)": columns["p_holm"]}
        lead = f"{first} of every class; the last p-value is corrected for the number of classes"
        lead += _lowest_p(comparison)
        parts.append(f"{lead}\n{table(shown)}")
    return "\n\n".join(parts)


def _lowest_p(comparison: Comparison) -> str:
    """Returns a warning if no corrected p-value can be low enough, because there are few replicates for the classes."""
    lowest = comparison.lowest_p_holm
    if lowest <= 1 - comparison.confidence:
        return ""
    return f" ({lowest:.3g} is the lowest that {comparison.num_replicates} replicates can give: draw more)"
