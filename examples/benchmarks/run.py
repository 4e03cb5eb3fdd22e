"""Times jaxmap and its peers on one load or one pair of COCO files, and checks that they agree on the twelve numbers.

    pip install -e .[bench]
    python examples/benchmarks/run.py                          5,000 images, 500,000 detections
    python examples/benchmarks/run.py --pair GT.json DT.json   real files
    python examples/benchmarks/run.py --iou-type segm          5,000 images, 100,000 detections with masks

Every tool runs in separate processes, one at a time, and the tools take turns (A B C D A B C D ...), so that a slow
minute of the machine affects all of them. If the fastest warm call is far below the median, something else was running,
and the figures are unreliable. Reported are medians of

    load          two JSON files to the tool's own objects
    first call    import and first evaluation, in a fresh process
    warm call     a later evaluation of loaded data; for jaxmap, of padded NumPy arrays
    whole         a fresh process from files to numbers: start, import, load, first evaluation
    command       the same for the command `jaxmap eval`
    peak memory   of that process
    off           the largest difference of one of the twelve numbers from pycocotools

This process itself imports nothing outside the standard library: on Linux the peak memory of a child process includes
the memory of its parent at its start.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools import NUMBERS, TOOLS

HERE = Path(__file__).parent
BASELINE = "hotcoco"  # ratios are to this tool
REFERENCE = "pycocotools"  # and agreement is with this one
SLOW = ("pycocotools",)  # gets --slow-repeats, and no call to warm up: it has nothing to warm
TOLERANCE = 1e-9
# Each tool uses the cores that it finds, as its users' calls do.
DROPPED_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "XLA_FLAGS",
)
TIMES = ("load", "first call", "warm call", "whole", "command")
WITH_COMMAND = "jaxmap"


@dataclasses.dataclass
class Measurement:
    """What was measured of one tool: seconds by the name of the time, bytes, and every result."""

    seconds: dict[str, list[float]] = dataclasses.field(default_factory=lambda: {name: [] for name in TIMES})
    peak_bytes: list[int] = dataclasses.field(default_factory=list)
    numbers: list[list[float | None]] = dataclasses.field(default_factory=list)


def environment() -> dict[str, str]:
    """Returns the variables that a tool gets."""
    return {name: value for name, value in os.environ.items() if name not in DROPPED_VARIABLES}


class Worker:
    """A process that holds one tool and obeys it."""

    def __init__(self, tool: str, pair: tuple[Path, Path], iou_type: str) -> None:
        self.tool = tool
        self.start = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "tools.py"), tool, *map(str, pair), iou_type],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        self.import_seconds = self._answer()["seconds"]

    def ask(self, action: str) -> dict[str, Any]:
        """Returns the `seconds` that the action took and the `numbers` that it gave."""
        assert self.process.stdin is not None
        print(action, file=self.process.stdin, flush=True)
        return self._answer()

    def finish(self) -> tuple[float, int]:
        """Ends the process and returns the seconds that it lived and its peak memory in bytes."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        _, status, usage = os.wait4(self.process.pid, 0)
        seconds = time.perf_counter() - self.start
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.process.stdout.close()
        return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.tool} stopped with exit code {self.process.wait()}; its error is above.")
        answer: dict[str, Any] = json.loads(line)
        return answer


