"""The section on pooled and per-image AP."""

from __future__ import annotations

import math

import numpy as np

from .. import plots
from .._evaluation import Evaluation
from ..analysis import Explanation
from ._markup import Column, Markup, counted, element, joined, linked, numbers, one_line, table, words
from ._pictures import picture
from ._places import classes_by_id, error_of, image_row, images_by_id, picture_of, places

__all__ = ["explanation_section"]

_TOP = 10


def explanation_section(evaluation: Evaluation) -> Markup:
    """Returns the section that explains why pooled and per-image AP differ, by steps, false positives and images."""
    explanation = evaluation.explain()
    prose = [element("p", one_line(part)) for part in str(explanation).split("\n\n")[:2]]
    if math.isnan(explanation.together):
        return joined(prose)
    caption = "Each image is scored as if it were the whole dataset. Images without ground truth have no AP."
    answer = element("div", *prose, table(_steps(explanation)))
    histogram = picture(plots.image_histogram, evaluation, caption)
    pair = element("div", answer, histogram, class_="pair")
    return joined([pair, *_false_positives(explanation)])


def _steps(explanation: Explanation) -> list[Column]:
    steps = explanation.steps()
    return [
        words("from per-image AP to pooled AP", steps["step"]),
        numbers("AP", steps["AP"], ".4f"),
        numbers("step", steps["change"], "+z.4f"),
        words("share", steps["share"]),
    ]


def _false_positives(explanation: Explanation) -> list[Markup]:
    worst = explanation.false_positives(_TOP)
    rows = np.flatnonzero(worst["cost"] > 0)
    if not len(rows):
        return [element("p", "No AP is lost to false positives.", class_="empty")]
    taken = {name: [values[row] for row in rows] for name, values in worst.items()}
    columns = [
        images_by_id(taken["image_id"], taken["image_id"], explanation.dataset.image_ids),
        classes_by_id(taken["class_name"], taken["class_id"], explanation.dataset.class_ids),
        numbers("cost in AP", taken["cost"], ".5f"),
        numbers("score", taken["score"], ".4g"),
        numbers("false at IoU thresholds", taken["num_thresholds"], ","),
        numbers("outranked in other images", taken["outranks_elsewhere"], ","),
        numbers("outranked in its image", taken["outranks_at_home"], ","),
        linked("detection", taken["detection"], map(error_of, range(len(rows)))),
    ]
    lead = (
        "Cost is the gain in pooled AP without the detection, the largest first. Outranked are true positives with a "
        "lower rank."
    )
    return [
        element("h3", "The most costly false positives"),
        element("p", lead),
        table(columns),
        *_images(explanation),
    ]


def _images(explanation: Explanation) -> list[Markup]:
    worst, without = explanation.images(_TOP), explanation.without_ground_truth()
    indices = places(worst["image_id"], explanation.dataset.image_ids)
    columns = [
        linked("image", worst["image_id"], map(picture_of, indices)),
        numbers("cost in AP", worst["cost"], ".5f"),
        numbers("AP", worst["AP"], ".4f"),
        numbers("objects", worst["num_ground_truths"], ","),
        numbers("false at every IoU", worst["num_false_positives"], ","),
        numbers("classes", worst["num_classes"], ","),
    ]
    lead = (
        "Cost is summed over the false positives of the image, the largest first. Only those that are false at every "
        "IoU threshold are counted."
    )
    if without["num_images"]:
        images = counted(int(without["num_images"]), "image")
        false = counted(int(without["num_false_positives"]), "false positive")
        lead += f" Without ground truth: {images}, {false}, cost {without['cost']:.5f}."
    return [
        element("h3", "The images with the most costly false positives"),
        element("p", lead),
        table(columns, rows=[{"id": image_row(place)} for place in indices]),
    ]
