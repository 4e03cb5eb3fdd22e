"""What every test runs under: eight CPU devices, no silent promotion of dtypes or ranks, warnings as errors."""

from __future__ import annotations

import pathlib

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)  # before anything starts the backend
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder of real ground truths and detections, which is not part of the repository."""
    folder = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data is not part of the repository: expected ../shared/data beside the checkout")
    return folder
