"""The section that shows the worst images and the most costly errors."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import plots
from .._evaluation import Evaluation
from .._matching._host import MatchedDataset
from .._outputs import printable, rounded_down
from ..types import Ints
from ._markup import Markup, element, joined, number
from ._places import error_of, image_row, picture_of, places
from ._thumbnails import DETECTION_COLOUR, GROUND_TRUTH_COLOUR, Photo, Photos, thumbnail

__all__ = ["images_section"]

_MOST_IMAGES, _MOST_ERRORS = 8, 10
_MOST_NAMED = 5  # images that cannot be shown


def images_section(evaluation: Evaluation, folder: str | os.PathLike[str]) -> Markup:
    """Returns the section of thumbnails: the images to which most AP is lost, and the most costly false positives.

    Raises:
      ValueError: if there is no such folder.
    """
    matched = evaluation.matched
    if matched is None:
        return element("p", "Pictures need boxes, which the state of a metric does not keep.", class_="empty")
    explanation = evaluation.explain()
    if math.isnan(explanation.together):
        return element("p", "No image has counted ground truth, so none is worse than another.", class_="empty")
    images, errors = (
        [one for one in table.rows() if one["cost"]]
        for table in (explanation.images(_MOST_IMAGES), explanation.false_positives(_MOST_ERRORS))
    )
    if not images:
        return element("p", "No AP is lost to false positives.", class_="empty")
    opened: dict[Any, Photo | str | None] = {one["image_id"]: None for one in [*images, *errors]}
    photos = Photos(folder, matched.ground_truths)
    for image_id, index in zip(opened, places(list(opened), evaluation.image_ids), strict=True):
        opened[image_id] = photos.open(index)
    shown = {image_id: photo for image_id, photo in opened.items() if isinstance(photo, Photo)}
    score = plots.best_score(evaluation)
    since = f" from score {rounded_down(score)}, that of the best F1" if math.isfinite(score) else ""
    whole = [
        _image(evaluation, matched, shown[one["image_id"]], one, score) for one in images if one["image_id"] in shown
    ]
    crops = [
        _error(evaluation, matched, shown[one["image_id"]], one, number_of_error)
        for number_of_error, one in enumerate(errors)
        if one["image_id"] in shown
    ]
    return joined(
        [
            _legend(),
            *_gallery(
                "The images with the most costly false positives", f"All ground truths, and detections{since}.", whole
            ),
            *_gallery("The most costly false positives", "All ground truths, and only this detection.", crops),
            *_missing([reason for reason in opened.values() if isinstance(reason, str)], len(opened)),
        ]
    )


def _image(
    evaluation: Evaluation, matched: MatchedDataset, photo: Photo, image: dict[str, Any], score: float
) -> Markup:
    """Returns an image with its ground truths and its detections from a score."""
    (index,) = places([image["image_id"]], evaluation.image_ids)
    truths, found = _rows(matched, index)
    found = found[matched.detections.scores[found] >= score]
    name = f"image {printable(image['image_id'])}"
    cost, average = number(image["cost"], ".5f"), number(np.nan if image["AP"] is None else image["AP"])
    caption = element("a", name, href=f"#{image_row(index)}"), ": costs ", cost, ", per-image AP ", average
    alternative = f"{name} with {len(truths)} ground truths and {len(found)} detections"
    return _figure(thumbnail(photo, matched, truths, found), alternative, caption, picture_of(index))


def _error(
    evaluation: Evaluation, matched: MatchedDataset, photo: Photo, error: dict[str, Any], number_of_error: int
) -> Markup:
    """Returns a false positive and the ground truths around it."""
    (index,) = places([error["image_id"]], evaluation.image_ids)
    (label,) = places([error["class_id"]], evaluation.class_ids)
    truths, found = _rows(matched, index)
    found = found[matched.detections.ids[found] == error["detection"]][:1]
    name, target = printable(error["class_name"]), f"#{picture_of(index)} {image_row(index)}"
    score, cost = number(error["score"], ".4g"), number(error["cost"], ".5f")
    where = element("a", f"image {printable(error['image_id'])}", href=target)
    caption = element("a", name, href=f"#class-{label}"), " of score ", score, ": costs ", cost, ", in ", where
    source = thumbnail(photo, matched, truths, found, around=int(found[0]))
    return _figure(source, f"a false positive of class {name}", caption, error_of(number_of_error))


def _rows(matched: MatchedDataset, index: int) -> tuple[Ints, Ints]:
    """Returns the rows of the ground truths and of the detections of an image."""
    truths, found = (np.flatnonzero(one.image_index == index) for one in (matched.ground_truths, matched.detections))
    return truths, found


def _figure(source: str, alternative: str, caption: Iterable[str], name: str) -> Markup:
    image = element("img", src=source, alt=alternative, loading="lazy")
    return element("figure", image, element("figcaption", *caption), id=name)


def _legend() -> Markup:
    names = {"ground truth": GROUND_TRUTH_COLOUR, "detection": DETECTION_COLOUR}
    return element(
        "p",
        *(element("span", name, style=f"border-color: {colour}") for name, colour in names.items()),
        class_="legend",
    )


def _gallery(title: str, lead: str, figures: list[Markup]) -> list[Markup]:
    if not figures:
        return []
    return [element("h3", title), element("p", lead), element("div", *figures, class_="gallery")]


def _missing(reasons: list[str], count: int) -> list[Markup]:
    if not reasons:
        return []
    first = "; ".join(map(printable, reasons[:_MOST_NAMED]))
    more = f"; and {len(reasons) - _MOST_NAMED} more" if len(reasons) > _MOST_NAMED else ""
    return [element("p", f"{len(reasons)} of {count} images cannot be shown: {first}{more}.", class_="note")]
