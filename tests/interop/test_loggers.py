"""What loggers write of an evaluation: clu's writers, TensorBoard's, and metrax's logging backend."""

from __future__ import annotations

import logging
import pathlib
import struct

import jax
import pytest

import jaxmap
from support import batches


@pytest.fixture(scope="module")
def numbers() -> dict[str, float]:
    """Returns the numbers of an evaluation, also those of its class, whose name needs care."""
    evaluation = jaxmap.evaluate(*batches.dataset(), box_format="xywh", class_names=["traffic light"])
    values = evaluation.to_scalars(prefix="val/", per_class=True)
    assert {"val/AP", "val/AP50", "val/AP/traffic_light"} < set(values)
    return values


def written(folder: pathlib.Path) -> dict[str, tuple[int, float]]:
    """Returns the step and the value of each scalar in TensorBoard's event files, read as records of TensorFlow."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2", reason="reads the files of TensorBoard")
    found = {}
    for path in sorted(folder.glob("**/events.*")):
        content, start = path.read_bytes(), 0
        while start < len(content):
            (length,) = struct.unpack_from("<Q", content, start)
            event = event_pb2.Event.FromString(content[start + 12 : start + 12 + length])
            start += 16 + length
            for value in event.summary.value:
                tensor = struct.unpack("<f", value.tensor.tensor_content) if value.tensor.tensor_content else ()
                number = [*tensor, *value.tensor.float_val, value.simple_value][0]
                found[value.tag] = event.step, number
    return found


def assert_written(folder: pathlib.Path, numbers: dict[str, float], step: int) -> None:
    found = written(folder)
    assert found.keys() == numbers.keys()
    assert {at for at, _ in found.values()} == {step}
    assert {name: value for name, (_, value) in found.items()} == pytest.approx(numbers, rel=1e-6)


def test_clus_logging_writer(numbers: dict[str, float], caplog: pytest.LogCaptureFixture) -> None:
    writers = pytest.importorskip("clu.metric_writers", reason="needs TensorFlow", exc_type=ImportError)
    with caplog.at_level(logging.INFO, logger="absl"):
        writers.LoggingWriter().write_scalars(7, numbers)
    [line] = [record.getMessage() for record in caplog.records if record.getMessage().startswith("[7]")]
    assert f"val/AP={numbers['val/AP']:.6g}" in line.removeprefix("[7] ").split(", ")
    assert line.count("=") == len(numbers)


def test_clus_summary_writer(numbers: dict[str, float], tmp_path: pathlib.Path) -> None:
    writers = pytest.importorskip("clu.metric_writers", reason="needs TensorFlow", exc_type=ImportError)
    writer = writers.AsyncMultiWriter([writers.SummaryWriter(str(tmp_path)), writers.LoggingWriter()])
    with writers.ensure_flushes(writer):
        writer.write_scalars(7, numbers)
    assert_written(tmp_path, numbers, step=7)


@pytest.mark.parametrize("library", ["tensorboardX", "torch.utils.tensorboard"])
def test_tensorboards_writers(library: str, numbers: dict[str, float], tmp_path: pathlib.Path) -> None:
    tensorboard = pytest.importorskip(library, reason="writes files of TensorBoard", exc_type=ImportError)
    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        for name, value in numbers.items():
            writer.add_scalar(name, value, 7)
    assert_written(tmp_path, numbers, step=7)


def test_metraxs_logging_backend(numbers: dict[str, float], tmp_path: pathlib.Path) -> None:
    backend = pytest.importorskip("metrax.logging", reason="metrax").TensorboardBackend(log_dir=str(tmp_path))
    jax.monitoring.register_scalar_listener(backend.log_scalar)
    try:
        for name, value in numbers.items():
            jax.monitoring.record_scalar(name, value, step=7)
    finally:
        jax.monitoring.unregister_scalar_listener(backend.log_scalar)
    backend.close()
    assert_written(tmp_path, numbers, step=7)
