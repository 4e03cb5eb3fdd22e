"""What every test runs under: eight CPU devices, quick compilation, strict promotion, warnings as errors."""

from __future__ import annotations

import gc
import os
import pathlib
from typing import Any

import hypothesis
import jax
import jaxlib
import pytest
from jax._src import compiler

os.environ.setdefault("KERAS_BACKEND", "jax")  # read when Keras is imported
jax.config.update("jax_num_cpu_devices", 8)  # before anything starts the backend
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Only the clock of a busy machine could exceed a deadline, or find the drawing of examples slow.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

# Compiled programs are kept, so a worker's memory grows to gigabytes; traversing it took a sixth of the time.
gc.set_threshold(50_000, 20, 50)

TESTS = pathlib.Path(__file__).resolve().parent
# Most of the time goes to compiling programs that run once. They are compiled with few optimizations, also in processes
# that tests start, but for tests of arithmetic and order, which must hold as XLA compiles them for users.
QUICK = os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1") == "1"
OPTIMIZED = tuple(
    f"tests/{start}"
    for start in (
        *("candidates/", "curves/test_curves", "pairing/", "reference/", "test_device_check.py"),
        "curves/test_weighted_curves.py::test_weights_give_the_curves_of_repeated_images[coco",
        *("geometry/test_boxes", "geometry/test_double_float", "geometry/test_giou", "geometry/test_oriented"),
        *("matching/test_matching", "matching/test_kernels.py::test_a_batch_of_boxes_is_matched_alike[coco"),
        *("adapters/test_detr.py::test_boxes_made", "metrics/test_average_precision.py"),
        *("metrics/test_laws.py::test_eager_equals_jit", "test_in_jit.py::test_random_scenes"),
        *("test_in_jit.py::test_other_protocols", "test_in_jit.py::test_real"),
        "test_integer_bounds.py::test_areas_of_millions",  # it computes longer than it compiles
    )
)


# Before version 0.11, XLA has another code generator for CPUs, which is three times faster without optimizations.
FAST_CODE = {"xla_cpu_use_fusion_emitters": False} if jaxlib.version.__version_info__ < (0, 11) else {}
_compile_options, _is_quick = compiler.get_compile_options, QUICK


def _quick_options(*args: Any, env_options_overrides: dict[str, Any] | None = None, **options: Any) -> Any:
    fast = FAST_CODE if _is_quick else {}
    return _compile_options(*args, env_options_overrides=fast | (env_options_overrides or {}), **options)


compiler.get_compile_options = _quick_options


@pytest.hookimpl(tryfirst=True)  # before fixtures compile anything
def pytest_runtest_setup(item: pytest.Item) -> None:
    global _is_quick
    _is_quick = QUICK and not item.nodeid.startswith(OPTIMIZED)
    jax.config.update("jax_disable_most_optimizations", _is_quick)


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder of real ground truths and detections, which is not part of the repository."""
    folder = TESTS.parents[1] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data is not part of the repository: expected ../shared/data beside the checkout")
    return folder
