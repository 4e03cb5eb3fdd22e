"""The section on localisation recall precision (LRP)."""

from __future__ import annotations

from .. import plots
from .._evaluation import Evaluation
from .._outputs import rounded_down
from ._markup import Column, Markup, element, joined, numbers, table, words
from ._pictures import picture

__all__ = ["lrp_section"]


def lrp_section(evaluation: Evaluation) -> Markup:
    """Returns the section on the optimal LRP: its mean, the classes with the lowest and highest, and all of them."""
    caption = "The parts of a bar add up to the error of the class at its best score threshold."
    drawn = picture(plots.localisation_recall_precision, evaluation, caption)
    if plots.nothing_to_localise(evaluation) is not None:
        return drawn
    threshold, area = plots.nearest_to_half(evaluation), evaluation.protocol.area_ranges[0].name
    columns = evaluation.localisation_recall_precision(threshold, area=area)
    lead = (
        f"LRP is one error for badly placed boxes, false positives and missed objects, at IoU {threshold:.2f}; oLRP is "
        "the LRP at the best score threshold of a class, and moLRP its mean over the classes."
    )
    last = len(columns["lrp"]) - 1
    summary = table(_columns(columns, slice(last, None), ["mean over the classes"]))
    every = table(_columns(columns, slice(last), list(evaluation.class_names)))
    answer = element("div", element("p", lead), summary)
    return joined(
        [
            element("div", answer, drawn, class_="pair"),
            element("details", element("summary", "The optimal LRP of each class"), every),
        ]
    )


def _columns(columns: dict[str, list[float]], rows: slice, names: list[str]) -> list[Column]:
    own_threshold = [numbers("score from", columns["score_threshold"][rows], rounded_down)] if len(names) > 1 else []
    return [
        words("class", names),
        numbers("oLRP", columns["lrp"][rows]),
        numbers("1 \N{MINUS SIGN} IoU", columns["lrp_loc"][rows]),
        numbers("1 \N{MINUS SIGN} precision", columns["lrp_fp"][rows]),
        numbers("1 \N{MINUS SIGN} recall", columns["lrp_fn"][rows]),
        *own_threshold,
        numbers("TP", columns["true_positives"][rows], ","),
        numbers("FP", columns["false_positives"][rows], ","),
        numbers("FN", columns["false_negatives"][rows], ","),
    ]
