"""The command run by a test: two small files, what it prints, how it fails."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from jaxmap._cli import main

SETTINGS = {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false"}  # of programs: keep nothing compiled
GROUND_TRUTHS = {
    "images": [{"id": 7}, {"id": 9}],
    "categories": [{"id": 18, "name": "dog"}, {"id": 44, "name": "traffic light"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 18, "bbox": [10, 10, 20, 10], "area": 200},
        {"id": 2, "image_id": 9, "category_id": 18, "bbox": [10, 10, 200, 100], "area": 20000},
    ],
}
RESULTS = [
    {"image_id": 7, "category_id": 18, "bbox": [10, 10, 20, 10], "score": 0.9},
    {"image_id": 9, "category_id": 44, "bbox": [10, 10, 200, 100], "score": 0.5},
]


def write_files(folder: pathlib.Path, results: list[dict[str, Any]]) -> list[str]:
    """Writes both files and returns their paths."""
    paths = [folder / "gt.json", folder / "dt.json"]
    for path, data in zip(paths, (GROUND_TRUTHS, results), strict=True):
        path.write_text(json.dumps(data))
    return [str(path) for path in paths]


def numbers(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """Returns the numbers of `jaxmap eval`, read from its JSON."""
    assert main(["eval", *arguments, "--json", "-"]) == 0
    return json.loads(capsys.readouterr().out)


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Runs a command that must fail, and returns its message."""
    assert main(list(arguments)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("jaxmap: error: ")
    return err
