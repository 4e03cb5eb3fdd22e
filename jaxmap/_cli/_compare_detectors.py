"""`jaxmap compare`: several detectors on the same images, and whether their differences are more than luck."""

from __future__ import annotations

import argparse
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._outputs import check_output, printable
from ._arguments import add_class_groups, add_grids, class_groups_of, may_be_left_out, number, protocol_of
from ._files import add_several_inputs, read_several_inputs
from ._progress import progress_on_terminal
from ._resampling import add_resampling, add_sizes, resampling_of, whole_number
from ._results import add_outputs, write_numbers
from ._tables import Part, Table, signed

if TYPE_CHECKING:
    from .._display import Columns
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
    add = command.add_argument
    add("--names", metavar="LIST", help="names of the detectors, separated by commas (default: those of the files)")
    add("--per-class", action="store_true", help="also print the difference of every class")
    add_outputs(command, "the numbers, also of all classes and of the deciding images, as one object")
    report = "also write index.html, a page of tables and plots, into the folder DIR, created if it does not exist"
    add("--report", metavar="DIR", help=report)
    changes = "also list the objects that only one of two detectors finds, at an IoU threshold (default: 0.5)"
    iou = may_be_left_out("--changes", number)
    add("--changes", type=iou, nargs="?", const=0.5, metavar="IOU", help=changes)
    top = "number of images and objects to list for each detector (default: %(default)s)"
    add("--top", type=whole_number(0), default=10, metavar="N", help=top)
    add_class_groups(add_grids(command))
    certainty = command.add_argument_group("how certain")
    add = certainty.add_argument
    replicates = "how many times images are drawn (default: %(default)s)"
    add("--replicates", type=whole_number(2), default=1000, metavar="N", help=replicates)
    add_resampling(certainty)
    looks = "how many times you compare while images come in, to stop at the first difference (default: %(default)s)"
    add("--looks", type=whole_number(1), default=1, metavar="N", help=looks)
    add("--no-permutation", action="store_true", help="leave out the test that exchanges the detectors image by image")
    add_sizes(certainty, "--sequential", "also print whether the comparison could have stopped early")
    add_several_inputs(command)


def _run(arguments: argparse.Namespace) -> None:
    paths = arguments.detections
    if len(paths) < 2:
        raise ValueError(f"compare needs two or more files of detections, got only {paths[0]}")
    names = _names_of(paths) if arguments.names is None else arguments.names.split(",")
    if len(names) != len(paths) or len(set(names)) < len(names):
        raise ValueError(f"--names must be {len(paths)} different names, one for each DT, got {arguments.names!r}")
    names, protocol = list(map(printable, names)), protocol_of(arguments)
    if arguments.changes is not None and protocol.threshold_index(arguments.changes) is None:
        thresholds = ", ".join(f"{value:g}" for value in protocol.iou_thresholds[:20])
        raise ValueError(
            f"--changes must be an IoU threshold of the protocol ({thresholds}), got {arguments.changes:g}"
        )
    if arguments.report is not None:
        from ..plots import require_matplotlib

        require_matplotlib()  # before the slow work
        check_output(pathlib.Path(arguments.report, "index.html"), make_folder=True)
    from .._evaluation import compare, evaluate

    if arguments.sequential is not None and arguments.group is not None:
        raise ValueError("--sequential looks at single images, and --group draws groups of them: leave one out")
    tell = progress_on_terminal()
    tables, ground_truths = read_several_inputs(arguments, tell)
    settings = resampling_of(arguments, ground_truths)
    sizes = None
    if arguments.sequential is not None:  # checked before the slow work
        from ..analysis._learning_curve import sizes_of_looks

        num_images = len(ground_truths.image_ids)
        sizes = sizes_of_looks(arguments.sequential or None, num_images, arguments.replicates, arguments.confidence)
    scored: dict[str, Any] = {"protocol": protocol, "class_groups": class_groups_of(arguments)}
    evaluations = [evaluate(one, ground_truths, **scored, progress=tell) for one in tables]
    if tell is not None:
        tell(f"drawing {len(ground_truths.image_ids):,} images {arguments.replicates:,} times")
    comparison = compare(
        *evaluations,
        names=names,
        num_replicates=arguments.replicates,
        num_looks=arguments.looks,
        permutation=not arguments.no_permutation,
        **settings,
    )
    looks = None
    if sizes is not None:
        from ..analysis import sequential_comparison

        if tell is not None:
            tell("comparing fewer images")
        looks = sequential_comparison(comparison, sizes, seed=arguments.seed)
    results = _Results(comparison, arguments.changes, looks, arguments.top, arguments.per_class)
    try:
        if arguments.report is not None:
            from ..report import write_comparison

            write_comparison(comparison, arguments.report, looks=looks, command=arguments.command_line)
    finally:  # numbers that took minutes are not lost to a full disk
        write_numbers(arguments, lambda: _to_json(results), lambda: _parts(results))


