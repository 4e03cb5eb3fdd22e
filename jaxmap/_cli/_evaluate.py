"""`jaxmap eval`: the table of numbers, intervals, slices, JSON, all classes; rates of sets without scores."""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from .._display import Columns
from ._arguments import add_class_groups, add_grids, class_groups_of, may_be_left_out, protocol_of
from ._files import add_inputs, read_inputs
from ._progress import progress_on_terminal
from ._resampling import (
    add_bootstrap,
    add_resampling,
    add_sizes,
    add_slices,
    resampling_of,
    slices_of,
    whole_number,
)
from ._results import add_outputs, write_numbers
from ._tables import Part, Table, signed

if TYPE_CHECKING:
    from .._evaluation import Evaluation
    from .._evaluation._slices import Slices
    from ..analysis import Bootstrap

__all__ = ["add_command"]

_UNSCORED = (
    "The detections have no scores, by which AP would rank them. If the detector has them, write them too: `score` in "
    "a results file, `save_conf=True` in Ultralytics."
)
_DESCRIPTION = (
    "Score detections against ground truths and print the protocol's table. For detections without scores, print "
    "precision, recall and F1 in its place, cgF1, and the bounds of AP over all orders."
)


def add_command(commands: Any) -> None:
    """Adds the command to the parser of the program."""
    command = commands.add_parser("eval", help="score detections against ground truths", description=_DESCRIPTION)
    command.set_defaults(run=_evaluate, name="eval")
    add = command.add_argument
    add("--per-class", action="store_true", help="also print a table of all classes")
    add_outputs(command, "the numbers, and the tables that are asked for, as one object", "the table of all classes")
    text = "print precision, recall and F1 of the detections from this score on, in place of AP"
    add("--score-threshold", type=float, metavar="S", help=text)
    add_class_groups(add_grids(command))
    certainty = command.add_argument_group("how certain, and on which images")
    add = certainty.add_argument
    add_bootstrap(certainty, "also print")
    add_resampling(certainty)
    add_slices(certainty)
    influence = "also print the N images with the largest influence on the first number (default: 10)"
    count = may_be_left_out("--influence", whole_number(1))
    add("--influence", type=count, nargs="?", const=10, metavar="N", help=influence)
    add_sizes(certainty, "--learning-curve", "also print the mean and range of AP in random samples of the images")
    add_inputs(command)


def _evaluate(arguments: argparse.Namespace) -> None:
    if arguments.group is not None and arguments.bootstrap is None:
        raise ValueError("--group is for --bootstrap, which is missing")
    progress = progress_on_terminal()
    class_groups = class_groups_of(arguments)
    detections, ground_truths = read_inputs(arguments, progress)
    from .._evaluation import evaluate

    drawn = resampling_of(arguments, ground_truths)
    parts = slices_of(arguments, ground_truths)
    sizes = None
    if arguments.learning_curve is not None:  # checked before the slow work
        from ..analysis._learning_curve import sizes_of_samples

        sizes = sizes_of_samples(arguments.learning_curve or None, len(ground_truths.image_ids))
    evaluation = evaluate(
        detections, ground_truths, protocol=protocol_of(arguments), class_groups=class_groups, progress=progress
    )
    if arguments.score_threshold is not None or not evaluation.dataset.ranked:
        _write_sets(evaluation, arguments)
        return
    tell, bootstrap, slices = progress or (lambda stage: None), None, None
    if arguments.bootstrap is not None:
        tell(f"drawing {len(evaluation.image_ids):,} images {arguments.bootstrap:,} times")
        bootstrap = evaluation.bootstrap(arguments.bootstrap, **drawn)
    if parts is not None:
        tell("scoring parts of the images")
        slices = evaluation.slices(**parts, num_replicates=arguments.bootstrap, **drawn)
    images = curve = None
    if arguments.influence is not None:
        tell(f"leaving out each of {len(evaluation.image_ids):,} images")
        images = Columns({name: values[: arguments.influence] for name, values in evaluation.influence().items()})
    if sizes is not None:
        tell("scoring samples of the images")
        settings = {name: drawn[name] for name in ("seed", "confidence")}
        curve = Columns(evaluation.learning_curve(sizes, **settings))
    results = _Results(evaluation, bootstrap, slices, images, curve, arguments.per_class)
    write_numbers(
        arguments,
        lambda: _to_json(results),
        lambda: _parts(results),
        lambda: _to_csv(_classes(evaluation, bootstrap)),
    )


