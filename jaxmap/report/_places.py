"""Where the images and classes of a table stand in the evaluation, and the links to what the page has about them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .._matching._host import MatchedDataset
from ._markup import Column, classes, linked

__all__ = ["classes_by_id", "error_of", "image_row", "images_by_id", "name_of_image", "picture_of", "places"]


def classes_by_id(names: Iterable[str], ids: Any, known: Any) -> Column:
    """Returns a column of classes, given by their names and their ids among all known ones, linked to their rows."""
    return classes(names, places(ids, known))


def images_by_id(names: Iterable[Any], ids: Any, known: Any) -> Column:
    """Returns a column of images, linked to their pictures, or else to their rows in the table of the worst ones."""
    targets = [f"{picture_of(place)} {image_row(place)}" for place in places(ids, known)]
    return linked("image", names, targets)


def error_of(number: int) -> str:
    """Returns the id of the picture of a false positive, given by its place among the most costly ones."""
    return f"error-{number}"


def image_row(place: int) -> str:
    """Returns the id of the row of an image, given by its index."""
    return f"image-{place}"


def picture_of(place: int) -> str:
    """Returns the id of the picture of an image, given by its index."""
    return f"picture-{place}"


def name_of_image(matched: MatchedDataset | None, image_id: object) -> str:
    """Returns the id of an image, with its file name if there is one."""
    truth = None if matched is None else matched.ground_truths
    if truth is None or truth.image_files is None:
        return str(image_id)
    file = truth.image_files[truth.image_ids.tolist().index(image_id)]
    return str(image_id) if file is None else f"{image_id} ({file})"


def places(ids: Any, known: Any) -> list[int]:
    """Returns the indices of ids among all known ones."""
    place = {one: index for index, one in enumerate(np.asarray(known).tolist())}
    return [place[one] for one in np.asarray(ids).tolist()]
