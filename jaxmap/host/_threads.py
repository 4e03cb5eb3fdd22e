"""Independent pieces of NumPy work side by side: NumPy lets go of the interpreter while it computes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["in_threads"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Returns `[work(item) for item in items]`, several at a time."""
    with ThreadPoolExecutor(_num_cores()) as pool:
        return list(pool.map(work, items))


def _num_cores() -> int:
    """Returns the cores that this process may use: more threads would only hold memory."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
