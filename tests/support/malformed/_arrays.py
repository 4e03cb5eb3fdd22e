"""Lists, padded arrays and options of `evaluate` and its relatives, each in turn odd."""

from __future__ import annotations

import datetime
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import jaxmap

from ._case import Case, Expected, Numbers
from ._coco import NAMES, numbers_of, scene

__all__ = ["cases"]

Make = Callable[[], Any]

# Made in the process of the case: what is left out of a list of values is the field itself.
VALUES: dict[str, Make] = {
    "None": lambda: None,
    "empty list": lambda: [],
    "empty dict": dict,
    "empty text": str,
    "text": lambda: "abc",
    "bytes": lambda: b"abc",
    "number": lambda: 1,
    "NaN": lambda: float("nan"),
    "True": lambda: True,
    "set": lambda: {1, 2},
    "object": object,
    "function": lambda: max,
    "class": lambda: int,
    "path": lambda: pathlib.Path("x"),
    "iterator": lambda: iter([1.0, 2.0, 3.0]),
    "generator": lambda: (value for value in (1.0, 2.0)),
    "range": lambda: range(7),
    "date": lambda: datetime.date(2024, 1, 1),
    "dates": lambda: np.array(["2024-01-01"] * 3, "datetime64[D]"),
    "texts": lambda: ["a", "b", "c"],
    "numbers as texts": lambda: ["1", "2", "3"],
    "complex": lambda: np.full(3, 1 + 2j),
    "complex boxes": lambda: np.ones((3, 4), complex),
    "objects": lambda: np.array([object()] * 3),
    "Nones": lambda: [None, None, None],
    "ragged": lambda: [[1.0], [1.0, 2.0], []],
    "nested": lambda: [[[[1.0]]]],
    "0-d": lambda: np.array(1.0),
    "5-d": lambda: np.ones((1, 1, 1, 1, 1)),
    "too long": lambda: np.ones(9),
    "too many boxes": lambda: np.ones((9, 4)),
    "NaNs": lambda: np.full(3, np.nan),
    "NaN boxes": lambda: np.full((3, 4), np.nan),
    "infinite boxes": lambda: np.full((3, 4), np.inf),
    "negative": lambda: np.full(3, -1),
    "huge integers": lambda: np.full(3, 2**63, np.uint64),
    "huger integers": lambda: [2**64, 2**70, 1],
    "structured": lambda: np.zeros(3, [("x", float)]),
    "masked": lambda: np.ma.masked_array(np.ones((3, 4)), mask=True),
    "halves": lambda: [0.5, 1.5, 2.5],
}
# Fields that are there, and whether None and an empty thing may stand for them.
FIELDS = {
    "detections": ("boxes", "scores", "labels"),
    "ground_truths": ("boxes", "labels", "crowd", "area", "ignore"),
}
ALLOWED = {
    ("scores", "negative"),
    ("scores", "halves"),
    ("scores", "huge integers"),
    ("area", "negative"),
    ("area", "halves"),
}
# Options with an odd value, and what the refusal must say.
OPTIONS: list[tuple[str, Make, str]] = [
    (name, make, name)
    for name in ("protocol", "box_format", "iou_type", "progress", "class_names", "num_classes")
    for make in (object, lambda: 1.5, lambda: "nonsense", lambda: b"coco", lambda: -1)
] + [
    (name, make, name)
    for name in ("iou_thresholds", "recall_points", "max_detections", "area_ranges")
    for make in (
        object, lambda: "abc", lambda: [], lambda: [None], lambda: [float("nan")], lambda: [-1.0], lambda: {"a": None},
        lambda: [[0.5]], lambda: [1e400], lambda: b"5", lambda: ["0.5"], lambda: 1j, lambda: [2, 1],
        lambda: {1: (0, 1)}, lambda: {"a": (float("nan"), 1)},
    )
] + [
    ("num_classes", lambda: 0, "num_classes"),
    ("num_classes", lambda: 1, "labels"),
    ("num_classes", lambda: 10**9, "num_classes"),
    ("num_classes", lambda: 2**63, "num_classes"),
    ("num_classes", lambda: True, "num_classes"),
    ("class_names", lambda: ["cat"], "labels"),
    ("class_names", lambda: {"1": "cat"}, "class_names"),
    ("class_names", lambda: {0: "cat"}, "labels"),
    ("max_detections", lambda: [0], "max_detections"),
    ("max_detections", lambda: [2**63], "max_detections"),
]  # fmt: skip
# What stands in the place of both sides.
BOTH: dict[str, tuple[Callable[[Any, Any], tuple[Any, Any]], str]] = {
    "files": (lambda found, truth: ("gt.json", "dt.json"), "read_coco"),
    "paths": (lambda found, truth: (pathlib.Path("gt.json"), pathlib.Path("dt.json")), "read_coco"),
    "swapped": (lambda found, truth: (truth, found), "first"),
    "one image": (lambda found, truth: (found[0], truth[0]), "list"),
    "empty": (lambda found, truth: ([], []), "at least one image"),
    "tuples": (lambda found, truth: ((), ()), "at least one image"),
    "one image short": (lambda found, truth: (found[:1], truth), "same images"),
    "by id": (lambda found, truth: (dict(enumerate(found)), dict(enumerate(truth))), "list"),
    "None": (lambda found, truth: (None, None), "detections"),
    "numbers": (lambda found, truth: ([1, 2], [3, 4]), r"detections\[0\]"),
    "lists of boxes": (lambda found, truth: ([one["boxes"] for one in found], truth), r"detections\[0\]"),
    "generators": (lambda found, truth: (iter(found), iter(truth)), "detections"),
    "no images": (
        lambda found, truth: (
            {"boxes": np.zeros((0, 3, 4)), "scores": np.zeros((0, 3)), "labels": np.zeros((0, 3), int)},
            {"boxes": np.zeros((0, 3, 4)), "labels": np.zeros((0, 3), int)},
        ),
        "at least one image",
    ),
    "unknown field": (lambda found, truth: ([one | {"is_crowd": [0]} for one in found], truth), "is_crowd"),
    "table and list": (lambda found, truth: (jaxmap.io.demo_scene(3)[0], truth), "table|first"),
    "swapped tables": (lambda found, truth: jaxmap.io.demo_scene(3)[::-1], "first"),
    "Detections twice": (
        lambda found, truth: (jaxmap.Detections(boxes=[[[0, 0, 1, 1]]], scores=[[1]], labels=[[0]]),) * 2,
        "first|scores|ground_truths",
    ),
}


