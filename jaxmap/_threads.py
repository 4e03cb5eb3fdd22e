"""Independent pieces of NumPy work in parallel threads: NumPy releases the GIL while it computes."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ._progress import counted

__all__ = ["in_threads"]

Item = TypeVar("Item")
Result = TypeVar("Result")

FEW_ROWS = 1 << 12


def in_threads(
    work: Callable[[Item], Result], items: Iterable[Item], what: str | None = None, *, num_rows: int = FEW_ROWS
) -> list[Result]:
    """Returns `[work(item) for item in items]`, computed in parallel if there are many rows.

    Args:
      work: must not call `in_threads` itself.
      items: what it is called with.
      what: a word for what the items are, in the plural: progress is told.
      num_rows: how many rows it works on; for less than `FEW_ROWS`, threads take longer than the work.
    """
    rest = list(items)
    results = map(work, rest) if num_rows < FEW_ROWS or len(rest) < 2 else _pool().map(work, rest)
    return list(results if what is None else counted(results, what, len(rest)))


@functools.cache
def _pool() -> ThreadPoolExecutor:
    """Returns the threads of this process; they are kept because each new thread would retain freed memory."""
    return ThreadPoolExecutor(_num_cores())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


def _num_cores() -> int:
    """Returns the number of cores that this process may use; more threads would only take memory."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
