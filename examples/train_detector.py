"""Trains a small detector and computes its exact COCO mAP after every epoch, on the device.

    python examples/train_detector.py                 # half a minute on two CPU cores
    python examples/train_detector.py --measure       # also measure the cost of the metric

The data are generated: 64 x 64 images with up to four circles, squares and triangles. The detector is a CenterNet in
flax.nnx: a heat map per class whose peaks are the centres of objects, and the size and offset of the box at each peak;
no anchors, no non-maximum suppression. Copy `eval_step` into your own project: predictions and ground truths go from
the model into the state of the metric inside one jitted function, and `compute` turns the state into numbers once per
epoch.

At the end, the same detections are written as COCO files, read back and evaluated on the host, and the numbers are
compared.
"""

from __future__ import annotations

import argparse
import functools
import json
import pathlib
import statistics
import tempfile
import timeit
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import jaxmap
from jaxmap import io

IMAGE = 64  # pixels
STRIDE = 4
CELLS = IMAGE // STRIDE
CLASSES = ("circle", "square", "triangle")
MAX_OBJECTS = 4
MAX_DETECTIONS = 20
UNIT = 16.0  # pixels: the size for an output of 0

Batch = dict[str, np.ndarray]


def generate(rng: np.random.Generator, num_images: int) -> Batch:
    """Draws images `[I, 64, 64, 3]` and their objects: `boxes` as xyxy, `labels`, `valid`; and `image_id`."""
    shape = (num_images, MAX_OBJECTS)
    valid = rng.random(shape) < 0.6
    size = rng.integers(8, 33, (*shape, 2))
    quarter = np.array([[0, 0], [0, 32], [32, 0], [32, 32]])  # one object in each, so that no object hides another
    corner = quarter + (rng.random((*shape, 2)) * (33 - size)).astype(int)
    labels = rng.integers(0, len(CLASSES), shape).astype(np.int32)
    images = 0.15 * rng.random((num_images, IMAGE, IMAGE, 3)) + 0.3 * rng.random((num_images, 1, 1, 3))
    y, x = np.mgrid[:IMAGE, :IMAGE] + 0.5
    for i in range(MAX_OBJECTS):
        u = (x - corner[:, i, 0, None, None]) / size[:, i, 0, None, None] * 2 - 1  # -1 .. 1 across the box
        v = (y - corner[:, i, 1, None, None]) / size[:, i, 1, None, None] * 2 - 1
        square = (abs(u) < 1) & (abs(v) < 1)
        inside = np.stack([u**2 + v**2 < 1, square, square & (2 * abs(u) < v + 1)])
        inside = inside[labels[:, i], np.arange(num_images)] & valid[:, i, None, None]
        images = np.where(inside[..., None], 0.4 + 0.6 * rng.random((num_images, 1, 1, 3)), images)
    return {
        "image": images.astype(np.float32),
        "boxes": np.concatenate([corner, corner + size], axis=-1).astype(np.float32),
        "labels": labels,
        "valid": valid,
        "image_id": np.arange(1, num_images + 1, dtype=np.int32),
    }


def batches(data: Batch, size: int, rng: np.random.Generator | None = None) -> Iterator[Batch]:
    """Splits data into batches of one size: shuffled for training; in order, the last one padded, for evaluation."""
    num_images = len(data["image"])
    order = np.arange(num_images) if rng is None else rng.permutation(num_images)
    for start in range(0, num_images, size):
        rows = order[start : start + size]
        if len(rows) < size and rng is not None:
            return
        real = np.arange(size) < len(rows)
        yield {name: column[np.resize(rows, size)] for name, column in data.items()} | {"real": real}


