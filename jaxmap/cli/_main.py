"""The parser of all commands, and what they do alike: errors, warnings, exit status."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import gc
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from .. import __version__
from ..collector import collector_paused
from . import _compare, _evaluate, _explain, _operating_points, _panoptic, _report
from ._compilation_cache import add_switch, configure

__all__ = ["main"]

BAD_INPUT = 2

_DESCRIPTION = "Exact COCO mean average precision."
# Each adds itself with `add_command`.
_COMMANDS = (_evaluate, _compare, _explain, _operating_points, _panoptic, _report)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status; `--help` and `--version` leave by SystemExit(0)."""
    # A command is over before it has left anything worth collecting, and to look through all that JAX's modules hold,
    # again and again, would take a fifth of its time: much of it at the exit.
    atexit.register(gc.freeze)
    with _warnings_in_one_line(), collector_paused():
        try:
            arguments = _parser().parse_args(argv)
            configure(arguments)
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
    for parser_of_command in commands.choices.values():
        add_switch(parser_of_command)
    return parser


@contextlib.contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = _show_warning
        yield


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fspath(error.filename)}: {error.strerror}"
    return " ".join(str(error).split())


def _show_warning(message: Warning | str, *_place: Any, **_line: Any) -> None:
    print(f"jaxmap: warning: {' '.join(str(message).split())}", file=sys.stderr)
