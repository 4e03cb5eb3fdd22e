"""The section on localisation recall precision (LRP)."""

from __future__ import annotations

from .. import plots
from .._evaluation import Evaluation
from .._outputs import rounded_down
from ._markup import Markup, classes, element, joined, numbers, table, words
from ._pictures import picture

__all__ = ["lrp_section"]

_ERRORS = {  # by the name of the column: the heading, and what the mean is called
    "lrp": ("oLRP", "moLRP"),
    "lrp_loc": ("1 \N{MINUS SIGN} IoU", "badly placed boxes: 1 \N{MINUS SIGN} IoU"),
    "lrp_fp": ("1 \N{MINUS SIGN} precision", "false positives: 1 \N{MINUS SIGN} precision"),
    "lrp_fn": ("1 \N{MINUS SIGN} recall", "missed objects: 1 \N{MINUS SIGN} recall"),
}


def lrp_section(evaluation: Evaluation) -> Markup:
    """Returns the section on the optimal LRP: its mean, the classes with the lowest and highest, and all of them."""
    caption = "The parts of a bar add up to the error of the class at its best score threshold."
    drawn = picture(plots.localisation_recall_precision, evaluation, caption)
    if plots.nothing_to_localise(evaluation) is not None:
        return drawn
    threshold, area = plots.nearest_to_half(evaluation), evaluation.protocol.area_ranges[0].name
    columns = evaluation.localisation_recall_precision(threshold, area=area)
    lead = (
        f"LRP is one error for badly placed boxes, false positives and missed objects, at IoU {threshold:.2f}. oLRP is "
        "the LRP at the best score threshold of a class, and moLRP its mean over the classes."
    )
    titles = [title for _, title in _ERRORS.values()]
    means = table([words("error", titles), numbers("mean over the classes", [columns[name][-1] for name in _ERRORS])])
    of_classes = table(
        [
            classes(evaluation.class_names),
            *(numbers(title, columns[name][:-1]) for name, (title, _) in _ERRORS.items()),
            numbers("score from", columns["score_threshold"][:-1], rounded_down),
            numbers("TP", columns["true_positives"][:-1], ","),
            numbers("FP", columns["false_positives"][:-1], ","),
            numbers("FN", columns["false_negatives"][:-1], ","),
        ]
    )
    return joined(
        [
            element("div", element("div", element("p", lead), means), drawn, class_="pair"),
            element("details", element("summary", "The optimal LRP of each class"), of_classes),
        ]
    )
