"""Times 1,000 bootstrap replicates of all numbers and of AP per class: on the host, inside `jit`, and hotcoco's.

    python examples/benchmarks/bootstrap.py                          a made-up load of 500,000 detections
    python examples/benchmarks/bootstrap.py --detections 45000
    python examples/benchmarks/bootstrap.py --pair GT.json DT_A.json DT_B.json

`bootstrap` is of one detector, `compare` of two on the same images (for a load, the second detector has other scores).
hotcoco only has `compare`, which draws replicates of both. Everything is read and evaluated before the clock starts.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from device_parts import quiet
from in_jit import batches, update_of
from loads import make_load
from run import machine

import jaxmap
from jaxmap import io


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the seconds of each, and their ratio to hotcoco's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", nargs=3, metavar=("GT", "DT_A", "DT_B"))
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=500_000)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--in-jit", action="store_true", help="also inside jit, on the load with 100 slots per image")
    parser.add_argument("--hotcoco", action="store_true", help="also hotcoco's compare, which takes minutes")
    options = parser.parse_args(arguments)
    print(", ".join(f"{name} {value}" for name, value in machine(["hotcoco"]).items()))
    with tempfile.TemporaryDirectory() as folder:
        files = (
            unpacked(options.pair, Path(folder))
            if options.pair
            else write_load(Path(folder), options.images, options.detections)
        )
        truth = io.read_coco_ground_truths(files[0])
        runs = [jaxmap.evaluate(io.read_coco_detections(path, truth), truth) for path in files[1:]]
        print(f"{len(truth.image_ids)} images, {[len(one.dataset.by_class) for one in runs]} detections")
        before = peak()
        timed("bootstrap, first call", lambda: runs[0].bootstrap(options.replicates))
        mine, _ = timed("bootstrap", lambda: runs[0].bootstrap(options.replicates))
        print(f"peak memory of the process: {peak() - before:.0f} MB more than before")
        pair, change = timed(
            "compare, no permutation",
            lambda: jaxmap.compare(*runs, num_replicates=options.replicates, permutation=False),
        )
        timed("compare", lambda: jaxmap.compare(*runs, num_replicates=options.replicates))
        print(change.summary["B"]["AP"])
        if options.hotcoco and importlib.util.find_spec("hotcoco"):
            theirs, result = hotcoco_compare(files, options.replicates)
            print(f"hotcoco's interval of AP: {result['ci']['AP']}")
            print(f"jaxmap takes {pair / theirs:.3f} of hotcoco's compare (bootstrap alone {mine / theirs:.3f})")
    if options.in_jit:
        in_jit(options.images, options.replicates)


def unpacked(files: Sequence[str], folder: Path) -> list[Path]:
    """Writes files without compression, which hotcoco does not read."""
    for number, path in enumerate(files):
        data = Path(path).read_bytes()
        (folder / f"{number}.json").write_bytes(gzip.decompress(data) if path.endswith(".gz") else data)
    return [folder / f"{number}.json" for number in range(len(files))]


def write_load(folder: Path, num_images: int, num_detections: int) -> list[Path]:
    """Writes a load and a second set of detections, with other scores."""
    load = make_load(num_images, 36 * num_images // 5, num_detections)
    results = load.results()
    noise = np.random.default_rng(1).normal(0, 0.05, len(results))
    blurred = [
        row | {"score": float(np.clip(row["score"] + add, 0, 1))} for row, add in zip(results, noise, strict=True)
    ]
    contents = {"gt.json": load.ground_truth_dict(), "a.json": results, "b.json": blurred}
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content))
    return [folder / name for name in contents]


def timed(what: str, call: Any) -> tuple[float, Any]:
    """Prints and returns the seconds of a call, and its result."""
    start, cpu = time.perf_counter(), time.process_time()
    result = call()
    seconds = time.perf_counter() - start
    print(f"{what}: {seconds:.2f} s, {time.process_time() - cpu:.2f} s of CPU", flush=True)
    return seconds, result


def peak() -> float:
    """Returns the peak memory of this process, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def hotcoco_compare(files: Sequence[Any], num_replicates: int) -> tuple[float, Any]:
    """Times hotcoco's paired bootstrap."""
    import hotcoco

    with quiet():
        truth = hotcoco.COCO(str(files[0]))
        runs = [hotcoco.COCOeval(truth, truth.loadRes(str(path)), "bbox") for path in files[1:]]
        for one in runs:
            one.evaluate()
    return timed("hotcoco compare", lambda: hotcoco.compare(*runs, n_bootstrap=num_replicates))


def in_jit(num_images: int, num_replicates: int) -> None:
    """Times the bootstrap of a state inside `jit`."""
    metric = jaxmap.AveragePrecision(num_classes=80, max_images=num_images, box_format="xywh")
    step = jax.jit(update_of(metric), donate_argnums=0)
    state = metric.init()
    for batch in batches(num_images, min(250, num_images), 100):
        state = step(state, *batch)
    jax.block_until_ready(state)
    compiled: Any = timed(
        "in jit, compile",
        lambda: jax.jit(lambda state: metric.bootstrap(state, num_replicates=num_replicates)).lower(state).compile(),
    )[1]
    timed("in jit", lambda: jax.block_until_ready(compiled(state)))
    evaluation = metric.evaluation(state)
    timed("the same state on the host", lambda: evaluation.bootstrap(num_replicates))


if __name__ == "__main__":
    main()
