"""Runs the corpus and prints what is wrong; the exit status says whether anything is."""

from __future__ import annotations

import argparse
import collections
import os
import random
import sys
import tempfile
import time

SEED = 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m support.malformed", description=__doc__)
    add = parser.add_argument
    add("--all", action="store_true", help="every case")
    add("--sample", type=int, metavar="N", help="N cases, the same each time, some of every door")
    add("--only", metavar="TEXT", help="those whose names begin so")
    add("--jobs", type=int, default=2)
    add("--verbose", action="store_true", help="print every outcome")
    options = parser.parse_args()

    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # no thread may run when the process forks
    with tempfile.TemporaryDirectory(prefix="compiled-") as compiled:
        os.environ |= {"JAX_COMPILATION_CACHE_DIR": compiled, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        from . import _corpus
        from ._case import judge
        from ._process import run_cases

        cases = [case for case in _corpus.cases() if case.name.startswith(options.only or "")]
        if options.sample is not None:
            cases = sample(cases, options.sample)
        start, wrong, kinds = time.monotonic(), 0, collections.Counter()
        for case, outcome in run_cases(cases, options.jobs):
            kinds[outcome.kind] += 1
            complaint = judge(outcome, case.expected)
            wrong += complaint is not None
            if complaint is not None or options.verbose:
                print(f"{case.name}: {complaint or 'right'}", flush=True)
                if options.verbose:
                    print(f"    {outcome}")
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    print(f"{len(cases)} cases in {time.monotonic() - start:.0f} s: {counts}; {wrong} wrong")
    return int(wrong > 0 or not cases)


def sample(cases: list, number: int) -> list:
    """Returns some cases of every door, as many of each as its share allows, and at least three."""
    by_door = collections.defaultdict(list)
    for case in cases:
        by_door[case.door].append(case)
    chosen = []
    for of_door in by_door.values():
        share = max(3, round(number * len(of_door) / len(cases)))
        chosen += random.Random(SEED).sample(of_door, min(share, len(of_door)))
    return chosen[:number]


if __name__ == "__main__":
    sys.exit(main())
