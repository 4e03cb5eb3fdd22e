"""Which kernel matches the images of a batch on which backend; all give the same bits.

On a CPU, and for shapes that no other kernel serves, each detection has a short list of candidates, and `match` runs
over the lists. On accelerators all pairs are compared: on a TPU one kernel matches them (`_dense_kernel`), on a GPU a
few rounds (`_rounds`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from .._candidates._device import ABSENT, reach_planes
from .._lowering import by_backend
from .._planes import area_words, level_words, num_words
from ..protocols import EvaluationProtocol
from ._dense_kernel import DensePairs, fits_tpu, match_on_tpu, match_pairs
from ._kernel import match
from ._outcomes import counted_words, first_in_groups, outcome
from ._prepared import PreparedImage
from ._rounds import MAX_GROUND_TRUTHS, match_by_rounds

__all__ = ["match_by_lists", "match_dense", "match_images", "with_candidate_lists"]

Result = TypeVar("Result")
Words = tuple[jax.Array, jax.Array]  # matched and ignored
SHORT_LIST = 4  # candidates per detection; typical images need two or three
LISTED = 8  # ground truths per image up to which lists have room for all: another program would take long to compile


def match_images(images: PreparedImage, protocol: EvaluationProtocol) -> Words:
    """Returns the planes in which each detection is matched, and ignored, `[I, D, W]` uint32 each."""
    by_lists, on_tpu, on_gpu = (
        partial(match, protocol=protocol) for match in (match_by_lists, _match_on_tpu, _match_on_gpu)
    )
    num_images, num_detections = images.scores.shape
    num_ground_truths = images.truth_labels.shape[1]
    if not num_images * num_detections * num_ground_truths:
        return by_lists(images)
    fits = fits_tpu(num_ground_truths, num_words(len(protocol.iou_thresholds), len(protocol.area_ranges)))
    matched, ignored = by_backend(
        images,
        cpu=by_lists,
        tpu=on_tpu if fits else by_lists,
        default=on_gpu if num_ground_truths <= MAX_GROUND_TRUTHS else by_lists,
    )
    return matched, ignored


def _match_on_tpu(images: PreparedImage, *, protocol: EvaluationProtocol) -> Words:
    # JAX cannot divide a Pallas kernel over several devices.
    kernel = partial(by_backend, default=match_on_tpu, partitioned=match_by_rounds)
    return match_dense(kernel, images, protocol=protocol)


def _match_on_gpu(images: PreparedImage, *, protocol: EvaluationProtocol) -> Words:
    return match_dense(match_by_rounds, images, protocol=protocol)


def match_by_lists(images: PreparedImage, *, protocol: EvaluationProtocol) -> Words:
    """Matches a batch with lists of candidates."""
    listed, all_pairs = partial(_match_listed, protocol=protocol), partial(_match_all_pairs, protocol=protocol)
    return with_candidate_lists(listed, all_pairs, images)


def match_dense(kernel: Callable[[DensePairs], Words], images: PreparedImage, *, protocol: EvaluationProtocol) -> Words:
    """Matches a batch with a kernel that takes all pairs of a batch."""
    pairs = _dense_batch(images, protocol)
    matched, ignored = _outcome(images, *kernel(pairs), protocol=protocol)
    if protocol.absorbing == "groups":
        ignored &= ~jax.vmap(partial(_first_of_pairs, protocol=protocol))(images, pairs, matched & ignored)
    return matched, ignored


def with_candidate_lists(
    with_lists: Callable[[PreparedImage, int], tuple[Result, jax.Array]],
    with_all_pairs: Callable[[PreparedImage], Result],
    images: PreparedImage,
) -> Result:
    """Returns the results of all images, on a CPU.

    Short lists of candidates fit all pairs of typical images. Images in which a list is too short are done again, one
    by one, with all their pairs, so the result never depends on the length of lists.

    Args:
      with_lists: returns the result of one image with lists of some length, and how many lists were too short.
      with_all_pairs: returns the same result of one image.
      images: `[I, ...]`.
    """
    num_ground_truths = images.truth_labels.shape[1]
    length = num_ground_truths if num_ground_truths <= LISTED else SHORT_LIST
    result, overflow = jax.vmap(lambda image: with_lists(image, length))(images)
    if length == num_ground_truths:
        return result

    def redo(carry: tuple[jax.Array, Result]) -> tuple[jax.Array, Result]:
        is_left, result = carry
        place = jnp.argmax(is_left)
        redone = with_all_pairs(jax.tree.map(lambda column: column[place], images))
        return is_left.at[place].set(False), jax.tree.map(lambda old, new: old.at[place].set(new), result, redone)

    fitting: Result = jax.lax.while_loop(lambda carry: carry[0].any(), redo, (overflow > 0, result))[1]
    return fitting


def _match_listed(
    image: PreparedImage, num_candidates: int, *, protocol: EvaluationProtocol
) -> tuple[Words, jax.Array]:
    """Returns matched `[D, W]` and ignored `[D, W]`, and how many candidate lists were too short."""
    grid = len(protocol.iou_thresholds), len(protocol.area_ranges)
    counted = counted_words(image.truth_counted, area_words(*grid))
    candidates, overflow = image.candidates(
        image.labels[:, None] == image.truth_labels[None, :],
        iou_thresholds=protocol.iou_thresholds,
        num_candidates=num_candidates,
        best_only=protocol.candidates == "best",
    )
    chosen = match(
        candidates,
        counted=counted,
        crowd=image.crowd,
        levels=jnp.asarray(level_words(*grid)),
        ignored_absorb=protocol.ignored_absorb,
    )
    inside = counted_words(image.inside, area_words(*grid))
    matched, ignored = outcome(chosen, candidates.index, counted=counted, inside=inside)
    if image.truth_groups is not None and image.truth_groups.size:
        groups = counted_words(image.truth_groups, area_words(*grid))
        ignored &= ~first_in_groups(chosen[:, 1], candidates.index[:, 1], groups)  # the second place is a crowd's
    return (matched, ignored), overflow


def _match_all_pairs(image: PreparedImage, *, protocol: EvaluationProtocol) -> Words:
    pairs = _dense_pairs(image, protocol=protocol)
    matched, ignored = _outcome(image, *match_pairs(pairs), protocol=protocol)
    if protocol.absorbing == "groups":
        ignored &= ~_first_of_pairs(image, pairs, matched & ignored, protocol=protocol)
    return matched, ignored


def _first_of_pairs(
    image: PreparedImage, pairs: DensePairs, on_ignored: jax.Array, *, protocol: EvaluationProtocol
) -> jax.Array:
    """Returns `[D, W]` uint32, the planes in which each detection is the first that a group takes."""
    assert image.truth_groups is not None
    areas = area_words(len(protocol.iou_thresholds), len(protocol.area_ranges))
    counted, groups = counted_words(image.truth_counted, areas), counted_words(image.truth_groups, areas)
    reached = jnp.moveaxis(jax.lax.bitcast_convert_type(pairs.reached, jnp.uint32), 0, -1)  # [D, G, W]
    crowd = image.crowd[None, :, None]
    # A detection reaches at most one object and one crowd, and an ignored object absorbs it first.
    by_crowd, by_ignored = (
        jax.lax.reduce(words, np.uint32(0), jax.lax.bitwise_or, (1,))
        for words in (jnp.where(crowd, reached, np.uint32(0)), jnp.where(crowd, np.uint32(0), reached & ~counted[None]))
    )
    group = jnp.argmax(image.crowd[None] & (reached != 0).any(-1), axis=-1)
    return first_in_groups(on_ignored & by_crowd & ~by_ignored, group, groups)


@partial(jax.jit, static_argnames="protocol", inline=True)  # so that it is traced once for all backends
def _dense_batch(images: PreparedImage, protocol: EvaluationProtocol) -> DensePairs:
    return jax.vmap(partial(_dense_pairs, protocol=protocol))(images)


def _dense_pairs(image: PreparedImage, *, protocol: EvaluationProtocol) -> DensePairs:
    grid = len(protocol.iou_thresholds), len(protocol.area_ranges)
    similarity, reached = reach_planes(
        image.similarity.exact_of_all(),
        image.allowed(image.labels[:, None] == image.truth_labels[None, :]),
        image.crowd,
        iou_thresholds=protocol.iou_thresholds,
        levels=level_words(*grid),
        best_only=protocol.candidates == "best",
    )
    counted = counted_words(image.truth_counted, area_words(*grid)).T
    kept = jnp.where(image.crowd, np.uint32(0), np.uint32(2**32 - 1))[None, :]
    kept = kept & counted if protocol.ignored_absorb else jnp.broadcast_to(kept, counted.shape)
    reached, counted, kept = (jax.lax.bitcast_convert_type(words, jnp.int32) for words in (reached, counted, kept))
    # Without the barrier, XLA would compute the similarities again for every use.
    similarity, reached = jax.lax.optimization_barrier((similarity, reached))  # type: ignore[no-untyped-call]
    num_candidates = (similarity.hi > ABSENT).sum(-1, dtype=jnp.int32)
    return DensePairs(similarity.hi, similarity.lo, reached, counted, kept, num_candidates)


def _outcome(
    images: PreparedImage, matched: jax.Array, on_ignored: jax.Array, *, protocol: EvaluationProtocol
) -> Words:
    """Converts int32 words of matches to the two flags of a record, as `outcome` does."""
    matched, on_ignored = (jax.lax.bitcast_convert_type(words, jnp.uint32) for words in (matched, on_ignored))
    inside = counted_words(images.inside, area_words(len(protocol.iou_thresholds), len(protocol.area_ranges)))
    return matched, on_ignored | ~(matched | inside)
