"""How far long work has come: counted where it is done, told to a listener where there is one.

>>> with told_to(lambda what, done, total: print(f"{done} of {total} {what}")):
...     squares = [number**2 for number in counted([2, 3], "numbers", 2)]
0 of 2 numbers
1 of 2 numbers
2 of 2 numbers
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import TypeVar

__all__ = ["Listener", "counted", "told_to"]

Item = TypeVar("Item")
Listener = Callable[[str, int, int], None]  # what is counted, how many are done, and how many there are

_listener: ContextVar[Listener | None] = ContextVar("jaxmap_listener", default=None)


@contextlib.contextmanager
def told_to(listener: Listener | None) -> Iterator[None]:
    """Tells a listener of all work inside; None for none."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def counted(items: Iterable[Item], what: str, total: int, size: Callable[[Item], int] = lambda _: 1) -> Iterator[Item]:
    """Yields the items, and tells the listener after the work on each of them.

    Args:
      items: the items.
      what: what is counted, in the plural.
      total: how many there are.
      size: how many an item stands for.
    """
    listener, done = _listener.get(), 0
    if listener is None:
        yield from items
        return
    listener(what, done, total)
    for item in items:
        yield item
        done += size(item)
        listener(what, done, total)
