"""Independent pieces of NumPy work side by side: NumPy lets go of the interpreter while it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["in_threads"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Returns `[work(item) for item in items]`, several at a time."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(work, items))
