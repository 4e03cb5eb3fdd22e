"""Prints the memory that states of `AveragePrecision` and their `compute` need, and how many images a device holds.

    python examples/benchmarks/capacity.py                  the states, whose sizes follow from their shapes
    python examples/benchmarks/capacity.py gpu --markdown   and `compute`, compiled for an H100 that need not be there
    python examples/benchmarks/capacity.py tpu --markdown   or for a v5e; takes minutes

Nothing runs. `compile_for.py` says which packages the compilers need. They compile `compute` of COCO for
`--images`; its temporaries at other sizes and for other datasets are scaled by the number of detections. A device
holds as many images as fit beside what `compute` needs, if there is nothing else in its memory.

A state that is spread over a slice needs its share on each chip. `update` needs 29 bytes beside for every image of the
whole state, where ids are sorted, and `compute` inside `jit` needs its temporaries in full on every chip. Outside `jit`
it needs none, because the host computes.
"""

from __future__ import annotations

import argparse
import math
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import jaxmap


class Dataset(NamedTuple):
    """A dataset: its images, the slots of each image, and its classes."""

    name: str
    images: int
    detections: int
    ground_truths: int
    classes: int
    protocol: str = "coco"

    def metric(self, images: int | None = None) -> jaxmap.AveragePrecision:
        import jaxmap

        return jaxmap.AveragePrecision(
            num_classes=self.classes,
            max_images=self.images if images is None else images,
            max_detections_per_image=self.detections,
            max_ground_truths_per_image=self.ground_truths,
            protocol=self.protocol,
        )


class Chip(NamedTuple):
    """A chip: its name, its memory in bytes, and the number of chips of a slice."""

    name: str
    memory: float
    slice_size: int


COCO = Dataset("COCO val", 5_000, 100, 100, 80)
DATASETS = (
    COCO,
    Dataset("LVIS val", 19_809, 300, 300, 1_203, "lvis"),
    Dataset("Objects365 val", 80_000, 100, 100, 365),
    Dataset("10^6 images", 1_000_000, 300, 100, 80),
)
CHIPS = {"tpu": Chip("v5e", 16e9, 256), "gpu": Chip("H100", 80e9, 8)}
ID_BYTES = 29  # of an update, per image of the whole state, as compiled for eight CPU devices
MAX_VALUES = 2**31  # of an array of a state: the metric refuses more, because indices are int32


def num_bytes(tree: Any) -> int:
    import jax

    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def shapes(dataset: Dataset) -> tuple[int, int, int]:
    """Returns the bytes of a state and of the result of `compute`, and the values of a state's largest array."""
    import jax

    metric = dataset.metric()
    state = jax.eval_shape(metric.init)
    result = jax.eval_shape(metric.compute, state)
    return num_bytes(state), num_bytes(result), max(math.prod(leaf.shape) for leaf in jax.tree.leaves(state))


def temporaries(chip: str, images: int) -> float:
    """Returns the temporaries of `compute` of COCO, compiled for a chip, in bytes per detection."""
    from chips import Compiler, prepare

    folder = prepare(chip)  # before JAX is imported
    from programs import Program, compute_of

    program = Program("compute", "`compute` of COCO", lambda: compute_of(COCO.metric(images)))
    memory = Compiler(chip, "v5e:2x2", folder).lower(program).compile().memory_analysis()
    shutil.rmtree(folder)
    return memory.temp_size_in_bytes / (images * COCO.detections)


def row(dataset: Dataset, chip: Chip | None, per_detection: float) -> dict[str, str]:
    """Returns the columns of a row of the table."""
    state, result, values = shapes(dataset)
    columns = {
        "dataset": dataset.name,
        "images": f"{dataset.images:,}",
        "detections per image": f"{dataset.detections:,}",
        "state": megabytes(state),
    }
    if chip is None:
        return columns
    of_image = state / dataset.images
    beside_of_image = per_detection * dataset.detections
    most = MAX_VALUES * dataset.images // values
    one = (chip.memory - result) / (of_image + beside_of_image)
    many = chip.memory / (of_image / chip.slice_size + ID_BYTES)
    inside = (chip.memory - result) / (of_image / chip.slice_size + beside_of_image)
    return columns | {
        "`compute` beside": megabytes(result + beside_of_image * dataset.images),
        f"images on one {chip.name}": rounded(min(one, most)),
        f"on {chip.slice_size} {chip.name}, `compute` in `jit`": rounded(min(inside, most)),
        f"on {chip.slice_size} {chip.name}, outside": f"{rounded(min(many, most))}{' (limit)' if most < many else ''}",
    }


def megabytes(number: float) -> str:
    return f"{number / 1e6:,.0f} MB"


def rounded(number: float) -> str:
    """Returns a number cut to two digits."""
    unit = 10 ** max(math.floor(math.log10(max(number, 1))) - 1, 0)
    return f"{number // unit * unit:,.0f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chip", nargs="?", choices=CHIPS, help="for which `compute` is compiled")
    parser.add_argument("--images", type=int, default=8_000)
    parser.add_argument("--temporaries", type=float, metavar="BYTES", help="per detection, if they are known")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args(arguments)
    known = options.temporaries or (temporaries(options.chip, options.images) if options.chip else 0.0)
    if options.chip:
        print(f"Beside the state, `compute` needs {known:.0f} bytes per detection, and its result.\n")
    rows = [row(dataset, CHIPS.get(options.chip), known) for dataset in DATASETS]
    lines = [list(rows[0]), *([":--", *["--:"] * (len(rows[0]) - 1)] for _ in range(options.markdown))]
    for line in [*lines, *(list(columns.values()) for columns in rows)]:
        print(f"| {' | '.join(line)} |" if options.markdown else "  ".join(f"{cell:>20}" for cell in line))


if __name__ == "__main__":
    main()