class _Results(NamedTuple):
    """What was asked for."""

    comparison: Comparison
    changes: float | None  # the IoU threshold
    looks: Columns | None
    top: int
    per_class: bool


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


def _to_json(results: _Results) -> str:
    content = results.comparison.to_dict(results.top)
    if results.changes is not None:
        content["changes"] = results.comparison.changes(results.changes).rows()
    if results.looks is not None:
        content["sequential"] = results.looks.rows()
    return json.dumps(content)


def _parts(results: _Results) -> list[Part]:
    comparison, top = results.comparison, results.top
    first = next(iter(comparison.protocol.numbers())).name
    numbers = comparison.numbers()
    shown = {name: numbers[name] for name in ("model", "number", "first", "other")} | _signed(numbers)
    shown["p"] = [f"{p:.3g}" for p in numbers["p_value"].tolist()]
    lead = f"Differences from {comparison.names[0]}, with {comparison.confidence:.0%} intervals"
    parts: list[Part] = [Table(shown, lead, text=str(comparison))]
    if top:
        images = comparison.images(top)
        shown = {"model": images["model"], "image": images["image_id"].tolist()}
        shown["adds"] = [signed(value, 5) for value in images["influence"].tolist()]
        shown |= {f"{first} of {comparison.names[0]}": images["first"], f"{first} of model": images["other"]}
        lead = f"Images that decide the difference in {first}: how much each adds to it, and its own {first}"
        parts.append(Table(shown, lead))
    if results.changes is not None:
        parts.append(_changes(comparison, results.changes, top))
    if results.looks is not None:
        looks = results.looks
        shown = {"model": looks["model"], "images": looks["num_images"].tolist()}
        shown |= _signed(looks)
        shown["p, exchanged"] = [f"{p:.3g}" for p in looks["p_permutation"].tolist()]
        shown["decided"] = ["yes" if decided else "no" for decided in looks["decided"].tolist()]
        number_of_looks = len(set(looks["num_images"].tolist()))
        lead = f"{first} as images come in: intervals corrected for {number_of_looks} looks"
        parts.append(Table(shown, lead))
    if results.per_class:
        columns = comparison.per_class()
        shown = {name: columns[name] for name in ("model", "class_id", "class_name", "first", "other")}
        shown |= _signed(columns)
        shown |= {"p": columns["p_value"], "p (Holm)": columns["p_holm"]}
        lead = f"{first} of every class; the last p-value is corrected for the number of classes"
        lead += _lowest_p(comparison)
        parts.append(Table(shown, lead))
    return parts


def _signed(columns: Mapping[str, Any]) -> dict[str, list[str]]:
    return {name: list(map(signed, columns[name])) for name in ("difference", "low", "high")}


def _changes(comparison: Comparison, iou_threshold: float, top: int) -> Part:
    changes, count = comparison.changes(iou_threshold, top), len(comparison.changes(iou_threshold)["change"])
    names = {"model": "model", "change": "change", "image": "image_id", "class": "class_id", "object": "ground_truth"}
    columns = {title: np.asarray(changes[name]).tolist() for title, name in names.items()}
    columns |= {name: changes[name].tolist() for name in ("score", "iou")}
    shown = len(columns["model"])
    lead = f"Objects that only one detector finds at IoU {iou_threshold:.2f} ({shown:,} of {count:,})"
    return Table(columns, lead) if shown else lead


def _lowest_p(comparison: Comparison) -> str:
    """Returns a warning if no corrected p-value can be low enough, because there are few replicates for the classes."""
    lowest = comparison.lowest_p_holm
    if lowest <= 1 - comparison.confidence:
        return ""
    return f" ({lowest:.3g} is the lowest that {comparison.num_replicates} replicates can give: draw more)"
