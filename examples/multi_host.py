"""Evaluates on several processes, like several hosts: uneven shares, one process without images, the same numbers.

    python examples/multi_host.py --processes 2 4

The script starts the processes on this machine; `worker` is what a program on each host would do. Every process updates
a state with its own images, and `distributed.gather`, which every process must call, returns the merged state to each.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
from typing import Any

import jax
import numpy as np

import jaxmap
from jaxmap import distributed, io
from jaxmap._matching._padding import pad_detections
from jaxmap.adapters import GroundTruthLookup

State = jaxmap.metrics.AveragePrecisionState
BATCH = 16


def demo(num_images: int) -> tuple[jaxmap.Detections, np.ndarray, GroundTruthLookup]:
    """Returns a made-up detector's output on all images, their ids, and the ground truths."""
    table, truth = io.demo_scene(num_images)
    detections = pad_detections(table, num_images)
    return detections, truth.image_ids, GroundTruthLookup.from_table(truth, box_format="xywh")


def share_of(process: int, num_processes: int, num_images: int) -> np.ndarray:
    """Splits the images unevenly: each process gets twice as many as the previous one, the last of several none."""
    weights = 2 ** np.arange(num_processes)
    weights[2:][-1:] = 0
    cuts = np.cumsum([0, *weights]) * num_images // weights.sum()
    return np.arange(cuts[process], cuts[process + 1])


def worker(process: int, num_processes: int, num_images: int, port: int) -> None:
    """The program of each host."""
    jax.distributed.initialize(f"127.0.0.1:{port}", num_processes, process)
    detections, image_ids, lookup = demo(num_images)
    metric = jaxmap.AveragePrecision(
        num_classes=10,
        max_images=num_images,
        max_detections_per_image=detections.scores.shape[1],
        max_ground_truths_per_image=lookup.max_ground_truths_per_image,
        box_format="xywh",
    )

    @jax.jit
    def step(state: State, found: jaxmap.Detections, ids: jax.Array, lookup: GroundTruthLookup) -> State:
        truth, known = lookup.find(ids)
        return metric.update(state, found, truth, image_id=ids, valid=known)

    state = metric.init()  # the state of a process without images
    mine = share_of(process, num_processes, num_images)
    for start in range(0, len(mine), BATCH):
        rows = np.resize(mine[start : start + BATCH], BATCH)
        ids = np.where(np.arange(BATCH) < len(mine) - start, image_ids[rows], -1).astype(np.int32)
        state = step(state, jax.tree.map(lambda column, rows=rows: column[rows], detections), ids, lookup)

    numbers = metric.summarize(metric.compute(distributed.gather(metric, state)))
    print(
        json.dumps({"process": process, "of": num_processes, "own_images": len(mine), "numbers": numbers}), flush=True
    )


def run(num_processes: int, num_images: int) -> list[dict[str, Any]]:
    """Starts the processes and returns what each printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--images", str(num_images), "--port", str(port), "--of", str(num_processes)]
    workers = [
        subprocess.Popen(
            [sys.executable, __file__, "--worker", str(i), *options],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )
        for i in range(num_processes)
    ]
    try:
        outputs = [worker.communicate(timeout=300)[0] for worker in workers]
    finally:
        for one in workers:
            one.kill()
    if any(one.returncode for one in workers):
        raise SystemExit("a process failed")
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4], help="how many, one run each")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--of", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        worker(options.worker, options.of, options.images, options.port)
        return

    detections, image_ids, lookup = demo(options.images)
    truth, _ = lookup.find(image_ids)
    expected = jaxmap.evaluate(detections, truth, box_format="xywh", num_classes=10).summary
    print(f"one process, one call             AP {expected['AP']:.10f}  AR100 {expected['AR100']:.10f}")
    for answer in (answer for number in options.processes for answer in run(number, options.images)):
        numbers = answer["numbers"]
        print(
            f"process {answer['process']} of {answer['of']}, {answer['own_images']:4d} images of it  "
            f"AP {numbers['AP']:.10f}  AR100 {numbers['AR100']:.10f}  {numbers['num_images']} images in all"
        )
        if not all(np.array_equal(numbers[key], value, equal_nan=True) for key, value in expected.items()):
            raise SystemExit("every process must give the numbers of one call")


if __name__ == "__main__":
    main()
