"""An explanation as text: the answer in a sentence, the steps, the false positives, the images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._outputs import printable

if TYPE_CHECKING:
    from ._explanation import Explanation

__all__ = ["explanation_text"]

NOTHING = 5e-5  # what four decimals show as 0
NAMES_SHOWN = 3  # more lacking classes than these are a number

_MEANING = """\
Class averaging: an image alone averages only over the classes that it holds; together every class counts once.
Ranking: together every object counts once, and all detections of a class stand in one ranking, where a false positive
that costs nothing in its own image can stand above true positives of other images."""


def explanation_text(explanation: Explanation, top: int) -> str:
    """Returns the text of an explanation, with the `top` most costly false positives and images."""
    if np.isnan(explanation.together):
        return "No image has ground truth that counts, so AP is defined neither alone nor together."
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
        return f"Alone, the one image with objects scores AP {alone:.4f}; all together score {together:.4f}, {size}."
    return f"Alone, the {count:,} images score AP {alone:.4f} on average; together they score {together:.4f}, {size}."


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
    rows = [["", "from the images alone to all together", "AP", "step"]]
    for share, step, value, change in zip(*explanation.steps().values(), strict=True):
        rows.append([share, step, f"{value:.4f}", "" if np.isnan(change) else f"{change:+.4f}"])
    return _aligned(rows, "<<>>")


def _false_positives(table: dict[str, Any], num_thresholds: int) -> str:
    if not (table["cost"] > 0).any():
        return "No false positive costs anything."
    rows = [["cost", "image", "class", "detection", "score", "false at", "stands above true positives"]]
    columns = zip(*table.values(), strict=True)
    for image, _, name, detection, score, cost, false_at, elsewhere, at_home, images in columns:
        if cost > 0:
            where = f"image {images[0]}" if len(images) == 1 else f"{len(images):,} other images"
            above = f"{elsewhere:,} in {where}" if len(images) else "none in other images"
            above += f", {at_home:,} in its own" if at_home else ", none in its own"
            false = f"{false_at} of {num_thresholds} IoU"
            rows.append([f"{cost:.5f}", str(image), name, str(detection), f"{score:.4g}", false, above])
    return "The most costly false positives; cost: the AP together gained without the one\n" + _aligned(rows, ">><>>><")


def _images(table: dict[str, Any]) -> str:
    rows = [["cost", "image", "AP alone", "objects", "false at every IoU", "classes it lacks"]]
    for image, objects, alone, false, cost, held, lacks in zip(*table.values(), strict=True):
        ap = "-" if np.isnan(alone) else f"{alone:.4f}"
        missing = f"{len(lacks)} of {held + len(lacks)}" if len(lacks) > NAMES_SHOWN else ", ".join(lacks) or "none"
        rows.append([f"{cost:.5f}", str(image), ap, f"{objects:,}", f"{false:,}", missing])
    return "The images whose false positives cost the most; cost: the sum of theirs\n" + _aligned(rows, ">>>>><")


def _without_ground_truth(numbers: dict[str, float]) -> str:
    if not numbers["num_images"]:
        return ""
    return (
        f"Images without ground truth: {numbers['num_images']:,}. They have no AP alone; together, their "
        f"{numbers['num_false_positives']:,} false positives, at every IoU threshold, cost {numbers['cost']:.5f}."
    )


def _aligned(rows: list[list[str]], sides: str) -> str:
    """Returns rows of cells as lines, indented; `<` and `>` say to which side each column goes."""
    rows = [list(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "".join(f"  {cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip()
        for row in rows
    )
