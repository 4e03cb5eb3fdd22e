"""An explanation as text: the answer in a sentence, the steps, the false positives, the images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._outputs import printable

if TYPE_CHECKING:
    from ._explanation import Explanation

__all__ = ["aligned", "explanation_text"]

NOTHING = 5e-5  # what four decimals show as 0
NAMES_SHOWN = 3  # if an image lacks more classes, only their number is shown

_MEANING = """\
Class averaging: per-image AP averages only over the classes of the image; in pooled AP every class counts once.
Ranking: in pooled AP every object counts once, and all detections of a class are in one ranking, where a false positive
that costs nothing in its own image can rank above true positives of other images."""


def explanation_text(explanation: Explanation, top: int) -> str:
    """Returns the text of an explanation, with the `top` most costly false positives and images."""
    if np.isnan(explanation.together):
        return "No image has counted ground truth, so neither per-image nor pooled AP is defined."
    parts = [
        f"{_answer(explanation)}\n{_reasons(explanation)}",
        _MEANING,
        _steps(explanation),
        _false_positives(explanation.false_positives(top), explanation.outcomes.num_thresholds),
        _images(explanation.images(top)),
        _without_ground_truth(explanation.without_ground_truth()),
    ]
    return "\n\n".join(part for part in parts if part)


def _answer(explanation: Explanation) -> str:
    alone, together, difference = explanation.images_alone, explanation.together, explanation.difference
    count = int((~np.isnan(explanation.image_average_precision)).sum())
    size = f"{abs(difference):.4f} {'lower' if difference > 0 else 'higher'}" if _counts(difference) else "the same"
    if count == 1:
        return f"The AP of the one image with objects is {alone:.4f}; the pooled AP is {together:.4f}, {size}."
    return f"The mean per-image AP of {count:,} images is {alone:.4f}; the pooled AP is {together:.4f}, {size}."


def _reasons(explanation: Explanation) -> str:
    shares = {"class averaging": explanation.class_averaging_share, "ranking": explanation.ranking_share}
    if not any(map(_counts, shares.values())):
        return "Neither class averaging nor ranking changes anything."
    largest_first = sorted(shares, key=lambda name: -abs(shares[name]))
    return " and ".join(f"{name} {_effect(shares[name])}" for name in largest_first).capitalize() + "."


def _effect(share: float) -> str:
    return f"{'takes' if share > 0 else 'adds'} {abs(share):.4f}" if _counts(share) else "changes nothing"


def _counts(value: float) -> bool:
    return abs(value) >= NOTHING


def _steps(explanation: Explanation) -> str:
    rows = [["", "from per-image AP to pooled AP", "AP", "step"]]
    for share, step, value, change in zip(*explanation.steps().values(), strict=True):
        rows.append([share, step, f"{value:.4f}", "" if np.isnan(change) else f"{change:+.4f}"])
    return aligned(rows, "<<>>")


def _false_positives(table: dict[str, Any], num_thresholds: int) -> str:
    if not (table["cost"] > 0).any():
        return "No AP is lost to false positives."
    rows = [["cost", "image", "class", "detection", "score", "false at", "ranks above true positives"]]
    columns = zip(*table.values(), strict=True)
    for image, _, name, detection, score, cost, false_at, elsewhere, at_home, images in columns:
        if cost > 0:
            where = f"image {images[0]}" if len(images) == 1 else f"{len(images):,} other images"
            above = f"{elsewhere:,} in {where}" if len(images) else "none in other images"
            above += f", {at_home:,} in the same image" if at_home else ", none in the same image"
            false = f"{false_at} of {num_thresholds} IoU"
            rows.append([f"{cost:.5f}", str(image), name, str(detection), f"{score:.4g}", false, above])
    title = "The most costly false positives (cost: the gain in pooled AP without this detection)"
    return f"{title}\n{aligned(rows, '>><>>><')}"


def _images(table: dict[str, Any]) -> str:
    rows = [["cost", "image", "AP", "objects", "false at every IoU", "missing classes"]]
    for image, objects, alone, false, cost, held, lacks in zip(*table.values(), strict=True):
        ap = "-" if np.isnan(alone) else f"{alone:.4f}"
        missing = f"{len(lacks)} of {held + len(lacks)}" if len(lacks) > NAMES_SHOWN else ", ".join(lacks) or "none"
        rows.append([f"{cost:.5f}", str(image), ap, f"{objects:,}", f"{false:,}", missing])
    return "The images with the most costly false positives (cost: summed over them)\n" + aligned(rows, ">>>>><")


def _without_ground_truth(numbers: dict[str, float]) -> str:
    if not numbers["num_images"]:
        return ""
    return (
        f"Images without ground truth: {numbers['num_images']:,}. They have no per-image AP; in pooled AP, their "
        f"{numbers['num_false_positives']:,} false positives, at every IoU threshold, cost {numbers['cost']:.5f}."
    )


def aligned(rows: list[list[str]], sides: str) -> str:
    """Returns rows of a table as indented lines; `<` and `>` align each column to the left or the right."""
    rows = [list(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "".join(f"  {cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip()
        for row in rows
    )
