"""Measures how time and memory grow: jaxmap and hotcoco from arrays, on loads from 50,000 to 8,000,000 detections.

    pip install -e .[bench]
    python examples/benchmarks/scale.py                              every load; an hour on two cores
    python examples/benchmarks/scale.py --loads coco-500,crowds      some of them
    python examples/benchmarks/scale.py --shrink 100                 every load, with a hundredth of the images

    coco-500, coco-5k, coco-50k   500, 5,000 and 50,000 images of 100 detections, 80 classes
    lvis                          1,203 classes, 300 detections and 12 objects an image, all 300 kept
    crowds, crowds-cut            1 class, up to 1,000 objects and 5,000 detections an image; all kept, or 100
    objects365                    365 classes, 80,000 images of 100 detections and 15 objects

Every turn of a tool is a fresh process: it brings the load into the form that the tool's users hold in memory (padded
arrays for jaxmap), evaluates once to warm up, then a few times more, and ends; the tools take turns. Reported are

    time          of a warm call, the median over all turns
    peak memory   of the process, imports and inputs included
    inputs        the arrays that jaxmap is given; the limit beside its peak is three times these and 400 MB
    growth        the exponent of time from one coco load to the next: time grows as images to that power

This process itself imports nothing outside the standard library, see `run.py`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from run import DROPPED_VARIABLES, Measurement, disagreements, machine
from tools import TOOLS

if TYPE_CHECKING:
    from loads import Load

HERE = Path(__file__).parent
COMPARED = ("hotcoco", "jaxmap")  # in the order of a turn; ratios are to the first
ALLOWED_BYTES = 400_000_000, 3  # of peak memory: so many, and so many times the inputs
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scale:
    """A load to be made, and how it is evaluated."""

    images: int
    objects: float = 7.2  # an image; of crowds these are given by the load
    detections: int = 100
    classes: int = 80
    crowds: bool = False
    limit: int = 100  # detections kept of an image and class
    big: bool = False  # takes --big-repeats turns, of one warm call

    @property
    def warm_calls(self) -> int:
        return 1 if self.big else 3

    def flags(self, shrink: int) -> list[str]:
        """Returns the arguments of `loads.py`."""
        images = -(-self.images // shrink)
        if self.crowds:
            return ["--crowds", f"--images={images}"]
        counts = [f"--ground-truths={round(images * self.objects)}", f"--detections={images * self.detections}"]
        return [f"--images={images}", *counts, f"--classes={self.classes}"]


LOADS = {
    "coco-500": Scale(images=500),
    "coco-5k": Scale(images=5_000),
    "coco-50k": Scale(images=50_000, big=True),
    "lvis": Scale(images=20_000, objects=12, detections=300, classes=1203, limit=300, big=True),
    "crowds": Scale(images=3_000, crowds=True, limit=5_000, big=True),
    "crowds-cut": Scale(images=3_000, crowds=True, big=True),
    "objects365": Scale(images=80_000, objects=15.5, classes=365, big=True),
}
GROWING = ("coco-500", "coco-5k", "coco-50k")


@dataclasses.dataclass
class Result:
    """What was measured of one load; each list holds one entry a turn."""

    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    input_bytes: int = 0
    tools: dict[str, Measurement] = dataclasses.field(default_factory=dict)

    def seconds(self, tool: str) -> float:
        return statistics.median(self.tools[tool].seconds["warm call"])

    def peak_bytes(self, tool: str) -> float:
        return statistics.median(self.tools[tool].peak_bytes)

    @property
    def allowed_bytes(self) -> int:
        base, times = ALLOWED_BYTES
        return base + times * self.input_bytes


def take_turn(name: str, path: str, limit: int, warm_calls: int) -> dict[str, Any]:
    """Runs one tool on one load in this process, and returns what was measured."""
    warnings.simplefilter("ignore")  # hotcoco warns of limits other than COCO's
    tool: Any = TOOLS[name]()
    from loads import Load

    load = Load.read(path)
    counts = {"images": len(load.image_ids), "detections": len(load.dt_label), "objects": len(load.gt_label)}
    input_bytes = HOLDERS[name](tool, load, [1, 10, limit])
    del load
    seconds, numbers = [], []
    for _ in range(1 + warm_calls):
        start = time.perf_counter()
        numbers.append(tool.evaluate())
        seconds.append(time.perf_counter() - start)
    return {
        "counts": counts,
        "input_bytes": input_bytes,
        "first call": seconds[0],
        "warm calls": seconds[1:],
        "numbers": numbers,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_UNIT,
    }


def _hold_jaxmap(tool: Any, load: Load, max_detections: list[int]) -> int:
    """Gives the tool padded arrays and returns how many bytes they have."""
    detections, ground_truths = load.padded()
    tool.detections = tool.jaxmap.Detections(**detections)
    tool.ground_truths = tool.jaxmap.GroundTruths(**ground_truths)
    tool.options = {"box_format": "xywh", "num_classes": len(load.category_ids), "max_detections": max_detections}
    return sum(column.nbytes for columns in (detections, ground_truths) for column in columns.values())


def _hold_hotcoco(tool: Any, load: Load, max_detections: list[int]) -> int:
    """Gives the tool its own objects, made from the columns; returns how many bytes those have."""
    import numpy as np

    sizes = zip(load.image_ids.tolist(), load.image_sizes.tolist(), strict=True)
    tool.ground_truths = tool.dataset.from_arrays(
        [{"id": image_id, "width": width, "height": height} for image_id, (width, height) in sizes],
        [{"id": category_id, "name": str(category_id)} for category_id in load.category_ids.tolist()],
        load.image_ids[load.gt_image],
        load.category_ids[load.gt_label],
        load.gt_boxes,
        area=load.gt_area,
        iscrowd=load.gt_crowd.astype(int),
    )
    columns = load.image_ids[load.dt_image], load.dt_boxes, load.dt_scores, load.category_ids[load.dt_label]
    tool.detections = tool.ground_truths.load_res(np.column_stack(columns))
    tool.max_detections = max_detections
    return sum(column.nbytes for column in vars(load).values())


HOLDERS = {"jaxmap": _hold_jaxmap, "hotcoco": _hold_hotcoco}


def measure(scale: Scale, path: Path, tools: Sequence[str], repeats: int, report: bool) -> Result:
    """Lets the tools take turns on a load."""
    result = Result(tools={tool: Measurement() for tool in tools})
    for _ in range(repeats):
        for tool in tools:
            turn = _in_fresh_process(tool, path, scale)
            measurement = result.tools[tool]
            measurement.seconds["first call"].append(turn["first call"])
            measurement.seconds["warm call"] += turn["warm calls"]
            measurement.peak_bytes.append(turn["peak_bytes"])
            measurement.numbers += turn["numbers"]
            if tool == "jaxmap":
                result.counts, result.input_bytes = turn["counts"], turn["input_bytes"]
            if report:
                calls = " ".join(f"{seconds:.3f}" for seconds in [turn["first call"], *turn["warm calls"]])
                print(f"{tool:>10} {calls} s, {turn['peak_bytes'] / 1e6:,.0f} MB", flush=True)
    return result


def _in_fresh_process(tool: str, path: Path, scale: Scale) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if name not in DROPPED_VARIABLES}
    turn = [tool, str(path), str(scale.limit), str(scale.warm_calls)]
    command = [sys.executable, str(HERE / "scale.py"), "--turn", *turn]
    completed = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=False)
    if completed.returncode:
        raise RuntimeError(f"{tool} stopped with exit code {completed.returncode}; its error is above.")
    answer: dict[str, Any] = json.loads(completed.stdout.splitlines()[-1])  # after whatever the tool printed
    return answer


def table(results: dict[str, Result]) -> str:
    """Returns the medians of all loads as a markdown table."""
    rows = [["", "images", "detections", "objects", "inputs"]]
    tools = list(next(iter(results.values())).tools)
    rows[0] += [f"{tool} {what}" for tool in tools for what in ("time", "peak")] + ["ratio", "allowed"]
    for name, result in results.items():
        row = [name, *(f"{result.counts[count]:,}" for count in ("images", "detections", "objects"))]
        row.append(_megabytes(result.input_bytes))
        for tool in tools:
            row += [f"{result.seconds(tool):.3g} s", _megabytes(result.peak_bytes(tool))]
        row.append(f"{result.seconds(tools[-1]) / result.seconds(tools[0]):.2f}x")
        rows.append([*row, _megabytes(result.allowed_bytes)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    lines = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def growth(results: dict[str, Result]) -> list[str]:
    """Returns a line for each tool: the exponent of time from each coco load to the next, and over all."""
    names = [name for name in GROWING if name in results]
    if len(names) < 2:
        return []
    steps = list(pairwise(names)) + ([(names[0], names[-1])] if len(names) > 2 else [])
    return [
        f"{tool}: " + ", ".join(f"{exponent(results[a], results[b], tool):.2f} from {a} to {b}" for a, b in steps)
        for tool in results[names[0]].tools
    ]


def exponent(smaller: Result, larger: Result, tool: str) -> float:
    """Returns x where time grows as the number of images to the power of x."""
    return math.log(larger.seconds(tool) / smaller.seconds(tool), larger.counts["images"] / smaller.counts["images"])


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.0f} MB"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", default=",".join(LOADS), help="comma-separated, of: %(default)s")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each tool")
    parser.add_argument("--big-repeats", type=int, default=3, help="for loads of more than a million detections")
    parser.add_argument("--shrink", type=int, default=1, metavar="N", help="make one image of N")
    parser.add_argument("--without", choices=["hotcoco"])
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where loads are kept, and found the next time")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every measurement")
    parser.add_argument("--markdown", action="store_true", help="print the table and what it depends on, no progress")
    parser.add_argument("--turn", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.loads = options.loads.split(",")
    if unknown := [name for name in options.loads if name not in LOADS]:
        parser.error(f"--loads: {unknown} are not among {list(LOADS)}")
    if min(options.repeats, options.big_repeats, options.shrink) < 1:
        parser.error("--repeats, --big-repeats and --shrink must be at least 1")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.turn:
        name, path, *numbers = options.turn
        print("\n" + json.dumps(take_turn(name, path, *map(int, numbers))))
        return 0
    tools = [tool for tool in COMPARED if tool != options.without]
    results = {}
    with tempfile.TemporaryDirectory() as directory:
        for name in options.loads:
            scale = LOADS[name]
            flags = scale.flags(options.shrink)
            path = (options.keep or Path(directory)) / "_".join(flags).replace("--", "") / "load.npz"
            if not path.exists():
                command = [sys.executable, HERE / "loads.py", *flags, "--columns", "-o", path.parent]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            if not options.markdown:
                print(name, flush=True)
            repeats = options.big_repeats if scale.big else options.repeats
            results[name] = measure(scale, path, tools, repeats, report=not options.markdown)
    facts = machine(tools)
    print("\n" + ", ".join(f"{name} {value}" for name, value in facts.items()) + "\n")
    print(table(results))
    print("\n" + "\n".join(growth(results)))
    problems = [f"{name}: {line}" for name, result in results.items() for line in disagreements(result.tools)]
    if options.json:
        content = {"machine": facts, "loads": {name: dataclasses.asdict(result) for name, result in results.items()}}
        options.json.write_text(json.dumps(content, indent=1))
    if problems:
        print("\nTHE TOOLS DISAGREE\n" + "\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
