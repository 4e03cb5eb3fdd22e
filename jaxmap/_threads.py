"""Independent pieces of NumPy work side by side: NumPy lets go of the interpreter while it computes."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["in_threads"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Returns `[work(item) for item in items]`, several at a time; `work` must not call this in turn."""
    return list(_pool().map(work, items))


@functools.cache
def _pool() -> ThreadPoolExecutor:
    """Returns the threads of this process: new ones at every call would each keep memory that they have freed."""
    return ThreadPoolExecutor(_num_cores())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


def _num_cores() -> int:
    """Returns the cores that this process may use: more threads would only hold memory."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
