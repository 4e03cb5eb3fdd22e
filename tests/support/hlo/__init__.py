"""Evaluates what a compiler made of a program, in NumPy, under models of the arithmetic of a device that is not there.

`Evaluator` runs the text of an optimized HLO module; `MODELS` are the models of arithmetic. One table of small
functions, by opcode, says what each instruction does: `_elementwise.py`, `_arrangement.py`, `_by_rows.py`,
`_structure.py`. An opcode that is missing there is refused by name.
"""

from __future__ import annotations

from ._arithmetic import MODELS, Arithmetic
from ._evaluator import Evaluator, Kernel

__all__ = ["MODELS", "Arithmetic", "Evaluator", "Kernel"]
