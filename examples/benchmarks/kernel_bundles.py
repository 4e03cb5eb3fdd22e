"""Counts what a Pallas kernel executes on a TPU, from the final code that the compiler dumps.

The compiler estimates no cycles for such a kernel. Its final code has one bundle of instructions a line, and a bundle
takes at least one cycle. The count is the bundles times the trips of the loops around them. Both sides of a branch
are in it, and waiting for memory is not.

A loop starts at a line marked `LB`. It ends with the delay slots of the branch on its exit test, which compares a
counter with the limit. A loop without such a test, or with a limit that is no constant, counts once.
"""

from __future__ import annotations

import dataclasses
import re

__all__ = ["KernelCost", "count_bundles"]

DELAY_SLOTS = 4  # bundles behind a branch that run before it is taken
_BUNDLE = re.compile(r" *(?:0x)?[0-9a-f]+ +(LB|LH|LE|PB|PF|CT)?: +(>*)")
_COUNTER = re.compile(r"(%s\w+) = sphi (%s\w+), ")


@dataclasses.dataclass(frozen=True)
class KernelCost:
    """What a kernel executes.

    Attributes:
      bundles: lines of code.
      executed: bundles times the trips of their loops.
      unread_loops: how many loops count once because their trips cannot be read.
    """

    bundles: int
    executed: int
    unread_loops: int


def count_bundles(text: str) -> KernelCost:
    """Reads the final bundles of one kernel.

    Raises:
      ValueError: if the text has no bundle.
    """
    bundles: list[tuple[str, int, str]] = []  # label, depth of loops, text
    for line in text.splitlines():
        start = _BUNDLE.match(line)
        if start:
            bundles.append((start[1] or "", len(start[2]), line))
        elif bundles:  # a bundle with a comment of several lines
            label, depth, before = bundles[-1]
            bundles[-1] = (label, depth, before + line)
    if not bundles:
        raise ValueError("expected lines of bundles such as `0x1 LB: > { ... }`, found none")
    times, unread = [1] * len(bundles), 0
    for first, (label, depth, at_start) in enumerate(bundles):
        if label == "LB":
            trips, end = _loop(text, [content for _, _, content in bundles], at_start)
            if end is None:
                end = first
                while end + 1 < len(bundles) and bundles[end + 1][1] >= depth:
                    end += 1
            unread += trips is None
            for place in range(first, min(end + 1, len(bundles))):
                times[place] *= 1 if trips is None else trips
    return KernelCost(len(bundles), sum(times), unread)


def _loop(text: str, bundles: list[str], at_start: str) -> tuple[int | None, int | None]:
    """Returns the trips of a loop and its last bundle, each None where it cannot be read."""
    for counter, start in _COUNTER.findall(at_start):
        for following, step in re.findall(rf"(%s\w+) = sadd\.s32 (\d+), {counter}\b", text):
            test = re.search(rf"(%p\w+) = scmp\.ge\.s32\.totalorder {following}, (\S+)", text)
            branches = test and [place for place, line in enumerate(bundles) if f"sbr.rel (!{test[1]})" in line]
            if test and branches:
                initial = re.search(rf"{start} = smov (?:\(\S+\), )?(\d+)", text)
                is_read = test[2].isdigit() and initial
                trips = -(-(int(test[2]) - int(initial[1])) // int(step)) if is_read and initial else None
                return trips, branches[-1] + DELAY_SLOTS
    return None, None
