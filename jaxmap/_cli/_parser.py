"""The parser of the command line: no abbreviations, and suggestions for options and commands that do not exist."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

__all__ = ["Parser", "parse"]


class Parser(argparse.ArgumentParser):
    """A parser that takes only whole options, and raises ValueError, as all bad input does."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)  # a script must not change its meaning with a new option

    def error(self, message: str) -> NoReturn:
        """Raises what argparse would print with the usage, before it exits."""
        raise ValueError(f"{message} (see `{self.prog} --help`)")


def parse(parser: Parser, commands: dict[str, Parser], given: Sequence[str]) -> argparse.Namespace:
    """Parses the arguments of the program; `commands` are the parsers of its commands by name.

    Raises:
      ValueError: if they are not as the parsers want them; the message names what is similar.
    """
    name = next((word for word in given if not word.startswith("-")), None)
    if name is None:
        _refuse_unknown_options(parser, given)
    elif name not in commands:
        raise ValueError(f"there is no command {name!r}{_advice(name, commands)} (see `{parser.prog} --help`)")
    else:  # before argparse looks at what is missing, which a misspelt option may be
        _refuse_unknown_options(commands[name], given[given.index(name) + 1 :])
    arguments, unknown = parser.parse_known_args(given)
    if unknown:
        (parser if name is None else commands[name]).error(f"unrecognized arguments: {' '.join(unknown)}")
    return arguments


def _refuse_unknown_options(parser: Parser, words: Sequence[str]) -> None:
    options = [option for option in parser._option_string_actions if option.startswith("--")]
    for word in words:
        option = word.partition("=")[0]
        if word == "--":
            return  # names of files follow
        if option.startswith("--") and " " not in option and option not in options:
            parser.error(f"there is no option {option}{_advice(option, options)}")


def _advice(word: str, known: Iterable[str]) -> str:
    """Returns a question that names what is similar, or begins alike; nothing if nothing is."""
    listed = list(known)
    begin_alike = [one for one in listed if len(word) > 3 and one.startswith(word)]
    similar = (
        begin_alike + [one for one in difflib.get_close_matches(word, listed, cutoff=0.7) if one not in begin_alike]
    )[:3]
    return f"; did you mean {' or '.join(similar)}?" if similar else ""