def run_command(pair: tuple[Path, Path], iou_type: str) -> tuple[float, list[float | None]]:
    """Returns the seconds from start to end of `jaxmap eval` and its numbers."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "jaxmap", "eval", *map(str, pair), "--iou-type", iou_type, "--json", "-"],
        stdout=subprocess.PIPE,
        env=environment(),
        check=True,
    )
    seconds = time.perf_counter() - start
    numbers = json.loads(done.stdout)
    return seconds, [numbers[name] for name in NUMBERS]


def measure(pair: tuple[Path, Path], iou_type: str, repeats: Mapping[str, int], report: bool) -> dict[str, Measurement]:
    """Measures each tool `repeats[tool]` times, in turn."""
    measurements = {tool: Measurement() for tool in repeats}
    rounds = [[tool for tool, count in repeats.items() if count > turn] for turn in range(max(repeats.values()))]

    def note(tool: str, name: str, seconds: float) -> None:
        measurements[tool].seconds[name].append(seconds)
        if report:
            print(f"{tool:>21} {name:<10} {seconds:9.3f} s", flush=True)

    for tool in (tool for turn in rounds for tool in turn):
        worker = Worker(tool, pair, iou_type)
        load, evaluation = worker.ask("load"), worker.ask("evaluate")
        seconds, peak_bytes = worker.finish()
        note(tool, "load", load["seconds"])
        note(tool, "first call", worker.import_seconds + evaluation["seconds"])
        note(tool, "whole", seconds)
        measurements[tool].peak_bytes.append(peak_bytes)
        measurements[tool].numbers.append(evaluation["numbers"])
        if tool == WITH_COMMAND:
            seconds, numbers = run_command(pair, iou_type)
            note(tool, "command", seconds)
            measurements[tool].numbers.append(numbers)

    workers = {tool: Worker(tool, pair, iou_type) for tool in repeats}
    for tool, worker in workers.items():
        worker.ask("load")
        worker.ask("prepare")
        if tool not in SLOW:
            worker.ask("evaluate")
    for tool in (tool for turn in rounds for tool in turn):
        evaluation = workers[tool].ask("evaluate")
        note(tool, "warm call", evaluation["seconds"])
        measurements[tool].numbers.append(evaluation["numbers"])
    for worker in workers.values():
        worker.finish()
    return measurements


def largest_difference(measurement: Measurement, expected: Sequence[float | None]) -> float:
    """Returns how far a tool's numbers are from the expected ones; infinite if only one of the two is defined."""
    pairs = [pair for numbers in measurement.numbers for pair in zip(numbers, expected, strict=True)]
    return max((0.0 if a is b else math.inf if a is None or b is None else abs(a - b)) for a, b in pairs)


def disagreements(measurements: Mapping[str, Measurement]) -> list[str]:
    """Returns a line for each tool and number that differs from the reference by more than the tolerance."""
    reference, expected = _reference(measurements), _expected(measurements)
    lines = []
    for tool, measurement in measurements.items():
        for index, name in enumerate(NUMBERS):
            values = {numbers[index] for numbers in measurement.numbers}
            if not all(_close(value, expected[index]) for value in values):
                lines.append(f"{name}: {tool} gives {sorted(map(str, values))}, {reference} {expected[index]}")
    return lines


def _reference(measurements: Mapping[str, Measurement]) -> str:
    return REFERENCE if REFERENCE in measurements else next(iter(measurements))


def _expected(measurements: Mapping[str, Measurement]) -> list[float | None]:
    return measurements[_reference(measurements)].numbers[0]


def _close(a: float | None, b: float | None) -> bool:
    return a is b if a is None or b is None else abs(a - b) <= TOLERANCE


def table(measurements: Mapping[str, Measurement]) -> str:
    """Returns the medians as a markdown table."""
    medians = {
        tool: {name: statistics.median(values) for name, values in measurement.seconds.items() if values}
        for tool, measurement in measurements.items()
    }
    baseline = BASELINE if BASELINE in medians else next(iter(medians))
    ratio = f"to {baseline}"
    rows = [
        [
            "",
            "warm call",
            "fastest",
            ratio,
            "whole",
            ratio,
            "command",
            "first call",
            "load",
            "peak memory",
            "off",
            "repeats",
        ]
    ]
    expected = _expected(measurements)
    for tool, median in medians.items():
        warm, whole, first, load = (_duration(median[name]) for name in ("warm call", "whole", "first call", "load"))
        warm_ratio, whole_ratio = (f"{median[name] / medians[baseline][name]:.2f}x" for name in ("warm call", "whole"))
        fastest = _duration(min(measurements[tool].seconds["warm call"]))
        command = _duration(median["command"]) if "command" in median else "-"
        peak = f"{statistics.median(measurements[tool].peak_bytes) / 1e6:,.0f} MB"
        off = f"{largest_difference(measurements[tool], expected):.1g}"
        repeats = str(len(measurements[tool].peak_bytes))
        rows.append([tool, warm, fastest, warm_ratio, whole, whole_ratio, command, first, load, peak, off, repeats])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    lines = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _duration(seconds: float) -> str:
    return f"{1e3 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"


