"""Pauses of the garbage collector while millions of objects without cycles are made."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from collections.abc import Iterator

__all__ = ["collector_paused"]


class _Pauses(threading.local):
    """The number of pauses that this thread is in."""

    count = 0


_mine = _Pauses()
_lock = threading.Lock()
_num_pauses = 0  # of all threads
_was_enabled = False  # the state before the first pause


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Pauses the garbage collector; it resumes after the last pause, nested or in another thread, ends.

    Parsing allocates millions of containers and no cycles, and the collector traverses them repeatedly for nothing: 1.5
    to 2.2 s for 500,000 results with it, 0.8 s without.
    """
    _add(1)
    try:
        yield
    finally:
        _add(-1)


def _add(step: int) -> None:
    global _num_pauses, _was_enabled
    with _lock:
        if _num_pauses == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _num_pauses += step
        _mine.count += step
        if _num_pauses == 0 and _was_enabled:
            gc.enable()


def _after_fork() -> None:
    """Keeps only the pauses of the forking thread, the only survivor; another thread may have held the lock."""
    global _lock, _num_pauses
    _lock = threading.Lock()
    if _num_pauses and not _mine.count and _was_enabled:
        gc.enable()
    _num_pauses = _mine.count


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
