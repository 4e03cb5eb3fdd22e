"""Where the numbers of a command go: text, Markdown or LaTeX to standard output, and JSON and CSV to files."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence

from .._outputs import check_output, write_output
from ._tables import FORMS, Part, formatted

__all__ = ["add_outputs", "check_outputs", "refuse_to_overwrite", "write_numbers"]

STDOUT = "-"  # as the name of a file
_FILES = ("json", "csv")  # options that name a file to write
_FORMS = tuple(form for form in FORMS if form != "text")  # options that print another form of the text


def add_outputs(command: argparse.ArgumentParser, what: str, table: str | None = None) -> None:
    """Adds `--json` for `what`, `--csv` for a `table`, and forms of the text, which `write_numbers` reads."""
    add = command.add_argument
    add("--json", metavar="OUT", help=f"write {what} to OUT; '-' prints it in place of the text")
    if table is not None:
        add("--csv", metavar="OUT", help=f"write {table} to OUT; '-' prints it in place of the text")
    forms = command.add_mutually_exclusive_group()
    forms.add_argument("--markdown", action="store_true", help="print the tables in Markdown")
    forms.add_argument("--latex", action="store_true", help="print the tables in LaTeX")


def check_outputs(arguments: argparse.Namespace) -> None:
    """Checks, before anything is read, that the files can be written and do not overwrite an input.

    Raises:
      ValueError: if they cannot, or if two outputs would be printed.
      OSError: likewise, from the file system.
    """
    given = vars(arguments)
    printed = [f"--{name} -" for name in _FILES if given.get(name) == STDOUT]
    printed += [f"--{form}" for form in _FORMS if given.get(form)]
    if len(printed) > 1:
        raise ValueError(f"{' and '.join(printed)} would both be printed: name a file for one of them")
    for option in _FILES:
        path = given.get(option)
        if path is None or path == STDOUT:
            continue
        check_output(path)
        refuse_to_overwrite(f"--{option} {path}", path, arguments, but=option)


def refuse_to_overwrite(what: str, path: str | os.PathLike[str], arguments: argparse.Namespace, but: str) -> None:
    """Refuses an output that is also another file of the arguments, `but` the one that names it.

    Raises:
      ValueError: if it is; `what` names the output.
    """
    for name, value in vars(arguments).items():
        others = value if isinstance(value, list) else [value]
        if name != but and any(isinstance(other, str) and _same_file(path, other) for other in others):
            raise ValueError(f"{what} would overwrite {'another output' if name in _FILES else 'an input'} file")


def write_numbers(
    arguments: argparse.Namespace,
    to_json: Callable[[], str],
    parts: Callable[[], Sequence[Part]],
    to_csv: Callable[[], str] | None = None,
) -> None:
    """Writes JSON and CSV to the files that are named, and prints the parts; what goes to `-` replaces them."""
    given = vars(arguments)
    wanted: dict[str, Callable[[], str]] = {"json": lambda: to_json() + "\n"}
    if to_csv is not None:
        wanted["csv"] = to_csv
    text = next((wanted[name] for name in wanted if given.get(name) == STDOUT), None)
    try:
        for name, content in wanted.items():
            if given.get(name) not in (None, STDOUT):
                write_output(given[name], content())
    finally:  # numbers that took minutes are not lost to a full disk
        form = next((form for form in _FORMS if given.get(form)), "text")
        print(formatted(parts(), form) + "\n" if text is None else text(), end="")


def _same_file(path: str | os.PathLike[str], other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:  # one of them does not exist, or is not a path
        return False
