"""Plots as inline SVG, in the text colour and font of the page, so that they follow its light or dark scheme."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

from ._markup import Markup, element, one_line, scrolling

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["picture"]

_POINTS = 72  # per inch, the unit of SVG files by matplotlib
_INK = "#1b1f27"  # placeholder for the text colour of the page
_STYLE: Any = {  # a plain dictionary; the names of settings have their own type
    "svg.fonttype": "none",  # text stays text: searchable, in the font of the page, in any script
    "svg.hashsalt": "jaxmap",  # equal numbers give the same page
    "font.size": 10.0,
    "axes.titlesize": 10.5,
} | dict.fromkeys(
    ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "xtick.labelcolor",
     "ytick.labelcolor"),
    _INK,
)  # fmt: skip


def picture(
    draw: Callable[[Any], Axes],
    subject: Any,
    caption: str,
    *,
    wide: bool = False,
    name: str | None = None,
    framed: bool = False,
) -> Markup:
    """Returns a figure with a caption, or the sentence of the plot if there is nothing to draw.

    Args:
      draw: a function of `plots`.
      subject: what it draws: an evaluation, or an analysis.
      caption: how to read the plot.
      wide: whether the plot takes the width of the page, and scrolls if that is too narrow.
      name: the id of the figure on the page; None for that of the function.
      framed: whether the script of the page reads the plot: the figure gets the places of the points (0, 0) and (1, 1)
        in the picture as data, and the lines have the ids NAME-line-0, NAME-line-1, ....
    """
    with _style():
        axes = draw(subject)
        if not axes.has_data():
            return element("p", one_line(axes.texts[0].get_text()), class_="empty")
        if framed:
            for place, line in enumerate(axes.get_lines()):
                line.set_gid(f"line-{place}")
        name = name or draw.__name__.replace("_", "-")
        label = axes.get_title() or axes.get_title(loc="left")
        svg = _svg(cast("Figure", axes.figure), name=name, label=label)
        attributes = {"data_frame": _frame(axes)} if framed else {}
    if wide:
        svg, attributes["class_"] = scrolling(svg), "wide"
    return element("figure", svg, element("figcaption", caption), id=name, **attributes)


@contextlib.contextmanager
def _style() -> Iterator[None]:
    """Draws with fixed matplotlib settings, and restores the user's afterwards."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # the browser has other fonts
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def _frame(axes: Axes) -> str:
    """Returns where the points (0, 0) and (1, 1) of a drawn plot are in its picture: x and y of both, in points."""
    figure = cast("Figure", axes.figure)
    corners = figure.transFigure.inverted().transform(axes.transData.transform([(0, 0), (1, 1)]))
    width, height = figure.get_size_inches() * _POINTS
    return " ".join(f"{x * width:.2f} {(1 - y) * height:.2f}" for x, y in corners)


def _svg(figure: Figure, *, name: str, label: str) -> Markup:
    """Returns a figure as an SVG element without a fixed size, with ids that are unique on the page."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    root = next(re.finditer(r'<svg [^>]*viewBox="([^"]*)"[^>]*>', file.getvalue()))
    content = file.getvalue()[root.end() : file.getvalue().rindex("</svg>")]
    content = re.sub(r"<style.*?</style>|<!--.*?-->", "", content, flags=re.DOTALL)
    content = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", content)
    content = re.sub(r' d="[^"]*"', _rounded, content)
    content = content.replace(_INK, "currentColor")
    width = root[1].split()[2]
    return element("svg", Markup(content), viewBox=root[1], style=f"--width: {width}", role="img", aria_label=label)


def _rounded(path: re.Match[str]) -> str:
    """Returns a path with two decimals, which no screen can tell from the six of matplotlib, in half of the bytes."""
    short = re.sub(r"-?\d+\.\d+", lambda one: f"{float(one[0]):.2f}".rstrip("0").rstrip("."), path[0])
    return short.replace("\n", "")
