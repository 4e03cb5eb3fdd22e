"""What a terminal shows while a command works: a line for each stage, and below it counts and the time left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from .._outputs import printable
from .._progress import told_to

__all__ = ["clear_counts", "counts_shown", "progress_on_terminal"]

_QUIET, _PAUSE = 1.0, 0.2  # seconds before a count is shown at all, and from one to the next
_CLEAR = "\r\x1b[K"  # of the line that the cursor is in


def progress_on_terminal() -> Callable[[str], None] | None:
    """Returns a function that prints the stage to a terminal; None if the output is not a terminal."""
    return _tell if sys.stderr.isatty() else None


@contextmanager
def counts_shown() -> Iterator[None]:
    """Shows counts of work that takes more than a second, on a terminal."""
    with told_to(_counts if sys.stderr.isatty() else None):
        yield
    clear_counts()


def clear_counts() -> None:
    """Removes the count from the terminal before something else is printed."""
    _counts.clear()


class _Counts:
    """The line with a count, which each new one replaces."""

    def __init__(self) -> None:
        self.start = self.shown = 0.0
        self.is_shown = False

    def __call__(self, what: str, done: int, total: int) -> None:
        now = monotonic()
        if done == 0:
            self.start = now
        elif done >= total:
            self.clear()
        elif now - self.start > _QUIET and now - self.shown > _PAUSE:
            left = (now - self.start) * (total - done) / done
            text = f"jaxmap: {done:,} of {total:,} {what}, {_duration(left)} left"
            print(f"{_CLEAR}{printable(text)}", end="", file=sys.stderr, flush=True)
            self.shown, self.is_shown = now, True

    def clear(self) -> None:
        if self.is_shown:
            print(_CLEAR, end="", file=sys.stderr, flush=True)
            self.is_shown = False


_counts = _Counts()


def _duration(seconds: float) -> str:
    """Returns a rounded time, such as `40 s`, `3 min` or `1 h 20 min`."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{max(round(seconds), 1)} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _tell(stage: str) -> None:
    clear_counts()
    print(f"jaxmap: {printable(stage)}", file=sys.stderr)
