"""The CPU on which JAX computes for the host, whatever device or mesh a training loop has set.

What is computed outside `jit` then takes no memory of an accelerator, and its float64 is that of a CPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax
import numpy as np

__all__ = ["on_cpu"]


@contextlib.contextmanager
def on_cpu() -> Iterator[None]:
    """Runs the programs of the block that are given NumPy arrays on the first CPU device of this process.

    Raises:
      RuntimeError: if JAX is configured without its CPU backend.
    """
    try:
        device = jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        platforms = str(getattr(jax.config, "jax_platforms", None) or "cpu")
        if "cpu" in platforms.split(","):
            raise
        raise RuntimeError(
            "jaxmap computes on JAX's CPU backend what it computes outside `jit`, and JAX may only use "
            f"{platforms!r}; add cpu, as in JAX_PLATFORMS={platforms},cpu."
        ) from error
    with contextlib.ExitStack() as settings:
        settings.enter_context(jax.default_device(device))
        if not jax.sharding.get_abstract_mesh().empty:  # a mesh that is set counts more than a default device
            settings.enter_context(jax.set_mesh(jax.sharding.Mesh(np.empty((), object), ())))
        yield
