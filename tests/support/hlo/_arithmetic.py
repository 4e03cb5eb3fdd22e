"""Models of the float32 arithmetic of a device."""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxmap.types import Floats

__all__ = ["MODELS", "Arithmetic"]

SMALLEST_NORMAL = np.float32(2.0**-126)


@dataclasses.dataclass(frozen=True)
class Arithmetic:
    """How a device computes in float32; by default as IEEE 754 says, with one rounding per operation.

    Attributes:
      flush: results below the smallest normal number become 0.
      division_bits: a quotient is a product with a reciprocal that is good to so many bits; None for an exact division.
      contract: a product that is added or subtracted in the same fusion is not rounded before, wherever it can be.
    """

    flush: bool = False
    division_bits: int | None = None
    contract: bool = False

    def divide(self, a: Floats, b: Floats) -> Floats:
        """Returns the quotient of two float32 arrays."""
        if self.division_bits is None:
            return np.divide(a, b)
        error = np.random.default_rng(1).uniform(-1, 1, b.shape) * 2.0**-self.division_bits
        return a * (1 / b.astype(np.float64) * (1 + error)).astype(np.float32)

    def stored(self, result: Floats) -> Floats:
        """Returns a float32 result as it leaves the operation."""
        if not self.flush:
            return result
        return np.where(np.abs(result) < SMALLEST_NORMAL, np.copysign(np.float32(0), result), result)


MODELS = {
    "IEEE": Arithmetic(),
    "flushed subnormals, division good to 22 bits": Arithmetic(flush=True, division_bits=22),
    "all products contracted": Arithmetic(contract=True),
}
