"""What is compiled, and when; commands keep what they compiled where the user's caches are."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import jax
import numpy as np
import pytest

import jaxmap
from jaxmap._cli._compilation_cache import configure
from jaxmap.metrics import HistogramAveragePrecision, HostAveragePrecision
from jaxmap.protocols import PROTOCOLS
from support.metric_cases import dataset

ROOT = pathlib.Path(__file__).resolve().parents[1]


@contextlib.contextmanager
def compiled(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Fills the list, on leaving, with the names of the programs that were compiled inside."""
    names: list[str] = []
    caplog.clear()
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        yield names
    messages = [record.getMessage() for record in caplog.records]
    names += [message.split()[4] for message in messages if message.startswith("Finished XLA compilation")]


# ---- what is compiled ----


def test_evaluate_compiles_nothing(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    corner = 20.0 * rng.random((16, 2))
    boxes = np.concatenate([corner, corner + 10.0 + rng.random((16, 2))], axis=1)
    truth = [{"boxes": boxes, "labels": rng.integers(0, 2, 16)}]
    with compiled(caplog) as names:
        evaluation = jaxmap.evaluate([truth[0] | {"scores": rng.random(16)}], truth)
    assert evaluation.summary["AR100"] == 1.0  # every box finds itself
    assert names == []


def test_warmup_takes_every_protocol() -> None:
    for protocol in (*PROTOCOLS, jaxmap.COCO.customize(iou_type="segm")):
        jaxmap.warmup(protocol)


@pytest.mark.slow
def test_metric_compiles_nothing_after_warmup(caplog: pytest.LogCaptureFixture) -> None:
    metric = HistogramAveragePrecision(num_classes=3, num_bins=17, box_format="xywh")
    batch = dataset()
    shapes = jax.tree.map(lambda column: jax.ShapeDtypeStruct(column.shape, column.dtype), batch)
    state = metric.init()
    with compiled(caplog) as by_warmup:
        steps = jaxmap.warmup_metric(metric, shapes)
    assert sorted(by_warmup) == ["jit(compute)", "jit(update)"]
    with compiled(caplog) as later:
        state = steps.update(state, **batch)
        result = steps.compute(state)
    assert later == []
    assert metric.summarize(result)["num_images"] == len(batch["image_id"])


def test_metric_with_its_state_on_the_host_raises() -> None:
    with pytest.raises(TypeError, match=r"`HostAveragePrecision\.update` must be called outside jit"):
        jaxmap.warmup_metric(HostAveragePrecision(num_classes=3), dataset())


def test_batch_of_another_shape_raises() -> None:
    batch = dataset()
    with pytest.raises(ValueError, match="image_id"):
        jaxmap.warmup_metric(HistogramAveragePrecision(num_classes=3), batch | {"image_id": batch["image_id"][:-1]})


def test_unknown_protocol_is_named() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        jaxmap.warmup("nonsense")


# ---- the program's cache ----

VARIABLES = (
    "JAX_COMPILATION_CACHE_DIR",
    "JAX_ENABLE_COMPILATION_CACHE",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS",
)


@pytest.fixture
def no_jax(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> pytest.MonkeyPatch:
    """A process that has not loaded JAX and has set none of its variables, at home in a folder of the test's."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that what is set later is undone as well
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "jax")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "platform", "linux")
    return monkeypatch


def settings(off: bool = False) -> dict[str, str]:
    """Returns what `configure` leaves in the environment."""
    configure(argparse.Namespace(no_compilation_cache=off))
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def test_cache_is_in_the_cache_folder_of_the_home(no_jax: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "home" / ".cache" / "jaxmap" / "compiled"
    assert settings() == {
        "JAX_COMPILATION_CACHE_DIR": str(folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    assert folder.stat().st_mode & 0o777 == 0o700  # it holds machine code: nobody else may write there


def test_cache_follows_the_platform(no_jax: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    no_jax.setattr(sys, "platform", "darwin")
    folder = tmp_path / "home" / "Library" / "Caches" / "jaxmap" / "compiled"
    assert settings()["JAX_COMPILATION_CACHE_DIR"] == str(folder)


@pytest.mark.parametrize("absolute", [True, False])
def test_cache_follows_xdg_where_it_is_absolute(
    no_jax: pytest.MonkeyPatch, tmp_path: pathlib.Path, absolute: bool
) -> None:
    no_jax.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg") if absolute else "xdg")
    base = tmp_path / "xdg" if absolute else tmp_path / "home" / ".cache"
    assert settings()["JAX_COMPILATION_CACHE_DIR"] == str(base / "jaxmap" / "compiled")


def test_cache_of_the_user_stays(no_jax: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    no_jax.setenv("JAX_COMPILATION_CACHE_DIR", "gs://bucket")
    no_jax.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "5")
    assert settings() == {
        "JAX_COMPILATION_CACHE_DIR": "gs://bucket",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "5",
    }
    assert not (tmp_path / "home").exists()


def test_cache_can_be_turned_off(no_jax: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    no_jax.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    assert settings(off=True)["JAX_ENABLE_COMPILATION_CACHE"] == "false"
    assert not (tmp_path / "home").exists()


def test_cache_is_left_out_where_its_folder_cannot_be(no_jax: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    (tmp_path / "home").write_text("a file")
    assert settings() == {}


def test_cache_is_left_out_where_its_folder_cannot_be_written(no_jax: pytest.MonkeyPatch) -> None:
    no_jax.setattr(os, "access", lambda folder, mode: False)  # permissions stop no superuser
    assert settings() == {}


def test_loaded_jax_is_left_alone(no_jax: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    no_jax.setitem(sys.modules, "jax", jax)
    assert settings() == settings(off=True) == {}
    assert not (tmp_path / "home").exists()


@pytest.mark.slow
def test_program_takes_from_the_cache_what_it_left_there(tmp_path: pathlib.Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES} | {
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "XDG_CACHE_HOME": str(tmp_path),
        "JAX_LOG_COMPILES": "1",
    }

    def run(*flags: str) -> tuple[dict[str, float], int, set[str]]:
        """Returns the numbers, how many programs came from the cache, and what it holds afterwards."""
        command = [sys.executable, "-m", "jaxmap", "eval", "--demo", "--bootstrap", "10", "--json", "-", *flags]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        kept = {path.name for path in (tmp_path / "jaxmap" / "compiled").glob("*-cache")}
        return json.loads(done.stdout), done.stderr.count("Persistent compilation cache hit"), kept

    numbers, hits, kept = run("--no-compilation-cache")
    assert (hits, kept) == (0, set())
    first, hits, kept = run()
    assert (first, hits) == (numbers, 0)
    assert kept
    assert run() == (numbers, len(kept), kept)
