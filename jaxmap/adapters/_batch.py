"""What adapters return, and how they read dictionaries: every entry is checked, by name, while tracing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..types import Array, Detections, GroundTruths

__all__ = ["EvaluationBatch", "entry", "floats", "image_ids", "integers"]


class EvaluationBatch(NamedTuple):
    """What `update` takes.

    Attributes:
      detections: `[I, D, ...]`, boxes as xyxy in pixels of the original image.
      ground_truths: `[I, G, ...]`, likewise; None where the batch holds none.
      image_id: `[I]` int32; None where the batch holds none.
      valid: `[I]` bool, False for images that only pad the batch.
    """

    detections: Detections
    ground_truths: GroundTruths | None
    image_id: jax.Array | None
    valid: jax.Array


def entry(data: Mapping[str, Any], where: str, name: str, hint: str = "") -> Any:
    """Returns an entry that must be there.

    Raises:
      ValueError: if it is not.
    """
    if name not in data:
        raise ValueError(f"`{where}` must have the entry {name!r}{hint}, got {sorted(data)}.")
    return data[name]


def floats(value: Array, name: str, shape: tuple[int | None, ...]) -> jax.Array:
    """Returns an entry as float32; None in the shape stands for any length.

    Raises:
      ValueError: if its shape is another one.
    """
    got = np.shape(value)
    if len(got) != len(shape) or any(want not in (None, have) for want, have in zip(shape, got, strict=True)):
        lengths = ", ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"`{name}` must have shape [{lengths}], got {list(got)}.")
    return jnp.asarray(value).astype(jnp.float32)


def integers(value: Array, name: str, shape: tuple[int | None, ...]) -> jax.Array:
    """Returns an entry as int32; some detectors hold class numbers as floats.

    Raises:
      ValueError: if its shape is another one.
    """
    floats(value, name, shape)
    return jnp.asarray(value).astype(jnp.int32)


def image_ids(data: Mapping[str, Any], name: str, num_images: int) -> jax.Array | None:
    """Returns `[I]` ids, which pipelines also hold as `[I, 1]`; None if there are none."""
    if name not in data:
        return None
    value = jnp.asarray(data[name])
    if value.size != num_images or not jnp.issubdtype(value.dtype, jnp.integer):
        raise ValueError(
            f"`{name}` must be {num_images} integers, one an image, got shape {list(value.shape)}, dtype {value.dtype}."
        )
    return value.reshape(num_images).astype(jnp.int32)
