"""Compiles jaxmap's programs for a TPU or an NVIDIA H100 that is not there, and prints what they cost there.

    python examples/benchmarks/compile_for.py tpu                              every program; takes many minutes
    python examples/benchmarks/compile_for.py gpu --case update --case merge   some, also by pattern: 'compute*'
    python examples/benchmarks/compile_for.py tpu --case update --top 20       and its most expensive instructions
    python examples/benchmarks/compile_for.py tpu --quick --check examples/benchmarks/results/compile_for_tpu.json

Nothing runs, and nothing is installed: the error names the packages that are missing. All figures are estimates of the
compiler, or counted in its output:

- compile: seconds of CPU on this machine.
- temporaries: memory beside inputs and outputs. Updates donate their state.
- bytes: accessed in memory. The compiler counts the body of a loop once, and all branches.
- cycles (TPU): of one call, loops times their trips. The compiler has none for gathers, scatters and sorts, so these
  are counted, with the rows of all their runs. Pallas kernels count by the bundles of their final code.
- launches (GPU): kernels and copies of one call, loops times their trips.
- spills (GPU): whether a kernel, of XLA or of jaxmap, keeps registers in memory because it has too few.
- overflow: what only the more expensive branch of a conditional adds. Ordinary data do not take it.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import pathlib
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from chips import CHIPS, Compiled, Compiler, missing_packages, prepare
from optimized_hlo import ROW_OPCODES

if TYPE_CHECKING:
    from programs import Program

TOLERANCE = 1.1
SLACK = {"temporaries": 2**16, "cycles": 1_000, "launches": 1}  # of figures so small that a tenth is nothing
COLUMNS = {
    "tpu": (
        "compile",
        "temporaries",
        "bytes",
        "cycles",
        "overflow",
        "gathers (rows)",
        "scatters (rows)",
        "sorts (rows)",
    ),
    "gpu": ("compile", "temporaries", "launches", "overflow", "spills"),
}


def record(chip: str, compiled: Compiled) -> dict[str, Any]:
    """Returns the figures of a program as a record file holds them."""
    figures: dict[str, Any] = {"compile_seconds": round(compiled.seconds, 1), "temporaries": compiled.temporaries}
    if chip == "gpu":
        return figures | {
            "launches": compiled.total(),
            "overflow_launches": compiled.total(overflow=True),
            "spills": compiled.spills,
        }
    rows = {f"{opcode}s": compiled.count(opcode) for opcode in ROW_OPCODES}
    return {
        **figures,
        "bytes": compiled.bytes_accessed,
        "cycles": compiled.total(),
        "overflow_cycles": compiled.total(overflow=True),
        **{name: count for name, (count, _) in rows.items()},
        **{f"{name}_rows": number for name, (_, number) in rows.items()},
        "kernel_bundles": {name: kernel.executed for name, kernel in compiled.kernels.items()},
    }


def cells(chip: str, figures: dict[str, Any]) -> list[str]:
    """Returns the columns of a table."""
    first = [f"{figures['compile_seconds']:.1f} s", size(figures["temporaries"])]
    if chip == "gpu":
        launches = (f"{figures[name]:,}" for name in ("launches", "overflow_launches"))
        return [*first, *launches, "yes" if figures["spills"] else "no"]
    rows = [f"{figures[f'{opcode}s']} ({count(figures[f'{opcode}s_rows'])})" for opcode in ROW_OPCODES]
    return [*first, size(figures["bytes"]), count(figures["cycles"]), count(figures["overflow_cycles"]), *rows]


def size(number: float | None) -> str:
    if number is None:
        return "-"
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"


def count(number: float) -> str:
    return f"{number / 1e6:.2f} M" if number >= 1e6 else f"{number / 1e3:.0f} k" if number >= 1e4 else f"{number:,}"


def markdown(chip: str, figures: dict[str, dict[str, Any] | None]) -> str:
    """Returns the table of the README, from the figures by title; programs without any are left out."""
    lines = ["| program | " + " | ".join(COLUMNS[chip]) + " |", "|---" + "|---:" * len(COLUMNS[chip]) + "|"]
    lines += [f"| {title} | " + " | ".join(cells(chip, values)) + " |" for title, values in figures.items() if values]
    return "\n".join(lines)


def details(chip: str, program: Program, compiled: Compiled) -> Iterable[str]:
    """Yields what the table has no room for."""
    for name, kernel in compiled.kernels.items():
        unread = (
            f", {kernel.unread_loops} loops counted once, their trips cannot be read" if kernel.unread_loops else ""
        )
        yield f"  kernel {name}: {kernel.bundles:,} bundles, {kernel.executed:,} executed{unread}"
    for place in sorted(set(compiled.unread_loops)):
        yield f"  assumed: {program.assumed_trips} trips ({program.assumption}) of the loop {place}"
    if chip == "tpu":
        found: dict[tuple[str, int, int, str], int] = defaultdict(int)
        for row in compiled.rows:
            if not row.overflow:
                found[row.opcode, row.rows, row.times, row.op_name] += 1
        for (opcode, rows, times, place), number in sorted(found.items(), key=lambda item: -item[0][1] * item[0][2]):
            yield f"  {number} x {opcode} of {rows:,} rows x {times}: {place}"


def most_expensive(compiled: Compiled, number: int) -> Iterable[str]:
    """Yields the instructions with the most cycles or launches."""
    weights = [compiled.costs.get(step.instruction.name, 0) * step.times for step in compiled.steps]
    for weight, step in sorted(zip(weights, compiled.steps, strict=True), key=lambda item: -item[0])[:number]:
        instruction, where = step.instruction, "overflow " if step.overflow else ""
        yield (
            f"  {weight:>12,} = {compiled.costs.get(instruction.name, 0):,} x {step.times} {where}{instruction.opcode} "
            f"{instruction.name} {instruction.shape[:90]} {instruction.op_name[-110:]}"
        )


def complaints(figures: dict[str, Any], recorded: dict[str, Any] | None) -> Iterable[str]:
    """Yields what is worse than recorded."""
    if recorded is None:
        yield "not in the record; write the record again"
        return
    if figures.get("spills") and not recorded.get("spills"):
        yield "registers of a kernel spill, which none did before"
    for name, slack in SLACK.items():
        before, now = recorded.get(name), figures.get(name)
        if before is not None and now is not None and now > max(before * TOLERANCE, before + slack):
            yield f"{name} {now:,}, which is more than a tenth above the recorded {before:,}"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chip", choices=CHIPS)
    parser.add_argument("--topology", default="v5e:2x2", help="of the TPU: v4:2x2x1, v5e:2x2, v5p:2x2x1, v6e:2x2, ...")
    parser.add_argument("--case", action="append", default=[], help="name of a program, or a pattern such as 'update*'")
    parser.add_argument("--quick", action="store_true", help="only the programs that compile fast")
    parser.add_argument(
        "--markdown", action="store_true", help="print the table of the README, with --json of all that the file has"
    )
    parser.add_argument("--top", type=int, default=0, help="print as many of the most expensive instructions")
    parser.add_argument("--text", type=pathlib.Path, help="folder for the optimized HLO of each program")
    parser.add_argument(
        "--json", type=pathlib.Path, help="write the figures to this file; it keeps those of other programs"
    )
    parser.add_argument("--check", type=pathlib.Path, help="fail where a program needs more than this file says")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the figures; returns 1 where a check fails."""
    options = parse(arguments)
    missing = missing_packages(options.chip)
    if missing:
        print(f"cannot compile for a {options.chip}: {missing}", file=sys.stderr)
        return 2
    recorded = json.loads(options.check.read_text()) if options.check else {}
    compiler_input = prepare(options.chip)
    import jax
    from programs import PROGRAMS

    chosen = [
        program
        for program in PROGRAMS
        if (not options.case or any(fnmatch.fnmatch(program.name, case) for case in options.case))
        and (program.quick or not options.quick)
        and (options.chip == "tpu" or not program.spread)  # of several chips, here
    ]
    if not chosen:
        names = ", ".join(program.name for program in PROGRAMS)
        print(f"no program is named {options.case}; there are {names}", file=sys.stderr)
        return 2
    compiler = Compiler(options.chip, options.topology, compiler_input)
    device: str = compiler.device.device_kind
    print(f"compiled for: {device}; jax {jax.__version__}")
    if options.check and recorded["device"] != device:
        print(f"expected a record of {device}, got that of {recorded['device']} in {options.check}", file=sys.stderr)
        return 2
    before = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    figures: dict[str, dict[str, Any]] = before.get("programs", {}) if before.get("device") == device else {}
    failures = []
    for program in chosen:
        try:
            compiled = compiler(program)
        except Exception as error:  # whatever a compiler raises
            failures.append(f"{program.name}: does not compile: {type(error).__name__}: {error}")
            print(failures[-1], flush=True)
            continue
        values = figures[program.name] = record(options.chip, compiled)
        if options.json:  # after each, because all take many minutes
            content = {"device": device, "jax": jax.__version__, "programs": figures}
            options.json.write_text(json.dumps(content, indent=1) + "\n")
        labels = zip(COLUMNS[options.chip], cells(options.chip, values), strict=True)
        print(f"{program.name}: " + ", ".join(f"{label} {value}" for label, value in labels))
        for line in (*details(options.chip, program, compiled), *most_expensive(compiled, options.top)):
            print(line)
        sys.stdout.flush()
        wide = sorted(set(compiled.wide_types) - set(program.allowed_types))
        found = [f"holds the types {', '.join(wide)}"] if wide else []
        if options.check:
            found += complaints(values, recorded["programs"].get(program.name))
        failures += [f"{program.name}: {text}" for text in found]
        if options.text:
            options.text.mkdir(parents=True, exist_ok=True)
            (options.text / f"{options.chip}-{program.name}.hlo").write_text(compiled.text)
    if options.markdown:
        print(markdown(options.chip, {program.title: figures.get(program.name) for program in PROGRAMS}))
    if failures and options.check and recorded["jax"] != jax.__version__:
        print(f"recorded with jax {recorded['jax']}, compiled with {jax.__version__}", file=sys.stderr)
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
