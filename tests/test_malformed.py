"""A sample of the corpus of malformed inputs, of every door; `python -m support.malformed --all` runs it whole."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

TESTS = pathlib.Path(__file__).resolve().parent


def test_a_sample_of_malformed_inputs() -> None:
    # In a process of its own: each case is forked from one in which JAX has started no thread.
    command = [sys.executable, "-m", "support.malformed", "--sample", "120", "--jobs", "2"]
    path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    run = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
