"""What the compilers of TPUs and of an H100 make of the metrics decides as on the CPU, whatever the chip's arithmetic.

Nothing runs on a chip: small programs are compiled for it ahead of time, and the result is evaluated in NumPy under
models of arithmetic (`support.hlo`), on scenes full of IoUs exactly on thresholds. The compilers come with packages
that the usual environment of the tests lacks. Where they are installed:

    JAX_PLATFORMS=cpu python -m pytest tests/test_other_compilers.py
"""

from __future__ import annotations

import functools
import importlib
import os
import pathlib
import subprocess
import sys
from typing import Any

import jax
import numpy as np
import pytest

from jaxmap._candidates._device import ABSENT
from jaxmap._geometry._boundaries import _by_windows
from jaxmap._matching._dense_kernel import DensePairs, match_pairs
from jaxmap.types import HostArray
from support.device_programs import MASK_SIZE, NAMES, programs
from support.hlo import MODELS, Arithmetic, Evaluator, Kernel

ROOT = pathlib.Path(__file__).resolve().parents[1]
BENCHMARKS = ROOT / "examples" / "benchmarks"
QUICK = ("v5e:2x2", "H100")
CHIPS = {"v4:2x2x1": "tpu", "v5e:2x2": "tpu", "v5p:2x2x1": "tpu", "v6e:2x2": "tpu", "H100": "gpu"}
# Precision and recall are float32 quotients, which a device and the CPU round differently.
CLOSE = {"IEEE": 1.2e-7, "all products contracted": 1.2e-7, "flushed subnormals, division good to 22 bits": 3e-7}


def match_in_lanes(
    _: HostArray, high: HostArray, low: HostArray, reached: HostArray, counted: HostArray, kept: HostArray
) -> HostArray:
    """Computes what the kernel of `match_on_tpu` does, from its arguments, by the scan over all pairs."""
    in_front = (np.moveaxis(column, -1, 0) for column in (high, low, reached, counted, kept))
    pairs = DensePairs(*in_front, num_candidates=(np.moveaxis(high, -1, 0) > ABSENT).sum(-1).astype(np.int32))
    words = np.stack(jax.device_get(jax.jit(jax.vmap(match_pairs))(pairs)), axis=-1)  # [I, D, W, 2]
    return np.moveaxis(words.reshape(*words.shape[:2], -1), 0, -1)


def boundaries_in_tiles(words: HostArray) -> tuple[HostArray, HostArray]:
    """Computes what the kernel of `boundary_of` does, for masks of `MASK_SIZE`, by reductions over windows."""
    width = MASK_SIZE[1]
    [boundary, area] = jax.jit(jax.vmap(functools.partial(_by_windows, down=3, across=3)))(words[..., :width])
    columns = np.zeros((*words.shape[:2], 1, words.shape[3]), np.int32)
    columns[..., 0, 0] = area
    return np.pad(boundary, [(0, 0)] * 3 + [(0, words.shape[3] - width)]), columns


def best_at_points(
    hits: HostArray, needed: HostArray, precision: HostArray, scores: HostArray
) -> tuple[HostArray, HostArray]:
    """Computes what the kernel of `at_recall_points` does, from its arguments."""
    reached = hits[:, None] >= needed[None]  # [L, R, n]
    return tuple(np.where(reached, values[:, None], np.float32(-np.inf)).max(0) for values in (precision, scores))


# What computes the same as each Pallas kernel of the programs, by its name (`Evaluator`).
KERNELS: dict[str, Kernel] = {
    "jaxmap_match": match_in_lanes,
    "jaxmap_boundary": boundaries_in_tiles,
    "jaxmap_recall_points": best_at_points,
}


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in CHIPS])
def topology(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A chip for which programs can be compiled here."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    missing = importlib.import_module("chips").missing_packages(CHIPS[request.param])
    if missing:
        pytest.skip(missing)
    return str(request.param)


@functools.cache
def compiled(topology: str, folder: pathlib.Path, *options: str) -> pathlib.Path:
    """Returns the folder with the programs for a chip, after compiling them in a process of its own."""
    folder = folder / "-".join((topology.replace(":", "_"), *options))
    folder.mkdir()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(BENCHMARKS), *sys.path])}
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "0"
    command = [sys.executable, "-m", "support.device_programs", CHIPS[topology], topology, folder, *options]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=900)
    assert run.returncode == 0, run.stderr[-3000:]
    return folder


