"""Metrics of other libraries around jaxmap's own: thin shells that translate names and hold no arithmetic.

In the loop: `clu` serves `clu.metrics` (and metrax, whose metrics are of that kind), `nnx` serves `flax.nnx.metrics`,
`kauldron` serves `kauldron.metrics`. Each is loaded at its first use and imports its library then. In place of another
evaluator, on the host and without that library: `pycocotools`, `torchmetrics`, `scenic`, `model_garden`.
"""

from __future__ import annotations

import importlib
import types

_SHELLS = ("clu", "kauldron", "model_garden", "nnx", "pycocotools", "scenic", "torchmetrics")  # not for `import *`


def __getattr__(name: str) -> types.ModuleType:
    if name not in _SHELLS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f".{name}", __name__)


def __dir__() -> list[str]:
    return list(_SHELLS)
