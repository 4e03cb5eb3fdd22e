"""Metrics with odd arguments and odd batches, and the shells with odd inputs."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

import jaxmap
from jaxmap import metrics

from ._case import Case, Expected, Numbers

__all__ = ["cases"]

Make = Callable[[], Any]

ODD: dict[str, Make] = {
    "None": lambda: None,
    "-1": lambda: -1,
    "0": lambda: 0,
    "1.5": lambda: 1.5,
    "NaN": lambda: float("nan"),
    "10**9": lambda: 10**9,
    "2**63": lambda: 2**63,
    "text": lambda: "nonsense",
    "list": lambda: [],
    "dict": dict,
    "object": object,
    "(2, 1)": lambda: (2, 1),
    "(nan, 1)": lambda: (float("nan"), 1.0),
}
# The arguments of each metric that get the odd values, and those values that are right.
ARGUMENTS: list[tuple[str, dict[str, Any], dict[str, tuple[str, ...]]]] = [
    (
        "AveragePrecision",
        {"num_classes": 2, "max_images": 4},
        {
            "num_classes": (),
            "max_images": (),
            "protocol": (),
            "box_format": (),
            "max_detections_per_image": ("None",),
            "ground_truth_ids": ("None", "0"),
        },
    ),
    ("HistogramAveragePrecision", {"num_classes": 2}, {"num_classes": (), "num_bins": (), "score_range": ()}),
    ("HostAveragePrecision", {"num_classes": 2}, {"num_classes": (), "protocol": (), "box_format": ()}),
    (
        "ConfusionMatrix",
        {"num_classes": 2},
        {
            "num_classes": (),
            "iou_threshold": (),
            "score_threshold": ("-1", "0", "1.5", "10**9", "2**63"),
            "pairing": (),
        },
    ),
    ("PanopticQuality", {"num_classes": 2}, {"num_classes": (), "things": ("None", "list")}),
    ("SemanticSegmentation", {"num_classes": 2}, {"num_classes": (), "ignore_index": ("None", "-1", "0", "10**9")}),
    ("PixelAveragePrecision", {"num_classes": 2}, {"num_classes": (), "num_bins": (), "score_range": ()}),
    ("MeanAveragePrecisionAtK", {"k": 3}, {"k": ("10**9",)}),
]
BATCHES: dict[str, Make] = {
    "empty dict": dict,
    "None": lambda: None,
    "text": lambda: "abc",
    "list": lambda: [],
    "number": lambda: 3,
    "array": lambda: np.zeros((2, 3, 4)),
    "dict of boxes": lambda: {"boxes": np.zeros((2, 3, 4))},
    "wrong rank": lambda: _detections(boxes=np.zeros((3, 4), np.float32)),
    "five numbers": lambda: _detections(boxes=np.zeros((2, 3, 5), np.float32)),
    "text boxes": lambda: _detections(boxes=np.full((2, 3, 4), "a")),
    "complex boxes": lambda: _detections(boxes=np.zeros((2, 3, 4), complex)),
    "object boxes": lambda: _detections(boxes=np.full((2, 3, 4), None)),
    "float labels": lambda: _detections(labels=np.zeros((2, 3), np.float32)),
    "bool labels": lambda: _detections(labels=np.zeros((2, 3), bool)),
    "huge labels": lambda: _detections(labels=np.full((2, 3), 2**32)),
    "short scores": lambda: _detections(scores=np.zeros((2, 2), np.float32)),
    "text scores": lambda: _detections(scores=np.full((2, 3), "a")),
    "ground truths": lambda: _truths(),
    "valid of numbers": lambda: _detections(valid=np.full((2, 3), 0.5, np.float32)),
    "no images": lambda: _detections(boxes=np.zeros((0, 3, 4)), scores=np.zeros((0, 3)), labels=np.zeros((0, 3), int)),
    "other images": lambda: _detections(
        boxes=np.zeros((5, 3, 4)), scores=np.zeros((5, 3)), labels=np.zeros((5, 3), int)
    ),
}
WARNED = {"valid of numbers": ("neither 0 nor 1",), "huge labels": ("a label outside 0 to 1",)}
IDS: dict[str, Make] = {
    "text": lambda: "ab",
    "texts": lambda: ["a", "b"],
    "floats": lambda: np.array([0.5, 1.5]),
    "too many": lambda: np.arange(5),
    "huge": lambda: np.array([2**32 + 1, 2]),
    "huger": lambda: np.array([2**63, 2], np.uint64),
    "nested": lambda: np.zeros((2, 2), int),
}


def cases() -> Iterator[Case]:
    """Yields all cases of the doors `metric`, `batch` and `shell`."""
    for name, good, arguments in ARGUMENTS:
        for argument, right in arguments.items():
            for title, make in ODD.items():
                run = functools.partial(_configure, name, good, argument, make)
                words = "num_classes|label of a class" if argument == "num_classes" else argument
                expected = Expected(refused=("",), numbers=dict) if title in right else Expected(refused=(words,))
                yield Case(f"metric/{name}.{argument}/{title}", run, expected)
    for name in ("AveragePrecision", "HostAveragePrecision"):
        yield Case(
            f"batch/{name} valid", functools.partial(_update, name, None, None, None), Expected(numbers={"AP": 0.7})
        )
        for title, make in BATCHES.items():
            run = functools.partial(_update, name, "detections", make, None)
            warned = WARNED.get(title)
            expected = Expected(refused=("detections|ground_truths|image_id",), warned=warned)
            yield Case(f"batch/{name} detections/{title}", run, expected)
        for title, make in IDS.items():
            run = functools.partial(_update, name, "image_id", make, None)
            right = {"AP": 0.7} if title == "huge" else None
            yield Case(f"batch/{name} image_id/{title}", run, Expected(numbers=right, refused=("image_id|images|ids",)))
    misuses: dict[str, Make] = {
        "summarize a state": lambda: _metric("AveragePrecision").summarize(_metric("AveragePrecision").init()),
        "compute a result": lambda: _metric("AveragePrecision").compute({"AP": 1.0}),
        "merge with None": lambda: _metric("AveragePrecision").merge(_metric("AveragePrecision").init(), None),
        "merge two kinds": lambda: _metric("AveragePrecision").merge(
            _metric("AveragePrecision").init(), metrics.ConfusionMatrix(num_classes=2).init()
        ),
        "update a dict": lambda: _metric("AveragePrecision").update(
            {}, _detections(), _truths(), image_id=np.arange(2)
        ),
    }
    for title, misuse in misuses.items():
        yield Case(f"batch/{title}", lambda folder, misuse=misuse: misuse() and {}, Expected(refused=("state|result",)))


def _configure(name: str, good: dict[str, Any], argument: str, make: Make, folder: pathlib.Path) -> Numbers:
    metric = getattr(metrics, name)(**good | {argument: make()})
    if name != "HostAveragePrecision":
        metric.init()
    return {}


def _metric(name: str) -> Any:
    return getattr(metrics, name)(num_classes=2, **({"max_images": 4} if name == "AveragePrecision" else {}))


def _detections(**changes: Any) -> dict[str, Any]:
    boxes = np.tile(np.array([0, 0, 10, 8], np.float32), (2, 3, 1))
    valid = np.tile([True, False, False], (2, 1))
    return {
        "boxes": boxes,
        "scores": np.full((2, 3), 0.5, np.float32),
        "labels": np.zeros((2, 3), np.int32),
        "valid": valid,
    } | changes


def _truths() -> dict[str, Any]:
    found = _detections(boxes=np.tile(np.array([0, 0, 10, 10], np.float32), (2, 3, 1)))
    del found["scores"]
    return found


def _update(name: str, argument: str | None, make: Make | None, _: None, folder: pathlib.Path) -> Numbers:
    metric = _metric(name)
    given: dict[str, Any] = {"detections": _detections(), "ground_truths": _truths(), "image_id": np.arange(2)}
    if argument is not None and make is not None:
        given[argument] = make()
    for side, kind in (("detections", jaxmap.Detections), ("ground_truths", jaxmap.GroundTruths)):
        if isinstance(given[side], dict) and {"boxes", "labels"} <= given[side].keys():
            known = {key: value for key, value in given[side].items() if key in kind.__dataclass_fields__}
            given[side] = kind(**known) if "scores" in known or side == "ground_truths" else given[side]
    # Closed over, since `jit` itself refuses what is no array, and cuts integers to 32 bits.
    update = functools.partial(metric.update, **given)
    state = (update if name == "HostAveragePrecision" else jax.jit(update))(metric.init())
    return {"AP": metric.summarize(metric.compute(state))["AP"]}
