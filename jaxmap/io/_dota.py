"""DOTA's files to tables of oriented boxes: one text file of quadrilaterals per image, one of detections per class.

In: `labelTxt/IMAGE.txt` with the lines `x1 y1 x2 y2 x3 y3 x4 y4 class difficult` below an optional header
(`imagesource:`, `gsd:`), and `Task1_CLASS.txt` with the lines `image score x1 y1 x2 y2 x3 y3 x4 y4`; each kind in a
folder, its subfolders, or a tar archive. Out: tables with `oriented` boxes and their hulls in `boxes`.

Most of DOTA's quadrilaterals are rectangles up to the rounding of their corners, but not all. Each is replaced by the
rectangle of least area around it, on which detectors are trained. DOTA's devkit compares the quadrilaterals, so if they
are not rectangles, IoUs may differ from the devkit's.

References: DOTA_devkit dota_utils.py, parse_dota_poly; dota_evaluation_task1.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial

import numpy as np

from .._geometry._oriented import oriented_hull
from ..types import Bools, DetectionTable, Floats, GroundTruthTable, HostArray
from ._files import PathLike
from ._lines import ends_with_line, finite_number, lines_of, shown, warn_of_cut
from ._recognition import looks_like
from ._text_files import Object, ground_truth_columns, read_detections, read_objects

__all__ = ["quads_to_oriented", "read_dota_detections", "read_dota_ground_truths"]

_CORNERS = ("x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4")
_HEADER = ("imagesource:", "gsd:")
_FLAT = 1e-12  # the area over the squared diagonal, above rounding
_SAME_AREA = 1 + 1e-9  # far above rounding, far below the precision of the corners


def read_dota_ground_truths(
    labels: PathLike, *, image_list: PathLike | Sequence[str] | None = None
) -> GroundTruthTable:
    """Reads DOTA annotations: the objects of every image, with `difficult` ones as `ignore`.

    The id of an image is its file name without `.txt`. Classes are all that occur in the annotations, including images
    that are not in the list, in alphabetical order. A missing `difficult` is 0; any whole number above 0 means
    difficult.

    Args:
      labels: a folder or tar archive with one text file per image, on any level.
      image_list: the images to include: a text file, plain or gzip, with one id per line, or the ids; None for all.

    Returns:
      One row per object, images in the order of their ids; `ids` number the objects of an image from 0. `oriented` has
      the rectangles of least area (`quads_to_oriented`), `boxes` their hulls, `area` the area of the rectangles.

    Raises:
      FileNotFoundError: if there is no such folder, archive or list.
      ValueError: if a line is invalid, two files have the same name, or the list names an image without a file; the
        message names the file, line and field.
    """
    cut: list[str] = []
    objects = read_objects(labels, ".txt", partial(_read_objects, cut))
    warn_of_cut(cut)
    columns, corners = ground_truth_columns(objects, source=labels, suffix=".txt", image_list=image_list)
    oriented = _rectangles(corners, labels)
    return GroundTruthTable(
        boxes=oriented_hull(oriented), area=oriented[:, 2] * oriented[:, 3], oriented=oriented, **columns
    )


def read_dota_detections(detections: PathLike, ground_truths: GroundTruthTable) -> DetectionTable:
    """Reads DOTA detections: one text file per class, `Task1_CLASS.txt` or `CLASS.txt`.

    Args:
      detections: a folder or tar archive with the files, a pattern such as `results/Task1_*.txt`, or one file.
      ground_truths: the ground truths, which define the images and classes.

    Returns:
      One row per line, files in the order of their names; `ids` number the rows. `oriented` has the rectangles of least
      area (`quads_to_oriented`), `boxes` their hulls, `area` the area of the rectangles.

    Raises:
      FileNotFoundError: if there is no such folder, archive or file.
      ValueError: if a line is invalid, or a class or image is not in the ground truths; the message names the file,
        line and field.
    """
    found = read_detections(detections, ground_truths, prefix="Task1_", example="Task1_", coordinates=_CORNERS)
    oriented = _rectangles(found.coordinates, detections)
    return DetectionTable(
        image_index=found.image_index,
        labels=found.labels,
        boxes=oriented_hull(oriented),
        scores=found.scores,
        ids=np.arange(len(found.scores)),
        area=oriented[:, 2] * oriented[:, 3],
        oriented=oriented,
    )


def quads_to_oriented(quads: HostArray) -> Floats:
    """Returns the rectangles of least area that enclose quadrilaterals; rectangles are returned unchanged.

    One side of this rectangle lies on a side of the convex hull (Freeman and Shapira 1975), which for four points is
    one of the six lines through two of them. If several lines give the same area, the first one is used, so that the
    width of a rectangle runs from its first corner to its second. The result equals OpenCV's `minAreaRect`, with which
    detectors for oriented boxes convert DOTA's annotations.

    Args:
      quads: `[N, 4, 2]` x and y of the corners, in any order; equal corners are allowed.

    Returns:
      `[N, 5]` float64: centre x and y, width, height, and the angle in radians from the x axis towards the y axis.

    Example:
      >>> quads_to_oriented(np.array([[[1, 1], [5, 1], [5, 3], [1, 3]]])).tolist()
      [[3.0, 2.0, 4.0, 2.0, 0.0]]
    """
    quads = np.asarray(quads, np.float64).reshape(-1, 4, 2)
    middle = quads.mean(1, keepdims=True)
    points = quads - middle  # small numbers, anywhere in the image
    along = (points[:, [1, 2, 3, 0, 2, 3]] - points[:, [0, 1, 2, 3, 0, 1]])[:, :, None]  # [N, 6, 1, 2]
    length = np.hypot(along[..., 0], along[..., 1])[..., None]
    along = np.where(length > 0, along / np.where(length > 0, length, 1.0), [1.0, 0.0])
    across = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    axes = np.concatenate([along, across], axis=2)  # [N, 6, 2, 2]
    places = np.einsum("nkac,npc->nkap", axes, points)
    low, high = places.min(-1), places.max(-1)
    area = (high - low).prod(-1)
    rows, best = np.arange(len(quads)), (area <= _SAME_AREA * area.min(1, keepdims=True)).argmax(1)
    axes, low, high = axes[rows, best], low[rows, best], high[rows, best]
    center = middle[:, 0] + np.einsum("nac,na->nc", axes, (low + high) / 2)
    angle = np.arctan2(axes[:, 0, 1], axes[:, 0, 0])
    return np.concatenate([center, high - low, angle[:, None]], axis=1)


def _rectangles(corners: Floats, source: PathLike) -> Floats:
    """Returns `[N, 5]` rectangles of `[N, 8]` corners, and warns about flat and crossed ones."""
    quads = corners.reshape(-1, 4, 2)
    oriented = quads_to_oriented(quads)
    width, height = oriented[:, 2], oriented[:, 3]
    crossed = _sides_cross(quads)
    for bad, what in (
        (width * height <= _FLAT * (width**2 + height**2), "have no area and overlap nothing; correct or drop them"),
        (crossed, "cross themselves; the rectangle around all four corners is used, whatever their order"),
    ):
        if bad.any():
            warnings.warn(
                f"{source}: {int(bad.sum())} of {len(quads)} quadrilaterals {what}. The first has the corners "
                f"{' '.join(f'{one:g}' for one in corners[bad.argmax()])}.",
                UserWarning,
                stacklevel=3,
            )
    return oriented


def _sides_cross(quads: Floats) -> Bools:
    """Returns `[N]`, whether one side of a quadrilateral `[N, 4, 2]` crosses the opposite one."""

    def side(a: int, b: int, c: int) -> Floats:
        to_b, to_c = quads[:, b] - quads[:, a], quads[:, c] - quads[:, a]
        return np.sign(to_b[:, 0] * to_c[:, 1] - to_b[:, 1] * to_c[:, 0])

    def cross(a: int, b: int, c: int, d: int) -> Bools:
        return (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)

    return cross(0, 1, 2, 3) | cross(1, 2, 3, 0)


def _read_objects(cut: list[str], name: str, data: bytes) -> list[Object]:
    """Returns the objects of a file, and adds its name to `cut` if its last line may be cut off."""
    lines = enumerate(lines_of(name, data), start=1)
    words = [(f"{name}, line {number}", line.split()) for number, line in lines if not line.startswith(_HEADER)]
    words = [(place, one) for place, one in words if one]
    if not ends_with_line(data) and words and len(words[-1][1]) < max(len(one) for _, one in words):
        cut.append(name)
    return [_read_object(place, one) for place, one in words]


def _read_object(place: str, words: list[str]) -> Object:
    *label, difficult = words[8:] if len(words) > 9 else [*words[8:], "0"]  # class names may have blanks
    is_named = label and (finite_number(label[-1]) is None or (len(label) == 1 and label[0].isdecimal()))
    if not is_named or finite_number(difficult) is None:
        advice = looks_like(words) if None not in map(finite_number, words) else ""
        raise ValueError(
            f"{place}: expected `{' '.join(_CORNERS)} class difficult`, got {shown(' '.join(words))}"
            f"{advice and '; '}{advice}."
        )
    if not (difficult.isdecimal() and difficult.isascii()):
        raise ValueError(f"{place}: `difficult` must be 0 or 1, got {difficult!r}.")
    corners = tuple(_corner(place, column, word) for column, word in zip(_CORNERS, words, strict=False))
    return Object(" ".join(label), int(difficult) != 0, corners)


def _corner(place: str, column: str, word: str) -> float:
    value = finite_number(word)
    if value is None:
        raise ValueError(f"{place}: `{column}` must be a finite number, got {shown(word)}.")
    return value
