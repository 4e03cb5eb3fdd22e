"""The section on the calibration of scores."""

from __future__ import annotations

from .. import plots
from .._evaluation import Evaluation
from ._markup import Markup, classes, element, joined, number, numbers, table, words
from ._pictures import picture

__all__ = ["calibration_section"]


def calibration_section(evaluation: Evaluation) -> Markup:
    """Returns the section that compares scores with precision, in bins and per class."""
    caption = "Bars below the diagonal: scores promise too much. Bars above it: they promise too little."
    drawn = picture(plots.reliability_diagram, evaluation, caption)
    if plots.nothing_to_calibrate(evaluation) is not None:
        return drawn
    threshold, area = plots.nearest_to_half(evaluation), evaluation.protocol.area_ranges[0].name
    calibration = evaluation.calibration(threshold, area=area)
    lead = element(
        "p",
        f"Of the detections with a score of 0.8, 80 % should be true positives, at IoU {threshold:.2f}. The expected "
        "calibration error (ECE) is the mean gap between score and precision over the detections, ",
        number(calibration.ece),
        "; the maximum calibration error (MCE) is the largest gap of a bin, ",
        number(calibration.mce),
        ".",
    )
    bins, of_class = calibration.bins, calibration.classes
    of_bins = table(
        [
            words(
                "score",
                [f"{low:.2g} to {high:.2g}" for low, high in zip(bins["score_low"], bins["score_high"], strict=True)],
            ),
            numbers("detections", bins["num_detections"], ","),
            numbers("mean score", bins["mean_score"]),
            numbers("precision", bins["precision"]),
            numbers("gap", bins["gap"], "+z.3f"),
        ]
    )
    of_classes = table(
        [
            classes(of_class["class_name"]),
            numbers("detections", of_class["num_detections"], ","),
            numbers("ECE", of_class["ece"]),
            numbers("MCE", of_class["mce"]),
        ]
    )
    return joined(
        [
            element("div", element("div", lead, of_bins), drawn, class_="pair"),
            element("details", element("summary", "The calibration of each class"), of_classes),
        ]
    )
