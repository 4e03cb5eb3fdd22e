"""The parts of `device.sh` that no other program here has; each prints its figures as they come.

python examples/benchmarks/device_parts.py facts|scenes|updates|fetched|maps|bootstrap|profile [--quick]
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.metadata
import importlib.util
import os
import platform
import statistics
import sys
import tempfile
import time
import unittest.mock
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from in_jit import NUM_CLASSES, batches, evaluation, timed, update_of
from loads import pad
from streaming import annotations, categories, quiet, rows, stream

import jaxmap
from jaxmap._device_check import draw_corners_on_thresholds
from jaxmap._matching._backends import match_by_lists, match_dense
from jaxmap._matching._rounds import match_by_rounds


def matched_by(matching: Callable[..., Any]) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    """Returns what is entered so that updates compiled inside match by a given function."""
    return partial(unittest.mock.patch, "jaxmap._matching._device.match_images", matching)


# Ways to compile the same update, by name, which are timed at the smallest size beside the one that jaxmap chooses.
VARIANTS = {
    "lists of candidates": matched_by(lambda images, protocol: match_by_lists(images, protocol=protocol)),
    "rounds": matched_by(lambda images, protocol: match_dense(match_by_rounds, images, protocol=protocol)),
}
MAPS = ("update-segm", "update-boundary", "update-obb", "update-panoptic", "update-semantic", "segments")
QUICK_MAPS = ("update-panoptic", "update-semantic")
SLOTS = 100  # detections and ground truths per image


def facts(quick: bool) -> int:
    """Prints the devices and the versions."""
    for device in jax.devices():
        memory = (device.memory_stats() or {}).get("bytes_limit")
        print(f"{device.platform}: {device.device_kind}" + (f", {memory / 1e9:.1f} GB for JAX" if memory else ""))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name in ("jax", "jaxlib", "numpy", "chex", "hotcoco", "pycocotools", "msgspec"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            print(f"{name} {importlib.metadata.version(name)}")
    print(f"XLA_FLAGS {os.environ.get('XLA_FLAGS', '')!r}")
    return 0


def scenes(quick: bool) -> int:
    """Checks the device, then compares AP in `jit` with the host, in float64, on two scenes."""
    print(jaxmap.check_device(), flush=True)
    different = 0
    for name, (found, truth, num_classes) in {"demo": demo(), "IoUs on thresholds": on_thresholds(quick)}.items():
        images, slots = found.scores.shape
        metric = jaxmap.AveragePrecision(
            num_classes=num_classes,
            max_images=images,
            max_detections_per_image=slots,
            max_ground_truths_per_image=truth.labels.shape[1],
            box_format="xywh",
        )
        state = jax.jit(update_of(metric))(metric.init(), found, truth, jnp.arange(images, dtype=jnp.int32))
        host = jaxmap.evaluate(found, truth, num_classes=num_classes, box_format="xywh").summary
        of_state = metric.evaluation(state).summary
        computed = metric.summarize(jax.jit(metric.compute)(state))
        off, off_computed = (
            max(abs(numbers[key] - value) for key, value in host.items() if value == value)
            for numbers in (of_state, computed)
        )
        different += off > 0
        print(
            f"{name}: {images} images, AP {host['AP']:.6f}; largest difference of {len(host)} numbers from the host: "
            f"{off:.0e} (matches on the device, curves in float64), {off_computed:.0e} (all on the device)",
            flush=True,
        )
    print("WRONG: matches on the device differ from the host" if different else "all matches equal those of the host")
    return int(different > 0)


def demo() -> tuple[jaxmap.Detections, jaxmap.GroundTruths, int]:
    """Returns the demo scene as padded float32 arrays, and its number of classes."""
    from jaxmap.io import demo_scene

    sides = []
    tables = demo_scene()
    for table, more in zip(tables, (("scores",), ("area", "crowd", "ignore")), strict=True):
        columns = {name: getattr(table, name) for name in ("boxes", "labels", *more)}
        side = pad(table.image_index, len(tables[1].image_ids), **columns)
        sides.append({name: single(column) for name, column in side.items()})
    return jaxmap.Detections(**sides[0]), jaxmap.GroundTruths(**sides[1]), len(tables[1].class_ids)


def on_thresholds(quick: bool) -> tuple[jaxmap.Detections, jaxmap.GroundTruths, int]:
    """Makes images of 16 detections with two ground truths each, whose IoUs are exactly multiples of 1 / 20."""
    rng = np.random.default_rng(0)
    images, classes = 100 if quick else 1_000, 5
    corners = draw_corners_on_thresholds(rng, images * 16)
    corners[..., 2:] -= corners[..., :2]
    boxes = single(corners)
    labels = rng.integers(0, classes, (images, 16)).astype(np.int32)
    found = jaxmap.Detections(
        boxes=boxes[:, 0].reshape(images, 16, 4),
        scores=single(np.round(rng.random((images, 16)), 2)),  # many are equal
        labels=labels,
    )
    truth = jaxmap.GroundTruths(
        boxes=boxes[:, 1:].reshape(images, 32, 4),
        labels=np.repeat(labels, 2, axis=1),
        crowd=rng.random((images, 32)) < 0.1,
    )
    return found, truth, classes


def single(column: np.ndarray) -> np.ndarray:
    """Returns a column in the type that a device takes."""
    return column.astype({"f": np.float32, "i": np.int32, "b": np.bool_}[column.dtype.kind])


def updates(quick: bool) -> int:
    """Times one update at several sizes of a batch, and `compute`, in every variant."""
    images = 500 if quick else 5_000
    metric = average_precision(images)
    sizes = (16,) if quick else (64, 256, 1024)
    measured = functools.partial(measure, repeats=2 if quick else 9)
    for size in sizes:
        [batch] = batches(size, size, SLOTS)
        state = measured(f"update of {size} images", update_of(metric), lambda batch=batch: (metric.init(), *batch))
    measured(f"compute of {images} images, {size} filled", metric.compute, lambda: (state,), donate=())
    [batch] = batches(sizes[0], sizes[0], SLOTS)
    for name, variant in VARIANTS.items():
        with variant():
            measured(f"update of {sizes[0]} images by {name}", update_of(metric), lambda: (metric.init(), *batch))
    return 0


def average_precision(images: int) -> jaxmap.AveragePrecision:
    """Returns the metric of the in-jit benchmarks."""
    slots = {"max_detections_per_image": SLOTS, "max_ground_truths_per_image": SLOTS}
    return jaxmap.AveragePrecision(num_classes=NUM_CLASSES, max_images=images, box_format="xywh", **slots)


def measure(
    name: str,
    function: Callable[..., Any],
    arguments: Callable[[], Any],
    donate: tuple[int, ...] = (0,),
    repeats: int = 9,
) -> Any:
    """Compiles and times a function, prints the figures, and returns the last result.

    Each call gets new arguments, which are on the device before its time starts.
    """
    start = time.perf_counter()
    compiled = jax.jit(function, donate_argnums=donate).lower(*arguments()).compile()
    compiling = time.perf_counter() - start
    seconds, result = [], None
    for _ in range(repeats + 1):
        given = jax.block_until_ready(jax.device_put(arguments()))
        start = time.perf_counter()
        result = jax.block_until_ready(compiled(*given))
        seconds.append(time.perf_counter() - start)
    memory = compiled.memory_analysis()
    temporaries = "" if memory is None else f", {memory.temp_size_in_bytes / 1e6:.1f} MB of temporaries"
    peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    print(
        f"{name}: compiled in {compiling:.1f} s, first {seconds[0] * 1e3:.2f} ms, then median "
        f"{statistics.median(seconds[1:]) * 1e3:.2f} ms, least {min(seconds[1:]) * 1e3:.2f} ms{temporaries}"
        + (f", peak of this process {peak / 1e6:.0f} MB" if peak else ""),
        flush=True,
    )
    return result


def fetched(quick: bool) -> int:
    """Times the same predictions scored on the device, and fetched and scored by hotcoco."""
    if not importlib.util.find_spec("hotcoco"):
        print("skipped: hotcoco is not installed; carry its wheel along and pass its folder as `--wheels`")
        return 0
    from hotcoco import COCO, COCOeval

    images, size = (200, 50) if quick else (5_000, 250)
    data = batches(images, size, SLOTS)
    metric = average_precision(images)
    result, first, on_device = timed(evaluation(metric, data), 3 if quick else 5)
    print(f"{images} images on the device: first {first:.2f} s, then {on_device * 1e3:.1f} ms, ", end="")
    print(f"AP {metric.summarize(result)['AP']:.6f}", flush=True)

    known = [annotations(truth, ids) for _, truth, ids in jax.device_get(data)]
    # Ground truths are on the host from the start, so their conversion is not timed.
    dataset = {
        "images": [image for images_of_batch, _ in known for image in images_of_batch],
        "annotations": [annotation for _, annotations_of_batch in known for annotation in annotations_of_batch],
        "categories": categories(NUM_CLASSES),
    }
    ground_truths = COCO(dataset)

    def at_once() -> Any:
        found = np.concatenate([rows(*jax.device_get((found, ids))) for found, _, ids in data])
        evaluator = COCOeval(ground_truths, ground_truths.loadRes(found), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
        return evaluator

    _, _, fetching = timed(lambda: jax.device_get([found for found, _, _ in data]), 3)
    print(f"fetching alone: {fetching * 1e3:.1f} ms", flush=True)
    for name, score in {"StreamingEval": partial(stream, data, known, NUM_CLASSES), "COCOeval": at_once}.items():
        with quiet():
            evaluator, _, seconds = timed(score, 3)
        print(
            f"fetched and scored by hotcoco's {name}: {seconds * 1e3:.1f} ms, AP {evaluator.stats[0]:.6f}; "
            f"the device takes {on_device / seconds:.2f} of that",
            flush=True,
        )
    return 0


def maps(quick: bool) -> int:
    """Times the programs of masks, oriented boxes, panoptic and semantic maps, on made-up data."""
    from programs import PROGRAMS

    rng = np.random.default_rng(0)

    def filled(leaf: Any) -> jax.Array:
        if leaf.dtype == bool:
            return jnp.asarray(rng.random(leaf.shape, np.float32) < 0.5)
        if leaf.dtype == jnp.float32:
            return jnp.asarray(rng.random(leaf.shape, np.float32))
        return jnp.asarray(rng.integers(0, NUM_CLASSES, leaf.shape), leaf.dtype)

    for program in PROGRAMS:
        if program.name in (QUICK_MAPS if quick else MAPS):
            function, shapes = program.make()
            states = shapes[: int(program.donates)]
            given = jax.tree.map(filled, shapes[len(states) :])

            def arguments(states: Any = states, given: Any = given) -> tuple[Any, ...]:
                return *jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), states), *given

            title = program.title.replace("`", "")
            measure(title, function, arguments, donate=tuple(range(len(states))), repeats=3)
    return 0


def bootstrap(quick: bool) -> int:
    """Times the bootstrap of a state on the device, and compares its intervals with the host's."""
    images, size, replicates = (100, 50, 50) if quick else (5_000, 250, 1_000)
    metric = average_precision(images)
    state, step = metric.init(), jax.jit(update_of(metric), donate_argnums=0)
    for batch in batches(images, size, SLOTS):
        state = step(state, *batch)
    compute = jax.jit(lambda state: metric.bootstrap(state, num_replicates=replicates))
    intervals, first, seconds = timed(lambda: compute(state), 1 if quick else 2)
    print(f"{replicates} replicates of {images} images: first {first:.2f} s, then {seconds:.3f} s", flush=True)
    start = time.perf_counter()
    expected = metric.bootstrap(state, num_replicates=replicates)
    print(f"on the host: {time.perf_counter() - start:.2f} s", flush=True)
    furthest = 0.0
    for name, interval in jax.device_get(intervals).items():
        pairs = zip(interval, expected[name], strict=True)
        furthest = max(furthest, *(abs(float(one) - other) for one, other in pairs if not np.isnan(other)))
    print(f"the furthest number from the host's: {furthest:.1e} (an end may move between replicates)")
    return int(furthest > 1e-3)


