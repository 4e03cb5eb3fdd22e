"""One image ready for matching, inside `jit`: sorted, ranked, cleaned and compared."""

from __future__ import annotations

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from .._candidates._device import find_candidates, inside_ranges
from .._geometry import geometry_of
from .._geometry._device import DeviceSimilarity
from .._geometry._double_float import LARGEST
from ..protocols import EvaluationProtocol
from ..types import Candidates
from ._checked import BatchRules, CheckedDetections, CheckedGroundTruths
from ._data_checks import count_oddities
from ._row_order import sort_rows

__all__ = ["PreparedImage", "prepare_image"]


class PreparedImage(NamedTuple):
    """One image ready for matching: detections by descending score, padding replaced by harmless values."""

    similarity: DeviceSimilarity  # [D], [G]
    scores: jax.Array  # [D]
    labels: jax.Array  # [D]
    position: jax.Array  # [D]
    rank: jax.Array  # [D]
    valid: jax.Array  # [D]
    inside: jax.Array  # [D, A]
    truth_labels: jax.Array  # [G]
    truth_counted: jax.Array  # [G, A]
    truth_valid: jax.Array  # [G]
    truth_groups: jax.Array | None  # [G, A], crowds that count as one ground truth; None if the protocol has none
    crowd: jax.Array  # [G]
    num_not_finite: jax.Array  # []
    num_bad_labels: jax.Array  # []
    checks: jax.Array  # [C]

    def allowed(self, pairs: jax.Array) -> jax.Array:
        """Returns `[D, G]` bool, the pairs of which both sides are real, for pairs with any value for padding."""
        return pairs & self.valid[:, None] & self.truth_valid[None, :]

    def candidates(
        self, pairs: jax.Array, *, iou_thresholds: tuple[float, ...], num_candidates: int, best_only: bool = False
    ) -> tuple[Candidates[jax.Array], jax.Array]:
        """Returns the result of `find_candidates`, for pairs as in `allowed`."""
        return find_candidates(
            self.similarity.approximate(),
            self.similarity.exact,
            self.allowed(pairs),
            self.crowd,
            iou_thresholds=iou_thresholds,
            num_candidates=num_candidates,
            best_only=best_only,
        )


