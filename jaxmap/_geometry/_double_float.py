"""Double-float arithmetic: a real number as the unevaluated sum of two float32, about 48 significant bits.

Inside `jit`, without x64, a plain float32 quotient puts pairs of boxes on the wrong side of an IoU threshold: a
division is not correctly rounded on every accelerator, and `a * b - c` changes when the compiler contracts it to a
fused multiply-add. Every step here is either exact or has an error far below the precision of the result, so neither
matters.

References: Dekker 1971; Knuth, TAOCP 2, 4.2.2 (two-sum). The split is a bit mask instead of Dekker's multiplication by
4097, because it has no rounded product that a compiler may contract.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._pytrees import register_container

__all__ = [
    "LARGEST",
    "SMALLEST_AREA",
    "DoubleFloat",
    "add",
    "constant",
    "difference",
    "divide",
    "from_integers",
    "from_sum",
    "maximum",
    "minimum",
    "multiply",
    "negate",
    "rounded",
    "where",
]

_LOW_12_BITS_CLEARED = np.int32(-4096)

# The arithmetic keeps its 44 bits if every area is a float32 with that many bits below it, and if the union of two
# areas is finite: coordinates up to 2^62 give sides up to 2^63 and areas up to 2^126.
LARGEST = 2.0**62
SMALLEST_AREA = 2.0**-72


@register_container
class DoubleFloat(NamedTuple):
    """The number `hi + lo`, with `lo` at most half a unit in the last place of `hi`; both float32 of one shape."""

    hi: jax.Array
    lo: jax.Array

    def select(self, index: Any) -> DoubleFloat:
        """Indexes both parts as `array[index]` does."""
        return DoubleFloat(self.hi[index], self.lo[index])


def constant(value: float) -> DoubleFloat:
    """Returns a Python float as a double-float scalar; the low part of infinities is 0."""
    hi = np.float32(value)
    return DoubleFloat(jnp.float32(hi), jnp.float32(value - float(hi) if np.isfinite(hi) else 0.0))


def from_sum(a: jax.Array, b: jax.Array) -> DoubleFloat:
    """Returns `a + b` of two float32 arrays, exactly."""
    total = a + b
    from_b = total - a
    return DoubleFloat(total, (a - (total - from_b)) + (b - from_b))


def from_integers(a: jax.Array) -> DoubleFloat:
    """Returns int32 values, exactly."""
    low = a & 0xFFF
    return from_sum((a - low).astype(jnp.float32), low.astype(jnp.float32))


def add(a: DoubleFloat, b: DoubleFloat) -> DoubleFloat:
    """Returns `a + b` with an error of a few parts in 2^47."""
    high, low = from_sum(a.hi, b.hi), from_sum(a.lo, b.lo)
    total = _renormalize(high.hi, high.lo + low.hi)
    return _renormalize(total.hi, total.lo + low.lo)


def negate(a: DoubleFloat) -> DoubleFloat:
    """Returns `-a`."""
    return DoubleFloat(-a.hi, -a.lo)


def multiply(a: DoubleFloat, b: DoubleFloat) -> DoubleFloat:
    """Returns `a * b` with an error of a few parts in 2^47; exact if both fit float32 and the product fits 47 bits."""
    (a_top, a_rest), (b_top, b_rest) = _split(a.hi), _split(b.hi)
    # Each partial product of 12-bit halves is exact; only the last line, 2^-24 below the result, rounds.
    total = from_sum(a_top * b_top, a_top * b_rest)
    second = from_sum(total.hi, a_rest * b_top)
    third = from_sum(second.hi, a_rest * b_rest)
    low = (total.lo + second.lo) + third.lo
    return _renormalize(third.hi, low + (a.hi * b.lo + a.lo * b.hi))


def divide(a: DoubleFloat, b: DoubleFloat) -> DoubleFloat:
    """Returns `a / b` with an error of a few parts in 2^46, however inaccurate the device's division is."""
    # A device may divide by a product with the reciprocal, which must not be contracted into the sums that follow.
    first = rounded(a.hi / b.hi)
    rest = add(a, negate(multiply(DoubleFloat(first, jnp.zeros_like(first)), b)))
    second = rest.hi / b.hi
    rest = add(rest, negate(multiply(DoubleFloat(second, jnp.zeros_like(second)), b)))
    quotient = _renormalize(first, second)
    return _renormalize(quotient.hi, quotient.lo + rest.hi / b.hi)


def difference(a: DoubleFloat, b: DoubleFloat) -> jax.Array:
    """Returns `a - b` as one float32 with the correct sign; exact if they are close, as high parts cancel."""
    return (a.hi - b.hi) + (a.lo - b.lo)


def maximum(a: DoubleFloat, b: DoubleFloat) -> DoubleFloat:
    """Returns the larger of two."""
    return where(difference(a, b) > 0, a, b)


def minimum(a: DoubleFloat, b: DoubleFloat) -> DoubleFloat:
    """Returns the smaller of two."""
    return negate(maximum(negate(a), negate(b)))


def where(condition: jax.Array, a: DoubleFloat, b: DoubleFloat) -> DoubleFloat:
    """Returns `a` where the condition holds, else `b`."""
    return DoubleFloat(jnp.where(condition, a.hi, b.hi), jnp.where(condition, a.lo, b.lo))


def _renormalize(hi: jax.Array, lo: jax.Array) -> DoubleFloat:
    """Normalises the two parts; needs `|hi| >= |lo|` or `hi == 0`."""
    total = hi + lo
    return DoubleFloat(total, lo - (total - hi))


def rounded(a: jax.Array) -> jax.Array:
    """Returns a float32 array unchanged, separated from the product that computed it.

    Inside one program, XLA contracts `n * w + b` to a fused multiply-add, which adds the unrounded product;
    optimization barriers do not prevent it. A number that is reassembled from its bits is no longer a product for the
    compiler. Exact down to 1e-31; values that are not finite become NaN.
    """
    bits = jax.lax.bitcast_convert_type(a, jnp.int32)

    def part(mask: int) -> jax.Array:
        return jax.lax.bitcast_convert_type(bits & np.uint32(mask).astype(np.int32), jnp.float32)

    return part(0xFFFFF000) + (part(0xFF800FFF) - part(0xFF800000))


def _split(a: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Splits float32 into two parts of at most 12 significant bits each, exactly."""
    bits = jax.lax.bitcast_convert_type(a, jnp.int32)
    top = jax.lax.bitcast_convert_type(bits & _LOW_12_BITS_CLEARED, jnp.float32)
    return top, a - top
