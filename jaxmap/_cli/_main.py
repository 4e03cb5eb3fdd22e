"""The parser of all commands, and what they have in common: errors, warnings, exit status."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import gc
import importlib
import io
import os
import shlex
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from .._garbage_collection import collector_paused
from .._jax_import import with_jax
from .._outputs import printable
from .._version import __version__
from . import (
    _calibration,
    _check,
    _compare,
    _compare_detectors,
    _convert,
    _errors,
    _evaluate,
    _explain,
    _lrp,
    _operating_points,
    _panoptic,
    _report,
)
from ._compilation_cache import add_switch, configure
from ._interrupts import interrupts_deferred
from ._parser import Parser, parse
from ._progress import clear_counts, counts_shown
from ._resampling import draws_images
from ._results import check_outputs

__all__ = ["run"]

FAILED, BAD_INPUT = 1, 2
# Errors that the input or the machine causes, JAX's included, and not mistakes in jaxmap.
AT_FAULT = (ValueError, TypeError, OSError, ImportError, MemoryError, RuntimeError)

_DESCRIPTION = "Exact COCO-style mean average precision (mAP)."
_EXAMPLES = """examples:
  jaxmap check GT.json DT.json
  jaxmap eval GT.json DT.json --per-class
  jaxmap compare GT.json A.json B.json
  jaxmap eval --help
"""
# Each command adds itself with `add_command`.
_COMMANDS = (
    *(_evaluate, _compare_detectors, _report, _check, _convert, _explain, _errors),
    *(_operating_points, _lrp, _calibration, _compare, _panoptic),
)


def run(argv: Sequence[str] | None) -> int:
    """Runs the command and returns its exit status."""
    # A command ends before there is much garbage to collect, and the collector would take a fifth of its time, much of
    # it at the exit, to traverse all objects of JAX's modules again and again.
    atexit.register(gc.freeze)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names with characters that the terminal cannot show
    with _warnings_in_one_line(), collector_paused(), counts_shown():
        try:
            parser, commands = _parser()
            given = sys.argv[1:] if argv is None else argv
            if not given:
                parser.print_help(sys.stderr)
                return BAD_INPUT
            arguments = parse(parser, commands, given)
            arguments.command_line = shlex.join((parser.prog, *given))
            check_outputs(arguments)
            configure(arguments)
            with_jax(_choose_cpu)
            if draws_images(arguments):
                with interrupts_deferred():
                    importlib.import_module("jax")
            status: int | None = arguments.run(arguments)
            sys.stdout.flush()
        except Exception as error:
            return _fail(error)
    return status or 0


def _choose_cpu() -> None:
    """Excludes accelerators, whose memory a training may use."""
    importlib.import_module("jax").config.update("jax_platforms", "cpu")


def _fail(error: Exception) -> int:
    """Prints in one line what is wrong, and returns the exit status."""
    if isinstance(error, BrokenPipeError):  # the reader, such as `head`, has closed the pipe
        _drop_output()
        return 0
    clear_counts()
    try:
        sys.stdout.flush()  # print earlier output first
    except OSError:
        _drop_output()
    print(f"jaxmap: error: {_one_line(error)}", file=sys.stderr)
    if sys.flags.dev_mode:  # python -X dev -m jaxmap
        traceback.print_exception(error)
    return BAD_INPUT if isinstance(error, AT_FAULT) else FAILED


def _drop_output() -> None:
    """Keeps the flush at the exit from failing again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> tuple[Parser, dict[str, Parser]]:
    """Returns the parser of the program, and those of its commands by name."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog="jaxmap", description=_DESCRIPTION, epilog=_EXAMPLES, formatter_class=layout)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    parser.add_argument("--version", action="version", version=f"jaxmap {__version__}")
    for command in _COMMANDS:
        command.add_command(commands)
    for parser_of_command in commands.choices.values():
        add_switch(parser_of_command)
    return parser, dict(commands.choices)


@contextlib.contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = _show_warning
        yield


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return printable(f"{os.fsdecode(error.filename)}: {error.strerror}")
    text = str(error).strip()
    if isinstance(error, OSError) and error.errno is not None:
        text = f"standard output: {error.strerror}"  # the code that reads or writes a file names it
    elif isinstance(error, MemoryError):
        text = f"there is not enough memory for this {text}"
    elif not isinstance(error, AT_FAULT):
        text = f"unexpected {type(error).__name__}: {text} (`python -X dev -m jaxmap` shows where)"
    return printable(text)


def _show_warning(message: Warning | str, *_place: Any, **_line: Any) -> None:
    clear_counts()
    print(f"jaxmap: warning: {printable(message)}", file=sys.stderr)
