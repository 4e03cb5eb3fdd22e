"""Plots of how certain numbers are: intervals, differences between detectors, learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._summary import line_texts
from ._canvas import BLUE, GREY, ORANGE, axes_of, legend_below, plain, say, without_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..analysis import Bootstrap, Comparison, Interval
    from ..types import Floats, Ints

__all__ = ["differences", "intervals", "learning_curve", "sequential_comparison"]

_ROW = 0.24  # inches
_MARGINS = 1.4  # inches, for the title, the axis and the legend


def intervals(bootstrap: Bootstrap, axes: Axes | None = None) -> Axes:
    """Draws every number of the summary with its interval.

    Args:
      bootstrap: from `evaluation.bootstrap()`.
      axes: to draw on; None for a figure of its own.

    Returns:
      The axes, which contain one mark and one bar for each defined number.

    Raises:
      ImportError: if matplotlib is missing.
    """
    texts = line_texts(bootstrap.protocol)
    rows = {name: bootstrap.summary[name] for name in texts if not np.isnan(bootstrap.summary[name].value)}
    axes = axes_of(axes, _size(len(rows)))
    if not rows:
        return say(axes, "No number is defined, because there is no counted ground truth.")
    colors = [BLUE if texts[name].quantity.name == "precision" else ORANGE for name in rows]
    _draw(axes, list(rows.values()), colors)
    for place, one in enumerate(rows.values()):
        end = one.value if np.isnan(one.high) else max(one.high, one.value)
        label = {"xytext": (5, 0), "textcoords": "offset points", "fontsize": "small", "va": "center"}
        axes.annotate(f"{one.value:.3f}", (end, place), **label)  # type: ignore[arg-type]
    axes.set_yticks(range(len(rows)), [plain(name) for name in rows])
    axes.margins(x=0.15)  # for the values
    axes.set_xlabel("value, from 0 to 1")
    axes.set_ylabel("number of the summary")
    axes.set_title(f"{bootstrap.confidence:.0%} intervals, {bootstrap.num_replicates:,} replicates")
    return axes


def differences(comparison: Comparison, axes: Axes | None = None, *, model: str | None = None, limit: int = 30) -> Axes:
    """Draws the difference of the first number of the summary (AP) for each class, with its interval.

    Args:
      comparison: from `jaxmap.compare`.
      axes: to draw on; None for a figure of its own.
      model: the name of the model that is compared with the first; None for the second.
      limit: how many classes to draw, those with the largest differences.

    Returns:
      The axes, which contain one mark and one bar for each of these classes, the largest gain on top. Intervals that
      exclude zero are coloured.

    Raises:
      ValueError: if no such model is compared with the first.
      ImportError: if matplotlib is missing.
    """
    first, *others = comparison.names
    model = others[0] if model is None else model
    if model not in others:
        raise ValueError(f"`model` must be one of {others}, got {model!r}.")
    changes = [one.difference for one in comparison.of_class[model]]
    values = np.array([one.value for one in changes])
    defined = np.flatnonzero(~np.isnan(values))
    largest = defined[np.argsort(-np.abs(values[defined]), kind="stable")[:limit]]
    chosen = largest[np.argsort(-values[largest], kind="stable")].tolist()
    axes = axes_of(axes, _size(len(chosen)))
    if not chosen:
        return say(axes, "There is no counted ground truth, so no difference is defined.")
    shown = [changes[label] for label in chosen]
    kinds = {"better": BLUE, "worse": ORANGE, "the interval includes 0": GREY}
    better, worse, unsure = kinds.values()
    colors = [better if one.low > 0 else worse if one.high < 0 else unsure for one in shown]
    _draw(axes, shown, colors)
    axes.axvline(0, color=GREY, linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(chosen)), [plain(comparison.class_names[label]) for label in chosen])
    name = next(iter(comparison.summary[model]))
    axes.set_xlabel(f"{name} of {plain(model)} minus {name} of {plain(first)}")
    axes.set_ylabel("class")
    some = f"{len(chosen)} of {len(defined)} classes" if len(chosen) < len(defined) else "all classes"
    axes.set_title(f"Difference in {name}, {comparison.confidence:.0%} intervals, {some}")
    from matplotlib.lines import Line2D

    legend = [Line2D([], [], color=color, marker="o", label=label) for label, color in kinds.items() if color in colors]
    legend_below(axes, legend, columns=len(legend))
    return axes


def learning_curve(columns: dict[str, Any], axes: Axes | None = None, *, number: str | None = None) -> Axes:
    """Draws how a number depends on the number of images.

    Args:
      columns: from `evaluation.learning_curve()`.
      axes: to draw on; None for a figure of its own.
      number: the name of a number of the summary; None for the first.

    Returns:
      The axes, which contain the line of the mean, and the range between `low` and `high`.

    Raises:
      ValueError: if there is no such number.
      ImportError: if matplotlib is missing.
    """
    names = list(dict.fromkeys(columns["number"]))
    number = names[0] if number is None else number
    if number not in names:
        raise ValueError(f"`number` must be one of {names}, got {number!r}.")
    rows = [row for row, name in enumerate(columns["number"]) if name == number and not np.isnan(columns["mean"][row])]
    axes = axes_of(axes)
    if not rows:
        return say(axes, f"{number} is not defined in any sample, because there is no counted ground truth.")
    sizes, mean, low, high = (np.asarray(columns[name])[rows] for name in ("num_images", "mean", "low", "high"))
    _band(axes, sizes, mean, low, high, (f"mean {number}", "from low to high"))
    axes.set_ylabel(number)
    axes.set_title(f"{number} of random samples of the images")
    return axes


def sequential_comparison(columns: dict[str, Any], axes: Axes | None = None, *, model: str | None = None) -> Axes:
    """Draws how a difference between two detectors settles as images come in.

    Args:
      columns: from `sequential_comparison`.
      axes: to draw on; None for a figure of its own.
      model: the name of the model that is compared with the first; None for the second.

    Returns:
      The axes, which contain the line of the difference, and the range of its intervals.

    Raises:
      ValueError: if no such model is compared with the first.
      ImportError: if matplotlib is missing.
    """
    models = list(dict.fromkeys(columns["model"]))
    model = models[0] if model is None else model
    if model not in models:
        raise ValueError(f"`model` must be one of {models}, got {model!r}.")
    rows = [row for row, name in enumerate(columns["model"]) if name == model and not np.isnan(columns["low"][row])]
    axes = axes_of(axes)
    if not rows:
        return say(axes, "There is no counted ground truth, so no difference is defined.")
    names = ("num_images", "difference", "low", "high")
    sizes, change, low, high = (np.asarray(columns[name])[rows] for name in names)
    _band(axes, sizes, change, low, high, ("difference", "corrected interval"))
    axes.axhline(0, color=GREY, linewidth=0.8, linestyle=":")
    axes.set_ylabel("difference in the first number")
    axes.set_title(f"{plain(model)} minus the first detector")
    return axes


def _band(axes: Axes, sizes: Ints, line: Floats, low: Floats, high: Floats, labels: tuple[str, str]) -> None:
    """Draws a line and a range around it against the number of images."""
    range_of = axes.fill_between(sizes, low, high, color=BLUE, alpha=0.2, linewidth=0, label=labels[1])
    lines = axes.plot(sizes, line, "o-", color=BLUE, markersize=4, label=labels[0])
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes.tolist()], rotation=45, ha="right", fontsize="small")
    axes.minorticks_off()
    axes.set_xlabel("number of images")
    without_frame(axes)
    legend_below(axes, [*lines, range_of], columns=2, inches=0.75)  # below slanted labels


def _size(num_rows: int) -> tuple[float, float]:
    """Returns the size of a figure with a row for each number or class, in inches."""
    return 5.2, _MARGINS + _ROW * max(num_rows, 6)


def _draw(axes: Axes, rows: Sequence[Interval], colors: Sequence[str]) -> None:
    """Draws a bar from the low to the high end of each interval, and a mark at its value, from top to bottom."""
    places = range(len(rows))
    axes.hlines(places, [one.low for one in rows], [one.high for one in rows], colors=colors, linewidth=2)
    axes.scatter([one.value for one in rows], places, color=colors, s=22, zorder=3)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    without_frame(axes)
