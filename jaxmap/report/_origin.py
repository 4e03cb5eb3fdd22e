"""What made a page, and whether its numbers may stand beside those of a leaderboard."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable
from typing import NamedTuple

from .._version import __version__
from ..protocols import IOU_TYPES, PROTOCOLS, EvaluationProtocol, limit_text
from ._markup import Markup, table, words

__all__ = ["comparability", "date_of_page", "origin_section"]

_MOST_VALUES = 20  # of a grid


class _Benchmark(NamedTuple):
    """What a leaderboard scores: its name, its numbers of classes, and its sets of images whose labels are public."""

    name: str
    num_classes: tuple[int, ...]
    num_images: dict[str, int]
    iou_types: tuple[str, ...]
    reason: str | None = None  # why even the unchanged protocol is not that of the leaderboard


# Sizes as the benchmarks publish them: cocodataset.org, lvisdataset.org, the VOC devkits' ImageSets/Main, Open Images'
# download page (box validation set and its 2018-19 challenge), and the CrowdPose paper.
_COCO_IMAGES = {"val2017": 5_000, "val2014": 40_504}
_BENCHMARKS = {
    "coco": _Benchmark("COCO", (80,), _COCO_IMAGES, ("bbox", "segm")),
    "coco-keypoints": _Benchmark("COCO's keypoints", (1,), _COCO_IMAGES, ("keypoints",)),
    "crowdpose": _Benchmark("CrowdPose", (1,), {"val": 2_000, "test": 8_000}, ("keypoints",)),
    "lvis": _Benchmark("LVIS", (1_203, 1_230), {"v1 val": 19_809, "v0.5 val": 5_000}, ("bbox", "segm")),
    "voc2007": _Benchmark("PASCAL VOC 2007", (20,), {"VOC 2007 test": 4_952}, ("bbox",)),
    "voc2012": _Benchmark("PASCAL VOC 2010 to 2012", (20,), {"VOC 2012 val": 5_823}, ("bbox",)),
    "open-images": _Benchmark(
        "the Open Images challenge",
        (500, 601),
        {"validation": 41_620},
        ("bbox",),
        "the challenge counts a group-of box as one object, which a hit finds and no hit misses, while this protocol "
        "ignores it, as the Open Images V2 metric does",
    ),
    "open-images-challenge": _Benchmark("the Open Images challenge", (500, 601), {"validation": 41_620}, ("bbox",)),
}
# What a leaderboard fixes, in the words of the page. Groups of classes change no other number.
_FIXED = {
    "iou_thresholds": "IoU thresholds",
    "recall_points": "recall points",
    "area_ranges": "area ranges",
    "max_detections": "limits of detections",
    "class_agnostic": "merging of classes",
    "candidates": "rule of matching",
    "absorbing": "rule of ignored objects",
    "average": "average",
    "keypoint_sigmas": "keypoint sigmas",
    "limit_scope": "scope of the limit",
    "range_of": "quantity of the ranges",
}


def comparability(protocol: EvaluationProtocol, num_images: int, num_classes: int) -> str:
    """Returns one sentence that says whether the numbers are comparable to a leaderboard, and why.

    Only what the evaluation itself knows is judged: the protocol and the numbers of images and classes.
    """
    benchmark = _BENCHMARKS.get(protocol.name)
    if benchmark is None:
        return f"Not comparable to a leaderboard, because none is known that uses the protocol {protocol.name}."
    named = PROTOCOLS[protocol.name]
    reasons = [] if benchmark.reason is None else [benchmark.reason]
    if protocol.iou_type not in benchmark.iou_types:
        reasons.append(f"it does not rank by the IoU type {protocol.iou_type}")
    changed = [title for name, title in _FIXED.items() if getattr(protocol, name) != getattr(named, name)]
    if changed:
        reasons.append(f"these are changed: {', '.join(changed)}")
    if num_classes not in benchmark.num_classes:
        known = " or ".join(f"{count:,}" for count in benchmark.num_classes)
        reasons.append(f"it has {known} {'class' if known == '1' else 'classes'} and this page {num_classes:,}")
    fitting = [name for name, count in benchmark.num_images.items() if count == num_images]
    if not fitting:
        known = ", ".join(f"{name} has {count:,}" for name, count in benchmark.num_images.items())
        reasons.append(f"the number of images, {num_images:,}, is that of none of its sets ({known})")
    if reasons:
        return f"Not comparable to the leaderboard of {benchmark.name}, because {'; '.join(reasons)}."
    return (
        f"Comparable to numbers published for {' or '.join(fitting)} of {benchmark.name}, because the protocol is "
        "unchanged and the numbers of images and classes are those of that set; whether the images and labels are the "
        "same, this page cannot know."
    )


def origin_section(protocol: EvaluationProtocol, command: str | None) -> Markup:
    """Returns the section that says what made the page: command, version, day, and every rule of the protocol."""
    low, *_, high = (protocol.recall_points[0], *protocol.recall_points)
    facts = {
        "command": "none: made by a program that calls `jaxmap.report`" if command is None else command,
        "version": f"jaxmap {__version__}",
        "date": date_of_page(),
        "protocol": f"{protocol.name}: {protocol.description}",
        "compared": IOU_TYPES[protocol.iou_type],
        "IoU thresholds": _listed(f"{value:g}" for value in protocol.iou_thresholds),
        "recall points": f"{len(protocol.recall_points):,}, from {low:g} to {high:g}",
        "average": {
            "points": "mean precision at the recall points",
            "area": "area under the envelope",
            "trapezoid": "area by the trapezoid rule over the recall points",
        }[protocol.average],
        "limits of detections": f"{_listed(map(limit_text, protocol.max_detections))} per {protocol.limit_scope}",
        "area ranges": _listed(f"{one.name} {one.low:g} to {one.high:g}" for one in protocol.area_ranges),
        "classes": "merged into one" if protocol.class_agnostic else "each by itself",
    }
    return table([words("what", facts), words("value", facts.values())], wrapped=True)


def date_of_page() -> str:
    """Returns the day in UTC as YYYY-MM-DD: that of `SOURCE_DATE_EPOCH` if this is set, so that pages can be repeated.

    Raises:
      ValueError: if `SOURCE_DATE_EPOCH` is not a number of seconds.
    """
    seconds = os.environ.get("SOURCE_DATE_EPOCH")
    if seconds is None:
        return datetime.datetime.now(datetime.UTC).date().isoformat()
    try:
        return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        raise ValueError(
            f"SOURCE_DATE_EPOCH must be a number of seconds since 1970, such as 1700000000, got {seconds!r}."
        ) from None


def _listed(values: Iterable[str]) -> str:
    """Returns the first values, and how many more there are."""
    first = list(values)
    more = f" and {len(first) - _MOST_VALUES:,} more" if len(first) > _MOST_VALUES else ""
    return ", ".join(first[:_MOST_VALUES]) + more