def profile(quick: bool) -> int:
    """Profiles one update, and prints the time of each kernel."""
    size = 8 if quick else 64
    metric = average_precision(500)
    [batch] = batches(size, size, SLOTS)
    step = jax.jit(update_of(metric))
    state = metric.init()
    jax.block_until_ready(step(state, *batch))
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready(step(state, *batch))
        [path] = Path(folder).rglob("*.xplane.pb")
        planes = list(jax.profiler.ProfileData.from_file(str(path)).planes)
    for plane in [plane for plane in planes if plane.name.startswith("/device:")] or planes:
        for line in plane.lines:
            spent: Counter[str] = Counter()
            runs: Counter[str] = Counter()
            for event in line.events:
                spent[event.name] += event.duration_ns
                runs[event.name] += 1
            if spent:
                print(f"{plane.name}, {line.name}: {runs.total()} events, {spent.total() / 1e3:.0f} us in all")
                for name, duration in spent.most_common(25):
                    print(f"  {duration / 1e3:10.1f} us {runs[name]:6d} x {name[:100]}")
    return 0


PARTS = (facts, scenes, updates, fetched, maps, bootstrap, profile)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=[part.__name__ for part in PARTS])
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the programs")
    options = parser.parse_args(arguments)
    [part] = [part for part in PARTS if part.__name__ == options.part]
    return part(options.quick)


if __name__ == "__main__":
    sys.exit(main())
