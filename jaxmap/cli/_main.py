"""The parser of all commands, and what they do alike: errors, warnings, exit status."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

from .. import __version__
from . import _evaluate

__all__ = ["main"]

BAD_INPUT = 2

_DESCRIPTION = "Exact COCO mean average precision."
_COMMANDS = (_evaluate,)  # each adds itself to the parser with `add_command`


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status; `--help` and `--version` leave by SystemExit(0)."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = _show_warning
        try:
            arguments = _parser().parse_args(argv)
            arguments.run(arguments)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader, such as `head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        except (ValueError, TypeError, OSError) as error:
            print(f"jaxmap: error: {_one_line(error)}", file=sys.stderr)
            return BAD_INPUT
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # argparse's own version prints the usage as well and leaves by SystemExit: bad input has one form here.
        raise ValueError(f"{message} (see `{self.prog} --help`)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="jaxmap", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"jaxmap {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add_command(commands)
    return parser


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fspath(error.filename)}: {error.strerror}"
    return " ".join(str(error).split())


def _show_warning(message: Warning | str, *_place: Any, **_line: Any) -> None:
    print(f"jaxmap: warning: {' '.join(str(message).split())}", file=sys.stderr)