@functools.cache
def expected() -> dict[str, list[tuple[list[HostArray], list[HostArray]]]]:
    """Returns the flattened arguments and results on the CPU of every program in every scene."""
    return {
        name: [(jax.tree.leaves(scene), jax.tree.leaves(jax.device_get(jax.jit(run)(*scene)))) for scene in scenes]
        for name, (run, scenes) in programs().items()
    }


def differences(text: str, name: str, arithmetic: Arithmetic, close: float = 0.0) -> int:
    """Counts the numbers of a program's results that differ from the CPU's by more than `close`, in all scenes."""
    count = 0
    for arguments, results in expected()[name]:
        for found, result in zip(Evaluator(text, arithmetic, KERNELS)(*arguments), results, strict=True):
            assert (found.dtype, found.shape) == (result.dtype, result.shape)
            allowed = close if result.dtype.kind == "f" else 0.0
            same = (found == result) | ((found != found) & (result != result))
            near = np.abs(found.astype(np.float64) - result.astype(np.float64)) <= allowed
            count += int((~(same | near)).sum())
    return count


@pytest.mark.parametrize("name", NAMES)
def test_decides_as_on_the_cpu(topology: str, name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    text = (compiled(topology, tmp_path_factory.getbasetemp()) / f"{name}.hlo").read_text()
    for model, arithmetic in MODELS.items():
        assert differences(text, name, arithmetic, CLOSE[model] if name == "compute" else 0.0) == 0, model


@pytest.mark.parametrize("topology", QUICK, indirect=True)
def test_products_that_are_not_rounded_are_seen(topology: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = compiled(topology, tmp_path_factory.getbasetemp(), "--without-rounded", "--only", "update")
    text = (folder / "update.hlo").read_text()
    found = {model: differences(text, "update", arithmetic) for model, arithmetic in MODELS.items()}
    assert found.pop("all products contracted") > 0
    assert set(found.values()) == {0}


# ---- the evaluator itself, on programs written by hand ----

MULTIPLY_ADD = """
HloModule m

%fused {
  %a = f32[3]{0} parameter(0)
  %b = f32[3]{0} parameter(1)
  %c = f32[3]{0} parameter(2)
  %product = f32[3]{0} multiply(%a, %b)
  ROOT %sum = f32[3]{0} OPERATION
}

ENTRY %main {
  %x = f32[3]{0} parameter(0)
  %y = f32[3]{0} parameter(1)
  %z = f32[3]{0} parameter(2)
  ROOT %fusion = f32[3]{0} fusion(%x, %y, %z), kind=kLoop, calls=%fused
}
"""


def run_by_hand(operation: str, arithmetic: Arithmetic, *arguments: Any) -> HostArray:
    text = MULTIPLY_ADD.replace("OPERATION", operation)
    [result] = Evaluator(text, arithmetic)(*(np.array(value, np.float32) for value in arguments))
    return result


def test_contraction_takes_a_product_unrounded() -> None:
    step = 2.0**-12  # (1 + step)^2 = 1 + 2 step + step^2, of which float32 holds the first two
    x, y, z = [1 + step] * 3, [1 + step] * 3, [-1.0, -1 - 2 * step, 0.0]
    plain = [2 * step, 0.0, 1 + 2 * step]
    fused = [2 * step + step**2, step**2, 1 + 2 * step]
    np.testing.assert_array_equal(run_by_hand("add(%product, %c)", MODELS["IEEE"], x, y, z), plain)
    np.testing.assert_array_equal(run_by_hand("add(%c, %product)", Arithmetic(contract=True), x, y, z), fused)
    negated = run_by_hand("subtract(%c, %product)", Arithmetic(contract=True), x, y, np.negative(z))
    np.testing.assert_array_equal(negated, np.negative(fused))


def test_subnormals_are_flushed_and_quotients_are_coarse() -> None:
    tiny, one, three = [2.0**-130] * 3, [1.0] * 3, [3.0, 5.0, 7.0]
    np.testing.assert_array_equal(run_by_hand("add(%product, %c)", Arithmetic(flush=True), tiny, one, [0.0] * 3), 0)
    quotient = run_by_hand("divide(%a, %b)", Arithmetic(division_bits=12), one, three, one)
    error = np.abs(quotient * np.array(three) - 1)
    assert 2.0**-20 < error.max() <= 2.0**-12 + 2.0**-22
    exact = run_by_hand("divide(%a, %b)", Arithmetic(), one, three, one)
    np.testing.assert_array_equal(exact, np.float32(1) / np.array(three, np.float32))


@pytest.mark.parametrize("place", ["vmap()/add_up", "vmap(add_up)"])
def test_kernels_are_called_by_their_name(place: str) -> None:
    call = (
        'custom-call(%product, %c), custom_call_target="tpu_custom_call", '
        f'metadata={{op_name="jit(f)/{place}/pallas_call"}}'
    )
    text, one = MULTIPLY_ADD.replace("OPERATION", call), np.ones(3, np.float32)
    [result] = Evaluator(text, kernels={"add_up": lambda a, b: jax.numpy.add(a, 2 * b)})(one, 3 * one, one)
    np.testing.assert_array_equal(result, [5, 5, 5])
    with pytest.raises(RuntimeError, match="the kernel add_up: pass what computes the same"):
        Evaluator(text)(one, one, one)


TILED = """\
HloModule module, entry_computation_layout={(f32[4,8]{1,0})->f32[2,2,8]{2,1,0}}

ENTRY %main {
  %x = f32[4,8]{1,0:T(2,4)} parameter(0)
  ROOT %bitcast = f32[2,2,8]{2,1,0:T(2,4)} bitcast(%x)
}
"""


def test_memory_is_read_tile_by_tile() -> None:
    x = np.arange(32, dtype=np.float32).reshape(4, 8)
    np.testing.assert_array_equal(Evaluator(TILED)(x)[0], x.reshape(2, 2, 8))
    # Untiled, the memory of a tile is two halves of rows, one after the other.
    half = np.concatenate([x[:2, :4].ravel(), x[:2, 4:].ravel()]).reshape(2, 8)
    plain = TILED.replace("f32[2,2,8]{2,1,0:T(2,4)} bitcast", "f32[2,2,8]{2,1,0} bitcast")
    np.testing.assert_array_equal(Evaluator(plain)(x)[0][0], half)
    padded = TILED.replace("T(2,4)} parameter", "T(4,4)} parameter")
    padded = padded.replace("f32[2,2,8]{2,1,0:T(2,4)}", "f32[4,8]{1,0}")
    columns = np.concatenate([x[:, :4].ravel(), x[:, 4:].ravel()]).reshape(4, 8)
    np.testing.assert_array_equal(Evaluator(padded)(x)[0], columns)


def convolved(left: np.ndarray, right: np.ndarray, result: np.ndarray, attributes: str) -> np.ndarray:
    """Returns the result of a program that is one convolution."""
    left_type, right_type, result_type = (f"f32[{','.join(map(str, value.shape))}]" for value in (left, right, result))
    text = f"""\
HloModule module

ENTRY %main {{
  %x = {left_type} parameter(0)
  %y = {right_type} parameter(1)
  ROOT %c = {result_type} convolution(%x, %y), {attributes}
}}
"""
    value: np.ndarray = Evaluator(text)(left, right)[0]
    return value


@pytest.mark.parametrize("labels", ["0bf_io0->0bf", "b0f_io0->b0f", "bf_io->bf"])
def test_convolutions_with_windows_of_one_number_are_products(labels: str) -> None:
    rng = np.random.default_rng(0)
    axes = {"0": 3, "b": 4, "f": 5}
    left = rng.integers(0, 9, [axes[label] for label in labels.split("_")[0]]).astype(np.float32)
    right = rng.integers(0, 9, (5, 2)).astype(np.float32)
    kernel = right[..., None] if "0" in labels else right
    result = left @ right
    attributes = ("window={size=1}, " if "0" in labels else "") + f"dim_labels={labels}"
    np.testing.assert_array_equal(convolved(left, kernel, result, attributes), result)


def test_convolutions_with_windows_of_all_numbers_are_sums_along_them() -> None:
    rng = np.random.default_rng(0)
    left, right = (rng.integers(0, 9, shape).astype(np.float32) for shape in ((4, 5, 3), (2, 5, 3)))
    result = np.einsum("bfw,ofw->bo", left, right)[..., None]
    found = convolved(left, right, result, "window={size=3}, dim_labels=bf0_oi0->bf0")
    np.testing.assert_array_equal(found, result)
    with pytest.raises(RuntimeError, match="a window of 2 numbers"):
        convolved(left, right[..., :2], result, "window={size=2}, dim_labels=bf0_oi0->bf0")
    with pytest.raises(RuntimeError, match="the window size=3 pad=1_1"):
        convolved(left, right, result, "window={size=3 pad=1_1}, dim_labels=bf0_oi0->bf0")


def test_convolutions_of_numbers_apart_are_products_one_by_one() -> None:
    rng = np.random.default_rng(0)
    left, right = (rng.integers(0, 9, shape).astype(np.float32) for shape in ((3, 4, 5), (3, 2, 5)))
    result = np.einsum("abf,aof->abo", left, right)
    found = convolved(left, right, result, "window={size=3 stride=2 lhs_dilate=3}, dim_labels=0bf_0oi->0bf")
    np.testing.assert_array_equal(found, result)
    with pytest.raises(RuntimeError, match="the window size=3 stride=1 lhs_dilate=3"):
        convolved(left, right, result, "window={size=3 stride=1 lhs_dilate=3}, dim_labels=0bf_0oi->0bf")


def test_unknown_operations_are_refused_by_name() -> None:
    with pytest.raises(RuntimeError, match="the opcode fft: add it to a table"):
        run_by_hand("fft(%a)", Arithmetic(), [1.0] * 3, [1.0] * 3, [1.0] * 3)


@pytest.mark.parametrize("seed", range(3))
def test_evaluates_the_cpus_own_programs(seed: int) -> None:
    # Sorts, gathers, scatters, loops, reductions and windows as this JAX compiles them here, against their results.
    def mixed(values: jax.Array, rows: jax.Array) -> Any:
        order = jax.numpy.argsort(values, axis=1)
        picked = jax.numpy.take_along_axis(values, rows % 5, axis=1)
        spread = jax.numpy.zeros((4, 7)).at[:, rows[0] % 9].max(values[:, : rows.shape[1]], mode="drop")
        total = jax.lax.fori_loop(0, 3, lambda k, state: state * 2 + k, rows)
        return order, picked, spread, total, values.max(0), jax.numpy.cumsum(rows, 1), jax.lax.population_count(rows)

    rng = np.random.default_rng(seed)
    arguments = rng.normal(size=(4, 6)).astype(np.float32), rng.integers(0, 20, (4, 5)).astype(np.int32)
    program = jax.jit(mixed).lower(*arguments).compile()
    for found, result in zip(Evaluator(program.as_text())(*arguments), program(*arguments), strict=True):
        np.testing.assert_array_equal(found, result)
