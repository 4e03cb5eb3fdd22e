"""Evaluation loops of public trainers, re-typed in small with NumPy for torch; they import pycocotools as those do."""

from __future__ import annotations

import contextlib
import importlib.util
import pathlib
import types

from jaxmap.interop.pycocotools import install

__all__ = ["load_loop"]

FOLDER = pathlib.Path(__file__).parent


def load_loop(name: str, *, installed: bool) -> types.ModuleType:
    """Returns a fresh module of a loop, whose imports of pycocotools found jaxmap's if `installed`, or else its own."""
    spec = importlib.util.spec_from_file_location(f"{name}_{installed}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with install() if installed else contextlib.nullcontext():
        spec.loader.exec_module(module)
    return module