class _Results(NamedTuple):
    """What was asked for."""

    evaluation: Evaluation
    bootstrap: Bootstrap | None
    slices: Slices | None
    images: Columns | None
    curve: Columns | None
    per_class: bool


def _parts(results: _Results) -> list[Part]:
    from .._summary import line_texts, shown_columns

    evaluation, images, first = results.evaluation, results.images, next(iter(results.evaluation.summary))
    numbers = {name: [evaluation.summary[name]] for name in line_texts(evaluation.protocol)}
    parts: list[Part] = [Table(numbers, text=str(evaluation))]
    if results.bootstrap is not None:
        bootstrap = results.bootstrap
        lead = f"{bootstrap.confidence:.0%} intervals from {bootstrap.num_replicates} replicates"
        parts.append(Table(bootstrap.numbers(), lead, text=str(bootstrap)))
    if results.slices is not None:
        parts.append(Table(results.slices.numbers(), text=str(results.slices)))
    if images is not None:
        shown = {"image": images["image_id"], first: [signed(value, 5) for value in images[first].tolist()]}
        lead = f"Images with the largest influence: {first} minus {first} without the image"
        parts.append(Table(shown, lead))
    if results.curve is not None:
        rows = [row for row in results.curve.rows() if row["number"] == first]
        shown = {"images": [row["num_images"] for row in rows]}
        shown |= {name: [row[name] for row in rows] for name in ("mean", "low", "high")}
        parts.append(Table(shown, f"{first} of random samples of the images: mean and range"))
    if results.per_class:
        parts.append(Table(shown_columns(_classes(evaluation, results.bootstrap), evaluation.protocol)))
    return parts


def _to_json(results: _Results) -> str:
    content: dict[str, Any] = json.loads(results.evaluation.to_json())
    if results.bootstrap is not None:
        content["bootstrap"] = results.bootstrap.to_dict()
    if results.slices is not None:
        content |= results.slices.to_dict()
    if results.images is not None:
        content["influence"] = results.images.rows()
    if results.curve is not None:
        content["learning_curve"] = results.curve.rows()
    if results.per_class:
        content["per_class"] = Columns(_classes(results.evaluation, results.bootstrap)).rows()
    return json.dumps(content)


def _classes(evaluation: Evaluation, bootstrap: Bootstrap | None) -> dict[str, list[Any]]:
    """Returns the table of all classes, with the interval of the first number beside it."""
    columns = evaluation.per_class()
    if bootstrap is None:
        return columns
    first, of_class = next(iter(evaluation.summary)), bootstrap.per_class()
    with_intervals: dict[str, list[Any]] = {}
    for name, values in columns.items():
        with_intervals[name] = values
        if name == first:
            with_intervals |= {f"{first} {end}": of_class[end] for end in ("low", "high")}
    return with_intervals


def _to_csv(columns: dict[str, list[Any]]) -> str:
    """Returns a table with a header; undefined numbers are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        writer.writerow(["" if isinstance(value, float) and math.isnan(value) else value for value in row])
    return text.getvalue()


def _write_sets(evaluation: Evaluation, arguments: argparse.Namespace) -> None:
    """Writes the rates of detections without a ranking."""
    for name in ("bootstrap", "slices", "influence", "learning_curve", "csv"):
        if getattr(arguments, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"{option} is for AP, which detections without scores, or --score-threshold, do not have")
    score = arguments.score_threshold
    rates = evaluation.precision_recall_f1(score_threshold=score, area=evaluation.protocol.area_ranges[0].name)
    concepts = evaluation.cgf1() if score is None else evaluation.cgf1(score)
    content = rates.to_dict() | {"cgf1": concepts.to_dict()}
    parts: list[Part] = [Table(rates.per_threshold(), text=str(rates)), str(concepts)]
    if not evaluation.dataset.ranked:
        ties = evaluation.tie_bounds()
        content |= {"ties": ties.to_dict()}
        parts = [_UNSCORED, *parts, str(ties)]
    if arguments.per_class:
        parts.append(Table(rates.per_class()))
    write_numbers(arguments, lambda: json.dumps(content), lambda: parts)
