"""Figures and axes that a notebook shows where they are the value of a cell; imported when a picture is drawn.

pyplot does not know these figures, so they need no `plt.close`, and none is shown twice.
"""

from __future__ import annotations

import io
from typing import cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["NotebookAxes", "NotebookFigure"]


class NotebookFigure(Figure):
    """A figure that shows as a picture."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


class NotebookAxes(Axes):
    """Axes that show as the picture of their figure."""

    def _repr_png_(self) -> bytes:
        return cast("NotebookFigure", self.figure)._repr_png_()
