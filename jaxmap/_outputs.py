"""Output: text that is safe to print on a terminal, and files that are written completely or not at all."""

from __future__ import annotations

import contextlib
import decimal
import os
import pathlib
import secrets
import stat
import unicodedata
from collections.abc import Iterator

__all__ = ["check_output", "printable", "rounded_down", "write_output"]


def printable(text: object) -> str:
    r"""Returns text as one line, with line breaks, terminal escapes and the like escaped as in Python.

    >>> print(printable("a red\x1b[31m\nclass"))
    a red\x1b[31m\nclass
    """
    line = str(text)
    if line.isprintable():
        return line
    return "".join(
        character if character.isprintable() or unicodedata.category(character) == "Zs" else ascii(character)[1:-1]
        for character in line
    )


def rounded_down(value: float, digits: int = 4) -> str:
    """Returns a score threshold with a few digits, rounded down so that it keeps the same detections.

    >>> rounded_down(0.8999999761581421), rounded_down(0.3), rounded_down(-1.23456), rounded_down(float("inf"))
    ('0.8999', '0.3', '-1.235', 'inf')
    """
    down = decimal.Context(digits, rounding=decimal.ROUND_FLOOR).create_decimal(repr(float(value)))
    return f"{float(down):.{digits}g}"


def check_output(path: str | os.PathLike[str], *, make_folder: bool = False) -> None:
    """Checks that a file can be written, before the work whose results it will hold.

    Args:
      path: the file.
      make_folder: whether its folder may be missing, because it will be created.

    Raises:
      OSError: if the path is a folder, if its folder is missing, or if either is not writable.
    """
    target = pathlib.Path(path)
    with _named(path):
        mode = _mode(target)
        if mode is not None and stat.S_ISDIR(mode):
            raise IsADirectoryError(None, "it is a folder: name a file in it")
        if mode is not None and not stat.S_ISREG(mode):
            return  # a device or a pipe, such as /dev/stdout
        if mode is not None and not os.access(target, os.W_OK):
            raise PermissionError(None, "the file is there already and is read-only")
        folder = target.resolve().parent
        while make_folder and _mode(folder) is None:
            folder = folder.parent
        if _mode(folder) is None:
            raise FileNotFoundError(None, f"there is no folder {folder}")
        with _temporary(folder):
            pass


def write_output(path: str | os.PathLike[str], content: str | bytes) -> pathlib.Path:
    """Writes a file under a temporary name in the same folder, moves it into place, and returns its path.

    So readers find either the old file or the new one, and a failure leaves the old one. Links are followed; a device
    or a pipe is written to directly.

    Raises:
      OSError: if it cannot be written; the message names it.
    """
    target = pathlib.Path(path)
    data = content.encode() if isinstance(content, str) else content
    with _named(path):
        mode = _mode(target)
        if mode is not None and not stat.S_ISREG(mode):
            target.write_bytes(data)
            return target
        place = target.resolve()
        with _temporary(place.parent) as temporary:
            temporary.write_bytes(data)
            if mode is not None:
                temporary.chmod(stat.S_IMODE(mode))
            temporary.replace(place)
    return target


@contextlib.contextmanager
def _temporary(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Makes an empty file in a folder, and removes it afterwards unless it was moved."""
    path = folder / f".jaxmap-{secrets.token_hex(8)}"
    path.touch(exist_ok=False)  # with the permissions that the user's new files have
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Makes every error name the requested file, not the temporary one, nor none, as on a full disk."""
    try:
        yield
    except OSError as error:
        raise type(error)(error.errno, f"cannot be written: {error.strerror}", os.fspath(path)) from error


def _mode(path: pathlib.Path) -> int | None:
    """Returns the file type and permissions at a path; None if nothing is there."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None
