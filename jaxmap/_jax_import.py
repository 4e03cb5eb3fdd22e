"""Calls that wait for JAX: files and NumPy arrays are evaluated without it.

JAX's import takes longer than most evaluations, and 130 MB. What concerns it, such as the registration of a container,
is done when the program imports it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["with_jax"]


def with_jax(call: Callable[[], object]) -> None:
    """Makes a call now if JAX has been imported, else at the end of its import."""
    if "jax" in sys.modules:
        call()
        return
    _finder.waiting.append(call)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


class _Finder:
    """Finds JAX where the other finders do, and makes the calls that wait for it.

    It does not derive from `importlib.abc.MetaPathFinder`, because importing that takes 15 ms.

    Attributes:
      waiting: the calls, in order.
    """

    def __init__(self) -> None:
        self.waiting: list[Callable[[], object]] = []

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "jax":
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = partial(self._execute, spec.loader.exec_module)  # type: ignore[method-assign]
        return spec

    def _execute(self, execute: Callable[[ModuleType], None], module: ModuleType) -> None:
        execute(module)
        while self.waiting:
            self.waiting.pop(0)()


_finder = _Finder()
