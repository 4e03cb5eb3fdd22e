"""The section on the types of errors."""

from __future__ import annotations

from .. import plots
from .._evaluation import Evaluation
from ..analysis import ErrorTypes
from ..analysis._error_types import background_of
from ._markup import Column, Markup, classes, element, joined, numbers, table, words
from ._pictures import picture

__all__ = ["errors_section"]


def errors_section(evaluation: Evaluation) -> Markup:
    """Returns the section that says which types of errors cost AP, for all classes and each."""
    caption = "Blue bars divide the errors into types; orange bars are all wrong detections, and all objects not found."
    chart = picture(plots.error_types, evaluation, caption)
    if evaluation.matched is None or not evaluation.summary_curves.num_ground_truths[:, 0].any():
        return chart
    threshold = plots.nearest_to_half(evaluation)
    errors = evaluation.error_types(threshold, background_of(threshold))
    lead = (
        f"AP at IoU {threshold:g} is {errors.average_precision:.4f}. The gain is how much it rises if all errors of "
        "one type are fixed. Gains of several types do not add up."
    )
    details = element("details", element("summary", "The gains of each class"), table(_classes(errors)))
    return joined([element("p", lead), table(_types(errors)), chart, details])


def _types(errors: ErrorTypes) -> list[Column]:
    columns = errors.table()
    return [
        words("error", columns["error"]),
        numbers("count", columns["count"], ","),
        numbers("gain in AP", columns["gain"], ".4f"),
        words("meaning", columns["meaning"]),
    ]


def _classes(errors: ErrorTypes) -> list[Column]:
    columns = errors.per_class()
    return [
        classes(columns["class_name"]),
        numbers("objects", columns["num_ground_truths"], ","),
        numbers("AP", columns["AP"]),
        *(numbers(name.replace("_", " "), columns[f"{name}_gain"]) for name in errors.gain),
    ]
