"""Figures and axes that a notebook displays as the last value of a cell; imported when the first plot is drawn.

These figures are not registered in pyplot, so they need no `plt.close`, and none is displayed twice.
"""

from __future__ import annotations

import io
from typing import cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["NotebookAxes", "NotebookFigure"]


class NotebookFigure(Figure):
    """A figure that a notebook displays as a picture."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


class NotebookAxes(Axes):
    """Axes that a notebook displays as the picture of their figure."""

    def _repr_png_(self) -> bytes:
        return cast("NotebookFigure", self.figure)._repr_png_()