def machine(tools: Sequence[str]) -> dict[str, str]:
    """Returns what the figures depend on, and nothing that names the machine or its folders."""
    model = platform.processor() or platform.machine()
    if (cpuinfo := Path("/proc/cpuinfo")).exists():
        models = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = models[0] if models else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = {name: _version(name) for name in [*tools, "jax", "numpy", "msgspec"]}
    return {"cpu": model, "cores": str(cores), "python": platform.python_version()} | versions


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "from source"


def prepare_pair(options: argparse.Namespace, directory: Path) -> tuple[Path, Path]:
    """Returns two plain JSON files: the pair that was asked for, unpacked, or a load made now."""
    if not options.pair:
        sizes = ("images", "ground_truths", "detections", "classes", "seed")
        flags = [flag for name in sizes for flag in (f"--{name.replace('_', '-')}", str(getattr(options, name)))]
        flags += ["--masks"] if options.iou_type == "segm" else []
        output = subprocess.DEVNULL if options.markdown else None
        subprocess.run([sys.executable, HERE / "loads.py", *flags, "-o", directory], check=True, stdout=output)
        return directory / "ground_truth.json", directory / "detections.json"
    paths = []
    for path in options.pair:
        if path.suffix == ".gz":
            packed, path = path, directory / path.stem
            with gzip.open(packed) as source, path.open("wb") as target:
                shutil.copyfileobj(source, target)
        paths.append(path)
    return paths[0], paths[1]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--iou-type", choices=["bbox", "segm"], default="bbox")
    parser.add_argument("--ground-truths", type=int, help="default: 36,000; of masks 35,000")
    parser.add_argument("--detections", type=int, help="default: 500,000; of masks 100,000")
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pair", type=Path, nargs=2, metavar=("GT", "DT"), help="COCO files, plain or .gz")
    parser.add_argument("--tools", default=",".join(TOOLS), help="comma-separated, of: %(default)s")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--slow-repeats", type=int, default=1, help=f"for {', '.join(SLOW)}")
    parser.add_argument("--cores", type=int, help="restrict every tool to this many cores (Linux)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every measurement")
    parser.add_argument("--markdown", action="store_true", help="print the table and what it depends on, no progress")
    options = parser.parse_args(arguments)
    with_masks = options.iou_type == "segm"
    options.ground_truths = options.ground_truths or (35_000 if with_masks else 36_000)
    options.detections = options.detections or (100_000 if with_masks else 500_000)
    options.tools = options.tools.split(",")
    if unknown := [tool for tool in options.tools if tool not in TOOLS]:
        parser.error(f"--tools: {unknown} are not among {list(TOOLS)}")
    if min(options.repeats, options.slow_repeats) < 1:
        parser.error("--repeats and --slow-repeats must be at least 1")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    tools = [tool for tool in options.tools if importlib.util.find_spec(tool.replace("-", "_"))]
    for tool in options.tools:
        if tool not in tools:
            print(f"{tool} is not installed and is left out")
    if not tools:
        return 1
    repeats = {tool: min(options.slow_repeats, options.repeats) if tool in SLOW else options.repeats for tool in tools}
    with tempfile.TemporaryDirectory() as directory:
        pair = prepare_pair(options, Path(directory))
        measurements = measure(pair, options.iou_type, repeats, report=not options.markdown)
    facts = machine(tools)
    print("\n" + ", ".join(f"{name} {value}" for name, value in facts.items()) + "\n")
    print(table(measurements))
    problems = disagreements(measurements)
    if options.json:
        results = {tool: dataclasses.asdict(measurement) for tool, measurement in measurements.items()}
        content = {"machine": facts, "numbers": NUMBERS, "disagreements": problems, "tools": results}
        options.json.write_text(json.dumps(content, indent=1))
    if problems:
        print("\nTHE TOOLS DISAGREE\n" + "\n".join(problems))
        return 1
    print(f"\nAll agree on the {len(NUMBERS)} numbers within {TOLERANCE:g}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
