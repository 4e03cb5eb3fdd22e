"""Flags, and integers of any width in 32-bit programs: labels, identifying numbers and image ids.

Without x64, JAX silently keeps the low 32 bits of an integer: 2^32 becomes 0, which is a valid class. Three kinds of
number need three rules, each valid on the host and inside `jit`:

- A label beyond int32 is not a class and must not become one: `as_labels` clips it to the nearest int32.
- An identifying number must stay distinct from all others: `as_numbers` refuses what does not fit.
- Image ids keep 64 bits, as two words: `image_id_words`.

>>> as_labels("labels", np.array([3, 2**32])).tolist()
[3, 2147483647]
>>> image_id_words(np.array([7, 2**32 + 7])).tolist()
[[0, 7], [1, 7]]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .types import Array

__all__ = ["as_flags", "as_labels", "as_numbers", "as_words", "image_id_words", "is_seen"]

_LOW, _HIGH = np.iinfo(np.int32).min, np.iinfo(np.int32).max


def as_labels(name: str, values: ArrayLike) -> jax.Array:
    """Returns labels as int32; values that do not fit are clipped to the nearest int32, which is not a class either.

    Raises:
      TypeError: if they are not integers.
    """
    labels = _integers(name, values)
    if not np.can_cast(labels.dtype, np.int32):
        xp = jnp if isinstance(labels, jax.Array) else np
        labels = xp.minimum(labels, np.array(_HIGH, labels.dtype))
        if labels.dtype.kind == "i":
            labels = xp.maximum(labels, np.array(_LOW, labels.dtype))
    return jnp.asarray(labels.astype(np.int32))


def as_flags(name: str, values: ArrayLike) -> jax.Array:
    """Returns flags as bool; numbers of any type may stand for them, 0 and 1.

    Raises:
      TypeError: if they are neither bool nor real numbers.
      ValueError: if one of them is neither 0 nor 1. Inside `jit`, where it cannot be seen, it counts as True.
    """
    flags = values if isinstance(values, jax.Array) else np.asarray(values)
    if flags.dtype != bool:
        if not jnp.issubdtype(flags.dtype, jnp.number) or jnp.iscomplexobj(flags):
            raise TypeError(f"`{name}` must be boolean, or 0 and 1, got dtype {flags.dtype}.")
        if is_seen(flags) and (odd := np.asarray((flags != 0) & (flags != 1))).any():
            raise ValueError(f"`{name}` must be boolean, or 0 and 1, got {np.asarray(flags)[odd][0]!r}.")
    return jnp.asarray(flags.astype(bool))


def as_numbers(name: str, values: ArrayLike, hint: str = "number them from 0 instead") -> jax.Array:
    """Returns identifying integers as int32, or as int64 under x64.

    Raises:
      TypeError: if they are not integers, or, inside `jit`, their type does not fit.
      ValueError: if one of them does not fit; the message names the first.
    """
    numbers = _integers(name, values)
    dtype = np.dtype(jnp.result_type(int))
    if not np.can_cast(numbers.dtype, dtype):
        if not is_seen(numbers):
            raise TypeError(f"`{name}` must fit {dtype}, got dtype {numbers.dtype}; cast it if its values do.")
        numbers = np.asarray(numbers)
        bounds = np.iinfo(dtype)
        bad = (numbers < bounds.min) | (numbers > bounds.max)
        if bad.any():
            place = np.argwhere(bad)[0].tolist()
            where = f" at {place}" if place else ""
            raise ValueError(f"`{name}` must fit {dtype}, got {numbers[tuple(place)]}{where}; {hint}.")
    return jnp.asarray(numbers.astype(dtype))


def image_id_words(image_id: ArrayLike) -> Array:
    """Returns image ids of up to 64 bits as two 32-bit words, which pass through `jit` unchanged.

    Without x64, `jit` cuts a 64-bit id to its low 32 bits before a metric sees it. Split ids on the host, and pass the
    words on as `image_id`. Ids that do not pass through `jit` need no splitting.

    Args:
      image_id: `[I]` int, NumPy, a list, or JAX.

    Returns:
      `[I, 2]` int32, the high and the low word; a NumPy array unless the input is a JAX array.

    Raises:
      TypeError: if the ids are not integers.
      ValueError: if they do not have exactly one axis, or an id is 2^63 or more.

    Example:
      >>> image_id_words([7, 2**32 + 7]).tolist()
      [[0, 7], [1, 7]]
    """
    ids = _integers("image_id", image_id)
    if ids.ndim != 1:
        raise ValueError(f"`image_id` must have shape [images], got {list(ids.shape)}.")
    if ids.dtype == np.uint64 and is_seen(ids) and (np.asarray(ids) >= 2**63).any():
        raise ValueError(f"`image_id` must be below 2^63, got {np.asarray(ids).max()}.")
    xp = jnp if isinstance(ids, jax.Array) else np
    if ids.dtype.itemsize == 8:
        words = ids >> np.array(32, ids.dtype), ids & np.array(0xFFFFFFFF, ids.dtype)
    else:
        high = xp.zeros_like(ids) if ids.dtype.kind == "u" else ids >> np.array(ids.dtype.itemsize * 8 - 1, ids.dtype)
        words = high, ids
    pairs: Array = xp.stack([word.astype(np.uint32) for word in words], axis=-1).astype(np.int32)
    return pairs  # the conversions keep the bits


def as_words(image_id: ArrayLike, num_images: int, name: str = "image_id") -> jax.Array:
    """Returns ids as `[I, 2]` int32 words, from `[I]` integers of any width or from the words of `image_id_words`.

    Raises:
      ValueError: if the shape is neither.
      TypeError: if they are not integers, or words have more than 32 bits.
    """
    ids = image_id if isinstance(image_id, jax.Array) else np.asarray(image_id)
    shape = ids.shape
    if shape == (num_images,):
        return jnp.asarray(image_id_words(ids))
    if shape != (num_images, 2):
        raise ValueError(
            f"`{name}` must have shape {[num_images]}, one per image, or {[num_images, 2]}, words of "
            f"`image_id_words`, got {list(shape)}."
        )
    if ids.dtype not in (np.int32, np.uint32):
        raise TypeError(f"words of `{name}` must be int32, got dtype {ids.dtype}.")
    return jnp.asarray(ids).astype(jnp.int32)


def is_seen(values: Array) -> bool:
    """Returns whether Python can read the values: False inside `jit`, and for arrays of other processes."""
    return not isinstance(values, jax.Array) or (
        not isinstance(values, jax.core.Tracer) and values.is_fully_addressable
    )


def _integers(name: str, values: ArrayLike) -> Array:
    array = values if isinstance(values, jax.Array) else np.asarray(values)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"`{name}` must hold integers, got dtype {array.dtype}.")
    return array
