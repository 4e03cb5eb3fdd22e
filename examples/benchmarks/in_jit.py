"""Times the route inside `jit` on JAX's default device: one update, and a whole evaluation on the device.

    python examples/benchmarks/in_jit.py                 64 images per batch, 100 detections and 100 ground truths each
    python examples/benchmarks/in_jit.py --images 5000   number of images of the whole evaluation

Inputs are on the device before timing starts. The first call (with compilation) and the median of later calls are
reported; each call is waited for. Where hotcoco is installed, its `StreamingEval` gets the same batches, fetched from
the device, in the same run.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from loads import make_load, pad
from streaming import annotations, quiet, stream

import jaxmap

NUM_CLASSES = 80


def timed(call: Callable[[], Any], repeats: int) -> tuple[Any, float, float]:
    """Returns the last result, the seconds of the first call, and the median of the others."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        result = jax.block_until_ready(call())
        seconds.append(time.perf_counter() - start)
    return result, seconds[0], statistics.median(seconds[1:])


def batches(num_images: int, batch_size: int, slots: int) -> list[tuple[Any, ...]]:
    """Returns a COCO-like load as batches on the device: detections, ground truths and image ids."""
    load = make_load(num_images, 36 * num_images // 5, 100 * num_images)
    found, truth = load.padded()
    found = {name: column[:, :slots] for name, column in found.items()}
    rows = np.nonzero(truth["valid"])
    truth = pad(rows[0], num_images, **{name: column[rows] for name, column in truth.items() if name != "valid"})
    width = truth["valid"].shape[1]

    def fitted(column: np.ndarray) -> np.ndarray:
        column = column[:, :slots]
        return np.pad(column, ((0, 0), (0, max(slots - width, 0))) + ((0, 0),) * (column.ndim - 2))

    truth = {name: fitted(column) for name, column in truth.items()}
    kinds = {"f": np.float32, "i": np.int32, "b": np.bool_}
    sides = [
        {name: column.astype(kinds[column.dtype.kind]) for name, column in side.items()} for side in (found, truth)
    ]
    result = []
    for start in range(0, num_images - batch_size + 1, batch_size):
        cut = slice(start, start + batch_size)
        detections, ground_truths = ({name: column[cut] for name, column in side.items()} for side in sides)
        ids = np.arange(start, start + batch_size, dtype=np.int32)
        result.append((jaxmap.Detections(**detections), jaxmap.GroundTruths(**ground_truths), ids))
    return jax.device_put(result)


def update_of(metric: Any) -> Callable[..., Any]:
    """Returns the update of a metric, with image ids by position."""
    return lambda state, found, truth, ids: metric.update(state, found, truth, image_id=ids)


def evaluation(metric: Any, data: Sequence[tuple[Any, ...]]) -> Callable[[], Any]:
    """Returns what scores all batches on the device, from an empty state to the result of `compute`."""
    step, compute = jax.jit(update_of(metric), donate_argnums=0), jax.jit(metric.compute)

    def evaluate() -> Any:
        state = metric.init()
        for batch in data:
            state = step(state, *batch)
        return compute(state)

    return evaluate


def beside_hotcoco(data: Sequence[tuple[Any, ...]]) -> Callable[[int, float, int], None]:
    """Returns what times hotcoco on the first few batches, and prints the ratio to it.

    One batch is only added to an evaluation, all batches are scored. Ground truths are on the host from the start.
    """
    known = [annotations(truth, ids) for _, truth, ids in jax.device_get(data)]

    def compare(number: int, seconds: float, repeats: int) -> None:
        with quiet():
            of_first = data[:number], known[:number], NUM_CLASSES
            _, _, theirs = timed(lambda: stream(*of_first, summarizes=number == len(data)), repeats)
        print(
            f"the same, fetched and given to hotcoco's StreamingEval: {theirs * 1e3:.2f} ms; jaxmap takes "
            f"{seconds / theirs:.2f} of that"
        )

    return compare


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--slots", type=int, default=100, help="detections and ground truths per image")
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args(arguments)
    data = batches(options.images, options.batch, options.slots)
    slots = {"max_detections_per_image": options.slots, "max_ground_truths_per_image": options.slots}
    metric = jaxmap.AveragePrecision(num_classes=NUM_CLASSES, max_images=options.images, box_format="xywh", **slots)
    step = jax.jit(update_of(metric))
    print(f"device: {jax.devices()[0].device_kind}, {platform.machine()}, jax {jax.__version__}")
    _, first, later = timed(lambda: step(metric.init(), *data[0]), options.repeats)

    size = f"{options.batch} x {options.slots} x {options.slots}"
    print(f"update of {size}: first {first:.2f} s, then {later * 1e3:.2f} ms")
    beside = beside_hotcoco(data) if importlib.util.find_spec("hotcoco") else lambda *_: None
    beside(1, later, options.repeats)
    result, first, later = timed(evaluation(metric, data), max(options.repeats // 3, 1))
    print(f"{len(data) * options.batch} images, updates and compute: first {first:.2f} s, then {later:.3f} s")
    beside(len(data), later, max(options.repeats // 3, 1))
    print("AP", metric.summarize(result)["AP"])


if __name__ == "__main__":
    main()
