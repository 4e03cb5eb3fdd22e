"""What all plots share: axes, colours, names that fit, and the sentence in place of an empty plot."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .._outputs import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .._evaluation import Evaluation

__all__ = [
    "BLUE",
    "GREY",
    "ORANGE",
    "PALETTE",
    "axes_of",
    "best_score",
    "legend_below",
    "nearest_to_half",
    "nothing_to_rank",
    "plain",
    "require_matplotlib",
    "say",
    "short_count",
    "without_frame",
]

# Okabe and Ito's colours, which colour-blind readers can distinguish, without black and yellow, which are invisible on
# a dark screen or on paper.
BLUE, ORANGE, GREEN, VERMILION, SKY, PINK = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"
PALETTE = (BLUE, ORANGE, GREEN, VERMILION, SKY, PINK)
GREY = "#8c8c8c"

_SIZE = (4.4, 4.2)  # inches; a chart of this size is still readable on a phone


def require_matplotlib() -> None:
    """Raises an ImportError that says what to install, if matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError("plots need matplotlib, which is not installed: pip install 'jaxmap[plot]'") from error


def axes_of(axes: Axes | None, size: tuple[float, float] = _SIZE) -> Axes:
    """Returns the given axes, or those of a new figure of a size in inches."""
    if axes is not None:
        return axes
    require_matplotlib()
    from ._notebook import NotebookAxes, NotebookFigure

    return NotebookFigure(figsize=size, layout="constrained").add_subplot(axes_class=NotebookAxes)


def say(axes: Axes, sentence: str) -> Axes:
    """Writes a sentence on empty axes, in place of a plot."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, textwrap.fill(sentence, 40), ha="center", va="center", transform=axes.transAxes)
    return axes


def nothing_to_rank(evaluation: Evaluation) -> str | None:
    """Returns the reason why there is no precision-recall curve; None if there is one."""
    if not evaluation.summary_curves.num_ground_truths[:, 0].any():
        return "There is no counted ground truth, so precision and recall are not defined."
    if not len(evaluation.dataset.records.detections.scores):
        return "There are no detections, so every object is missed at every threshold."
    return None


def nearest_to_half(evaluation: Evaluation, iou_threshold: float | None = None) -> float:
    """Returns the threshold; if it is None, the threshold of the evaluation nearest to 0.5."""
    return evaluation.protocol.threshold_near_half if iou_threshold is None else iou_threshold


def best_score(evaluation: Evaluation) -> float:
    """Returns the score threshold of the best F1 over all classes; -inf if no threshold has a true positive."""
    threshold = nearest_to_half(evaluation)
    best = evaluation.curve(threshold, area=evaluation.protocol.area_ranges[0].name).best.score_threshold
    return best if math.isfinite(best) else -math.inf


def plain(name: Any, longest: int = 16) -> str:
    """Returns a name as one line of limited length, with both ends kept and matplotlib's formula signs escaped."""
    line = printable(name)
    if len(line) > longest:
        tail = (longest - 1) // 2
        line = f"{line[: longest - 1 - tail]}…{line[-tail:]}"
    return line.replace("$", r"\$")


def short_count(count: int) -> str:
    """Returns a count in at most four characters, or in thousands."""
    return str(count) if count < 10_000 else f"{count / 1000:.0f}k"


def without_frame(axes: Axes) -> None:
    """Removes the sides of the frame that carry no scale, and adds a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3, linewidth=0.5)
    axes.set_axisbelow(True)


def legend_below(
    axes: Axes, handles: Sequence[Any], *, columns: int = 1, title: str | None = None, inches: float = 0.5
) -> None:
    """Adds a legend below the label of the horizontal axis, so many inches below the axis, where it covers no data."""
    from matplotlib.transforms import ScaledTranslation

    down = ScaledTranslation(0, -inches, axes.figure.dpi_scale_trans)
    axes.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        bbox_transform=axes.transAxes + down,
        ncols=columns,
        title=title,
        fontsize="small",
        title_fontsize="small",
        frameon=False,
    )
