"""The page as a whole: its head, its sections, and the file."""

from __future__ import annotations

import importlib.resources
import os
import pathlib

from .._evaluation import Evaluation
from .._outputs import write_output
from .._version import __version__
from ..plots import require_matplotlib
from ._markup import Markup, element
from ._sections import SECTIONS, facts

__all__ = ["report_page", "write_report"]


def report_page(evaluation: Evaluation, *, title: str = "Detection report") -> str:
    """Returns an evaluation as an HTML page that loads nothing and works without scripts.

    Args:
      evaluation: of any protocol, also without detections or ground truth.
      title: the heading, for example the name of the model.

    Raises:
      ImportError: if matplotlib is missing.
    """
    require_matplotlib()
    links = [element("a", heading, href=f"#{name}") for name, heading, _ in SECTIONS]
    sections = [
        element("section", element("h2", heading), fill(evaluation), id=name) for name, heading, fill in SECTIONS
    ]
    head = [
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", title),
        element("style", Markup(_file("page.css"))),
    ]
    body = [
        element("header", element("h1", title), element("p", facts(evaluation)), element("nav", *links)),
        element("main", *sections),
        element("footer", f"Made by jaxmap {__version__}."),
        element("script", Markup(_file("sort.js"))),
    ]
    return "<!DOCTYPE html>\n" + element("html", element("head", *head), element("body", *body), lang="en") + "\n"


def write_report(
    evaluation: Evaluation, folder: str | os.PathLike[str], *, title: str = "Detection report"
) -> pathlib.Path:
    """Writes the page as `index.html` into a folder, which is created if necessary, and returns its path.

    Raises:
      ImportError: if matplotlib is missing.
      OSError: if the file cannot be written.
    """
    page = report_page(evaluation, title=title)
    path = pathlib.Path(folder) / "index.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_output(path, page)


def _file(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
