"""The command `jaxmap`: score a results file against an annotation file, in a shell.

    jaxmap eval instances_val2017.json results.json --per-class
    jaxmap eval --demo --json -

Exit status: 0 when the numbers were written, 2 when the input was at fault, with one line on standard error.
"""

from ._main import main

__all__ = ["main"]