def prepare_image(
    found: CheckedDetections, truth: CheckedGroundTruths, odd_flags: jax.Array, rules: BatchRules
) -> PreparedImage:
    """Sorts, ranks and cleans one image, `[D, ...]` and `[G, ...]`, as `check_batch` returns them."""
    protocol, num_classes, box_format = rules
    geometry = geometry_of(protocol.iou_type)
    chex.assert_rank([found.labels, truth.labels], 1)
    (shapes, not_binary), (truth_shapes, truth_not_binary) = _shapes(found), _shapes(truth)
    finite = _all_finite(shapes) & jnp.isfinite(found.scores)
    truth_finite = _all_finite(truth_shapes)
    if truth.area is not None:
        truth_finite &= jnp.isfinite(truth.area)
    named = (found.labels >= 0) & (found.labels < num_classes)
    truth_named = (truth.labels >= 0) & (truth.labels < num_classes)
    valid, truth_valid = found.valid & finite & named, truth.valid & truth_finite & truth_named

    # Padding may hold NaN: it is replaced, because a product with 0 would keep NaN.
    scores = jnp.where(valid, found.scores, -jnp.inf)
    labels, truth_labels = jnp.where(valid, found.labels, 0), jnp.where(truth_valid, truth.labels, 0)
    area = None if truth.area is None else jnp.where(truth_valid, truth.area, 0.0)
    crowd, ignore = truth.crowd & truth_valid, truth.ignore & truth_valid
    if protocol.absorbing == "ignored":  # then crowds do not differ from other ignored ground truths
        crowd, ignore = jnp.zeros_like(crowd), crowd | ignore
    if geometry.ignored is not None:
        ignore |= geometry.ignored(truth_shapes)
    if protocol.absorbing == "none":
        truth_valid &= ~(crowd | ignore)

    shapes = {name: _cleaned(column, valid) for name, column in shapes.items()}
    truth_shapes = {name: _cleaned(column, truth_valid) for name, column in truth_shapes.items()}
    masks_not_binary = (valid & not_binary).sum(dtype=jnp.int32) + (truth_valid & truth_not_binary).sum(dtype=jnp.int32)
    rows, truth_order = jnp.arange(len(scores), dtype=jnp.int32), None
    # As one class, equal scores and equal overlaps are ordered by class first, because pycocotools with useCats=0
    # concatenates class by class.
    keys = (-scores, labels, rows) if protocol.class_agnostic else (-scores, rows)
    # A few numbers per row are sorted with it. Larger shapes are compared first, and their similarity is sorted.
    small = {name: column.T for name, column in shapes.items() if column.ndim == 2}
    as_given = valid
    order, (scores, labels, valid, small) = sort_rows(keys, (scores, labels, valid, small))
    shapes |= {name: columns.T for name, columns in small.items()}
    similarity = geometry.image(shapes, truth_shapes, crowd, area, constants=protocol, box_format=box_format)
    counted = truth_valid & ~truth.crowd & ~ignore
    checks = count_oddities(
        (shapes, truth_shapes),
        (valid if small else as_given, truth_valid),
        counted,
        similarity,
        (masks_not_binary, odd_flags),
        protocol,
    )
    if protocol.class_agnostic:
        truth_order = jnp.argsort(truth_labels, stable=True)
        truth_valid, crowd, ignore = (x[truth_order] for x in (truth_valid, crowd, ignore))
        labels, truth_labels = jnp.zeros_like(labels), jnp.zeros_like(truth_labels)

    together = (labels[:, None] == labels[None, :]) | (protocol.limit_scope == "image")
    rank = (together & valid[None, :] & (rows[:, None] > rows[None, :])).sum(-1, dtype=jnp.int32)
    kept = valid & (rank < protocol.max_detections[-1])
    if not small or truth_order is not None:
        similarity = similarity.reorder(rows if small else order, truth_order)
    inside = inside_ranges(similarity.area, _ranges(protocol))
    if not protocol.class_agnostic:  # as one class, there are no verified classes
        kept = kept if truth.verified is None else kept & truth.verified[labels]
        inside = inside if truth.not_exhaustive is None else inside & ~truth.not_exhaustive[labels][:, None]
    truth_inside = inside_ranges(similarity.ground_truth_area, _ranges(protocol))
    groups = (truth_valid & crowd)[:, None] & truth_inside if protocol.absorbing == "groups" else None
    return PreparedImage(
        similarity=similarity,
        scores=scores,
        labels=labels,
        position=order,
        rank=rank,
        valid=kept,
        inside=inside,
        truth_labels=truth_labels,
        truth_counted=truth_inside & (truth_valid & ~crowd & ~ignore)[:, None],
        truth_valid=truth_valid,
        truth_groups=groups,
        crowd=crowd,
        num_not_finite=(found.valid & ~finite).sum(dtype=jnp.int32)
        + (truth.valid & ~truth_finite).sum(dtype=jnp.int32),
        num_bad_labels=(found.valid & ~named).sum(dtype=jnp.int32) + (truth.valid & ~truth_named).sum(dtype=jnp.int32),
        checks=checks,
    )


def _shapes(side: CheckedDetections | CheckedGroundTruths) -> tuple[dict[str, jax.Array], jax.Array]:
    """Returns the geometry that is compared.

    Masks are returned as bool, together with `[N]` bool, or False: which of them have values other than 0 and 1.
    """
    shapes = dict(side.shapes)
    not_binary = jnp.zeros((), bool)
    masks = shapes.get("masks")
    if masks is not None and masks.dtype != bool:
        not_binary = ((masks != 0) & (masks != 1)).any((1, 2))
        shapes["masks"] = masks != 0
    return shapes, not_binary


def _all_finite(shapes: dict[str, jax.Array]) -> jax.Array:
    """Returns `[N]` bool, or True: the rows whose numbers are all finite and within the limits of the arithmetic."""
    finite = jnp.ones((), bool)
    for values in shapes.values():
        if values.dtype != bool:
            within = jnp.abs(values) <= LARGEST
            # A reduction over four numbers would be a kernel of its own on a GPU.
            columns = [within[:, n] for n in range(within.shape[1])] if values.ndim == 2 else [within.all((1, 2))]
            finite = functools.reduce(jnp.logical_and, columns, finite)
    return finite


def _cleaned(column: jax.Array, valid: jax.Array) -> jax.Array:
    if column.dtype == bool:  # holds no NaN
        return column
    return jnp.where(valid.reshape(-1, *(1,) * (column.ndim - 1)), column, jnp.zeros_like(column))


def _ranges(protocol: EvaluationProtocol) -> tuple[tuple[float, float], ...]:
    return tuple((one.low, one.high) for one in protocol.area_ranges)
