"""The sections on intervals and on the images with the largest influence."""

from __future__ import annotations

import numpy as np

from .. import plots
from .._evaluation import Evaluation
from .._evaluation._slices import Slices
from .._summary import line_texts
from ..analysis import Bootstrap, Interval
from ._markup import Column, Markup, classes, element, joined, numbers, table, words
from ._pictures import picture
from ._places import images_by_id, name_of_image

__all__ = ["influence_section", "interval_columns", "intervals_section", "slices_section"]

_TOP, _NUMBERS = 10, 6  # images, and numbers of the summary
_SAMPLES = 50  # of each size, behind the learning curve
_MOST_IMAGES = 5_000  # beyond which the influence of each takes minutes


def intervals_section(evaluation: Evaluation, num_replicates: int) -> Markup:
    """Returns the section that says how certain the numbers are: standard errors and intervals of each."""
    if len(evaluation.image_ids) < 2:
        return element("p", "Intervals need at least two images.", class_="empty")
    bootstrap = evaluation.bootstrap(num_replicates)
    lead = (
        f"Images are drawn {num_replicates:,} times, with replacement, as many as there are. About "
        f"{bootstrap.confidence:.0%} of such intervals (BCa) contain the number that infinitely many images of the "
        "same kind would give."
    )
    caption = "Points are the numbers, bars their intervals. Blue numbers are precisions, orange ones are not."
    chart = picture(plots.intervals, bootstrap, caption, name="interval-bars")
    pair = element("div", element("div", element("p", lead), table(_numbers(bootstrap))), chart, class_="pair")
    first = next(iter(bootstrap.summary))
    title = f"{first} of each class with its interval"
    of_classes = element("details", element("summary", title), table(_classes(bootstrap)))
    few = (
        f"The line is the mean {first} of {_SAMPLES} random samples of so many images, the area contains "
        f"{bootstrap.confidence:.0%} of them. {first} of few images is too high on average."
    )
    curve = picture(plots.learning_curve, evaluation.learning_curve(num_samples=_SAMPLES), few)
    return joined([pair, of_classes, curve])


def influence_section(evaluation: Evaluation) -> Markup:
    """Returns the section on the images that change the first number of the summary most."""
    num_images = len(evaluation.image_ids)
    if num_images < 2:
        return element("p", "Influence needs at least two images.", class_="empty")
    if num_images > _MOST_IMAGES:
        sentence = (
            f"The influence of each image is left out for more than {_MOST_IMAGES:,} images, because it takes minutes; "
            "`evaluation.influence()` computes it."
        )
        return element("p", sentence, class_="empty")
    columns = evaluation.influence()
    images = {name: values[:_TOP] for name, values in columns.items()}
    first = next(iter(evaluation.summary))
    lead = (
        f"Influence is {first} minus {first} without the image: a positive one says that the image raises {first}. The "
        "largest come first. If few images decide a number, look at them, and do not trust its last digits."
    )
    ids = images.pop("image_id")
    named = [name_of_image(evaluation.matched, one) for one in ids.tolist()]
    shown = [images_by_id(named, ids, evaluation.image_ids)]
    names = list(line_texts(evaluation.protocol))[:_NUMBERS]
    shown += [numbers(name, images[name], "+z.5f") for name in names]
    return joined([element("p", lead), table(shown)])


def slices_section(evaluation: Evaluation, slices: Slices) -> Markup:
    """Returns the section on parts of the images: the numbers of each, and the interval of the first."""
    rows, first = slices.numbers(), next(iter(evaluation.summary))
    columns = [
        words("images", rows["slice"]),
        numbers("number", rows["num_images"], ","),
        numbers("objects", rows["num_ground_truths"], ","),
    ]
    for name in list(line_texts(evaluation.protocol))[:_NUMBERS]:
        columns.append(numbers(name, rows[name]))
        if name == first and not np.isnan(rows["low"]).all():
            columns += [numbers(end, rows[end]) for end in ("low", "high")]
    lead = (
        f"Each part is scored by itself. {first} of few images is too high on average, so compare parts of about the "
        "same size; and the more parts you look at, the likelier one of them looks special by luck."
    )
    return joined([element("p", lead), table(columns)])


def interval_columns(estimates: list[Interval], form: str = ".3f") -> list[Column]:
    """Returns the columns of intervals: low and high ends, and standard errors."""
    return [
        numbers("low", [one.low for one in estimates], form),
        numbers("high", [one.high for one in estimates], form),
        numbers("standard error", [one.standard_error for one in estimates], ".4f"),
    ]


def _numbers(bootstrap: Bootstrap) -> list[Column]:
    names = list(line_texts(bootstrap.protocol))
    estimates = [bootstrap.summary[name] for name in names]
    return [words("number", names), numbers("value", [one.value for one in estimates]), *interval_columns(estimates)]


def _classes(bootstrap: Bootstrap) -> list[Column]:
    first = next(iter(bootstrap.summary))
    values = [one.value for one in bootstrap.of_class]
    return [classes(bootstrap.class_names), numbers(first, values), *interval_columns(bootstrap.of_class)]
