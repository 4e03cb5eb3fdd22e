"""The pages as a whole: their head, their sections, and the files."""

from __future__ import annotations

import importlib.resources
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from .._evaluation import Evaluation
from .._evaluation._slices import Slices
from .._outputs import write_output
from ..analysis import Comparison
from ..plots import require_matplotlib
from ._comparison import COMPARISON_SECTIONS, facts_of_comparison
from ._markup import Markup, element, policy, without_dead_links
from ._origin import comparability, origin_section
from ._sections import SECTIONS, facts

__all__ = ["comparison_page", "report_page", "write_comparison", "write_report"]

_SCRIPTS = ("tables.js", "curves.js")


def report_page(
    evaluation: Evaluation,
    *,
    title: str = "Detection report",
    num_replicates: int | None = None,
    slices: Slices | None = None,
    images: str | os.PathLike[str] | None = None,
    command: str | None = None,
) -> str:
    """Returns an evaluation as an HTML page that loads nothing and works without scripts.

    Args:
      evaluation: of any protocol, also without detections or ground truth.
      title: the heading, for example the name of the model.
      num_replicates: of the bootstrap behind the section on intervals, such as 1000; None leaves the section out.
      slices: from `evaluation.slices`, for the section on parts of the images; None leaves it out.
      images: the folder of the images, for the section on pictures of errors; None leaves it out. The page embeds at
        most 18 pictures of at most 60 kB each, and says which images are missing.
      command: the command line that makes the page, which the page shows.

    Raises:
      ImportError: if matplotlib is missing.
      ValueError: if `num_replicates` is less than 2, if `images` is no folder, or if `SOURCE_DATE_EPOCH` is set and not
        a number of seconds.
    """
    require_matplotlib()
    optional = {"intervals": num_replicates, "slices": slices, "pictures": images}
    return _assembled(title, facts(evaluation), SECTIONS, evaluation, optional, command)


def write_report(
    evaluation: Evaluation,
    folder: str | os.PathLike[str],
    *,
    title: str = "Detection report",
    num_replicates: int | None = None,
    slices: Slices | None = None,
    images: str | os.PathLike[str] | None = None,
    command: str | None = None,
) -> pathlib.Path:
    """Writes the page as `index.html` into a folder, which is created if necessary, and returns its path.

    Args:
      evaluation: what `report_page` takes, as `title`, `num_replicates`, `slices`, `images` and `command`.
      folder: where to write.

    Raises:
      ImportError: if matplotlib is missing.
      OSError: if the file cannot be written.
      ValueError: if `num_replicates` is less than 2.
    """
    page = report_page(
        evaluation, title=title, num_replicates=num_replicates, slices=slices, images=images, command=command
    )
    return _write(page, folder)


def comparison_page(
    comparison: Comparison,
    *,
    title: str = "Comparison of detectors",
    looks: dict[str, Any] | None = None,
    command: str | None = None,
) -> str:
    """Returns a comparison as an HTML page that loads nothing and works without scripts.

    Args:
      comparison: from `jaxmap.compare`.
      title: the heading.
      looks: from `sequential_comparison`, for the section on fewer images; None leaves it out.
      command: the command line that makes the page, which the page shows.

    Raises:
      ImportError: if matplotlib is missing.
    """
    require_matplotlib()
    return _assembled(
        title, facts_of_comparison(comparison), COMPARISON_SECTIONS, comparison, {"looks": looks}, command
    )


def write_comparison(
    comparison: Comparison,
    folder: str | os.PathLike[str],
    *,
    title: str = "Comparison of detectors",
    looks: dict[str, Any] | None = None,
    command: str | None = None,
) -> pathlib.Path:
    """Writes the page of a comparison as `index.html` into a folder, which is created if necessary; returns its path.

    Raises:
      ImportError: if matplotlib is missing.
      OSError: if the file cannot be written.
    """
    return _write(comparison_page(comparison, title=title, looks=looks, command=command), folder)


def _assembled(
    title: str,
    lead: str,
    rows: Sequence[tuple[str, str, Callable[..., Markup]]],
    subject: Evaluation | Comparison,
    optional: dict[str, Any],
    command: str | None,
) -> str:
    """Returns a page from its title, its first sentences, and the id, the heading and the content of each section.

    The content is a function of the subject; that of an optional section is also one of what `optional` holds under its
    id, and the section is left out if that is None.
    """
    sections = []
    for name, heading, fill in rows:
        if name not in optional:
            sections.append((name, heading, fill(subject)))
        elif optional[name] is not None:
            sections.append((name, heading, fill(subject, optional[name])))
    sections.append(("origin", "How this page was made", origin_section(subject.protocol, command)))
    comparable = comparability(subject.protocol, len(subject.image_ids), len(subject.class_ids))
    links = [element("a", heading, href=f"#{name}") for name, heading, _ in sections]
    parts = [element("section", element("h2", heading), content, id=name) for name, heading, content in sections]
    style, script = Markup(_file("page.css")), Markup("".join(map(_file, _SCRIPTS)))
    head = [
        element("meta", charset="utf-8"),
        policy(script, style),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", style),
    ]
    body = [
        element("header", element("h1", title), element("p", lead), element("p", comparable), element("nav", *links)),
        element("main", *parts),
        element("script", script),
    ]
    page = element("html", element("head", *head), element("body", *body), lang="en")
    return f"<!DOCTYPE html>\n{without_dead_links(page)}\n"


def _write(page: str, folder: str | os.PathLike[str]) -> pathlib.Path:
    path = pathlib.Path(folder) / "index.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_output(path, page)


def _file(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
