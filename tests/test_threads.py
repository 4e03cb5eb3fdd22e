"""Threads of our own, and the pause of the garbage collector, hold under nesting, other threads, errors and forks."""

from __future__ import annotations

import gc
import os
import pathlib
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from jaxmap._garbage_collection import collector_paused

FORKED = """
import os, sys
{before}
child = os.fork()
if child == 0:
    {inside}
    sys.exit(7)  # the ordinary way out, which waits for threads
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
IN_ANOTHER = (
    "inside, never = threading.Event(), threading.Event()\n"
    "stay = lambda: (pause.__enter__(), inside.set(), never.wait())\n"
    "threading.Thread(target=stay, daemon=True).start(); inside.wait()"
)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    assert gc.isenabled()
    yield
    gc.enable()


def exit_code_of_child(before: str, inside: str) -> int:
    # JAX warns at any fork, whether it has been used or not.
    command = [sys.executable, "-W", "ignore", "-c", FORKED.format(before=before, inside=inside)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout)


@needs_fork
def test_threads_work_in_a_child_of_a_process_that_has_used_them() -> None:
    use = "assert in_threads(lambda number: number + 1, range(50)) == list(range(1, 51))"
    assert exit_code_of_child(f"from jaxmap._threads import in_threads\n{use}", use) == 7


@needs_fork
def test_files_are_read_in_a_child_of_a_process_that_has_read_some(tmp_path: pathlib.Path) -> None:
    (tmp_path / "gt.json").write_text(
        '{"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1, "name": "a"}]}'
    )
    read = f"read_coco_ground_truths({str(tmp_path / 'gt.json')!r})"
    assert exit_code_of_child(f"from jaxmap.io import read_coco_ground_truths\n{read}", read) == 7


@needs_fork
def test_a_child_of_a_process_that_has_evaluated_evaluates() -> None:
    evaluate = (
        "import jaxmap; "
        "jaxmap.evaluate([dict(boxes=[], scores=[], labels=[])], [dict(boxes=[[0, 0, 1, 1]], labels=[0])])"
    )
    assert exit_code_of_child(evaluate, evaluate) == 7


def test_nested_pauses_end_with_the_outer_one() -> None:
    with collector_paused():
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_error_ends_a_pause() -> None:
    with pytest.raises(KeyError), collector_paused():
        raise KeyError
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with collector_paused():
        pass
    assert not gc.isenabled()


def test_overlapping_pauses_of_threads_end_with_the_last_one() -> None:
    # The first one that starts ends while the second still runs: each alone would put back what it found.
    second_runs, first_is_over = threading.Event(), threading.Event()
    seen = []

    def second() -> None:
        with collector_paused():
            second_runs.set()
            first_is_over.wait(10)
            seen.append(gc.isenabled())

    other = threading.Thread(target=second)
    with collector_paused():
        other.start()
        assert second_runs.wait(10)
    first_is_over.set()
    other.join()
    assert seen == [False]
    assert gc.isenabled()


@needs_fork
@pytest.mark.parametrize(
    ("pause", "is_enabled"),
    [
        ("pause.__enter__()", False),  # the thread that forks is in it
        (IN_ANOTHER, True),
    ],
    ids=["own", "other"],
)
def test_a_child_keeps_only_the_pauses_of_its_thread(pause: str, is_enabled: bool) -> None:
    before = (
        "import gc, threading\nfrom jaxmap._garbage_collection import collector_paused\n"
        f"pause, more = collector_paused(), collector_paused()\n{pause}"
    )
    inside = f"assert gc.isenabled() is {is_enabled}; more.__enter__(); more.__exit__(None, None, None); "
    leave = "" if is_enabled else "pause.__exit__(None, None, None); "
    assert exit_code_of_child(before, f"{inside}{leave}assert gc.isenabled()") == 7
