"""Standard errors and confidence intervals of a state's numbers, inside `jit`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import itemgetter

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri

from ..._curves._replicates_device import in_blocks
from ..._curves._weighted_device import WeightedCells
from ..._lowering import by_backend
from ..._resampling import draw_counts, seed_key
from ..._summary import summarize_on_device, summary_lines
from ...analysis import Interval
from ...analysis._bootstrap import JACKKNIFE_GROUPS
from ...protocols import EvaluationProtocol
from ...types import UNDEFINED, PrecisionRecall, Records

__all__ = ["bootstrap_on_device"]

# Bytes of the largest array that holds numbers for several vectors, and how many vectors there are at most at once. A
# step on an accelerator takes hardly longer for many; on a CPU its numbers should fit the cache.
ON_ACCELERATOR, ON_CPU = (1 << 29, 1280), (1 << 26, 128)
SAME = 1e-6  # numbers that differ by less in float32 are equal but for rounding


def bootstrap_on_device(
    records: Records[jax.Array],
    filled: jax.Array,
    *,
    num_positions: int,
    protocol: EvaluationProtocol,
    num_classes: int,
    class_group: tuple[str, ...] | None,
    num_replicates: int,
    seed: int,
    confidence: float,
) -> dict[str, Interval]:
    """Returns the interval of each number of the summary, with float32 scalars; `UNDEFINED` where undefined.

    The replicates are those of `Evaluation.bootstrap`: the same images, in the order of their ids, are drawn.

    Args:
      records: with detections laid out as `[num_positions, images]`.
      filled: `[I]` bool, whether there is an image at each image index.
      num_positions: static, as the others.
      protocol: the protocol.
      num_classes: K.
      class_group: as `summarize_on_device` takes it.
      num_replicates: how many replicates to draw.
      seed: of the draws.
      confidence: of the intervals.

    Raises:
      ValueError: if the summary asks for a quantity that only the host replicates.
    """
    if protocol.not_replicated_on_device:
        raise ValueError(
            f"`bootstrap` inside jit does not serve {protocol.not_replicated_on_device}, which the protocol "
            f"{protocol.name!r} asks for; use `metric.evaluation(state).bootstrap()` outside jit."
        )
    intervals_of = partial(
        _intervals,
        num_positions=num_positions,
        protocol=protocol,
        num_classes=num_classes,
        class_group=class_group,
        num_replicates=num_replicates,
        seed=seed,
        confidence=confidence,
    )
    on_cpu, on_accelerator = (partial(intervals_of, sizes=sizes) for sizes in (ON_CPU, ON_ACCELERATOR))
    intervals: dict[str, Interval] = by_backend(records, filled, cpu=on_cpu, default=on_accelerator)
    return intervals


def _intervals(
    records: Records[jax.Array],
    filled: jax.Array,
    *,
    num_positions: int,
    protocol: EvaluationProtocol,
    num_classes: int,
    class_group: tuple[str, ...] | None,
    num_replicates: int,
    seed: int,
    confidence: float,
    sizes: tuple[int, int],
) -> dict[str, Interval]:
    capacity = len(filled)
    num_images = filled.sum(dtype=jnp.int32)
    unit = jnp.maximum(jnp.cumsum(filled, dtype=jnp.int32) - 1, 0)
    num_groups = jnp.minimum(num_images, JACKKNIFE_GROUPS)
    group = jax.lax.rem(unit, jnp.maximum(num_groups, 1))

    def vectors(numbers: jax.Array) -> jax.Array:
        """Returns the weights of replicates, then without each group, then of the whole state: one program for all."""
        counts = draw_counts(seed_key(seed), numbers, num_images, capacity)[:, unit]
        kept = (group[None] != (numbers - num_replicates)[:, None]).astype(jnp.int32)  # all images for the last number
        return jnp.where(filled[None], jnp.where((numbers < num_replicates)[:, None], counts, kept), 0).T

    num_vectors = num_replicates + JACKKNIFE_GROUPS + 1
    numbers = _numbers(records, num_positions, vectors, num_vectors, protocol, num_classes, class_group, sizes)
    is_group = jnp.arange(JACKKNIFE_GROUPS, dtype=jnp.int32) < num_groups
    values = jnp.stack(list(numbers.values()))  # [L, W]
    replicates, left_out, whole = jnp.split(values, [num_replicates, num_replicates + JACKKNIFE_GROUPS], axis=1)
    left_out = jnp.where(is_group[None], left_out, UNDEFINED)
    ends: Interval = jax.vmap(partial(_interval, confidence=confidence))(whole[:, 0], replicates, left_out)
    return {name: jax.tree.map(itemgetter(index), ends) for index, name in enumerate(numbers)}


def _numbers(
    records: Records[jax.Array],
    num_positions: int,
    vectors: Callable[[jax.Array], jax.Array],
    num_vectors: int,
    protocol: EvaluationProtocol,
    num_classes: int,
    class_group: tuple[str, ...] | None,
    sizes: tuple[int, int],
) -> dict[str, jax.Array]:
    """Returns the numbers of the summary under vectors, `[W]` by name; `vectors` makes some from their numbers."""
    lines = [line for line in summary_lines(protocol) if line.thresholds]
    ranked = dict.fromkeys(
        (line.area_index, line.limit_index) for line in lines if line.quantity.name == "precision"
    ) or {(0, 0): None}
    others = dict.fromkeys((line.area_index, line.limit_index) for line in lines)
    cells = [*ranked, *(cell for cell in others if cell not in ranked)]
    ready = WeightedCells(
        records,
        protocol=protocol,
        num_classes=num_classes,
        ranked=list(ranked),
        others=cells[len(ranked) :],
        num_positions=num_positions,
    )
    shape = num_classes, len(protocol.area_ranges), len(protocol.max_detections)
    most_bytes, most_at_once = sizes
    at_once = max(min(most_bytes // (4 * ready.numbers_per_vector), most_at_once), 1)
    area, limit = np.array(cells).T

    def summarized(numbers: jax.Array) -> dict[str, jax.Array]:
        of_cells = ready(vectors(numbers))

        def stacked(values: list[jax.Array]) -> jax.Array:
            empty = jnp.full((len(numbers), len(protocol.iou_thresholds), *shape), UNDEFINED, jnp.float32)
            return empty.at[..., area, limit].set(jnp.stack(values).transpose(3, 1, 2, 0))  # [B, T, K, cells]

        curves = _curves(
            stacked([one.average_precision for one in of_cells]), stacked([one.recall for one in of_cells])
        )
        return jax.vmap(lambda one: summarize_on_device(one, protocol, class_group))(curves)

    return in_blocks(summarized, num_vectors, at_once)


def _curves(average_precision: jax.Array, recall: jax.Array) -> PrecisionRecall[jax.Array]:
    """Returns what a summary reads of curves."""
    return PrecisionRecall(
        precision=average_precision,
        recall=recall,
        scores=recall,
        num_ground_truths=recall,
        average_precision=average_precision,
    )


def _interval(value: jax.Array, replicates: jax.Array, left_out: jax.Array, *, confidence: float) -> Interval:
    """Returns the interval of a number, as `analysis._intervals` does on the host."""
    defined = replicates != UNDEFINED
    number = defined.sum(dtype=jnp.int32)
    count = jnp.maximum(number, 1).astype(jnp.float32)
    mean = jnp.where(defined, replicates, 0.0).sum() / count
    variance = jnp.where(defined, (replicates - mean) ** 2, 0.0).sum() / jnp.maximum(count - 1, 1.0)
    ascending = jnp.sort(jnp.where(defined, replicates, jnp.inf))
    half = 0.5 / count
    below, equal = (defined & (replicates < value - SAME)), (defined & (jnp.abs(replicates - value) <= SAME))
    share = (below.sum(dtype=jnp.float32) + equal.sum(dtype=jnp.float32) / 2) / count
    bias = ndtri(jnp.clip(share, half, 1 - half))
    is_group = left_out != UNDEFINED
    groups = jnp.maximum(is_group.sum(dtype=jnp.float32), 1.0)
    deviation = jnp.where(is_group, jnp.where(is_group, left_out, 0.0).sum() / groups - left_out, 0.0)
    spread = (deviation**2).sum()
    scaled = deviation / jnp.sqrt(jnp.where(spread > 0, spread, 1.0))
    acceleration = (scaled**3).sum() / 6
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    shifted = bias + ndtri(jnp.asarray(tails, jnp.float32))
    adjusted = ndtr(bias + shifted / (1 - acceleration * shifted))
    place = jnp.concatenate([adjusted, jnp.asarray(tails, jnp.float32)]) * (count - 1)
    first = jnp.clip(place.astype(jnp.int32), 0, jnp.maximum(number - 1, 0))
    last = jnp.minimum(first + 1, jnp.maximum(number - 1, 0))
    finite = jnp.where(jnp.isfinite(ascending), ascending, 0.0)
    ends = finite[first] + (finite[last] - finite[first]) * (place - first.astype(jnp.float32))
    known = (number > 1) & (value != UNDEFINED)
    error, low, high, plain_low, plain_high = (jnp.where(known, one, UNDEFINED) for one in (jnp.sqrt(variance), *ends))
    return Interval(value, error, low, high, plain_low, plain_high, len(replicates) - number)  # type: ignore[arg-type]
