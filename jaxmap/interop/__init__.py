"""Wrappers with the interfaces of other libraries; they translate names and contain no arithmetic.

For training loops: `clu` for `clu.metrics` (and metrax, whose metrics have the same base), `nnx` for
`flax.nnx.metrics`, `kauldron` for `kauldron.metrics`, and `keras` for a callback of Keras 3. Each module, and its
library, is imported at its first use.
Replacements of other evaluators on the host, which do not need that library: `pycocotools`, `torchmetrics`, `scenic`,
`model_garden`.
"""

from __future__ import annotations

import importlib
import types

# Not for `import *`.
_SHELLS = ("clu", "kauldron", "keras", "model_garden", "nnx", "pycocotools", "scenic", "torchmetrics")


def __getattr__(name: str) -> types.ModuleType:
    if name not in _SHELLS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f".{name}", __name__)


def __dir__() -> list[str]:
    return list(_SHELLS)