class Detector(nnx.Module):
    """Six convolutions, the heat maps `[I, 16, 16, K]` and the boxes `[I, 16, 16, 4]`: offset and log of the size."""

    def __init__(self, rngs: nnx.Rngs, width: int = 32) -> None:
        sizes = ((3, width // 2, 2), (width // 2, width, 2), (width, width, 1), (width, width, 1), (width, width, 1))
        self.layers = nnx.List([nnx.Conv(a, b, (3, 3), strides=stride, rngs=rngs) for a, b, stride in sizes])
        self.norms = nnx.List([nnx.GroupNorm(b, num_groups=4, rngs=rngs) for _, b, _ in sizes])
        rare = nnx.initializers.constant(-4.0)  # most positions are not centres
        self.heat = nnx.Conv(width, len(CLASSES), (1, 1), bias_init=rare, rngs=rngs)
        self.box = nnx.Conv(width, 4, (1, 1), rngs=rngs)

    def __call__(self, image: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = image - 0.5
        for i, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            y = nnx.relu(norm(layer(x)))
            x = x + y if i > 2 else y
        return self.heat(x), self.box(x)


def loss_fn(model: Detector, batch: Any) -> jax.Array:
    """CenterNet's loss: a focal loss against Gaussian bumps on the centres, and L1 on the boxes at the centres."""
    heat, box = model(batch["image"])
    corners = batch["boxes"] / STRIDE
    centre, size = (corners[..., :2] + corners[..., 2:]) / 2, corners[..., 2:] - corners[..., :2]
    cell = jnp.clip(centre.astype(jnp.int32), 0, CELLS - 1)
    grid = jnp.stack(jnp.meshgrid(jnp.arange(CELLS), jnp.arange(CELLS)), axis=-1)  # [y, x] holds (x, y)
    distance = (grid - cell[:, :, None, None]) / (0.15 * size[:, :, None, None] + 0.3)
    bumps = jnp.where(batch["valid"][:, :, None, None], jnp.exp(-0.5 * (distance**2).sum(-1)), 0.0)
    target = (bumps[..., None] * jax.nn.one_hot(batch["labels"], len(CLASSES))[:, :, None, None]).max(1)
    peak, p = target == 1, jax.nn.sigmoid(heat)
    focal = jnp.where(
        peak, (1 - p) ** 2 * jax.nn.log_sigmoid(heat), (1 - target) ** 4 * p**2 * jax.nn.log_sigmoid(-heat)
    )
    at_centre = box[jnp.arange(len(box))[:, None], cell[..., 1], cell[..., 0]]
    wanted = jnp.concatenate([centre - cell, jnp.log(size * STRIDE / UNIT)], axis=-1)
    distance = jnp.where(batch["valid"][..., None], abs(at_centre - wanted), 0.0)
    return (distance.sum() - focal.sum()) / jnp.maximum(batch["valid"].sum(), 1)


def predict(model: Detector, image: jax.Array) -> jaxmap.Detections:
    """Returns the best peaks of the heat maps as detections, `[I, 20, ...]`."""
    heat, box = model(image)
    is_peak = heat == jax.lax.reduce_window(heat, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 1, 1, 1), "SAME")
    scores = jnp.where(is_peak, jax.nn.sigmoid(heat), 0.0).reshape(len(heat), -1)
    scores, place = jax.lax.top_k(scores, MAX_DETECTIONS)
    cell, labels = place // len(CLASSES), place % len(CLASSES)
    found = jnp.take_along_axis(box.reshape(len(box), -1, 4), cell[..., None], axis=1)
    centre = (jnp.stack([cell % CELLS, cell // CELLS], axis=-1) + found[..., :2]) * STRIDE
    half = UNIT / 2 * jnp.exp(found[..., 2:])
    return jaxmap.Detections(
        boxes=jnp.concatenate([centre - half, centre + half], axis=-1), scores=scores, labels=labels, valid=scores > 0
    )


@nnx.jit
def train_step(model: Detector, optimizer: nnx.Optimizer[Detector], batch: Any) -> jax.Array:
    loss, gradients = nnx.value_and_grad(loss_fn)(model, batch)
    optimizer.update(model, gradients)
    return loss


@functools.partial(nnx.jit, static_argnames="metric")
def eval_step(model: Detector, state: Any, batch: Any, *, metric: jaxmap.AveragePrecision) -> Any:
    """One step of the evaluation: everything that a training loop needs of jaxmap on the device."""
    truth = jaxmap.GroundTruths(boxes=batch["boxes"], labels=batch["labels"], valid=batch["valid"])
    return metric.update(state, predict(model, batch["image"]), truth, image_id=batch["image_id"], valid=batch["real"])


def evaluate(model: Detector, data: Batch, metric: jaxmap.AveragePrecision, batch_size: int) -> dict[str, float]:
    state = metric.init()
    for batch in batches(data, batch_size):
        state = eval_step(model, state, batch, metric=metric)
    return metric.summarize(metric.compute(state))


def evaluate_files(model: Detector, data: Batch, batch_size: int) -> dict[str, float]:
    """The other way: copies predictions to the host, writes COCO files, and evaluates those."""

    def entry(side: Any, image_id: np.ndarray, i: int, row: int) -> dict[str, Any]:
        x0, y0, x1, y1 = side["boxes"][i, row].tolist()
        box = [x0, y0, x1 - x0, y1 - y0]
        return {"image_id": int(image_id[i]), "category_id": int(side["labels"][i, row]) + 1, "bbox": box}

    predict_jit = nnx.jit(predict)
    results = []
    for batch in batches(data, batch_size):
        found = vars(jax.device_get(predict_jit(model, batch["image"])))
        for i, row in np.argwhere(found["valid"] & batch["real"][:, None]):
            results.append(entry(found, batch["image_id"], i, row) | {"score": float(found["scores"][i, row])})
    annotations = []
    for i, row in np.argwhere(data["valid"]):
        shared = entry(data, data["image_id"], i, row)
        area = shared["bbox"][2] * shared["bbox"][3]
        annotations.append(shared | {"id": len(annotations) + 1, "area": area, "iscrowd": 0})
    truth = {
        "images": [{"id": i, "width": IMAGE, "height": IMAGE} for i in data["image_id"].tolist()],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)],
        "annotations": annotations,
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = [pathlib.Path(folder) / name for name in ("ground_truths.json", "detections.json")]
        for path, content in zip(paths, (truth, results), strict=True):
            path.write_text(json.dumps(content))
        table = io.read_coco_ground_truths(paths[0])
        return jaxmap.evaluate(io.read_coco_detections(paths[1], table), table).summary


def measure(model: Detector, data: Batch, metric: jaxmap.AveragePrecision, batch_size: int) -> None:
    """Prints the time of one inference step and of one update of the metric."""
    batch = jax.device_put(next(batches(data, batch_size)))
    truth = jaxmap.GroundTruths(boxes=batch["boxes"], labels=batch["labels"], valid=batch["valid"])
    predict_jit, update = nnx.jit(predict), jax.jit(metric.update)
    found, state = predict_jit(model, batch["image"]), metric.init()

    def median_ms(call: Any) -> float:
        times = [timeit.timeit(lambda: jax.block_until_ready(call()), number=1) for _ in range(12)]
        return 1e3 * statistics.median(times[2:])  # the first runs compile and warm up

    inference = median_ms(lambda: predict_jit(model, batch["image"]))
    metric_ms = median_ms(lambda: update(state, found, truth, image_id=batch["image_id"], valid=batch["real"]))
    print(
        f"batch of {batch_size}: inference {inference:.2f} ms, update {metric_ms:.2f} ms, which is "
        f"{metric_ms / (inference + metric_ms):.1%} of an evaluation step"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--train-images", type=int, default=1024)
    parser.add_argument("--eval-images", type=int, default=200, help="in batches, the last of them padded")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--width", type=int, default=32, help="channels of the network")
    parser.add_argument("--measure", action="store_true", help="time one inference step and one update")
    options = parser.parse_args()

    rng = np.random.default_rng(0)
    train, test = generate(rng, options.train_images), generate(rng, options.eval_images)
    model = Detector(nnx.Rngs(0), options.width)
    steps = options.epochs * (options.train_images // options.batch_size)
    optimizer = nnx.Optimizer(model, optax.adam(optax.cosine_decay_schedule(4e-3, steps)), wrt=nnx.Param)
    metric = jaxmap.AveragePrecision(
        num_classes=len(CLASSES),
        max_images=options.eval_images,
        max_detections_per_image=MAX_DETECTIONS,
        max_ground_truths_per_image=MAX_OBJECTS,
    )
    print("epoch    loss      AP    AP50    AP75   AR100")
    for epoch in range(1, options.epochs + 1):
        losses = [train_step(model, optimizer, batch) for batch in batches(train, options.batch_size, rng)]
        numbers = evaluate(model, test, metric, options.batch_size)
        row = " ".join(f"{numbers[name]:7.4f}" for name in ("AP", "AP50", "AP75", "AR100"))
        print(f"{epoch:5d} {float(np.mean(losses)):7.3f} {row}", flush=True)

    print(f"images {numbers['num_images']}, padding images excluded {numbers['num_padded_images']}")
    expected = evaluate_files(model, test, options.batch_size)
    difference = max(abs(numbers[name] - value) for name, value in expected.items() if not np.isnan(value))
    print(f"through COCO files: AP {expected['AP']:.4f}, largest difference of any number {difference:.1e}")
    if difference > 1e-6:
        raise SystemExit("the two ways must give the same numbers")
    if options.measure:
        measure(model, test, metric, options.batch_size)


if __name__ == "__main__":
    main()
