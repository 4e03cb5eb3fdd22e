"""What is computed outside `jit` runs on a CPU, whatever device, mesh or platform JAX computes on otherwise."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import jaxmap
from jaxmap import _counts64, _resampling

TRUTH = [{"boxes": [[0, 0, 10, 10], [20, 20, 60, 60]], "labels": [0, 0]}] * 3
FOUND = [{"boxes": [[0, 0, 10, 9], [20, 20, 60, 50]], "labels": [0, 0], "scores": [0.5, 0.9]}] * 3

# JAX prefers the platform `other`, whose only device is one more CPU.
OTHER = """
import jax, jaxmap
from jax._src import xla_bridge
started = []
def start():
    started.append("other")
    return xla_bridge.make_cpu_client()
xla_bridge.register_backend_factory("other", start, priority=1000)
"""


def training_on(kind: str) -> contextlib.AbstractContextManager[Any]:
    """Returns what a training loop may have set: another default device, or a mesh."""
    if kind == "device":
        return jax.default_device(jax.devices()[3])
    axis = jax.sharding.AxisType.Explicit if kind == "explicit mesh" else jax.sharding.AxisType.Auto
    return jax.set_mesh(jax.make_mesh((4,), ("data",), devices=jax.devices()[4:], axis_types=(axis,)))


def watched(module: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Returns a list to which each call of a jitted function appends the devices of its results."""
    seen: list[Any] = []
    original: Callable[..., Any] = getattr(module, name)

    def call(*arguments: Any, **options: Any) -> Any:
        result = original(*arguments, **options)
        seen.extend(leaf.devices() for leaf in jax.tree.leaves(result))
        return result

    monkeypatch.setattr(module, name, call)
    return seen


@pytest.mark.parametrize("kind", ["device", "mesh", "explicit mesh"])
def test_the_host_route_runs_on_the_first_cpu(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = jaxmap.evaluate(FOUND, TRUTH)
    intervals = expected.bootstrap(70, seed=1).summary["AP"]
    programs = ((_resampling, "_draw"), (_counts64, "_jitted"))
    seen = [watched(module, name, monkeypatch) for module, name in programs]
    with training_on(kind):
        evaluation = jaxmap.evaluate(FOUND, TRUTH)
        assert evaluation.bootstrap(70, seed=1).summary["AP"] == intervals
        assert _counts64.in_float64(_counts64.ratio, np.float64(1), np.float64(3)) == 1 / 3
    np.testing.assert_array_equal(evaluation.precision, expected.precision)
    for devices in seen:
        assert set().union(*devices) == {jax.local_devices(backend="cpu")[0]}


def test_a_loss_may_evaluate_while_it_is_differentiated() -> None:
    average = jaxmap.evaluate(FOUND, TRUTH).summary["AP"]
    slope = jax.grad(lambda weight: weight * jaxmap.evaluate(FOUND, TRUTH).summary["AP"])(1.0)
    assert float(slope) == np.float32(average)


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", OTHER + code], capture_output=True, text=True)


SCORE = f"evaluation = jaxmap.evaluate({FOUND}, {TRUTH}); numbers = evaluation.summary; evaluation.bootstrap(10)\n"


def test_another_platform_gets_no_array_of_the_host_route() -> None:
    code = (
        "assert jax.devices()[0] not in jax.local_devices(backend='cpu')\n"
        "from jaxmap import _resampling\n"
        "run, seen = _resampling._draw, []\n"
        "_resampling._draw = lambda *given: seen.append(run(*given)) or seen[-1]\n"
        + SCORE
        + "print(numbers['AP50'] > 0.99, {*seen[0].devices()} == {jax.local_devices(backend='cpu')[0]})"
    )
    assert run(code).stdout.split() == ["True", "True"]


def test_a_process_without_the_platform_cpu_is_told_what_to_set() -> None:
    result = run("jax.config.update('jax_platforms', 'other')\n" + SCORE)
    assert result.returncode == 1
    assert "JAX may only use 'other'; add cpu, as in JAX_PLATFORMS=other,cpu." in result.stderr.splitlines()[-1]


def test_commands_start_no_other_platform() -> None:
    code = "from jaxmap._cli import main; print(main(['eval', '--demo']), started); jax.devices()"
    assert run(code).stdout.splitlines()[-1] == "0 []"
