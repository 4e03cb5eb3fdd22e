"""The sections of the page of a comparison; each is a function of the comparison."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import plots
from .._outputs import printable
from .._summary import line_texts
from ..analysis import Comparison, Difference
from ._certainty import interval_columns
from ._markup import Column, Markup, counted, element, joined, numbers, table, words
from ._pictures import picture
from ._places import classes_by_id, name_of_image

__all__ = ["COMPARISON_SECTIONS", "facts_of_comparison"]

_TOP = 20


def facts_of_comparison(comparison: Comparison) -> str:
    """Returns what was compared and how, in a few sentences."""
    first, *others = map(printable, comparison.names)
    parts = [counted(len(comparison.image_ids), "image"), counted(len(comparison.class_ids), "class", "classes")]
    looks = f" Intervals and p-values are corrected for {comparison.num_looks} looks." * (comparison.num_looks > 1)
    return (
        f"{' and '.join(others)} compared with {first}: {', '.join(parts)}. Protocol {comparison.protocol.name}. "
        f"{comparison.confidence:.0%} intervals (BCa) from {comparison.num_replicates:,} paired replicates: all "
        f"detectors are scored on the same drawn images.{looks}"
    )


def _numbers(comparison: Comparison) -> Markup:
    names = list(line_texts(comparison.protocol))
    lead = (
        "A difference is more than luck where its interval excludes zero. The first p-value says how often images that "
        "are drawn anew would show the opposite sign, the second how often detectors that are exchanged image by image "
        "differ as much."
    )
    return joined(
        [element("p", lead), *_of_models(comparison, lambda model: _table_of_model(comparison, model, names))]
    )


def _table_of_model(comparison: Comparison, model: str, names: list[str]) -> Markup:
    rows = [comparison.summary[model][name] for name in names]
    return table([words("number", names), *_columns(comparison, model, rows)])


def _columns(comparison: Comparison, model: str, rows: list[Difference]) -> list[Column]:
    low, high, standard_error = interval_columns([row.difference for row in rows], "+z.4f")
    return [
        numbers("difference", [row.difference.value for row in rows], "+z.4f"),
        low,
        high,
        numbers("p", [row.p_value for row in rows], ".3g"),
        numbers(comparison.names[0], [row.first for row in rows]),
        numbers(model, [row.other for row in rows]),
        standard_error,
        numbers("p, exchanged", [row.p_permutation for row in rows], ".3g"),
    ]


def _wins(comparison: Comparison) -> Markup:
    wins = comparison.wins()
    first = next(iter(comparison.protocol.numbers())).name
    reference, threshold = comparison.names[0], comparison.protocol.threshold_near_half
    lead = (
        f"In how many images and classes a detector has a higher {first} than {reference}, or a lower one; and how "
        f"many objects only this detector, or only {reference}, finds at IoU {threshold:.2f}."
    )
    columns = [
        words("detector", wins["model"]),
        words("of", wins["of"]),
        *(
            numbers(title, wins[name], ",")
            for title, name in (("better", "wins"), ("worse", "losses"), ("the same", "ties"))
        ),
    ]
    return joined([element("p", lead), table(columns)])


def _classes(comparison: Comparison) -> Markup:
    caption = "Blue classes are better, orange ones worse; the intervals of grey ones include zero."
    lead = (
        "Intervals and p-values are those of each class alone; the last p-value is corrected for the number of classes "
        "(Holm)."
    )
    lowest = comparison.lowest_p_holm
    if lowest > 1 - comparison.confidence:
        lead += (
            f" With {comparison.num_replicates:,} replicates it is {lowest:.3g} at the lowest, so draw more of them to "
            "decide about single classes."
        )

    def of_model(model: str) -> Markup:
        draw = functools.partial(plots.differences, model=model)
        number = comparison.names.index(model)
        chart = picture(draw, comparison, caption, name=f"differences-{number}")
        rows = comparison.of_class[model]
        order = np.argsort([-row.difference.value for row in rows], kind="stable").tolist()  # NaN is last
        rows = [rows[place] for place in order]
        start = "class-" if number == 1 else f"class-of-{number}-"  # links lead to the rows of the first model
        columns = [
            words("class", [comparison.class_names[place] for place in order]),
            *_columns(comparison, model, rows),
            numbers("p, corrected", [row.p_holm for row in rows], ".3g"),
        ]
        return joined(
            [chart, table(columns, sorted_by="difference", rows=[{"id": f"{start}{place}"} for place in order])]
        )

    return joined([element("p", lead), *_of_models(comparison, of_model)])


def _images(comparison: Comparison) -> Markup:
    first = next(iter(comparison.protocol.numbers())).name
    lead = (
        f"How much an image adds to the difference in {first}, which is the difference minus that without the image. "
        f"The largest come first. Beside it stands the per-image {first} of both detectors."
    )
    images = comparison.images(_TOP)

    def of_model(model: str) -> Markup:
        rows = [row for row, name in enumerate(images["model"]) if name == model]
        columns = [
            words("image", [name_of_image(comparison.matched[0], one) for one in images["image_id"][rows].tolist()]),
            numbers("adds", images["influence"][rows], "+z.5f"),
            numbers(comparison.names[0], images["first"][rows]),
            numbers(model, images["other"][rows]),
        ]
        return table(columns)

    return joined([element("p", lead), *_of_models(comparison, of_model)])


def _objects(comparison: Comparison) -> Markup:
    if comparison.wins()["of"].count("objects") < len(comparison.names) - 1:
        sentence = (
            "Which objects only one detector finds needs boxes, which the state of a metric does not keep, and the "
            "same ids of objects on both sides."
        )
        return element("p", sentence, class_="empty")
    lead = (
        f"Objects that only one detector finds at IoU {comparison.protocol.threshold_near_half:.2f}, those of the "
        "highest scores, and the detection that finds them."
    )
    changes = comparison.changes(top=_TOP // 2)
    class_names = dict(zip(comparison.class_ids.tolist(), comparison.class_names, strict=True))

    def of_model(model: str) -> Markup:
        rows = [row for row, name in enumerate(changes["model"]) if name == model]
        if not rows:
            return element("p", "There is none.", class_="empty")
        finder = {"found": model, "lost": comparison.names[0]}
        columns = [
            words("found by", [finder[change] for change in changes["change"][rows].tolist()]),
            classes_by_id(
                [class_names[one] for one in changes["class_id"][rows].tolist()],
                changes["class_id"][rows],
                comparison.class_ids,
            ),
            words("image", [name_of_image(comparison.matched[0], one) for one in changes["image_id"][rows].tolist()]),
            words("object", changes["ground_truth"][rows]),
            numbers("score", changes["score"][rows]),
            numbers("IoU", changes["iou"][rows]),
        ]
        return table(columns)

    return joined([element("p", lead), *_of_models(comparison, of_model)])


def _looks(comparison: Comparison, looks: dict[str, Any]) -> Markup:
    first = next(iter(comparison.protocol.numbers())).name
    lead = (
        f"The difference in {first} of the first images, in a random order, at several sizes. The intervals are "
        "corrected for the number of looks. You may stop at the first difference that is decided: its interval "
        "excludes zero, and detectors that are exchanged image by image rarely differ as much."
    )

    def of_model(model: str) -> Markup:
        rows = [row for row, name in enumerate(looks["model"]) if name == model]
        decided = looks["decided"][rows].tolist()
        columns = [
            numbers("images", looks["num_images"][rows], ","),
            *(numbers(name, looks[name][rows], "+z.4f") for name in ("difference", "low", "high")),
            numbers("p, exchanged", looks["p_permutation"][rows], ".3g"),
            words("decided", ["yes" if one else "no" for one in decided]),
        ]
        caption = "The line is the difference, the area its interval."
        number = comparison.names.index(model)
        chart = picture(
            functools.partial(plots.sequential_comparison, model=model), looks, caption, name=f"sequential-{number}"
        )
        return joined([table(columns), chart])

    return joined([element("p", lead), *_of_models(comparison, of_model)])


def _of_models(comparison: Comparison, content: Callable[[str], Markup]) -> list[Markup]:
    """Returns the content for each further model, under its name if there are several."""
    models = comparison.names[1:]
    if len(models) == 1:
        return [content(models[0])]
    return [part for model in models for part in (element("h3", printable(model)), content(model))]


# The id, the heading and the content of each section; that on fewer images takes what `sequential_comparison` gives.
COMPARISON_SECTIONS: tuple[tuple[str, str, Callable[..., Markup]], ...] = (
    ("numbers", "Numbers", _numbers),
    ("wins", "Better, worse, the same", _wins),
    ("classes", "Classes", _classes),
    ("images", "Images that decide the difference", _images),
    ("objects", "Objects that only one finds", _objects),
    ("looks", "How many images are enough", _looks),
)
