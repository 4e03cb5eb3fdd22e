"""Evaluates on eight devices, in JAX's two ways, and shows that every bit of the numbers is the same.

    python examples/multi_device.py

The devices are virtual devices on the CPU; on a machine with real ones, remove the line that makes them. 300 images
come in batches of 64, so the last batch is padded, and only some of the devices have padding.
"""

from __future__ import annotations

import argparse
import dataclasses
from functools import partial

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import jaxmap
from jaxmap import distributed, io
from jaxmap._matching._padding import pad_detections
from jaxmap.adapters import GroundTruthLookup

State = jaxmap.metrics.AveragePrecisionState
Batch = tuple[jaxmap.Detections, np.ndarray]  # the output of a model, and the ids of its images; -1 pads the batch


def demo(num_images: int, batch_size: int) -> tuple[list[Batch], GroundTruthLookup]:
    """Returns a made-up detector's output in padded batches, and the ground truths of all images."""
    table, truth = io.demo_scene(num_images)
    num_images = len(truth.image_ids)
    detections = pad_detections(table, num_images)
    batches = []
    for start in range(0, num_images, batch_size):
        rows = np.arange(start, start + batch_size)
        ids = np.where(rows < num_images, np.resize(truth.image_ids, rows[-1] + 1)[rows], -1).astype(np.int32)
        batches.append((jax.tree.map(lambda x, rows=rows: x[rows % num_images], detections), ids))
    return batches, GroundTruthLookup.from_table(truth, box_format="xywh")


def host_numbers(batches: list[Batch], lookup: GroundTruthLookup) -> dict[str, float]:
    """Evaluates the same arrays in one call on the host."""
    ids = np.concatenate([ids for _, ids in batches])
    detections = jax.tree.map(lambda *parts: np.concatenate(parts)[ids >= 0], *[found for found, _ in batches])
    truth, _ = lookup.find(ids[ids >= 0])
    return jaxmap.evaluate(detections, truth, box_format="xywh", num_classes=10).summary


def sharded(
    metric: jaxmap.AveragePrecision, mesh: Mesh, batches: list[Batch], lookup: GroundTruthLookup
) -> dict[str, float]:
    """Way 1: `jit` on arrays that are sharded over the mesh. The code is the same as for one device."""

    @partial(jax.jit, donate_argnums=0)
    def step(state: State, found: jaxmap.Detections, ids: jax.Array, lookup: GroundTruthLookup) -> State:
        truth, known = lookup.find(ids)
        return metric.update(state, found, truth, image_id=ids, valid=known)

    everywhere, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
    state, lookup = jax.device_put((metric.init(), lookup), everywhere)
    for batch in batches:
        state = step(state, *jax.device_put(batch, split), lookup)
    return metric.summarize(metric.compute(state))


def mapped(
    metric: jaxmap.AveragePrecision, mesh: Mesh, batches: list[Batch], lookup: GroundTruthLookup
) -> dict[str, float]:
    """Way 2: `shard_map`, in which every device updates its own state, and one `reduce` after the last batch."""
    share = -(-metric.max_images // mesh.size) + len(batches)  # no device gets more images than that
    local = dataclasses.replace(metric, max_images=share)
    one_per_device = PartitionSpec("data")

    @partial(jax.jit, donate_argnums=0)
    @partial(jax.shard_map, mesh=mesh, in_specs=(*3 * (one_per_device,), PartitionSpec()), out_specs=one_per_device)
    def step(states: State, found: jaxmap.Detections, ids: jax.Array, lookup: GroundTruthLookup) -> State:
        state = jax.tree.map(lambda leaf: leaf[0], states)
        truth, known = lookup.find(ids)
        state = local.update(state, found, truth, image_id=ids, valid=known)
        return jax.tree.map(lambda leaf: leaf[None], state)

    @jax.jit
    @partial(jax.shard_map, mesh=mesh, in_specs=one_per_device, out_specs=PartitionSpec())
    def finish(states: State) -> State:
        return distributed.reduce(metric, jax.tree.map(lambda leaf: leaf[0], states), "data")

    split = NamedSharding(mesh, one_per_device)
    states = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (mesh.size, *leaf.shape)), local.init())
    states = jax.device_put(states, split)
    lookup = jax.device_put(lookup, NamedSharding(mesh, PartitionSpec()))
    for batch in batches:
        states = step(states, *jax.device_put(batch, split), lookup)
    return metric.summarize(metric.compute(finish(states)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=64, help="a multiple of the number of devices")
    parser.add_argument("--devices", type=int, default=8)
    options = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", options.devices)  # before anything starts the backend

    mesh = jax.make_mesh((options.devices,), ("data",), axis_types=(AxisType.Auto,))
    batches, lookup = demo(options.images, options.batch_size)
    metric = jaxmap.AveragePrecision(
        num_classes=10,
        max_images=options.images,
        max_detections_per_image=batches[0][0].scores.shape[1],
        max_ground_truths_per_image=lookup.max_ground_truths_per_image,
        box_format="xywh",
    )
    expected = host_numbers(batches, lookup)
    print_row("one call on the host", expected)
    for name, way in (("jit, sharded arrays", sharded), ("shard_map and reduce", mapped)):
        numbers = way(metric, mesh, batches, lookup)
        print_row(f"{name}, {options.devices} devices", numbers)
        print(f"{'':34s}{numbers['num_images']} images, {numbers['num_padded_images']} padding images excluded")
        if not all(np.array_equal(numbers[key], value, equal_nan=True) for key, value in expected.items()):
            raise SystemExit("all ways must give the same numbers")


def print_row(name: str, numbers: dict[str, float]) -> None:
    print(f"{name:34s}" + "  ".join(f"{key} {numbers[key]:.10f}" for key in ("AP", "AP50", "APs")))


if __name__ == "__main__":
    main()
