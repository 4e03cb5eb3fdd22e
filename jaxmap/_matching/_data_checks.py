"""Likely mistakes in the values of a batch, counted inside `jit` and reported in one line by `summarize`.

A program on a device cannot warn. Values that `evaluate` would refuse or warn about are counted per image and check;
the counts are kept with the image and are read on the host.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp

from .._geometry import geometry_of
from .._geometry._device import DeviceSimilarity
from .._geometry._double_float import LARGEST, SMALLEST_AREA
from ..protocols import EvaluationProtocol
from ..types import Array

__all__ = ["CHECKS", "advise", "checks_by_name", "count_oddities", "warn_once"]

CHECKS = (
    "detections",
    "ground_truths",
    "negative_detections",
    "negative_ground_truths",
    "empty_ground_truths",
    "unit_detections",
    "unit_ground_truths",
    "tiny_shapes",
    "large_angles",
    "masks_not_binary",
    "flags_not_binary",
)
_LIKELY = {"xyxy": "xywh", "yxyx": "xywh", "xywh": "xyxy", "cxcywh": "xyxy"}


def count_oddities(
    shapes: tuple[dict[str, jax.Array], dict[str, jax.Array]],
    valid: tuple[jax.Array, jax.Array],
    counted: jax.Array,
    similarity: DeviceSimilarity,
    not_binary: tuple[jax.Array, jax.Array],
    protocol: EvaluationProtocol,
) -> jax.Array:
    """Returns `[C]` int32, the number of rows of one image that each check of `CHECKS` finds.

    Args:
      shapes: the geometry fields of detections and ground truths, with harmless values where not valid.
      valid: `[D]` and `[G]` bool.
      counted: `[G]` bool, valid and neither a crowd nor ignored.
      similarity: the similarity, in the order of `shapes`.
      not_binary: scalars int32, how many masks and how many flags hold other values than 0 and 1.
      protocol: the protocol, for its `iou_type`.
    """
    odd = geometry_of(protocol.iou_type).oddities(*shapes, similarity)
    nothing = jnp.zeros_like(valid[0]), jnp.zeros_like(valid[1])
    empty = nothing[1] if odd.empty is None else odd.empty
    negative, unit, tiny, turned = (
        nothing if flags is None else flags for flags in (odd.negative, odd.unit, odd.tiny, odd.turned)
    )
    columns = (
        *valid,
        *(flags & real for flags, real in zip(negative, valid, strict=True)),
        empty & counted,
        *(flags & real for flags, real in zip(unit, valid, strict=True)),
    )
    of_both = ([flags & real for flags, real in zip(kind, valid, strict=True)] for kind in (tiny, turned))
    sums = [column.sum(dtype=jnp.int32) for column in columns]
    sums += [one.sum(dtype=jnp.int32) + other.sum(dtype=jnp.int32) for one, other in of_both]
    return jnp.stack([*sums, *not_binary])


def checks_by_name(checks: Array) -> dict[str, Array]:
    """Returns the sums `[C]` by name."""
    return {name: checks[place] for place, name in enumerate(CHECKS)}


def advise(
    checks: Mapping[str, int], counters: Mapping[str, int], *, num_classes: int, box_format: str
) -> Iterable[str]:
    """Yields warnings about a whole evaluation: what was found, and what to do.

    Args:
      checks: the sums of `CHECKS`, by name.
      counters: the counters of the result.
      num_classes: K.
      box_format: that of the metric.
    """
    if counters.get("num_bad_labels"):
        yield (
            f"{counters['num_bad_labels']} rows have a label outside 0 to {num_classes - 1} and are excluded (subtract "
            "1 from labels that start at 1)"
        )
    if counters.get("num_not_finite"):
        yield f"{counters['num_not_finite']} rows have NaN, infinity or a number above {LARGEST:.2g} and are excluded"
    if counters.get("num_conflicting_images"):
        yield (
            f"{counters['num_conflicting_images']} images have the id of an image with other content and are "
            "excluded: either `jit` cuts ids to 32 bits (pass `jaxmap.metrics.image_id_words(ids)`), or ids are used "
            f"twice"
        )
    if counters.get("num_scores_out_of_range"):
        yield (
            f"{counters['num_scores_out_of_range']} scores are outside `score_range` and are counted in the first or "
            "last bin"
        )
    found, truth = checks["detections"], checks["ground_truths"]
    if checks["empty_ground_truths"]:
        yield (
            f"{checks['empty_ground_truths']} of {truth} ground truths are empty (all zeros, or a mask without "
            f"pixels) and can only be missed; if they are padding, pass `valid`"
        )
    negative = checks["negative_detections"], checks["negative_ground_truths"]
    if 5 * negative[0] > found or 5 * negative[1] > truth:
        yield (
            f"{negative[0]} of {found} detections and {negative[1]} of {truth} ground truths have a negative width or "
            f"height as `{box_format}` and overlap nothing; are they `{_LIKELY[box_format]}`?"
        )
    unit = checks["unit_detections"], checks["unit_ground_truths"]
    for name, (inside, outside), (total, other_total) in (
        ("detections", unit, (found, truth)),
        ("ground truths", unit[::-1], (truth, found)),
    ):
        if total and inside == total and 2 * outside < other_total:
            yield f"all {total} {name} are in the unit square, those of the other side are not; convert both to pixels"
    if checks["tiny_shapes"]:
        yield (
            f"{checks['tiny_shapes']} boxes have an area below {SMALLEST_AREA:.2g}, for which overlaps are not exact "
            "inside `jit`; scale the boxes"
        )
    if 10 * checks["large_angles"] > found + truth:
        yield f"{checks['large_angles']} of {found + truth} angles are beyond 2 pi; angles are in radians, not degrees"
    if checks["masks_not_binary"]:
        yield (
            f"{checks['masks_not_binary']} masks have values other than 0 and 1, and all except 0 count as inside; "
            f"pass `masks > threshold`"
        )
    if checks["flags_not_binary"]:
        yield (
            f"{checks['flags_not_binary']} flags (`valid`, `crowd`, `ignore` and the like) are neither 0 nor 1, and "
            "count as True; pass bool"
        )


def warn_once(sentences: Iterable[str], stacklevel: int = 3) -> None:
    """Gives one `UserWarning` with all of them, if there are any."""
    text = "; ".join(sentences)
    if text:
        warnings.warn(f"the numbers may not be what you meant: {text}.", UserWarning, stacklevel=stacklevel)
