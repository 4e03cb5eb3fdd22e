"""What a folder or an archive holds, to recognise its format, and to say what it may be instead of the expected."""

from __future__ import annotations

import contextlib
import itertools
import pathlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ._files import PathLike, files_in, is_archive, names_in, read_bytes
from ._lines import finite_number, lines_of

__all__ = ["Contents", "contents_of", "is_kitti_label", "is_label", "looks_like"]

_NUM_LOOKED_AT = 9  # files and lines that are read
_KITTI_WORDS = 15
_OUTSIDE = 0.01  # of the fractions in labels, which may leave the image a little


class Contents(NamedTuple):
    """The contents of a folder or an archive.

    Attributes:
      suffixes: how many files have each suffix.
      lines: the words of the first lines of the first text files.
    """

    suffixes: Counter[str]
    lines: list[list[str]]

    def __str__(self) -> str:
        return ", ".join(f"{count} of {kind}" for kind, count in self.suffixes.most_common(5)) or "no file"

    def is_kitti(self) -> bool:
        """Returns whether a line is one of KITTI's labels."""
        return any(map(is_kitti_label, self.lines))

    def advice(self) -> str:
        """Returns what to do with such a folder where another format is expected."""
        if self.suffixes[".xml"]:
            return "VOC's *.xml files are read by `read_voc_ground_truths`, or without --iou-type obb"
        if self.suffixes[".json"]:
            return "name the *.json file itself"
        return next(filter(None, map(looks_like, self.lines)), "check that it is the right folder or archive")


def contents_of(source: PathLike) -> Contents:
    """Returns what is in a folder or a tar archive, on any level.

    Raises:
      OSError: if a part of it cannot be read.
      ValueError: if an archive is damaged or cut off.
    """
    names = names_in(source)
    texts = [name for name in names if name.lower().endswith(".txt")]
    lines: list[list[str]] = []
    for name, data in _first_files(source, texts) if texts else ():
        with contextlib.suppress(ValueError):  # a file that is not a text
            lines += map(str.split, lines_of(name, data)[:_NUM_LOOKED_AT])
    suffixes = Counter(pathlib.PurePath(name).suffix or "no suffix" for name in names)
    return Contents(suffixes, list(filter(None, lines)))


def _first_files(source: PathLike, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yields some text files; those that cannot be read are named later, by the reader of their format."""
    if is_archive(source):
        yield from itertools.islice(files_in(source, ".txt"), _NUM_LOOKED_AT)
        return
    for name in names[:_NUM_LOOKED_AT]:
        with contextlib.suppress(OSError, ValueError):
            yield name, read_bytes(name)


def looks_like(words: Sequence[str]) -> str:
    """Returns the format that a line of another format looks like, for messages, or an empty text."""
    is_number = [finite_number(word) is not None for word in words]
    if is_label(words):
        return (
            "it looks like YOLO's labels (`class x y width height` in fractions of the image), which are read by "
            "`read_yolo_ground_truths`, or with --format yolo"
        )
    if len(words) in (9, 10) and all(is_number[:8]) and not is_number[8]:
        return "it looks like DOTA's labels, which are read by `read_dota_ground_truths`, or with --iou-type obb"
    if len(words) == 6 and all(is_number[1:]):
        return "it looks like VOC's detections, which come second, after the ground truths"
    return ""


def is_label(words: Sequence[str]) -> bool:
    """Returns whether a line is one of YOLO's labels: a class and at least four fractions."""
    numbers = [finite_number(word) for word in words]
    if len(words) < 5 or None in numbers or not words[0].isdecimal():
        return False
    return all(-_OUTSIDE <= float(word) <= 1 + _OUTSIDE for word in words[1:])


def is_kitti_label(words: Sequence[str]) -> bool:
    """Returns whether a line is one of KITTI's labels: a type and 14 numbers."""
    return len(words) == _KITTI_WORDS and finite_number(words[0]) is None and finite_number(words[-1]) is not None
