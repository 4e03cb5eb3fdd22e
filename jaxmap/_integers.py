"""Integers of any width in 32-bit programs: labels, identifying numbers and image ids.

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

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["as_labels", "as_numbers", "as_words", "image_id_words", "is_seen"]

_LOW, _HIGH = np.iinfo(np.int32).min, np.iinfo(np.int32).max


def as_labels(name: str, values: Any) -> jax.Array:
    """Returns labels as int32; values that do not fit are clipped to the nearest int32, which is not a class either.

    Raises:
      TypeError: if they are not integers.
    """
    values = _integers(name, values)
    if not np.can_cast(values.dtype, np.int32):
        xp = jnp if isinstance(values, jax.Array) else np
        values = xp.minimum(values, np.array(_HIGH, values.dtype))
        if values.dtype.kind == "i":
            values = xp.maximum(values, np.array(_LOW, values.dtype))
    return jnp.asarray(values.astype(np.int32))


def as_numbers(name: str, values: Any, hint: str = "number them from 0 instead") -> jax.Array:
    """Returns identifying integers as int32, or as int64 under x64.

    Raises:
      TypeError: if they are not integers, or, inside `jit`, their type does not fit.
      ValueError: if one of them does not fit; the message names the first.
    """
    values = _integers(name, values)
    dtype = np.dtype(jnp.result_type(int))
    if not np.can_cast(values.dtype, dtype):
        if not is_seen(values):
            raise TypeError(f"`{name}` must fit {dtype}, got dtype {values.dtype}; cast it if its values do.")
        values = np.asarray(values)
        bounds = np.iinfo(dtype)
        bad = (values < bounds.min) | (values > bounds.max)
        if bad.any():
            place = np.argwhere(bad)[0].tolist()
            where = f" at {place}" if place else ""
            raise ValueError(f"`{name}` must fit {dtype}, got {values[tuple(place)]}{where}; {hint}.")
    return jnp.asarray(values.astype(dtype))


def image_id_words(image_id: Any) -> Any:
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
    return xp.stack([word.astype(np.uint32) for word in words], axis=-1).astype(np.int32)  # keeps the bits


def as_words(image_id: Any, num_images: int, name: str = "image_id") -> jax.Array:
    """Returns ids as `[I, 2]` int32 words, from `[I]` integers of any width or from the words of `image_id_words`.

    Raises:
      ValueError: if the shape is neither.
      TypeError: if they are not integers, or words have more than 32 bits.
    """
    image_id = image_id if isinstance(image_id, jax.Array) else np.asarray(image_id)
    shape = image_id.shape
    if shape == (num_images,):
        return jnp.asarray(image_id_words(image_id))
    if shape != (num_images, 2):
        raise ValueError(
            f"`{name}` must have shape {[num_images]}, one per image, or {[num_images, 2]}, words of "
            f"`image_id_words`, got {list(shape)}."
        )
    if image_id.dtype not in (np.int32, np.uint32):
        raise TypeError(f"words of `{name}` must be int32, got dtype {image_id.dtype}.")
    return jnp.asarray(image_id).astype(jnp.int32)


def is_seen(values: Any) -> bool:
    """Returns whether Python can read the values: False inside `jit`, and for arrays of other processes."""
    return not isinstance(values, jax.Array) or (
        not isinstance(values, jax.core.Tracer) and values.is_fully_addressable
    )


def _integers(name: str, values: Any) -> Any:
    values = values if isinstance(values, jax.Array) else np.asarray(values)
    if not jnp.issubdtype(values.dtype, jnp.integer):
        raise TypeError(f"`{name}` must hold integers, got dtype {values.dtype}.")
    return values
