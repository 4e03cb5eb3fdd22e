"""The command `jaxmap`: score a results file against an annotation file, in a shell.

    jaxmap eval instances_val2017.json results.json --per-class
    jaxmap eval --demo --json -

Exit status: 0 if the numbers were written; 2 if the input or the machine is at fault and 1 if jaxmap is, with one line
on standard error; 1 also if `check` has found something; 130 after Ctrl-C.
"""

from collections.abc import Sequence

__all__ = ["main"]

INTERRUPTED = 130  # as in shells


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status; `--help` and `--version` raise SystemExit(0)."""
    try:
        from ._main import run

        return run(argv)
    except KeyboardInterrupt:
        return INTERRUPTED
