"""What is written about an array and about an instruction: types, layouts and attributes."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import ml_dtypes
import numpy as np

from examples.benchmarks.optimized_hlo import Instruction
from jaxmap.types import Floats, Ints

__all__ = ["ArrayType", "Operation", "Run", "array_type", "named", "number", "numbers", "windows"]

DTYPES = {
    "pred": np.bool_,
    **{f"s{bits}": np.dtype(f"int{bits}").type for bits in (8, 16, 32, 64)},
    **{f"u{bits}": np.dtype(f"uint{bits}").type for bits in (8, 16, 32, 64)},
    **{f"f{bits}": np.dtype(f"float{bits}").type for bits in (32, 64)},
    "bf16": ml_dtypes.bfloat16,  # in products of zeros and ones
}


class ArrayType(NamedTuple):
    """The type of an array.

    Attributes:
      dtype: of its elements.
      shape: of the array.
      layout: its axes, from the fastest to the slowest in memory.
      tiles: the sizes of its tiles on the fastest axes, and of the tiles inside these; none on a GPU.
    """

    dtype: type[np.generic]
    shape: tuple[int, ...]
    layout: tuple[int, ...]
    tiles: tuple[tuple[int, ...], ...] = ()

    @property
    def memory(self) -> Ints:
        """The index, row by row, of the element at each place in memory; -1 for the padding of tiles."""
        return _memory(self.shape, self.layout, self.tiles)


class Run(Protocol):
    """What an operation may ask of the evaluator."""

    def divide(self, a: Floats, b: Floats) -> Floats:
        """Returns the quotient of two float32 arrays, as the device computes it."""

    def call(self, computation: str, operands: Sequence[Any]) -> Any:
        """Runs a computation of the module."""

    def combiner(self, computation: str) -> str:
        """Returns the opcode by which a computation combines its two parameters; `parameter` where it replaces."""

    def type_of(self, name: str) -> ArrayType:
        """Returns the type of a named instruction."""


Operation = Callable[[Run, Instruction, list[Any]], Any]


@functools.cache
def array_type(text: str) -> ArrayType:
    """Reads a type such as `f32[8,128]{1,0:T(8,128)}`.

    Raises:
      ValueError: if it is no array, or its dtype is not one that jaxmap's programs hold.
    """
    found = re.match(r"(\w+)\[([\d,]*)\](?:\{([\d,]*)(?::T((?:\([\d,]+\))+))?[^}]*\})?", text)
    if not found or found[1] not in DTYPES:
        raise ValueError(f"expected an array of {', '.join(DTYPES)}, got {text[:80]!r}")
    shape = _integers(found[2])
    layout = _integers(found[3]) if found[3] else tuple(range(len(shape)))[::-1]
    tiles = tuple(_integers(tile) for tile in re.findall(r"\(([\d,]+)\)", found[4] or ""))
    return ArrayType(DTYPES[found[1]], shape, layout, tiles)


@functools.cache
def _memory(shape: tuple[int, ...], layout: tuple[int, ...], tiles: tuple[tuple[int, ...], ...]) -> Ints:
    places = np.arange(math.prod(shape)).reshape(shape).transpose(layout[::-1])
    for tile in tiles:
        count = len(tile)
        places = places.reshape((1,) * (count - places.ndim) + places.shape)
        whole = places.shape[:-count] if count < places.ndim else ()
        widths = [(0, 0)] * len(whole) + [
            (0, -size % side) for size, side in zip(places.shape[-count:], tile, strict=True)
        ]
        places = np.pad(places, widths, constant_values=-1)
        split = [part for size, side in zip(places.shape[-count:], tile, strict=True) for part in (size // side, side)]
        first = len(whole)
        order = [*range(first), *range(first, first + 2 * count, 2), *range(first + 1, first + 2 * count, 2)]
        places = places.reshape(*whole, *split).transpose(order)
    return places.ravel()


@functools.cache
def numbers(rest: str, name: str) -> tuple[int, ...]:
    """Returns the attribute `name={1,2}` of an instruction; empty without it."""
    found = re.search(rf"\b{name}=\{{([^}}]*)\}}", rest)
    return _integers(found[1]) if found else ()


@functools.cache
def number(rest: str, name: str) -> int:
    """Returns the attribute `name=1`."""
    return int(named(rest, name))


@functools.cache
def named(rest: str, name: str) -> str:
    """Returns the attribute `name=word`.

    Raises:
      ValueError: if it is missing.
    """
    found = re.search(rf"\b{name}=([\w.\-]+)", rest)
    if not found:
        raise ValueError(f"expected the attribute {name}, got {rest[:200]!r}")
    return found[1]


@functools.cache
def windows(rest: str) -> tuple[slice, ...]:
    """Returns the attribute `slice={[0:8], [1:2:1]}`."""
    found = re.search(r"\bslice=\{([^}]*)\}", rest)
    return tuple(slice(*map(int, part.split(":"))) for part in re.findall(r"\[([\d:]+)\]", found[1] if found else ""))


def _integers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part.strip())
