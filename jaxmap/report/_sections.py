"""The sections of the page; each is a function of the evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import plots
from .._evaluation import Evaluation
from .._outputs import rounded_down
from .._summary import line_texts, shown_columns, summary_columns
from ..protocols import PROTOCOLS, UNLIMITED
from ._calibration import calibration_section
from ._certainty import influence_section, intervals_section, slices_section
from ._errors import errors_section
from ._explanation import explanation_section
from ._explorer import curves_of_classes, points_of_curves
from ._images import images_section
from ._lrp import lrp_section
from ._markup import Markup, classes, counted, element, joined, linked, number, numbers, one_line, table, words
from ._pictures import picture

__all__ = ["SECTIONS", "facts"]

_OF_ALL = ["all classes, counts added up", "all classes, mean of their rates"]  # the last two rows of operating points


def facts(evaluation: Evaluation) -> str:
    """Returns what was scored and how, in two sentences."""
    protocol = evaluation.protocol
    objects = int(np.asarray(evaluation.summary_curves.num_ground_truths)[:, 0].sum())
    detections, limit = len(evaluation.dataset.records.detections.scores), protocol.max_detections[-1]
    counts = {"image": len(evaluation.image_ids), "object": objects, "detection": detections}
    parts = [counted(count, noun) for noun, count in counts.items()]
    if limit != UNLIMITED:
        parts[-1] += f" (at most {limit:,} per image and class)"
    num_classes = counted(len(evaluation.class_ids), "class", "classes")
    as_named = protocol == PROTOCOLS.get(protocol.name)
    how = f": {protocol.description}" if as_named else " with changed thresholds, areas, limits or groups of classes"
    return f"{', '.join(parts)}, {num_classes}. Protocol {protocol.name}{how}."


def _headline(evaluation: Evaluation) -> Markup:
    protocol, summary = evaluation.protocol, evaluation.summary
    texts = line_texts(protocol)
    overall = next(iter(texts.values())).which
    tiles = [
        _tile(name, summary[name], f"IoU {text.iou}")
        for name, text in texts.items()
        if text.quantity.name == "precision" and text.which == overall
    ]
    threshold = plots.nearest_to_half(evaluation)
    best = evaluation.curve(threshold, area=protocol.area_ranges[0].name).best
    if math.isfinite(best.score_threshold):
        rates = f"precision {best.precision:.3f}, recall {best.recall:.3f}"
        note = f"IoU {threshold:.2f}, from score {rounded_down(best.score_threshold)}: {rates}"
        tiles.append(_tile("best F1", best.f_score, note))
    columns = [
        numbers(title, values) if title == "value" else words(title, values)
        for title, values in summary_columns(summary, protocol).items()
    ]
    ties = evaluation.tie_bounds()
    notes = [element("p", one_line(str(ties)), class_="note")] if ties.differ or ties.num_contested else []
    return joined([element("div", *tiles, class_="tiles"), table(columns), *notes])


def _curves(evaluation: Evaluation) -> Markup:
    of_thresholds = "The stricter the IoU threshold, the lower the curve; a wide gap means inaccurate boxes."
    thresholds = picture(plots.iou_curves, evaluation, of_thresholds)
    return element("div", curves_of_classes(evaluation), thresholds, class_="pair")


def _operating_points(evaluation: Evaluation) -> Markup:
    threshold, area = plots.nearest_to_half(evaluation), evaluation.protocol.area_ranges[0].name
    points, names = evaluation.operating_points(threshold, area=area), evaluation.class_names
    lead = (
        "AP ranks all detections, but a deployed detector reports those above a score threshold. The thresholds below "
        f"have the highest F1 at IoU {threshold:.2f}, from counts."
    )
    counts = "All classes pooled. A value applies to every threshold down to the next lower score."
    scores = "Scores of correct and wrong detections; the less they overlap, the better."
    return joined(
        [
            element("p", lead),
            element(
                "div",
                picture(plots.f_score_curve, evaluation, counts),
                picture(plots.score_histogram, evaluation, scores),
                class_="pair",
            ),
            _points(points, slice(-2, None), _OF_ALL),
            element(
                "details", element("summary", "The best threshold of each class"), _points(points, slice(-2), names)
            ),
        ]
    )


def _points(points: dict[str, Any], rows: slice, names: Sequence[str]) -> Markup:
    columns = [
        words("class", names) if names is _OF_ALL else classes(names),
        numbers("score from", points["score_threshold"][rows], rounded_down),
        numbers("F1", points["f_score"][rows]),
        numbers("precision", points["precision"][rows]),
        numbers("recall", points["recall"][rows]),
        numbers("TP", points["true_positives"][rows], ","),
        numbers("FP", points["false_positives"][rows], ","),
        numbers("FN", points["false_negatives"][rows], ","),
    ]
    return table(columns)


def _sets(evaluation: Evaluation) -> Markup:
    area, score = evaluation.protocol.area_ranges[0].name, plots.best_score(evaluation)
    ranked = evaluation.dataset.ranked
    lead = (
        "A deployed detector gives one set of boxes per image, without an order: here the detections from the score of "
        "the best F1, matched as for AP."
        if ranked
        else "The detections have no scores (all are 1), so AP depends on the order of the rows. Precision, recall and "
        "F1 do not: at each IoU threshold, as many detections as possible are matched."
    )
    caption = "All classes pooled. The faster the lines fall, the less accurate are the boxes."
    parts = [element("p", lead), picture(plots.iou_rates, evaluation, caption)]
    if ranked or evaluation.matched is not None:
        rates = evaluation.precision_recall_f1(score_threshold=score, area=area)
        parts.append(_rates_table(rates.per_threshold()))
    if evaluation.matched is not None:
        parts.append(element("p", one_line(str(evaluation.cgf1(score))), class_="note"))
    return joined(parts)


def _rates_table(rates: dict[str, Any]) -> Markup:
    columns = [numbers("IoU", rates["iou_threshold"], ".2f")]
    columns += [
        numbers(f"{title} {average}", rates[f"{average}_{name}"])
        for average in ("micro", "macro")
        for name, title in (("precision", "precision"), ("recall", "recall"), ("f1", "F1"))
    ]
    counts = (("TP", "true_positives"), ("FP", "false_positives"), ("FN", "false_negatives"))
    return table([*columns, *(numbers(title, rates[name], ",") for title, name in counts)])


def _confusion(evaluation: Evaluation) -> Markup:
    caption = (
        "Detections from the threshold of the best F1, paired with ground truths of any class; the classes with the "
        "most errors come first. The colour shows the share of the row. The last column counts missed objects, the "
        "last row detections on the background. The diagonal entry of summed classes counts correct pairs and "
        "confusions among them."
    )
    return picture(plots.confusion_matrix, evaluation, caption, wide=True)


def _classes(evaluation: Evaluation) -> Markup:
    columns = shown_columns(evaluation.per_class(), evaluation.protocol)
    first = next(iter(evaluation.summary))
    order = np.argsort(-np.array(columns[first]), kind="stable")  # NaN is last
    sorted_columns = {name: [values[row] for row in order] for name, values in columns.items()}
    names = linked("class", sorted_columns.pop("class_name"), ["curves"] * len(order))
    ids, objects = sorted_columns.pop("class_id"), sorted_columns.pop("num_ground_truths")
    rates = [numbers(name, values) for name, values in sorted_columns.items()]
    points = points_of_curves(evaluation)
    rows = [{"id": f"class-{label}"} | ({"data_curve": points[label]} if points[label] else {}) for label in order]
    return table([names, words("id", ids), numbers("objects", objects, ","), *rates], sorted_by=first, rows=rows)


def _tile(name: str, value: float, note: str) -> Markup:
    return element(
        "div", element("span", name), element("strong", number(value)), element("small", note), class_="tile"
    )


# The id, the heading and the content of each section; some take a further argument (see `report_page`).
SECTIONS: tuple[tuple[str, str, Callable[..., Markup]], ...] = (
    ("numbers", "Numbers", _headline),
    ("intervals", "Intervals", intervals_section),
    ("slices", "Parts of the images", slices_section),
    ("why", "Pooled and per-image AP", explanation_section),
    ("influence", "Influence of images", influence_section),
    ("pictures", "Pictures of errors", images_section),
    ("curves", "Precision and recall", _curves),
    ("thresholds", "Score thresholds", _operating_points),
    ("sets", "Precision, recall and F1", _sets),
    ("errors", "Error types", errors_section),
    ("lrp", "Localisation, precision and recall", lrp_section),
    ("calibration", "Calibration of scores", calibration_section),
    ("confusion", "Confusion matrix", _confusion),
    ("classes", "Classes", _classes),
)
