"""The lines of YOLO's label files: a class, and a box, a polygon or the corners of an oriented box, as fractions."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..types import Bools, Floats, Ints
from ._json import first_few
from ._lines import finite_number, finite_numbers, lines_of, shown
from ._yolo_dataset import MAX_CLASSES

__all__ = ["Kind", "Rows", "read_label_files"]


class Kind(NamedTuple):
    """How the lines of one side are read.

    Attributes:
      found: whether they are detections, which may end with a confidence.
      column: the column of the table: boxes, masks or oriented.
      outside: how far beyond 0 and 1 a coordinate may be.
    """

    found: bool
    column: str
    outside: float

    def rows(self) -> str:
        """Returns the expected lines, for messages."""
        last = " [confidence]" if self.found else ""
        box, quad = f"class x y width height{last}", f"class x1 y1 x2 y2 x3 y3 x4 y4{last}"
        polygon = f"class x1 y1 x2 y2 x3 y3 ...{' confidence' if self.found else ''}"
        return {"boxes": f"`{box}` or `{polygon}`", "masks": f"`{polygon}`", "oriented": f"`{quad}`"}[self.column]

    def is_scored(self, width: int) -> bool | None:
        """Returns whether a line of so many numbers ends with a confidence; None if no line has so many."""
        if self.column == "oriented":
            return width == 10 if width == 9 or (self.found and width == 10) else None
        if self.column == "boxes" and (width == 5 or (self.found and width == 6)):
            return width == 6
        return self.found if width >= 7 and width % 2 == (not self.found) else None


class Rows(NamedTuple):
    """The lines of some files: `file` is the index of the file, `scores` are NaN where there is none."""

    file: Ints  # [N]
    labels: Ints  # [N]
    scores: Floats  # [N]
    boxes: Floats  # [N, 4], xywh in pixels
    polygons: list[Floats]  # N in pixels, empty for boxes


def read_label_files(
    files: Sequence[tuple[str, bytes]], sizes: Ints, names: dict[int, str] | None, kind: Kind, source: str
) -> Rows:
    """Reads label files; `sizes` `[F, 2]` are the heights and widths of their images."""
    parts = [_NO_ROWS]
    mixed, num_repeated = [], 0
    for number, ((name, data), (height, width)) in enumerate(zip(files, sizes.tolist(), strict=True)):
        lines = lines_of(name, data)
        rows = list(filter(None, map(str.split, lines)))
        if not kind.found:
            distinct = list(map(list, dict.fromkeys(map(tuple, rows))))
            rows, num_repeated = distinct, num_repeated + len(rows) - len(distinct)
        if not rows:
            continue
        part = _read_rows(rows, np.array([width, height]), names, kind)
        if part is None:
            raise _fault(name, lines, names, kind)
        if len({len(polygon) > 0 for polygon in part.polygons}) > 1:
            mixed.append(name)
        parts.append(part._replace(file=np.full(len(rows), number)))
    if num_repeated:
        warnings.warn(
            f"{source}: dropped {num_repeated} lines that repeat another line of their file, as Ultralytics does.",
            UserWarning,
            stacklevel=3,
        )
    if mixed and not kind.found:
        warnings.warn(
            f"{source}: {len(mixed)} files have boxes and polygons, such as {mixed[0]}; each line is read as what it "
            "is, whereas Ultralytics reads these boxes as two corners of a polygon.",
            UserWarning,
            stacklevel=3,
        )
    return _joined(parts)


def _read_rows(rows: list[list[str]], size: Ints, names: dict[int, str] | None, kind: Kind) -> Rows | None:
    """Returns the lines of a file, `file` left out; None if one is invalid. `size` is width and height."""
    by_width: dict[int, list[int]] = {}
    for place, words in enumerate(rows):
        by_width.setdefault(len(words), []).append(place)
    parts = []
    for width, places in by_width.items():
        scored = kind.is_scored(width)
        numbers = finite_numbers([word for place in places for word in rows[place]])
        if scored is None or numbers is None:
            return None
        table = numbers.reshape(-1, width)
        shares = table[:, 1 : width - scored]
        if not _are_classes(table[:, 0], names) or _are_outside(shares, kind).any():
            return None
        scores = table[:, -1] if scored else np.full(len(table), np.nan)
        if width <= 6:
            box_size = shares[:, 2:] * size
            boxes = np.concatenate([(shares[:, :2] - shares[:, 2:] / 2) * size, box_size], axis=1)
            polygons = [_NO_POLYGON] * len(table)
        else:
            points = shares.reshape(len(table), -1, 2) * size
            least = points.min(1)
            boxes = np.concatenate([least, points.max(1) - least], axis=1)
            polygons = list(points.reshape(len(table), -1))
        parts.append(Rows(np.array(places), table[:, 0].astype(np.int64), scores, boxes, polygons))
    if len(parts) == 1:
        return parts[0]
    line, labels, scores, boxes, polygons = _joined(parts)
    order = np.argsort(line)
    return Rows(line, labels[order], scores[order], boxes[order], [polygons[row] for row in order.tolist()])


def _joined(parts: Sequence[Rows]) -> Rows:
    return Rows(
        np.concatenate([part.file for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.boxes for part in parts]),
        [polygon for part in parts for polygon in part.polygons],
    )


def _are_classes(values: Floats, names: dict[int, str] | None) -> bool:
    if names is None:
        return bool(((values >= 0) & (values < MAX_CLASSES) & (values % 1 == 0)).all())
    return bool(np.isin(values, list(names)).all())


def _are_outside(shares: Floats, kind: Kind) -> Bools:
    return (shares < -kind.outside) | (shares > 1 + kind.outside)


def _fault(name: str, lines: Sequence[str], names: dict[int, str] | None, kind: Kind) -> ValueError:
    """Returns what is wrong with the first invalid line."""
    for number, line in enumerate(lines, start=1):
        words, place = line.split(), f"{name}, line {number}"
        if not words:
            continue
        scored = kind.is_scored(len(words))
        if scored is None:
            return ValueError(f"{place}: expected {kind.rows()}, got {shown(line.strip())}.")
        values = [finite_number(word) for word in words]
        if None in values:
            word = words[values.index(None)]
            what = "class" if values[0] is None else "number"
            return ValueError(f"{place}: every {what} must be a finite number, got {shown(word)}.")
        table = np.array([values], np.float64)
        if not _are_classes(table[:, 0], names):
            known = (
                f"one of the {len(names)} classes, {first_few(np.array(list(names)))}" if names else "a whole number"
            )
            return ValueError(
                f"{place}: `class` must be {known}, got {shown(words[0])}; give other names by `class_names` or "
                "--class-names."
            )
        outside = _are_outside(table[0, 1 : len(words) - scored], kind)
        if outside.any():
            return ValueError(
                f"{place}: coordinates must be fractions of the image, {-kind.outside:g} to {1 + kind.outside:g}, got "
                f"{shown(words[1 + int(outside.argmax())])}; divide pixels by the width or height of the image."
            )
    raise AssertionError("a line is invalid")


_NO_POLYGON: Floats = np.zeros(0)
_NO_ROWS = Rows(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 4)), [])
