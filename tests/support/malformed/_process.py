"""Every case in a process of its own, forked from one that has imported everything and started nothing."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pathlib
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator

from ._case import Case, Numbers, Outcome

__all__ = ["RefusedError", "run_cases", "run_command"]

SECONDS = 120  # by the clock, on a machine that others use as well
CPU_SECONDS = 60
BYTES = 3 << 30  # of data; JAX with its compiler needs half a gigabyte


class RefusedError(Exception):
    """A command's error."""


def run_cases(cases: Iterable[Case], jobs: int) -> Iterator[tuple[Case, Outcome]]:
    """Yields cases with their outcomes, as they end; `jobs` at a time."""
    running: dict[int, tuple[Case, pathlib.Path, float]] = {}
    waiting = iter(cases)
    with tempfile.TemporaryDirectory(prefix="malformed-") as root:
        case = next(waiting, None)
        while case is not None or running:
            while case is not None and len(running) < jobs:
                folder = pathlib.Path(tempfile.mkdtemp(dir=root))
                running[_fork(case, folder)] = case, folder, time.monotonic()
                case = next(waiting, None)
            for pid, (of_child, folder, start) in list(running.items()):
                ended, status = os.waitpid(pid, os.WNOHANG)
                late = not ended and time.monotonic() - start > SECONDS
                if late:
                    os.killpg(pid, signal.SIGKILL)
                    _, status = os.waitpid(pid, 0)
                if ended or late:
                    del running[pid]
                    yield of_child, _outcome(folder, status, late)
                    shutil.rmtree(folder, ignore_errors=True)
            time.sleep(0.002)


def run_command(*argv: object) -> Numbers:
    """Returns the numbers that a command prints as JSON; it raises `RefusedError` or `SystemExit`."""
    from jaxmap._cli import main

    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        status = main([str(word) for word in argv])
    if status == 0:
        content = json.loads(output.getvalue()) if output.getvalue().strip().startswith("{") else {}
        return {name: value for name, value in content.items() if value is None or isinstance(value, int | float)}
    sys.stderr.flush()
    errors = pathlib.Path("../stderr").read_text(errors="replace").split("jaxmap: error: ")[1:]
    raise RefusedError(errors[-1].strip() if errors else f"status {status} and no message")


def _fork(case: Case, folder: pathlib.Path) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    if pid := os.fork():
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        return pid
    status = 1
    try:
        os.setpgid(0, 0)
        _run(case, folder)
        status = 0
    finally:
        os._exit(status)


def _run(case: Case, folder: pathlib.Path) -> None:
    """Runs a case in this process, which ends with it; writes what came of it."""
    for stream, name, mode in ((0, os.devnull, os.O_RDONLY), (1, "stdout", os.O_WRONLY), (2, "stderr", os.O_WRONLY)):
        os.dup2(
            os.open(os.devnull if not stream else folder / name, mode | (os.O_CREAT if stream else 0), 0o600), stream
        )
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    inputs = folder / "in"
    inputs.mkdir()
    os.chdir(inputs)
    kind, message, numbers = "accepted", "", {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            numbers = {name: None if value is None else float(value) for name, value in case.run(inputs).items()}
        except (ValueError, TypeError, OSError, ImportError, RefusedError) as error:
            kind, message = "refused", str(error)
        except MemoryError:
            kind, message = "memory", "MemoryError"
        except BaseException as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            kind = "traceback"
            message = f"{type(error).__name__}: {error} ({pathlib.PurePath(place.filename).name}:{place.lineno})"
    # A name in front of what is not for users: deprecations, overflows.
    texts = [f"{'' if one.category is UserWarning else f'{one.category.__name__}: '}{one.message}" for one in caught]
    result = {"kind": kind, "message": message, "numbers": numbers, "warnings": texts}
    (folder / "outcome").write_text(json.dumps(result))


def _outcome(folder: pathlib.Path, status: int, late: bool) -> Outcome:
    if late or (os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)):
        return Outcome("hang", "out of time")
    printed = (folder / "stderr").read_text(errors="replace") if (folder / "stderr").exists() else ""
    if os.WIFSIGNALED(status):
        return Outcome("crash", f"signal {signal.Signals(os.WTERMSIG(status)).name} {printed[-200:]}")
    if not (folder / "outcome").exists():
        return Outcome("crash", f"exit without an outcome: {printed[-200:]}")
    result = json.loads((folder / "outcome").read_text())
    if "Traceback (most recent call last)" in printed:
        return Outcome("traceback", printed[-300:])
    of_command = [text.split("\njaxmap: ")[0].strip() for text in printed.split("jaxmap: warning: ")[1:]]
    return Outcome(result["kind"], result["message"], result["numbers"], (*result["warnings"], *of_command))
