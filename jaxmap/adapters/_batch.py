"""What adapters return, and how they read dictionaries: every entry is checked by name while tracing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._display import short_repr
from .._integers import as_labels, as_numbers, as_words, image_id_words
from .._pytrees import register_container
from ..types import Array, Detections, GroundTruths

__all__ = ["EvaluationBatch", "entry", "floats", "ids_from", "image_ids", "integers"]


@register_container
class EvaluationBatch(NamedTuple):
    """The arguments of `update`.

    Attributes:
      detections: `[I, D, ...]`, boxes as xyxy in pixels of the original image.
      ground_truths: `[I, G, ...]`, likewise; None if the batch has none.
      image_id: `[I]` int, or `[I, 2]` words if the batch has those; None if it has none.
      valid: `[I]` bool, False for images that only pad the batch.
    """

    detections: Detections
    ground_truths: GroundTruths | None
    image_id: jax.Array | None
    valid: jax.Array

    def __repr__(self) -> str:
        return short_repr(self)


def entry(data: Mapping[str, Any], where: str, name: str, hint: str = "") -> Any:
    """Returns a required entry.

    Raises:
      ValueError: if it is missing.
    """
    if name not in data:
        raise ValueError(f"`{where}` must have the entry {name!r}{hint}, got {sorted(data)}.")
    return data[name]


def floats(value: Array, name: str, shape: tuple[int | None, ...]) -> jax.Array:
    """Returns an entry as float32, with its shape checked; None in the shape stands for any length.

    Raises:
      ValueError: if its shape differs.
    """
    got = np.shape(value)
    if len(got) != len(shape) or any(want not in (None, have) for want, have in zip(shape, got, strict=True)):
        lengths = ", ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"`{name}` must have shape [{lengths}], got {list(got)}.")
    return jnp.asarray(value).astype(jnp.float32)


def integers(value: Array, name: str, shape: tuple[int | None, ...]) -> jax.Array:
    """Returns an entry as int32; some detectors give class numbers as floats. What does not fit is not a class.

    Raises:
      ValueError: if its shape differs.
    """
    floats(value, name, shape)
    value = value if isinstance(value, jax.Array) else np.asarray(value)
    if jnp.issubdtype(value.dtype, jnp.integer):
        return as_labels(name, value)
    return jnp.asarray(value).astype(jnp.int32)


def image_ids(data: Mapping[str, Any], name: str, num_images: int) -> jax.Array | None:
    """Returns image ids as `[I]`, also from `[I, 1]`, or as `[I, 2]` words; None if there are none.

    Raises:
      ValueError: if the shape differs, or an id does not fit.
      TypeError: if they are not integers.
    """
    if name not in data:
        return None
    value = data[name] if isinstance(data[name], jax.Array) else np.asarray(data[name])
    if value.size == num_images:
        return as_numbers(name, value.reshape(num_images), "pass the words of `jaxmap.metrics.image_id_words`")
    return as_words(value, num_images, name)


def ids_from(image_id: jax.Array, smallest: int) -> jax.Array:
    """Returns `[I]` bool, which ids are at least a given number."""
    if image_id.ndim == 1:
        return image_id >= smallest
    high, low = image_id_words([smallest])[0]
    at_least: jax.Array = (image_id[:, 0] > high) | (
        (image_id[:, 0] == high) & (image_id[:, 1].astype(jnp.uint32) >= low.view(np.uint32))
    )
    return at_least
