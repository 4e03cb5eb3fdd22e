"""The files that most commands are run on."""

from __future__ import annotations

import pathlib

import pytest

from support.command import RESULTS, write_files


@pytest.fixture
def files(tmp_path: pathlib.Path) -> list[str]:
    """Both files: one object of two is found, of one class of two."""
    return write_files(tmp_path, RESULTS)