def cases() -> Iterator[Case]:
    """Yields all cases of the doors `lists`, `padded`, `options`, `confusion` and `average_precision`."""
    right = {name: value for name, value in _right().items() if name in NAMES}
    for door, form in (("lists", _lists), ("padded", _padded)):
        yield Case(f"{door}/valid", functools.partial(_evaluate, form), Expected(numbers=right, silent=True))
        for side, fields in FIELDS.items():
            for field in fields:
                for name, make in VALUES.items():
                    run = functools.partial(_evaluate, form, side, field, make)
                    yield Case(f"{door}/{side}.{field}/{name}", run, _expected(door, side, field, name))
    for number, (name, make, words) in enumerate(OPTIONS):
        run = functools.partial(_evaluate, _lists, options={name: make})
        yield Case(f"options/{number} {name}", run, Expected(refused=(words,)))
    for name, (change, words) in BOTH.items():
        yield Case(f"lists/both {name}", functools.partial(_both, jaxmap.evaluate, change), Expected(refused=(words,)))
        run = functools.partial(_both, jaxmap.confusion_matrix, change)
        yield Case(f"confusion/both {name}", run, Expected(refused=(words,)))
    for name in ("iou_threshold", "score_threshold", "pairing", "normalize", "protocol"):
        for number, make in enumerate((object, lambda: float("nan"), lambda: "x", lambda: [0.5], lambda: 1j, dict)):
            run = functools.partial(_confusion, {name: make})
            yield Case(f"confusion/{name} {number}", run, Expected(refused=(name,)))


def _right() -> Numbers:
    return numbers_of("coco")


def _lists() -> dict[str, list[dict[str, Any]]]:
    """Returns COCO's scene as lists of one mapping per image."""
    truth, found = scene("coco")
    sides: dict[str, list[dict[str, Any]]] = {"detections": [], "ground_truths": []}
    for image in (1, 2):
        for side, rows in (("detections", found), ("ground_truths", truth["annotations"])):
            mine = [row for row in rows if row["image_id"] == image]
            boxes = np.array([row["bbox"] for row in mine], float)
            boxes[:, 2:] += boxes[:, :2]
            entry: dict[str, Any] = {"boxes": boxes, "labels": np.array([row["category_id"] - 1 for row in mine])}
            if side == "detections":
                entry["scores"] = np.array([row["score"] for row in mine])
            else:
                entry |= {"crowd": np.zeros(len(mine), bool), "ignore": np.zeros(len(mine), bool)}
                entry["area"] = np.array([row["area"] for row in mine], float)
            sides[side].append(entry)
    return sides


def _padded() -> dict[str, dict[str, np.ndarray]]:
    """Returns the same scene padded to three rows, with NaN in the padding."""
    padded = {}
    for side, images in _lists().items():
        padded[side] = {"valid": np.array([np.arange(3) < len(image["labels"]) for image in images])}
        for name, first in images[0].items():
            fill = np.nan if first.dtype == float else 0
            rows = [np.full((3, *first.shape[1:]), fill, first.dtype) for _ in images]
            for row, image in zip(rows, images, strict=True):
                row[: len(image[name])] = image[name]
            padded[side][name] = np.stack(rows)
    return padded


def _evaluate(
    form: Callable[[], dict[str, Any]],
    side: str = "",
    field: str = "",
    make: Make | None = None,
    folder: pathlib.Path | None = None,
    options: dict[str, Make] | None = None,
) -> Numbers:
    if isinstance(side, pathlib.Path):  # the folder, which is not needed
        side = ""
    sides = form()
    if make is not None and field:
        (sides[side] if isinstance(sides[side], dict) else sides[side][0])[field] = make()
    summary = jaxmap.evaluate(**sides, **{name: one() for name, one in (options or {}).items()}).summary
    return {name: summary[name] for name in NAMES if name in summary}


def _both(function: Callable[..., Any], change: Callable[[Any, Any], tuple[Any, Any]], folder: pathlib.Path) -> Numbers:
    function(*change(*_lists().values()))
    return {}


def _confusion(options: dict[str, Make], folder: pathlib.Path) -> Numbers:
    jaxmap.confusion_matrix(**_lists(), **{name: make() for name, make in options.items()})
    return {}


def _expected(door: str, side: str, field: str, name: str) -> Expected:
    words = (side, field)
    if name == "None" and field in ("crowd", "ignore", "area"):  # not given, which is 0, or the boxes' areas
        right = None if door == "lists" else _right
        return Expected(numbers=right, refused=(side, field) if door == "lists" else None)
    if (field, name) in ALLOWED or (name == "True" and door == "lists"):
        return Expected(numbers=dict, refused=words)
    return Expected(refused=words)
