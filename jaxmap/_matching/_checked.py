"""Checks of a batch while tracing, and the checked batch: JAX arrays, with all optional fields filled in."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .._expected import expect
from .._geometry import geometry_of
from .._geometry._record import SHAPE_FIELDS
from .._integers import as_labels, as_words
from ..protocols import EvaluationProtocol
from ..types import Detections, GroundTruths

__all__ = ["BatchRules", "CheckedBatch", "CheckedDetections", "CheckedGroundTruths", "check_batch", "check_kinds"]


class BatchRules(NamedTuple):
    """The options of a metric that apply to its batches; static."""

    protocol: EvaluationProtocol
    num_classes: int
    box_format: str


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CheckedDetections:
    """The detections of a batch, `[I, D, ...]`, or of one image, `[D, ...]`.

    Attributes:
      shapes: the fields of `Detections` that are compared, by name; float32, masks of any dtype.
      scores: float32.
      labels: int32.
      valid: bool, False for padding and in padded images.
    """

    shapes: dict[str, jax.Array]
    scores: jax.Array
    labels: jax.Array
    valid: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CheckedGroundTruths:
    """The ground truths of a batch, `[I, G, ...]`, or of one image, `[G, ...]`.

    Attributes:
      shapes: the fields of `GroundTruths` that are compared, and what is needed beside, by name.
      labels: int32.
      valid: bool, False for padding and in padded images.
      crowd: bool.
      ignore: bool.
      area: float32; None for that of the shapes.
      verified: `[..., K]` bool; None for all.
      not_exhaustive: `[..., K]` bool; None for none.
    """

    shapes: dict[str, jax.Array]
    labels: jax.Array
    valid: jax.Array
    crowd: jax.Array
    ignore: jax.Array
    area: jax.Array | None
    verified: jax.Array | None
    not_exhaustive: jax.Array | None


class CheckedBatch(NamedTuple):
    """A checked batch.

    Attributes:
      detections: `[I, D, ...]`.
      ground_truths: `[I, G, ...]`.
      image_id: `[I, 2]` int32, the high and the low word.
      image_valid: `[I]` bool, False for images that only pad the batch.
      odd_flags: `[I]` int32, how many flags of each image are neither 0 nor 1.
    """

    detections: CheckedDetections
    ground_truths: CheckedGroundTruths
    image_id: jax.Array  # [I, 2]
    image_valid: jax.Array  # [I]
    odd_flags: jax.Array  # [I]


def check_batch(
    detections: Detections,
    ground_truths: GroundTruths,
    image_id: ArrayLike,
    valid: ArrayLike | None,
    rules: BatchRules,
) -> CheckedBatch:
    """Checks shapes and dtypes while tracing, fills in optional fields, and marks the rows of padded images.

    Raises:
      ValueError: if a shape is not `[I, D, ...]` or `[I, G, ...]`, or the two sides differ in I.
      TypeError: if labels or image ids are not integers, masks are neither bool nor integers, or a side has another
        type.
    """
    expect("detections", detections, Detections)
    expect("ground_truths", ground_truths, GroundTruths)
    protocol, num_classes, _ = rules
    if protocol.range_of != "area":
        raise ValueError(f"the ranges of the protocol {protocol.name!r} need `evaluate`; a batch has only areas.")
    geometry = geometry_of(protocol.iou_type)
    compared = geometry.shape
    sides = (("detections", detections), ("ground_truths", ground_truths))
    for side, batch in sides:
        check_kinds(side, batch)
        shapes = getattr(batch, compared.field)
        if shapes is None:
            raise ValueError(f"`{side}` must have `{compared.field}` for `iou_type={protocol.iou_type!r}`.")
        shape = jnp.shape(shapes)
        if len(shape) < 2 or not compared.fits(shape[2:]):
            raise ValueError(f"`{side}.{compared.field}` must have shape [images, {compared}], got {list(shape)}.")
        for name, value in vars(batch).items():
            of_image = name in ("verified", "not_exhaustive")
            expected = (shape[0], num_classes) if of_image else (*shape[:2], *((4,) if name == "boxes" else ()))
            if name != compared.field and name in SHAPE_FIELDS - {"boxes"}:
                continue  # a geometry that is not compared is not used
            if name != compared.field and value is not None and jnp.shape(value) != expected:
                raise ValueError(
                    f"`{side}.{name}` must have shape {list(expected)}, "
                    f"{'images and classes' if of_image else f'the first two axes of `{compared.field}`'}, got "
                    f"{list(jnp.shape(value))}."
                )
    for name, purpose in geometry.beside.items():
        if getattr(ground_truths, name) is None:
            raise ValueError(f"`ground_truths` must have `{name}` in addition to `{compared.field}`: {purpose}.")
    for side, batch in sides:
        geometry.check_batch(side, getattr(batch, compared.field), protocol)
    if len(detections.labels) != len(ground_truths.labels):
        raise ValueError(
            "`detections` and `ground_truths` must hold the same images, got "
            f"{len(detections.labels)} and {len(ground_truths.labels)}."
        )

    shape = (len(detections.labels),)
    if valid is not None and jnp.shape(valid) != shape:
        raise ValueError(f"`valid` must have shape {list(shape)}, one per image, got {list(jnp.shape(valid))}.")

    found, truth = detections, ground_truths
    words = as_words(image_id, shape[0])
    odd_flags = jnp.zeros_like(words[:, 0])

    def flags(value: ArrayLike | None, like: ArrayLike, default: bool) -> jax.Array:
        nonlocal odd_flags
        if value is None:  # `full_like` keeps the sharding of a batch over devices
            return jnp.full_like(like, default, dtype=bool)
        value = jnp.asarray(value)
        if value.dtype != bool:
            odd = (value != 0) & (value != 1)
            odd_flags += odd.sum(tuple(range(1, odd.ndim)), dtype=jnp.int32)
        return value.astype(bool)

    def of_classes(value: ArrayLike | None) -> jax.Array | None:
        return None if value is None else flags(value, value, False)

    real = flags(valid, words[:, 0], True)

    def shapes_of(batch: Detections | GroundTruths, *kept: str) -> dict[str, jax.Array]:
        values = {name: getattr(batch, name) for name in kept}
        return {
            name: jnp.asarray(value) if name == "masks" else jnp.asarray(value, jnp.float32)
            for name, value in values.items()
        }

    checked = CheckedDetections(
        shapes=shapes_of(found, compared.field),
        scores=_scores(found),
        labels=as_labels("detections.labels", found.labels),
        valid=flags(found.valid, found.labels, True) & real[:, None],
    )
    checked_truth = CheckedGroundTruths(
        shapes=shapes_of(truth, compared.field, *geometry.beside),
        labels=as_labels("ground_truths.labels", truth.labels),
        valid=flags(truth.valid, truth.labels, True) & real[:, None],
        crowd=flags(truth.crowd, truth.labels, False),
        ignore=flags(truth.ignore, truth.labels, False),
        area=None if truth.area is None else jnp.asarray(truth.area, jnp.float32),
        verified=of_classes(truth.verified),
        not_exhaustive=of_classes(truth.not_exhaustive),
    )
    return CheckedBatch(
        detections=checked, ground_truths=checked_truth, image_id=words, image_valid=real, odd_flags=odd_flags
    )


def _scores(found: Detections) -> jax.Array:
    """Returns the scores, or 1 for every detection if there are none."""
    if found.scores is None:
        return jnp.ones_like(found.labels, dtype=jnp.float32)
    return jnp.asarray(found.scores, jnp.float32)


def check_kinds(side: str, batch: Detections | GroundTruths) -> None:
    """Refuses fields that do not hold real numbers, before `jit` refuses some of them in words of its own.

    Raises:
      TypeError: naming the field.
    """
    for name, value in vars(batch).items():
        if value is None:
            continue
        dtype = value.dtype if isinstance(value, jax.Array) else np.asarray(value).dtype
        is_number = dtype.kind == "b" or jnp.issubdtype(dtype, jnp.number)
        if not is_number or (name != "masks" and jnp.issubdtype(dtype, jnp.complexfloating)):
            raise TypeError(f"`{side}.{name}` must be real numbers, got dtype {dtype}; convert them first.")
