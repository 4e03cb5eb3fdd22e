"""COCO's run lengths: conversion of compressed text to edges and back, checked in blocks of many masks.

The text encodes numbers with five bits per character, the lowest first: the characters `0` to `o` stand for 0 to 63,
where bit 32 means that another character follows, and the highest of the last five bits of a number is its sign. From
the fourth number on, the difference to the run before the previous one is stored. Runs alternate, starting with unset
pixels.

References: pycocotools maskApi.c, rleToString, rleFrString.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..._ragged import blocks, ranges
from ..._threads import in_threads
from ...types import Bools, Ints, Masks
from ._encodings import Encodings
from ._masks import AT_ONCE, areas, edges_of, make_masks, running_sums

__all__ = ["Name", "fault_of_text", "masks_of_encodings", "masks_of_runs", "runs_of_masks", "texts_of_masks"]

FIRST = 48  # the character that stands for 0
MORE, SIGN, DIGIT, LARGEST = 32, 16, 31, 63
LONGEST = 7  # characters of a number: 35 bits with the sign, enough for masks of fewer than 2^31 pixels
Name = Callable[[int], str]  # names a mask by its row, for messages
Characters = NDArray[np.uint8]


def masks_of_encodings(encodings: Encodings, name: Name) -> Masks:
    """Returns the masks of compressed encodings.

    Args:
      encodings: N encodings.
      name: returns the name of a mask, for messages.

    Raises:
      ValueError: if the counts of one are no such text, or its runs do not add up to its size.
    """
    text, stop, size = np.frombuffer(encodings.text, np.uint8), encodings.stop, encodings.sizes
    lengths = np.diff(stop, prepend=0)
    rows = [slice(*block) for block in blocks(lengths, AT_ONCE)]
    texts = [text[stop[here.start] - lengths[here.start] : stop[here.stop - 1]] for here in rows]
    # As many edges as numbers, which end with characters below `MORE`, or fewer.
    room = np.cumsum([0, *(np.count_nonzero(one < FIRST + MORE) for one in texts)])
    edges = np.empty(room[-1], np.int32)
    counts, area, split = np.empty(len(stop), np.int64), np.empty(len(stop)), np.empty(len(stop), bool)

    def decode(block: int) -> int:
        here = rows[block]
        numbers = _numbers(texts[block], lengths[here])
        found = None if numbers is None else _edges(_undo_deltas(*numbers), numbers[1], size[here])
        if found is None:
            raise _fault(encodings, here.start, name)
        of_block, counts[here], split[here] = found
        area[here] = areas(of_block, counts[here])
        edges[room[block] : room[block] + len(of_block)] = of_block
        return len(of_block)

    used = 0
    for place, length in zip(room[:-1].tolist(), in_threads(decode, range(len(rows))), strict=True):
        edges[used : used + length] = edges[place : place + length]  # closes the gaps
        used += length
    ends = np.cumsum(counts)
    return Masks(edges=edges[:used], start=ends - counts, stop=ends, sizes=size, area=area, split=split)


def masks_of_runs(runs: Ints, counts: Ints, size: Ints, name: Name) -> Masks:
    """Returns the masks of uncompressed counts.

    Args:
      runs: `[R]` int32, the runs of all masks.
      counts: `[N]`, the number of runs of each mask.
      size: `[N, 2]` int64, heights and widths.
      name: returns the name of a mask, for messages.

    Raises:
      ValueError: if one is negative, or those of a mask do not add up to its size.
    """
    block = _edges(runs.copy(), counts, size)
    if block is None:
        ends = np.cumsum(counts)
        each = (runs[end - count : end].tolist() for end, count in zip(ends.tolist(), counts.tolist(), strict=True))
        faults = ((row, _fault_of_runs(one, *size[row].tolist())) for row, one in enumerate(each))
        row, fault = next((row, fault) for row, fault in faults if fault)
        raise ValueError(f"{name(row)}.counts {fault}.")
    edges, counts, split = block
    return make_masks(edges, counts, size, split)


def runs_of_masks(masks: Masks) -> tuple[Ints, Ints]:
    """Returns the run lengths of masks, `[R]` int64, and the number of each mask, `[N]`."""
    num_edges, pixels = masks.stop - masks.start, masks.sizes.prod(axis=1)
    last = np.zeros(len(masks), np.int64)
    some = num_edges > 0
    last[some] = masks.edges[masks.stop[some] - 1]
    rest = last < pixels  # the run after the last edge
    counts = num_edges + rest
    ends = np.cumsum(counts)
    positions = np.empty(int(ends[-1]) if len(ends) else 0, np.int64)
    positions[ranges(ends - counts, num_edges)] = edges_of(masks)
    positions[ends[rest] - 1] = pixels[rest]
    runs = np.diff(positions, prepend=0)
    runs[ends - counts] = positions[ends - counts]
    return runs, counts


def texts_of_masks(masks: Masks) -> list[bytes]:
    """Returns the compressed counts of masks."""
    numbers, counts = runs_of_masks(masks)
    ends = np.cumsum(counts)
    delta = np.flatnonzero(np.arange(len(numbers)) - np.repeat(ends - counts, counts) > 2)
    numbers[delta] -= numbers[delta - 2].copy()
    length = np.ones(len(numbers), np.int64)
    for digits in range(1, LONGEST):
        half = 1 << (5 * digits - 1)
        length += (numbers < -half) | (numbers >= half)
    stop = np.cumsum(length)
    text = np.empty(int(stop[-1]) if len(stop) else 0, np.uint8)
    for place in range(int(length.max(initial=0))):
        here = np.flatnonzero(length > place)
        digit = (numbers[here] >> (5 * place)) & DIGIT
        text[stop[here] - length[here] + place] = FIRST + digit + MORE * (length[here] > place + 1)
    data = text.tobytes()
    cuts = [0, *stop[ends - 1].tolist()]
    return [data[first:last] for first, last in pairwise(cuts)]


def _numbers(text: Characters, lengths: Ints) -> tuple[Ints, Ints] | None:
    """Returns the numbers of a block of texts, `[R]` int32, and how many each text has; None if one is invalid."""
    digits = text - np.uint8(FIRST)  # a character before the first becomes a large number
    more, stop = digits >= MORE, np.cumsum(lengths)
    if not lengths.all() or digits.max() > LARGEST or more[stop - 1].any():
        return None
    # The number that ends at each character, of its last two digits; the sign counts -16.
    numbers = ((digits ^ np.uint8(SIGN)) - np.uint8(SIGN)).view(np.int8).astype(np.int32)
    numbers[1:] *= (more[:-1] * np.uint8(MORE - 1) + np.uint8(1)).astype(np.int32)
    numbers[1:] += ((digits[:-1] & np.uint8(DIGIT)) * more[:-1]).astype(np.int32)
    at = 2 + np.flatnonzero(more[:-2] & more[1:-1] & ~more[2:])  # those of more digits are few
    for place in range(2, LONGEST):
        longer = numbers[at].astype(np.int64) << 5 | digits[at - place] & DIGIT
        if np.abs(longer).max(initial=0) >= 1 << 31:
            return None
        numbers[at] = longer
        at = at[more[at - place - 1]]  # before the first character it is the last one, which no other follows
        if not len(at):
            break
    else:
        return None
    last = np.flatnonzero(~more)
    return numbers.take(last), np.diff(np.searchsorted(last, stop), prepend=0)


def _undo_deltas(numbers: Ints, counts: Ints) -> Ints:
    """Returns run lengths, `[R]`: the sums of every second number of each text, where the first number is separate.

    Even and odd positions of all texts have separate running sums, from which the sums before the text are subtracted.

    Args:
      numbers: `[R]` int32. Sums wrap, but the first run that is not below 2^31 is negative in any case.
      counts: `[N]`, the number of numbers of each text.
    """
    end = np.cumsum(counts)
    start, runs = end - counts, np.empty_like(numbers)
    for parity in (0, 1):
        sums = running_sums(numbers[parity::2])
        before, after = (start + 1 - parity) // 2, (end + 1 - parity) // 2
        base = sums[before + (start % 2 == parity)]
        np.subtract(sums[1:], np.repeat(base, after - before), out=runs[parity::2])
    runs[start] = numbers[start]
    return runs


def _edges(runs: Ints, counts: Ints, size: Ints) -> tuple[Ints, Ints, Bools] | None:
    """Returns the edges of a block, `[E]` int32, the number of each mask, and which are split; None if one is invalid.

    Args:
      runs: `[R]` int32; is written to.
      counts: `[N]`, the number of runs of each mask.
      size: `[N, 2]`.
    """
    if not counts.all() or runs.min(initial=0) < 0:
        return None
    end, pixels = np.cumsum(counts), size.prod(axis=1)
    start, split = end - counts, np.zeros(len(counts), bool)
    empty = np.flatnonzero(runs == 0)
    runs[start[1:]] -= pixels[:-1]  # so that one running sum restarts at each mask, if the previous mask is valid
    edges = running_sums(runs)[1:]
    if edges.min(initial=0) < 0 or not np.array_equal(edges[end - 1], pixels):  # the first sum beyond int32 is negative
        return None
    kept = counts - counts % 2
    if (counts % 2).any():  # the last run is of unset pixels, and its end is not an edge
        edges = np.delete(edges, end[counts % 2 == 1] - 1)
    if len(empty):
        mask = np.searchsorted(end, empty, side="right")
        place = empty - start[mask]
        split[mask[(place % 2 == 0) & (place > 0)]] = True
        if (place % 2).any():
            pairs = edges.reshape(-1, 2)
            kept -= 2 * np.bincount(mask[place % 2 == 1], minlength=len(counts))
            edges = pairs[pairs[:, 0] < pairs[:, 1]].ravel()
    return edges, kept, split


def _fault(encodings: Encodings, first: int, name: Name) -> ValueError:
    """Returns what is wrong with the first invalid text from a row on."""
    for row in range(first, len(encodings)):
        one = encodings[row]
        if fault := fault_of_text(one["counts"], *one["size"]):
            return ValueError(f"{name(row)}.counts {fault}.")
    raise AssertionError("a block was refused, but none of its texts is invalid")


def fault_of_text(text: str | bytes, height: int, width: int) -> str | None:
    """Returns what is wrong with compressed counts; None if nothing is."""
    shown = text.decode("latin-1") if isinstance(text, bytes) else text
    what = "must be COCO's compressed run lengths"
    if not shown:
        return f"{what}, got no character"
    for place, character in enumerate(shown):
        if not FIRST <= ord(character) < FIRST + 64:
            advice = _advice(shown)
            return f"{what}, characters from '0' to 'o', got {character!r} at place {place}{advice}"
    runs: list[int] = []
    value = length = 0
    for character in shown:
        digit = ord(character) - FIRST
        value |= (digit & DIGIT) << 5 * length
        length += 1
        if digit & MORE:
            continue
        if length > LONGEST:
            return f"{what}, got a number of {length} characters; the text is damaged"
        value -= (digit & SIGN) << (5 * (length - 1) + 1)
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = length = 0
    if length:
        return f"{what}, got a text that ends inside a number; it is cut off"
    return _fault_of_runs(runs, height, width)


def _fault_of_runs(runs: Sequence[int], height: int, width: int) -> str | None:
    for place, run in enumerate(runs):
        if run < 0:
            return f"must hold run lengths from 0, got {run} as number {place}; the mask is damaged"
    if sum(runs) != height * width or not runs:
        return (
            f"must add up to the size {height} x {width} = {height * width} pixels, got {sum(runs)}; the mask is "
            "damaged, or its size is [width, height]"
        )
    return None


def _advice(text: str) -> str:
    if text.startswith(("b'", 'b"')):
        return "; it is how Python shows bytes: write counts.decode() instead of str(counts)"
    if text != text.strip():
        return "; remove the blanks around it"
    if set(text) & set("+/=") or set(text) - set(map(chr, range(FIRST, FIRST + 64))) <= set("pqrstuvwxyz+/="):
        return "; is it base64? Write the text that pycocotools' `encode` returns"
    return "; the text is damaged"
