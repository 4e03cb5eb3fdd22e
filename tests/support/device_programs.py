"""Small programs of the route inside `jit`, with scenes, and what compiles them for a device that is not there.

    PYTHONPATH=.:tests:examples/benchmarks python -m support.device_programs tpu v5e:2x2 DIR
    PYTHONPATH=.:tests:examples/benchmarks python -m support.device_programs gpu H100 DIR --without-rounded

It writes `NAME.hlo`, the optimized program with all its constants, for every program into the folder. It runs in a
process of its own, because the compilers read their options once, from the environment.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["NAMES", "programs"]

NAMES = ("update", "merge", "compute", "confusion", "boundary")
IMAGES, DETECTIONS, GROUND_TRUTHS, CLASSES = 8, 16, 12, 3
IMAGE_IDS = np.array([5, 3, 9, 3, 11, 12, 13, 40], np.int32)  # one of them twice
WIDTH = np.float32(640)
MASK_SIZE = 40, 150

Program = tuple[Callable[..., Any], list[tuple[Any, ...]]]  # a function, and its arguments in each scene


def programs(*, filled: bool = True) -> dict[str, Program]:
    """Returns the programs by name; their scenes are full of IoUs exactly on thresholds.

    Boxes reach `update` divided by 640 and are multiplied in the program: a product that is contracted into the next
    sum moves an IoU off its threshold.

    Args:
      filled: whether `merge` and `compute` get states that scenes have filled; empty ones suffice to compile.
    """
    import jax

    import jaxmap
    from jaxmap.metrics import ConfusionMatrix

    slots = {"max_detections_per_image": DETECTIONS, "max_ground_truths_per_image": GROUND_TRUTHS}
    metric = jaxmap.AveragePrecision(num_classes=CLASSES, max_images=2 * IMAGES, **slots)
    confusion = ConfusionMatrix(num_classes=CLASSES)
    boundary = jaxmap.AveragePrecision(
        num_classes=CLASSES, max_images=2 * IMAGES, **slots, protocol=jaxmap.COCO.customize(iou_type="boundary")
    )

    def update_boundary(state: Any, found: Any, truth: Any, image_id: Any) -> Any:
        return boundary.update(state, found, truth, image_id=image_id)

    def scaled(update: Callable[..., Any]) -> Callable[..., Any]:
        def run(state: Any, found: Any, truth: Any, image_id: Any, width: Any) -> Any:
            found, truth = (dataclasses.replace(side, boxes=side.boxes * width) for side in (found, truth))
            return update(state, found, truth, image_id=image_id)

        return run

    update = scaled(metric.update)
    empty = jax.device_get(metric.init())
    scenes = [(*scene(seed, crowded=seed == 1), IMAGE_IDS, WIDTH) for seed in (0, 1)]
    step = jax.jit(update) if filled else lambda state, *batch: state
    one = step(empty, *scenes[0])
    other = step(empty, *scenes[1][:2], IMAGE_IDS + 6, WIDTH)  # shares some images with the first
    return {
        "update": (update, [(empty, *arguments) for arguments in scenes]),
        "merge": (metric.merge, [jax.device_get((one, other))]),
        "compute": (metric.compute, [(jax.device_get(one),)]),
        "confusion": (
            scaled(confusion.update),
            [(jax.device_get(confusion.init()), *arguments) for arguments in scenes],
        ),
        "boundary": (
            update_boundary,
            [(jax.device_get(boundary.init()), *map(with_masks, scenes[0][:2]), IMAGE_IDS)],
        ),
    }


def scene(seed: int, *, crowded: bool = False) -> tuple[Any, Any]:
    """Makes one batch, boxes as shares of `WIDTH`; if crowded, all objects overlap others and are of one class."""
    import jaxmap

    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 60 if crowded else 300, (IMAGES, GROUND_TRUTHS, 2))
    side = rng.choice([10, 20, 40, 100], corner.shape)
    if crowded:
        corner, side = corner // 20, np.full_like(side, 100)
    truth = np.concatenate([corner, corner + side], -1).astype(np.float32)
    chosen = rng.integers(0, GROUND_TRUTHS, (IMAGES, DETECTIONS))
    found = np.take_along_axis(truth, chosen[..., None], 1)
    width = found[..., 2] - found[..., 0]
    found[..., 2] = found[..., 0] + width * rng.integers(10, 21, chosen.shape) / 20  # the IoU is a multiple of 1 / 20
    labels = rng.integers(0, 1 if crowded else CLASSES, (IMAGES, GROUND_TRUTHS)).astype(np.int32)
    own = np.take_along_axis(labels, chosen, 1)
    drawn = rng.integers(0, 1 if crowded else CLASSES, chosen.shape).astype(np.int32)
    detections = jaxmap.Detections(
        boxes=found / WIDTH,
        scores=np.round(rng.random(chosen.shape), 1).astype(np.float32),
        labels=np.where(rng.random(chosen.shape) < 0.8, own, drawn),
        valid=rng.random(chosen.shape) < 0.95,
    )
    ground_truths = jaxmap.GroundTruths(
        boxes=truth / WIDTH,
        labels=labels,
        crowd=rng.random(labels.shape) < 0.1,
        valid=rng.random(labels.shape) < 0.95,
        area=side.prod(-1).astype(np.float32),
    )
    return detections, ground_truths


def with_masks(side: Any) -> Any:
    """Returns detections or ground truths with rectangular masks, in an eighth of the size, in place of boxes."""
    low, high = (np.rint(side.boxes[..., corner, None, None] * WIDTH / 8) for corner in (slice(0, 2), slice(2, 4)))
    row, column = np.indices(MASK_SIZE)
    masks = (low[..., 0, :, :] <= column) & (column < high[..., 0, :, :])
    masks &= (low[..., 1, :, :] <= row) & (row < high[..., 1, :, :])
    return dataclasses.replace(side, boxes=None, masks=masks)


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the programs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chip", choices=("tpu", "gpu"))
    parser.add_argument("topology", help="such as v5e:2x2; for gpu there is one")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--only", choices=NAMES, nargs="+", default=NAMES)
    parser.add_argument("--without-rounded", action="store_true", help="products may be contracted")
    options = parser.parse_args(arguments)

    from chips import Compiler, prepare

    dumped = prepare(options.chip)
    from jaxlib import _hlo
    from programs import Program

    from jaxmap._geometry import _double_float

    if options.without_rounded:
        _double_float.rounded = lambda a: a
    compiler = Compiler(options.chip, options.topology, dumped)
    printing = _hlo.HloPrintOptions()
    printing.print_large_constants = True

    for name, (function, scenes) in programs(filled=False).items():
        if name in options.only:
            program = Program(name, name, lambda function=function, scenes=scenes: (function, scenes[0]))
            compiled = compiler.lower(program, keep_unused=True).compile()
            [module] = compiled.runtime_executable().hlo_modules()
            (options.folder / f"{name}.hlo").write_text(module.to_string(printing))


if __name__ == "__main__":
    main()
