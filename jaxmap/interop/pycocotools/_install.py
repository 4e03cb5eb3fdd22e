"""Stands in for pycocotools in the whole process, and back."""

from __future__ import annotations

import contextlib
import importlib
import sys
import types

__all__ = ["install", "uninstall"]

REPLACED = "pycocotools"
OWN = __name__.rpartition(".")[0]
SUBMODULES = ("", ".coco", ".cocoeval", ".mask")

_originals: dict[str, types.ModuleType] | None = None  # what was imported before, while ours is installed


def install() -> contextlib.AbstractContextManager[object]:
    """Makes `import pycocotools` and imports from it give jaxmap's modules, also if pycocotools is not installed.

    Names that were imported before stay what they were, so call it first. A second call changes nothing.

    Returns:
      A context manager, whose end undoes this call; use it as one or ignore it.
    """
    global _originals
    undo = contextlib.ExitStack()
    if _originals is None:
        ours = {REPLACED + name: importlib.import_module(OWN + name) for name in SUBMODULES}
        _originals = _remove()
        sys.modules.update(ours)
        undo.callback(uninstall)
    return undo


def uninstall() -> None:
    """Restores what was imported before `install`; imports then find pycocotools itself. Without it, does nothing."""
    global _originals
    if _originals is not None:
        _remove()
        sys.modules.update(_originals)
        _originals = None


def _remove() -> dict[str, types.ModuleType]:
    """Removes pycocotools and its submodules from the imported modules, and returns them by name."""
    names = [name for name in sys.modules if name == REPLACED or name.startswith(f"{REPLACED}.")]
    return {name: sys.modules.pop(name) for name in names}
