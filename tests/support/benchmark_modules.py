"""The modules of examples/benchmarks, which are scripts and no package, for tests."""

from __future__ import annotations

import importlib
import pathlib
from collections.abc import Callable
from types import ModuleType

import pytest

__all__ = ["FOLDER", "load_module", "module_fixture"]

FOLDER = pathlib.Path(__file__).parents[2] / "examples" / "benchmarks"


def load_module(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Imports a module; until the test ends, it finds the modules beside it."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module(name)


def module_fixture(name: str) -> Callable[[pytest.MonkeyPatch], ModuleType]:
    """Returns a fixture that is a module."""

    @pytest.fixture
    def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
        return load_module(name, monkeypatch)

    return module
